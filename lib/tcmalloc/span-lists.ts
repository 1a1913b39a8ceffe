import { Span, SpanEntry } from '../memory/span.ts'

/**
 * Free spans of one state by length: a list for each length up to 128 pages, and for longer ones bins that are a
 * sixteenth of a power of two wide. A bitmap tells which lists hold anything, so that the next one is found in a few steps.
 * Lists are circular and new spans come first; so the oldest span of a list is the one before its head.
 */

/** Up to 128 pages (1 MiB: what is often called a medium object) a list holds spans of one length. */
export const MOST_EXACT_PAGES = 128

const BINS_PER_DOUBLING = 16
const FIRST_DOUBLING = 7
const LAST_DOUBLING = 22 // 2^22 pages are 32 GiB, the most that a heap can have
const LISTS = MOST_EXACT_PAGES + (LAST_DOUBLING - FIRST_DOUBLING + 1) * BINS_PER_DOUBLING
const BITMAP_WORDS = LISTS / 32

/** Words that one set of lists takes in the control section. */
export const SPAN_LISTS_WORDS = LISTS + BITMAP_WORDS

/** In a bin, whose spans differ in length, the best of this many is taken: the bound on a search. */
const MOST_COMPARED = 64

/** The list that a span of `pages` belongs to. */
function listOf(pages: number): number {
  if (pages <= MOST_EXACT_PAGES) return pages - 1
  const doubling = 31 - Math.clz32(pages)
  const bin = (pages >>> (doubling - 4)) & (BINS_PER_DOUBLING - 1)
  return MOST_EXACT_PAGES + (doubling - FIRST_DOUBLING) * BINS_PER_DOUBLING + bin
}

/** REQUIRES of every method that writes: the caller holds the page heap. */
export class SpanLists {
  private readonly control: Int32Array
  private readonly spans: Int32Array
  private readonly heads: number
  private readonly bitmap: number

  /** Lists in the words of `control` from `at` on: heads, then the bitmap. */
  constructor(control: Int32Array, at: number, spans: Int32Array) {
    this.control = control
    this.spans = spans
    this.heads = at
    this.bitmap = at + LISTS
  }

  /** Empties all lists, whatever state they are in. */
  clear(): void {
    this.control.fill(0, this.heads, this.bitmap + BITMAP_WORDS)
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
  }

  /** Takes a span out of the list of its length. */
  remove(start: number): void {
    const { control, spans } = this
    const entry = start << SpanEntry.Shift
    const list = listOf(spans[entry + Span.Length]!)
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

  /** The span that fits `pages` best, or 0. Among equals of the exact lists the newest, above them the lowest. */
  bestFit(pages: number): number {
    const list = listOf(pages)
    if (list < MOST_EXACT_PAGES) {
      const found = this.nextList(list)
      if (found < 0) return 0
      return found < MOST_EXACT_PAGES ? this.control[this.heads + found]! : this.bestOf(found, pages)
    }
    // The bin of this very length may hold spans that are too short; every later one holds none.
    const own = this.control[this.heads + list] === 0 ? 0 : this.bestOf(list, pages)
    if (own !== 0) return own
    const later = this.nextList(list + 1)
    return later < 0 ? 0 : this.bestOf(later, pages)
  }

  /** The oldest span of the first list from `list` on that holds any, wrapping around; 0 where all are empty. */
  oldestFrom(list: number): number {
    let found = this.nextList(list)
    if (found < 0) found = this.nextList(0)
    if (found < 0) return 0
    return this.spans[(this.control[this.heads + found]! << SpanEntry.Shift) + Span.Previous]!
  }

  /** The list behind the one that holds spans of this length; the first one behind the last. */
  listBehind(pages: number): number {
    return (listOf(pages) + 1) % LISTS
  }

  /** Every span, list by list; for audits. */
  *[Symbol.iterator](): Generator<{ start: number; list: number }> {
    for (let list = 0; list < LISTS; list++) {
      const marked = (this.control[this.bitmap + (list >>> 5)]! & (1 << (list & 31))) !== 0
      const head = this.control[this.heads + list]!
      if (marked !== (head !== 0)) yield { start: 0, list }
      if (head === 0) continue
      let start = head
      do {
        yield { start, list }
        start = this.spans[(start << SpanEntry.Shift) + Span.Next]!
      } while (start !== head && start !== 0)
    }
  }

  /** Whether `list` is the one for spans of this length. */
  static holds(list: number, pages: number): boolean {
    return listOf(pages) === list
  }

  private bestOf(list: number, pages: number): number {
    const { spans } = this
    const head = this.control[this.heads + list]!
    let best = 0
    let bestLength = 0
    let start = head
    for (let compared = 0; compared < MOST_COMPARED; compared++) {
      const length = spans[(start << SpanEntry.Shift) + Span.Length]!
      if (length >= pages && (best === 0 || length < bestLength || (length === bestLength && start < best))) {
        best = start
        bestLength = length
      }
      start = spans[(start << SpanEntry.Shift) + Span.Next]!
      if (start === head) break
    }
    return best
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
