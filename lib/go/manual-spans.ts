import { Granule, Page, pagesFor } from '../memory/page.ts'
import type { MHeap } from './mheap.ts'
import type { ObjectBits } from './object-bits.ts'
import { type GoSizeClasses, SpanClass } from './size-class.ts'
import { Bits, PageEntry, PageField, PageWord, Span, SpanEntry } from './span.ts'
import { SpanLists } from './span-list.ts'
import type { GoTables } from './tables.ts'

/** Reusable slots kept of a class: up to 64 KiB and as many, but two at least. Half of them move at a time. */
const KEPT_BYTES = 64 * 1024
const MOST_KEPT = 128
const LEAST_KEPT = 2

const enum KeptEntry {
  Shift = 1,
}

/** A class's words for the usual path: the index of its top entry on the stack, and the index that the top may not pass. */
const enum Kept {
  Top = 0,
  Limit = 1,
}

/** More frees than a cached span ever has, so that it gets no attention until it leaves the cache. */
const NEVER = 0x3fff_ffff

/**
 * The blocks of malloc and free: objects without pointers in spans of their own, which the collector never looks at (Go's runtime has such
 * spans for itself, mSpanManual). Freed blocks are kept on a stack of their class and handed out again from there (Go 1.26 can keep such
 * lists in its mcache, reusableNoscan). Behind the stack each class has one span in the cache, whose free slots refill the stack. A full
 * span is in no list until a block comes back to it. An empty span goes to the page heap, unless it is the only one of its class with room.
 *
 * A live block has a bit at its start, found by its address alone (`unitBits`). A slot that is live or on a stack has an allocated bit in
 * its span.
 *
 * INVARIANT: a span is cached, or full and in no list with FreesLeft 1, or in its class's list with FreesLeft as many slots as are
 * allocated (NEVER if none is).
 */
export class ManualSpans {
  /** Blocks handed out, by class, since the heap was made. */
  readonly mallocs: Float64Array
  /** Slots that are live or on the stack, by class. */
  private readonly out: Int32Array
  private readonly unitBits: Int32Array
  private readonly pages: Int32Array
  private readonly kept: Int32Array
  private readonly stack: Int32Array
  /** Where each class's stack starts: an entry that is granule 0, so that an empty stack gives 0. */
  private readonly base: Int32Array
  /** Each class's span, and the word of its bits that is looked at next; 0 if there is none. */
  private readonly cached: Int32Array
  private readonly cachedWord: Int32Array
  private readonly words: Int32Array
  private readonly spans: Int32Array
  private readonly classes: GoSizeClasses
  private readonly bits: ObjectBits
  private readonly mheap: MHeap
  private readonly lists: SpanLists
  /** Bytes of large objects, in whole pages; and how many there were. */
  largeBytes = 0
  largeMallocs = 0
  largeFrees = 0
  allLargeBytes = 0

  constructor(tables: GoTables, classes: GoSizeClasses, bits: ObjectBits, mheap: MHeap) {
    const { count } = classes
    this.mallocs = new Float64Array(count)
    this.out = new Int32Array(count)
    this.kept = new Int32Array(count << KeptEntry.Shift)
    this.base = new Int32Array(count)
    let end = 1 // class 0 has no stack: its top and its limit are entry 0
    for (let sizeClass = 1; sizeClass < count; sizeClass++) {
      const room = Math.max(LEAST_KEPT, Math.min(MOST_KEPT, Math.floor(KEPT_BYTES / classes.size[sizeClass]!)))
      this.base[sizeClass] = end
      this.kept[(sizeClass << KeptEntry.Shift) + Kept.Top] = end
      this.kept[(sizeClass << KeptEntry.Shift) + Kept.Limit] = end + room
      end += room + 1
    }
    this.stack = new Int32Array(end)
    this.cached = new Int32Array(count)
    this.cachedWord = new Int32Array(count)
    this.unitBits = tables.unitBits
    this.words = tables.bits
    this.pages = tables.pages
    this.spans = tables.spans
    this.classes = classes
    this.bits = bits
    this.mheap = mheap
    this.lists = new SpanLists(tables.spans, count)
  }

  /** A block of a class, as its granule, now live; 0 if the stack is empty. */
  pop(sizeClass: number): number {
    const { kept, stack, unitBits } = this
    const top = kept[sizeClass << KeptEntry.Shift]!
    const granule = stack[top]!
    if (granule === 0) return 0
    kept[sizeClass << KeptEntry.Shift] = (top - 1) | 0
    unitBits[granule >>> 4]! |= 1 << (granule << 1)
    this.mallocs[sizeClass]!++
    return granule
  }

  /** Takes a live block back. False if the stack is full, or no live block starts there. */
  push(granule: number): boolean {
    const { kept, stack, unitBits } = this
    const word = granule >>> 4
    const bit = 1 << (granule << 1)
    const live = unitBits[word]!
    if ((live & bit) === 0) return false
    const info = this.pages[(granule >>> Page.GranuleShift) << PageEntry.Shift]!
    // In a collected span, the bit is a pointer's.
    if ((info & PageWord.Manual) === 0) return false
    const at = info & PageWord.SpanClass & ~1 // the size class, shifted by KeptEntry.Shift
    const top = (kept[at]! + 1) | 0
    if (top > kept[at + Kept.Limit]!) return false
    stack[top] = granule
    kept[at] = top
    unitBits[word] = live ^ bit
    return true
  }

  /** After a `pop` that returned nothing: a block from the spans; 0 if there is no memory. */
  refill(sizeClass: number): number {
    const { kept, stack } = this
    const base = this.base[sizeClass]!
    if (kept[sizeClass << KeptEntry.Shift] === base) {
      const want = (kept[(sizeClass << KeptEntry.Shift) + Kept.Limit]! - base + 1) >>> 1
      let end = base + 1
      while (end === base + 1) {
        if (this.cached[sizeClass] === 0 && !this.cacheSpan(sizeClass)) return 0
        end = this.takeSlots(sizeClass, base + 1, base + 1 + want)
        if (end === base + 1) this.uncache(sizeClass)
      }
      // The lowest address on top, so that a program gets blocks in order.
      stack.subarray(base + 1, end).reverse()
      kept[sizeClass << KeptEntry.Shift] = end - 1
      this.out[sizeClass]! += end - 1 - base
    }
    return this.pop(sizeClass)
  }

  /** After a `push` that found the stack full: takes the block, and returns half of the stack to the spans. */
  overflow(granule: number, sizeClass: number): void {
    const { kept, stack } = this
    const base = this.base[sizeClass]!
    const length = kept[sizeClass << KeptEntry.Shift]! - base
    const given = (length + 1) >>> 1
    // The entries that have been there longest.
    this.giveBack(sizeClass, given)
    stack.copyWithin(base + 1, base + 1 + given, base + 1 + length)
    kept[sizeClass << KeptEntry.Shift] = base + length - given
    this.push(granule)
  }

  /** Whether a live block of the program's own starts at a granule. */
  isLive(granule: number): boolean {
    const info = this.pages[(granule >>> Page.GranuleShift) << PageEntry.Shift]!
    return (info & PageWord.Manual) !== 0 && ((this.unitBits[granule >>> 4]! >>> (granule << 1)) & 1) !== 0
  }

  /** The usable bytes of a live small block; 0 if none starts there. */
  smallBytes(granule: number): number {
    if (!this.isLive(granule)) return 0
    const info = this.pages[(granule >>> Page.GranuleShift) << PageEntry.Shift]!
    return this.classes.size[(info & PageWord.SpanClass) >>> 1]!
  }

  /** Whether a small block of `usable` bytes can stay for `bytes`: they fit, and use at least half of it. */
  servesWell(usable: number, bytes: number): boolean {
    return bytes <= usable && (bytes * 2 >= usable || usable === Granule.Bytes)
  }

  /** A large object in a span of its own, as its first page; 0 if there is no memory. */
  allocateLarge(bytes: number, alignmentPages = 1): number {
    const pages = Math.max(1, pagesFor(bytes))
    const start = this.mheap.allocate({ pages, spanClass: SpanClass.LargeNoscan, manual: true }, alignmentPages)
    if (start === 0) return 0
    this.words[start << Bits.PageShift] = -1
    this.unitBits[start << Bits.PageShift] = 1
    this.largeMallocs++
    this.countLarge(pages)
    return start
  }

  freeLarge(start: number): void {
    this.unitBits[start << Bits.PageShift] = 0
    this.largeFrees++
    this.largeBytes -= this.spans[(start << SpanEntry.Shift) + Span.Pages]! * Page.Bytes
    this.mheap.free(start)
    this.mheap.scavenge()
  }

  /** Resizes a large object in place, if possible. */
  resizeLarge(start: number, bytes: number): boolean {
    const before = this.spans[(start << SpanEntry.Shift) + Span.Pages]!
    const pages = Math.max(1, pagesFor(bytes))
    if (pages < before) this.mheap.shrink(start, pages)
    else if (pages > before && !this.mheap.extend(start, pages)) return false
    this.countLarge(pages - before)
    return true
  }

  /** Empties all stacks, and releases all spans that are empty then. */
  flush(): void {
    for (let sizeClass = 1; sizeClass < this.classes.count; sizeClass++) {
      this.giveBack(sizeClass, this.kept[sizeClass << KeptEntry.Shift]! - this.base[sizeClass]!)
      this.kept[sizeClass << KeptEntry.Shift] = this.base[sizeClass]!
      if (this.cached[sizeClass] !== 0) this.uncache(sizeClass)
      for (const start of this.lists.members(sizeClass, this.mheap.mappedPages)) {
        if (this.pages[(start << PageEntry.Shift) + PageField.FreesLeft] !== NEVER) continue
        this.lists.remove(sizeClass, start)
        this.mheap.free(start)
      }
    }
  }

  /** Ends it: from now on every pop finds nothing. */
  close(): void {
    for (let sizeClass = 1; sizeClass < this.classes.count; sizeClass++)
      this.kept[sizeClass << KeptEntry.Shift] = this.base[sizeClass]!
  }

  /** Live blocks of a class. */
  liveObjects(sizeClass: number): number {
    return this.out[sizeClass]! - this.stacked(sizeClass).length
  }

  /** Bytes on the stacks, and free in cached spans. */
  cachedBytes(): number {
    let bytes = 0
    for (let sizeClass = 1; sizeClass < this.classes.count; sizeClass++) {
      const start = this.cached[sizeClass]!
      const free = start === 0 ? 0 : this.classes.objects[sizeClass]! - this.bits.count(0, start)
      bytes += (free + this.stacked(sizeClass).length) * this.classes.size[sizeClass]!
    }
    return bytes
  }

  /** The granules on a class's stack. */
  stacked(sizeClass: number): Int32Array {
    return this.stack.subarray(this.base[sizeClass]! + 1, this.kept[sizeClass << KeptEntry.Shift]! + 1)
  }

  /** For audits: the cached span of a class, and the spans in its list. */
  describe(sizeClass: number): { cached: number; listed: number[] } {
    return { cached: this.cached[sizeClass]!, listed: this.lists.members(sizeClass, this.mheap.mappedPages) }
  }

  /** Whether the FreesLeft of a span that isn't cached satisfies the invariant; for audits. */
  isSettled(start: number, allocated: number, isListed: boolean): boolean {
    const freesLeft = this.pages[(start << PageEntry.Shift) + PageField.FreesLeft]!
    return isListed ? freesLeft === (allocated === 0 ? NEVER : allocated) : freesLeft === 1
  }

  private countLarge(pages: number): void {
    this.largeBytes += pages * Page.Bytes
    if (pages > 0) this.allLargeBytes += pages * Page.Bytes
  }

  /** Puts a span with free slots into the cache. False if there is no memory. */
  private cacheSpan(sizeClass: number): boolean {
    let start = this.lists.pop(sizeClass)
    if (start === 0) {
      const spanClass = (sizeClass << 1) | 1
      start = this.mheap.allocate({ pages: this.classes.pages[sizeClass]!, spanClass, manual: true })
      if (start === 0) return false
    }
    this.pages[(start << PageEntry.Shift) + PageField.FreesLeft] = NEVER
    this.cached[sizeClass] = start
    this.cachedWord[sizeClass] = 0
    return true
  }

  /** Moves the span of a class from the cache to its list, or to the page heap. */
  private uncache(sizeClass: number): void {
    const start = this.cached[sizeClass]!
    this.cached[sizeClass] = 0
    const allocated = this.bits.count(0, start)
    if (allocated < this.classes.objects[sizeClass]!) this.list(start, sizeClass, allocated)
    else this.pages[(start << PageEntry.Shift) + PageField.FreesLeft] = 1
  }

  /**
   * Takes free slots of the cached span, in order of addresses, to the stack's entries from `at` to before `most`; returns the first entry
   * that it has not filled. It resumes where it last stopped, and goes around once.
   */
  private takeSlots(sizeClass: number, at: number, most: number): number {
    const { words, stack } = this
    const start = this.cached[sizeClass]!
    const first = start << Bits.PageShift
    const count = (this.classes.objects[sizeClass]! + 31) >>> 5
    const stride = this.classes.size[sizeClass]! >>> Granule.Shift
    const base = start << Page.GranuleShift
    let index = this.cachedWord[sizeClass]!
    for (let looked = 0; looked <= count; looked++) {
      let taken = words[first + index]!
      while (taken !== -1 && at < most) {
        const left = ~taken & (taken + 1)
        taken |= left
        stack[at++] = base + Math.imul((index << 5) + 31 - Math.clz32(left), stride)
      }
      words[first + index] = taken
      if (at === most) break
      if (++index >= count) index = 0
    }
    this.cachedWord[sizeClass] = index
    return at
  }

  /** Returns the lowest `count` entries of a class's stack to their spans; the caller moves the other entries. */
  private giveBack(sizeClass: number, count: number): void {
    const { stack, words, pages } = this
    const first = this.base[sizeClass]! + 1
    for (let i = first; i < first + count; i++) {
      const granule = stack[i]!
      const start = pages[(granule >>> Page.GranuleShift) << PageEntry.Shift]! >>> PageWord.StartShift
      const slot = this.classes.slotAt(sizeClass, (granule - (start << Page.GranuleShift)) << 1)
      words[(start << Bits.PageShift) + (slot >>> 5)]! ^= 1 << (slot & 31)
      const left = (start << PageEntry.Shift) + PageField.FreesLeft
      pages[left]!--
      if (pages[left] === 0) this.attend(start, sizeClass)
    }
    this.out[sizeClass]! -= count
  }

  private list(start: number, sizeClass: number, allocated: number): void {
    this.pages[(start << PageEntry.Shift) + PageField.FreesLeft] = allocated === 0 ? NEVER : allocated
    this.lists.push(sizeClass, start)
  }

  /** Moves a span that is no longer full, or has become empty. */
  private attend(start: number, sizeClass: number): void {
    const { lists, spans } = this
    const allocated = this.bits.count(0, start)
    const wasFull = allocated === this.classes.objects[sizeClass]! - 1
    if (allocated > 0 || (wasFull && lists.first(sizeClass) === 0)) {
      this.list(start, sizeClass, allocated)
      return
    }
    if (!wasFull) {
      if (lists.first(sizeClass) === start && spans[(start << SpanEntry.Shift) + Span.Next] === 0) {
        this.pages[(start << PageEntry.Shift) + PageField.FreesLeft] = NEVER
        return
      }
      lists.remove(sizeClass, start)
    }
    this.mheap.free(start)
    this.mheap.scavenge()
  }
}
