import { Span, SpanEntry } from './span.ts'
import { SpanTree } from './span-tree.ts'

/**
 * Free spans of one state by length: a list for each length up to 128 pages, and one for all longer spans, which are also in a tree ordered
 * by length. A bitmap tells which lists aren't empty, so that the next one is found in a few steps. Lists are circular and new spans come
 * first, so the oldest span of a list is the one before its head.
 */

/** Up to this length, 128 pages (1 MiB, often called a medium object), each list holds spans of one length. */
export const MOST_EXACT_PAGES = 128

/** The list of all longer spans. */
const LONG_LIST = MOST_EXACT_PAGES
const LISTS = MOST_EXACT_PAGES + 1
const BITMAP_WORDS = Math.ceil(LISTS / 32)

/** The words of one set of lists in the control section. */
export const SPAN_LISTS_WORDS = LISTS + BITMAP_WORDS

/** The list that a span of `pages` belongs to. */
function listOf(pages: number): number {
  return pages <= MOST_EXACT_PAGES ? pages - 1 : LONG_LIST
}

/** REQUIRES of every method that writes: the caller holds the page heap. */
export class SpanLists {
  private readonly control: Int32Array
  private readonly spans: Int32Array
  private readonly heads: number
  private readonly bitmap: number
  private readonly tree: SpanTree

  /**
   * Lists in the words of `control` from `at` on: heads, then the bitmap.
   * @param root the index of the word in `spans` that names the tree's root
   */
  constructor(control: Int32Array, at: number, spans: Int32Array, root: number) {
    this.tree = new SpanTree(spans, root)
    this.control = control
    this.spans = spans
    this.heads = at
    this.bitmap = at + LISTS
  }

  /** Empties all lists, whatever their state. */
  clear(): void {
    this.control.fill(0, this.heads, this.bitmap + BITMAP_WORDS)
    this.tree.clear()
  }

  /** Puts a span first in the list of its length. */
  insert(start: number): void {
    const { control, spans } = this
    const entry = start << SpanEntry.Shift
    const list = listOf(spans[entry + Span.Length]!)
    const head = control[this.heads + list]!
    if (head === 0) {
      spans[entry + Span.Next] = start
      spans[entry + Span.Previous] = start
      control[this.bitmap + (list >>> 5)]! |= 1 << (list & 31)
    } else {
      const last = spans[(head << SpanEntry.Shift) + Span.Previous]!
      spans[entry + Span.Next] = head
      spans[entry + Span.Previous] = last
      spans[(last << SpanEntry.Shift) + Span.Next] = start
      spans[(head << SpanEntry.Shift) + Span.Previous] = start
    }
    control[this.heads + list] = start
    if (list === LONG_LIST) this.tree.insert(start)
  }

  /** Takes a span out of the list of its length. */
  remove(start: number): void {
    const { control, spans } = this
    const entry = start << SpanEntry.Shift
    const list = listOf(spans[entry + Span.Length]!)
    if (list === LONG_LIST) this.tree.remove(start)
    const next = spans[entry + Span.Next]!
    const previous = spans[entry + Span.Previous]!
    if (next === start) {
      control[this.heads + list] = 0
      control[this.bitmap + (list >>> 5)]! &= ~(1 << (list & 31))
    } else {
      spans[(previous << SpanEntry.Shift) + Span.Next] = next
      spans[(next << SpanEntry.Shift) + Span.Previous] = previous
      if (control[this.heads + list] === start) control[this.heads + list] = next
    }
    spans[entry + Span.Next] = 0
    spans[entry + Span.Previous] = 0
  }

  /** The shortest span of at least `pages`, or 0. Among equals up to 128 pages the newest, above them the lowest. */
  bestFit(pages: number): number {
    const list = this.nextList(listOf(pages))
    if (list < 0) return 0
    return list < LONG_LIST ? this.control[this.heads + list]! : this.tree.bestFit(pages)
  }

  /** The shortest span of at least `pages` for which `right` holds, or 0. Visits every shorter span in between. */
  firstOf(pages: number, right: (start: number) => boolean): number {
    for (let list = this.nextList(listOf(pages)); list >= 0 && list < LONG_LIST; list = this.nextList(list + 1))
      for (const start of this.entries(list)) if (right(start)) return start
    for (const start of this.tree.from(pages)) if (right(start)) return start
    return 0
  }

  /** The oldest span of the first list from `list` on that holds any, wrapping around; 0 if all are empty. */
  oldestFrom(list: number): number {
    let found = this.nextList(list)
    if (found < 0) found = this.nextList(0)
    if (found < 0) return 0
    return this.spans[(this.control[this.heads + found]! << SpanEntry.Shift) + Span.Previous]!
  }

  /** The list after the one for spans of this length; the first list after the last. */
  listBehind(pages: number): number {
    return (listOf(pages) + 1) % LISTS
  }

  /** Every span, list by list; for audits. */
  *[Symbol.iterator](): Generator<{ start: number; list: number }> {
    for (let list = 0; list < LISTS; list++) {
      const marked = (this.control[this.bitmap + (list >>> 5)]! & (1 << (list & 31))) !== 0
      if (marked !== (this.control[this.heads + list] !== 0)) yield { start: 0, list }
      for (const start of this.entries(list)) yield { start, list }
    }
  }

  /** Every span above 128 pages, the shortest first; for audits. */
  longSpans(): Iterable<number> {
    return this.tree.from(0)
  }

  /** Whether `list` is the one for spans of this length. */
  static holds(list: number, pages: number): boolean {
    return listOf(pages) === list
  }

  private *entries(list: number): Generator<number> {
    const head = this.control[this.heads + list]!
    let start = head
    while (start !== 0) {
      yield start
      start = this.spans[(start << SpanEntry.Shift) + Span.Next]!
      if (start === head) return
    }
  }

  /** The first list from `list` on that holds any span, or -1. */
  private nextList(list: number): number {
    if (list >= LISTS) return -1
    let word = list >>> 5
    let bits = this.control[this.bitmap + word]! & (-1 << (list & 31))
    while (bits === 0) {
      if (++word === BITMAP_WORDS) return -1
      bits = this.control[this.bitmap + word]!
    }
    return (word << 5) + 31 - Math.clz32(bits & -bits)
  }
}
