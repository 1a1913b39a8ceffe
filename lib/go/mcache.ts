import type { MCentral } from './mcentral.ts'
import type { ObjectBits } from './object-bits.ts'
import { type GoSizeClasses, SpanClass } from './size-class.ts'
import { Bits, Span, SpanEntry, Word8 } from './span.ts'
import type { GoTables } from './tables.ts'
import type { Tally } from './tally.ts'

const enum CachedEntry {
  Shift = 3,
  Words = 8,
}

/** The words of a span class in the cache. */
const enum Cached {
  /** The word of allocated bits that is searched for free slots; without a span, that of page 0, which has none. */
  Word = 0,
  /** The place of the first of its 32 slots, and the length of a slot, in units of 8 bytes. */
  Base = 1,
  Stride = 2,
  /** The span; 0 if there is none. */
  Span = 3,
  /** 1 if slots may hold earlier contents. */
  NeedsZero = 4,
}

/**
 * Go's mcache: one span for each span class, from whose bits objects are taken. Addresses are in units of 8 bytes, as 32-bit
 * integers without a sign: below 16 GiB they are small integers to V8.
 */
export class MCache {
  private readonly words: Int32Array
  private readonly spans: Int32Array
  private readonly cache = new Int32Array(SpanClass.Slots << CachedEntry.Shift)
  private readonly classes: GoSizeClasses
  private readonly bits: ObjectBits
  private readonly central: MCentral
  private readonly tally: Tally

  constructor(tables: GoTables, classes: GoSizeClasses, bits: ObjectBits, central: MCentral, tally: Tally) {
    this.words = tables.bits
    this.spans = tables.spans
    this.classes = classes
    this.bits = bits
    this.central = central
    this.tally = tally
  }

  /** A slot of a class; 0 if the cache has none. `markOffset` is the distance from an allocated bit to its mark, or 0. */
  pop(spanClass: number, markOffset: number): number {
    const { cache, words } = this
    const at = spanClass << CachedEntry.Shift
    const word = cache[at]!
    const taken = words[word]!
    if (taken === -1) return 0
    const left = ~taken & (taken + 1)
    words[word] = taken | left
    // While the collector marks, a new object is black: marked and never scanned, since it can only refer to reachable objects.
    if (markOffset !== 0) words[(word + markOffset) | 0]! |= left
    return (cache[at + Cached.Base]! + Math.imul(31 - Math.clz32(left), cache[at + Cached.Stride]!)) | 0
  }

  /** Whether slots of the class may hold earlier contents. */
  needsZero(spanClass: number): boolean {
    return this.cache[(spanClass << CachedEntry.Shift) + Cached.NeedsZero] === 1
  }

  /** Goes on to the next word of the span with a free slot, after a `pop` that returned nothing. False if there is none. */
  advance(spanClass: number): boolean {
    const { cache } = this
    const at = spanClass << CachedEntry.Shift
    const start = cache[at + Cached.Span]!
    if (start === 0) return false
    return this.search(spanClass, start, cache[at]! + 1)
  }

  /**
   * Gets another span, after `advance` found nothing. Returns the bytes of its free slots; 0 if there is no memory. All of them are
   * expected to be taken, and counted as taken (as in Go's refill).
   */
  refill(spanClass: number): number {
    const { cache } = this
    const at = spanClass << CachedEntry.Shift
    const sizeClass = spanClass >>> 1
    const objects = this.classes.objects[sizeClass]!
    const before = cache[at + Cached.Span]!
    this.empty(at)
    if (before !== 0) this.uncache(before, sizeClass, objects)
    const start = this.central.cacheSpan(spanClass)
    if (start === 0) return 0
    const entry = start << SpanEntry.Shift
    cache[at + Cached.Span] = start
    cache[at + Cached.Stride] = this.classes.size8[sizeClass]!
    cache[at + Cached.NeedsZero] = this.spans[entry + Span.NeedsZero]!
    const free = objects - this.spans[entry + Span.Allocated]!
    this.search(spanClass, start, this.bits.allocated + (start << Bits.PageShift))
    return free * this.classes.size[sizeClass]!
  }

  /** Ends it: from now on every pop looks past the words, and finds nothing. */
  close(): void {
    this.cache.fill(0)
    for (let at = CachedEntry.Words; at < this.cache.length; at += CachedEntry.Words) this.cache[at] = -1
  }

  /** Gives all spans back. Returns the bytes of slots that were counted as taken but are still free. */
  flush(): number {
    let bytes = 0
    for (let spanClass = 2; spanClass < SpanClass.Slots; spanClass++) {
      const at = spanClass << CachedEntry.Shift
      const start = this.cache[at + Cached.Span]!
      if (start === 0) continue
      this.empty(at)
      const allocated = this.bits.count(this.bits.allocated, start)
      bytes += (this.classes.objects[spanClass >>> 1]! - allocated) * this.classes.size[spanClass >>> 1]!
      this.uncache(start, spanClass >>> 1, allocated)
    }
    return bytes
  }

  /** Objects taken from the cached spans of a size class since they were cached. */
  pending(sizeClass: number): number {
    let objects = 0
    for (const spanClass of [sizeClass << 1, (sizeClass << 1) | 1]) {
      const start = this.spanOf(spanClass)
      if (start === 0) continue
      objects += this.bits.count(this.bits.allocated, start) - this.spans[(start << SpanEntry.Shift) + Span.Allocated]!
    }
    return objects
  }

  /** Bytes of free slots in cached spans. */
  cachedBytes(): number {
    let bytes = 0
    for (let spanClass = 2; spanClass < SpanClass.Slots; spanClass++) {
      const start = this.spanOf(spanClass)
      if (start === 0) continue
      const allocated = this.bits.count(this.bits.allocated, start)
      bytes += (this.classes.objects[spanClass >>> 1]! - allocated) * this.classes.size[spanClass >>> 1]!
    }
    return bytes
  }

  /** The cached span of a class; 0 if there is none. */
  spanOf(spanClass: number): number {
    return this.cache[(spanClass << CachedEntry.Shift) + Cached.Span]!
  }

  private uncache(start: number, sizeClass: number, allocated: number): void {
    this.tally.add(sizeClass, allocated - this.spans[(start << SpanEntry.Shift) + Span.Allocated]!, 0)
    this.central.uncacheSpan(start, allocated)
  }

  private empty(at: number): void {
    this.cache.fill(0, at, at + (1 << CachedEntry.Shift))
  }

  /** Points the cache at the first word from `word` on that has a free slot. */
  private search(spanClass: number, start: number, word: number): boolean {
    const { cache, words } = this
    const at = spanClass << CachedEntry.Shift
    const first = this.bits.allocated + (start << Bits.PageShift)
    const end = first + ((this.classes.objects[spanClass >>> 1]! + 31) >>> 5)
    for (; word < end; word++) {
      if (words[word] === -1) continue
      cache[at] = word
      cache[at + Cached.Base] = (start << Word8.PageShift) + ((word - first) << 5) * cache[at + Cached.Stride]!
      return true
    }
    return false
  }
}
