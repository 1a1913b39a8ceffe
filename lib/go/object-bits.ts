import { Bits, Span, SpanEntry } from './span.ts'
import type { GoTables } from './tables.ts'

/**
 * Two bits for each slot of a span: allocated or not, and marked or not. They are Go's allocBits and gcmarkBits, side by side in two sets.
 * When everything reachable is marked, the sets change places: the marked objects are then the allocated ones, of all spans at once, and
 * nothing is copied. A sweep only clears the other set, span by span.
 *
 * INVARIANT: bits past a span's last slot are 1 in both sets, so that a search for free slots never finds them. Manual spans have bits in
 * the first set only.
 */
export class ObjectBits {
  readonly words: Int32Array
  /** Where the set of allocated bits starts (for manual spans: 0, always). */
  allocated = 0
  /** Where the set of marks starts; between a swap and its sweep, a span's old allocated bits are there. */
  marked: number
  private readonly spans: Int32Array

  constructor({ bits, bitsPerSet, spans }: GoTables) {
    this.words = bits
    this.marked = bitsPerSet
    this.spans = spans
  }

  /** The two sets change places. */
  swap(): void {
    const { allocated } = this
    this.allocated = this.marked
    this.marked = allocated
  }

  /** Clears a new span's bits in the set that starts at `set`: it has no objects yet. */
  clear(set: number, start: number): void {
    const { words } = this
    const objects = this.spans[(start << SpanEntry.Shift) + Span.Objects]!
    const first = set + (start << Bits.PageShift)
    const end = first + ((objects + 31) >>> 5)
    for (let word = first; word < end; word++) words[word] = 0
    if ((objects & 31) !== 0) words[end - 1] = -1 << (objects & 31)
  }

  /** How many slots of a span are 1 in the set that starts at `set`. */
  count(set: number, start: number): number {
    const { words } = this
    const objects = this.spans[(start << SpanEntry.Shift) + Span.Objects]!
    const first = set + (start << Bits.PageShift)
    const wordCount = (objects + 31) >>> 5
    let ones = 0
    for (let word = first; word < first + wordCount; word++) ones += onesOf(words[word]!)
    return ones - ((wordCount << 5) - objects)
  }

  /**
   * Sweeps a span that was marked before the last swap: clears its other set. Returns how many objects are left. A slot that is marked but
   * wasn't allocated (a program can write anything into a pointer) isn't an object.
   */
  sweep(start: number): number {
    const { words, allocated, marked } = this
    const objects = this.spans[(start << SpanEntry.Shift) + Span.Objects]!
    const wordCount = (objects + 31) >>> 5
    const offset = start << Bits.PageShift
    let ones = 0
    for (let word = offset; word < offset + wordCount; word++) {
      const live = words[allocated + word]! & words[marked + word]!
      if (live !== words[allocated + word]!) words[allocated + word] = live
      words[marked + word] = 0
      ones += onesOf(live)
    }
    if ((objects & 31) !== 0) words[marked + offset + wordCount - 1] = -1 << (objects & 31)
    return ones - ((wordCount << 5) - objects)
  }
}

/** How many bits of a word are 1: added up in parallel, in fields of two bits, four, then bytes (Hacker's Delight, 5-1). */
function onesOf(word: number): number {
  let sums = word - ((word >>> 1) & 0x5555_5555)
  sums = (sums & 0x3333_3333) + ((sums >>> 2) & 0x3333_3333)
  return Math.imul((sums + (sums >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24
}
