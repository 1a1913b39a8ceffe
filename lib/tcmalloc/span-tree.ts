import { Span, SpanEntry } from './span.ts'

/** The words of a free span's entry that name its subtrees of lesser and greater spans. */
export const enum Child {
  /** In a central span, `Span.FreeObjects`. */
  Left = 5,
  /** In a central span, `Span.Occupancy`. */
  Right = 7,
}

/**
 * Free spans by length, and among equal lengths by address: a treap, which is a search tree by that order and a heap by priority. A span's
 * priority is a hash of its first page, so the tree's shape depends only on its contents, and a path through it takes about 2 ln n steps
 * whatever the order in which spans come and go. A span's entry holds its two children and a word of the caller's the root: nothing is
 * allocated.
 *
 * REQUIRES of every method that writes: the caller holds the page heap. If the caller is struck in between, a rebuild begins with `clear`.
 */
export class SpanTree {
  private readonly spans: Int32Array
  private readonly root: number

  /** @param root the index of the word in `spans` that names the root */
  constructor(spans: Int32Array, root: number) {
    this.spans = spans
    this.root = root
  }

  /** Empties the tree, whatever its state. */
  clear(): void {
    // Until the heap first grows, the word can't be written and is 0.
    if (this.spans[this.root] !== 0) this.spans[this.root] = 0
  }

  /** Puts a span in. */
  insert(start: number): void {
    const { spans } = this
    const priority = priorityOf(start)
    let link = this.root
    let node = spans[link]!
    while (node !== 0 && priorityOf(node) > priority) {
      link = (node << SpanEntry.Shift) + (this.isBefore(node, start) ? Child.Right : Child.Left)
      node = spans[link]!
    }
    // The subtree there is split into the span's own two: the spans before it and those behind.
    let before = (start << SpanEntry.Shift) + Child.Left
    let behind = (start << SpanEntry.Shift) + Child.Right
    spans[link] = start
    while (node !== 0) {
      if (this.isBefore(node, start)) {
        spans[before] = node
        before = (node << SpanEntry.Shift) + Child.Right
        node = spans[before]!
      } else {
        spans[behind] = node
        behind = (node << SpanEntry.Shift) + Child.Left
        node = spans[behind]!
      }
    }
    spans[before] = 0
    spans[behind] = 0
  }

  /** Takes a span out. */
  remove(start: number): void {
    const { spans } = this
    let link = this.root
    for (let node = spans[link]!; node !== start; node = spans[link]!)
      link = (node << SpanEntry.Shift) + (this.isBefore(node, start) ? Child.Right : Child.Left)
    let before = spans[(start << SpanEntry.Shift) + Child.Left]!
    let behind = spans[(start << SpanEntry.Shift) + Child.Right]!
    while (before !== 0 && behind !== 0) {
      if (priorityOf(before) > priorityOf(behind)) {
        spans[link] = before
        link = (before << SpanEntry.Shift) + Child.Right
        before = spans[link]!
      } else {
        spans[link] = behind
        link = (behind << SpanEntry.Shift) + Child.Left
        behind = spans[link]!
      }
    }
    spans[link] = before !== 0 ? before : behind
  }

  /** The shortest span of at least `pages`, and among equals the one at the lowest address; 0 if there is none. */
  bestFit(pages: number): number {
    const { spans } = this
    let best = 0
    for (let node = spans[this.root]!; node !== 0; ) {
      const entry = node << SpanEntry.Shift
      const fits = spans[entry + Span.Length]! >= pages
      if (fits) best = node
      node = spans[entry + (fits ? Child.Left : Child.Right)]!
    }
    return best
  }

  /** The spans in their order, from the shortest one of at least `pages` on. */
  *from(pages: number): Generator<number> {
    const { spans } = this
    const pending: number[] = []
    for (let node = spans[this.root]!; node !== 0 || pending.length > 0; ) {
      if (node === 0) {
        node = pending.pop()!
        yield node
        node = spans[(node << SpanEntry.Shift) + Child.Right]!
        continue
      }
      const entry = node << SpanEntry.Shift
      const fits = spans[entry + Span.Length]! >= pages
      if (fits) pending.push(node)
      node = spans[entry + (fits ? Child.Left : Child.Right)]!
    }
  }

  private isBefore(node: number, start: number): boolean {
    const { spans } = this
    const difference =
      spans[(node << SpanEntry.Shift) + Span.Length]! - spans[(start << SpanEntry.Shift) + Span.Length]!
    return difference < 0 || (difference === 0 && node < start)
  }
}

/**
 * A hash of a page number, MurmurHash3's finalizer, in which each bit changes half of the others. No two pages get the same priority. A
 * simple multiple would rise with the addresses of spans at certain distances, and the tree would be a list.
 */
function priorityOf(page: number): number {
  let bits = page ^ (page >>> 16)
  bits = Math.imul(bits, 0x85ebca6b)
  bits ^= bits >>> 13
  bits = Math.imul(bits, 0xc2b2ae35)
  return bits ^ (bits >>> 16)
}
