import { leastSpanPages, MOST_HEAP_BYTES, Page } from '../memory/page.ts'
import type { Mapper, Mapping } from '../os/mapper.ts'
import type { Locks } from '../threads/locks.ts'
import { Lock, PageWord } from './control.ts'
import { ceilTo, FreeSpans } from './free-spans.ts'
import { ObjectState } from './object-state.ts'
import { LEAST_GROWTH_PAGES, PageSupply } from './page-supply.ts'
import { Location, locationOf, Span, SpanEntry } from './span.ts'
import type { StaleEntries } from './stale-entries.ts'
import type { Tables } from './tables.ts'

/** Stands for an error number: a live thread kept the lock for too long. */
export const PAGE_HEAP_BUSY = -1

/** How long, in milliseconds, an allocation sleeps until another thread has released pages, and how often: for a second in vain. */
const SLEEP_MS = 10
const MOST_SLEEPS = 100

/** The Span.Hint of a released span once the tables that describe it were given back too. */
const TRIMMED = 1

/**
 * The page heap: all pages outside of spans in use, in free spans as long as possible. It alone grows the heap and gives pages back. Public
 * methods take its lock if they need it; private ones are called with it held.
 */
export class PageHeap {
  /** The free spans; by location for audits. */
  readonly free: FreeSpans
  private readonly supply: PageSupply
  private readonly tables: Tables
  private readonly control: Int32Array
  private readonly spans: Int32Array
  /** Spans are multiples of this many pages, so that each is made of whole system pages. */
  private readonly unit: number
  private readonly limitPage: number
  private readonly locks: Locks
  private readonly stale: StaleEntries
  private readonly transit: number

  /** @param slot this instance's thread slot; many instances share the same words */
  constructor(
    tables: Tables,
    mapper: Mapper,
    mapping: Mapping,
    limitPages: number,
    releaseRate: number,
    locks: Locks,
    stale: StaleEntries,
    slot: number
  ) {
    this.locks = locks
    this.stale = stale
    this.transit = locationOf(Location.Transit, slot)
    this.tables = tables
    this.control = tables.control
    this.spans = tables.spans
    this.unit = leastSpanPages(mapper.systemPageSize)
    this.limitPage = Page.First + limitPages
    const least = this.roundToUnit(LEAST_GROWTH_PAGES)
    this.free = new FreeSpans(tables, slot)
    this.supply = new PageSupply(this.free, tables, mapper, mapping, this.limitPage, least, releaseRate, locks, slot)
  }

  /** Why the last allocation failed: the system's error number, 0 for the limit, PAGE_HEAP_BUSY if the lock couldn't be had. */
  get lastErrno(): number {
    return this.supply.lastErrno
  }

  get endPage(): number {
    return this.control[PageWord.End]!
  }

  get mappedPages(): number {
    return this.control[PageWord.End]! - Page.First
  }

  /** Free pages that are backed, including those that the system is taking back now. */
  get normalPages(): number {
    return this.control[PageWord.NormalPages]! + this.control[PageWord.ReleasingPages]!
  }

  get releasedPages(): number {
    return this.control[PageWord.ReleasedPages]!
  }

  /**
   * A span of at least `pages` that starts at a multiple of `alignment` pages, in TRANSIT until its new owner writes another location; its
   * first page, or 0 if the system or the limit refuses.
   * @param sizeClass the class of the objects that it is for; 0 for a large block
   */
  allocate(pages: number, alignment = 1, sizeClass = 0): number {
    for (let sleeps = 0; ; ) {
      if (!this.hold()) return this.fail(PAGE_HEAP_BUSY)
      const start = this.takeUnnamed(pages, alignment, sizeClass)
      const releasing = this.control[PageWord.ReleasingPages]!
      this.locks.release(Lock.PageHeap)
      // Pages that the system is taking back for another thread are free, but in no list until then.
      if (start !== 0 || releasing === 0 || sleeps === MOST_SLEEPS) return start
      if (Atomics.wait(this.control, PageWord.ReleasingPages, releasing, SLEEP_MS) === 'timed-out') sleeps++
    }
  }

  /** Takes the page heap's lock for a caller that holds a class; false if it can't be had. */
  hold(): boolean {
    return this.locks.tryAcquire(Lock.PageHeap)
  }

  letGo(): void {
    this.locks.release(Lock.PageHeap)
  }

  /** A span that no stale entry names. One that is named stays free, in its place. */
  private takeUnnamed(pages: number, alignment: number, sizeClass: number): number {
    const start = this.take(pages, alignment)
    if (start === 0) return 0
    const length = this.spans[(start << SpanEntry.Shift) + Span.Length]!
    if (!this.stale.name(start, length, length + this.freeBehind(start + length), sizeClass)) return start
    const other = this.takeUnnamed(pages, alignment, sizeClass)
    this.takeBack(start)
    return other
  }

  /** Pages of the free span that starts at a page; 0 if none does. */
  private freeBehind(page: number): number {
    const next = this.free.freeSpanAt(page)
    return next === 0 ? 0 : this.spans[(next << SpanEntry.Shift) + Span.Length]!
  }

  private take(pages: number, alignment: number): number {
    const needed = this.roundToUnit(pages)
    if (needed > this.limitPage) return this.tooLarge()
    const { free, supply } = this
    let found = free.fit(needed, alignment)
    if (found === 0 && supply.grow(needed, alignment)) found = free.fit(needed, alignment)
    if (found !== 0 && !supply.claimReleased(found, needed)) {
      // The budget may allow it once the free pages here are released.
      supply.releaseAll()
      found = supply.claim(needed) ? free.fit(needed, alignment) : 0
    }
    return found === 0 ? 0 : free.cut(found, needed, ceilTo(found, alignment))
  }

  /** Refuses more than any heap can have: no span, and no error of the system's. */
  tooLarge(): 0 {
    return this.fail(0)
  }

  private fail(errno: number): 0 {
    this.supply.lastErrno = errno
    return 0
  }

  /** Takes back a large block in this state. False if its state is another: another thread was faster with its free. */
  freeLarge(start: number, state: number): boolean {
    this.locks.acquire(Lock.PageHeap)
    const { states } = this.tables
    const granule = start << Page.GranuleShift
    // The pages may be carved into small objects by now, and the first may be live.
    const live = states[granule] === state && this.isLarge(start, state)
    if (live) {
      this.spans[(start << SpanEntry.Shift) + Span.Location] = this.transit
      states[granule] = ObjectState.None
      this.takeBack(start)
    }
    this.locks.release(Lock.PageHeap)
    return live
  }

  /** Takes back a span in transit. REQUIRES: its object states are NONE, its class 0; the caller holds the page heap. */
  takeBack(start: number): void {
    const pages = this.spans[(start << SpanEntry.Shift) + Span.Length]!
    this.free.insertCoalesced(start, pages, Location.Normal)
    this.supply.noteFreed(pages)
  }

  /**
   * Makes a span longer by pages of the free spans behind it. At the heap's end the heap grows for it, unless a span of that length is free
   * elsewhere. False if there aren't enough.
   */
  extend(start: number, pages: number): boolean {
    this.locks.acquire(Lock.PageHeap)
    const extended = this.isLarge(start, ObjectState.Live) && this.extendHeld(start, pages)
    this.locks.release(Lock.PageHeap)
    return extended
  }

  private extendHeld(start: number, pages: number): boolean {
    const { spans } = this
    const entry = start << SpanEntry.Shift
    const length = spans[entry + Span.Length]!
    const needed = this.roundToUnit(pages)
    const missing = needed - length
    if (missing <= 0) return true
    // Normal and released spans alternate, so it may take two of them.
    let last = start + length
    let found = 0
    let released = 0
    while (found < missing) {
      const next = this.free.freeSpanAt(last)
      if (next === 0) {
        const isBetter = last === this.endPage && this.free.fit(needed, 1) === 0
        return isBetter && this.supply.growEnd(missing - found) && this.extendHeld(start, needed)
      }
      const pages = spans[(next << SpanEntry.Shift) + Span.Length]!
      if (spans[(next << SpanEntry.Shift) + Span.Location] === Location.Released)
        released += Math.min(pages, missing - found)
      found += pages
      last = start + length + found
    }
    if (released > 0 && !this.supply.claim(released)) return false
    let taken = 0
    while (taken < missing) {
      const next = start + length + taken
      const part = Math.min(spans[(next << SpanEntry.Shift) + Span.Length]!, missing - taken)
      this.free.cut(next, part, next)
      taken += part
    }
    this.free.setSpan(start, needed, spans[entry + Span.Location]!)
    return true
  }

  /** Makes a span shorter and takes the rest back. */
  shrink(start: number, pages: number): void {
    this.locks.acquire(Lock.PageHeap)
    const length = this.spans[(start << SpanEntry.Shift) + Span.Length]!
    const kept = this.roundToUnit(pages)
    if (kept < length && this.isLarge(start, ObjectState.Live)) {
      this.free.setSpan(start + kept, length - kept, this.transit)
      this.free.setSpan(start, kept, this.spans[(start << SpanEntry.Shift) + Span.Location]!)
      this.free.insertCoalesced(start + kept, length - kept, Location.Normal)
    }
    this.locks.release(Lock.PageHeap)
  }

  /** Gives at least `pages` free pages back to the system if there are that many; returns the number given. */
  release(pages: number): number {
    let given = 0
    while (given < pages) {
      if (!this.hold()) break
      const released = this.supply.releaseOldest(true)
      this.locks.release(Lock.PageHeap)
      if (released === 0) break
      given += released
    }
    return given
  }

  /** Releases a little once enough pages were freed. Called after frees, by threads that hold no lock. */
  releaseDue(): void {
    if (this.supply.releaseIsDue) this.supply.wait(this.release(1))
  }

  /**
   * Rebuilds the page heap after a thread was struck. REQUIRES: the caller holds the page heap.
   * @param isStruck whether a slot's thread was struck, so that its work will never be finished
   * @throws AllocatorError `ERR_HEAP_CORRUPT` if the pages aren't tiled
   */
  rebuild(isStruck: (slot: number) => boolean): void {
    this.free.rebuild(isStruck)
    // Released pages that were in transit now count as backed, whatever the budget.
    this.supply.claim(0, MOST_HEAP_BYTES / Page.Bytes)
  }

  /** Also gives back the memory of the tables that describe released spans, once for each span. */
  trimTables(): void {
    this.locks.acquire(Lock.PageHeap)
    const { spans } = this
    for (const { start } of this.free.released) {
      const entry = start << SpanEntry.Shift
      if (spans[entry + Span.Hint] === TRIMMED) continue
      this.tables.trim(start, spans[entry + Span.Length]!)
      spans[entry + Span.Hint] = TRIMMED
    }
    this.locks.release(Lock.PageHeap)
  }

  roundToUnit(pages: number): number {
    const { unit } = this
    return unit === 1 ? pages : Math.ceil(pages / unit) * unit
  }

  /** Whether a span is one large block in this state, or this thread is about to make it one. (Blocks in other states are in span caches.) */
  private isLarge(start: number, state: number): boolean {
    const location = this.spans[(start << SpanEntry.Shift) + Span.Location]
    return location === Location.Large ? this.tables.states[start * Page.Granules] === state : location === this.transit
  }
}
