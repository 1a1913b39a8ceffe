import { AllocatorError } from '../base/errors.ts'
import { leastSpanPages, MOST_HEAP_BYTES, Page } from '../memory/page.ts'
import type { Mapper, Mapping } from '../os/mapper.ts'
import type { Locks } from '../threads/locks.ts'
import { Control, HeapWord, Lock } from './control.ts'
import { ObjectState } from './object-state.ts'
import { Location, locationOf, Span, SpanEntry, slotOf } from './span.ts'
import { SPAN_LISTS_WORDS, SpanLists } from './span-lists.ts'
import { Child } from './span-tree.ts'
import type { Tables } from './tables.ts'

/** The heap grows by at least this much: 1 MiB (gperftools' kMinSystemAlloc). */
const LEAST_GROWTH_PAGES = 128
/** Whenever the heap crosses a multiple of 128 MiB with much of it free, everything is released first (kForcedCoalesceInterval). */
const FORCED_RELEASE_PAGES = (128 * 2 ** 20) / Page.Bytes
/** After a release, wait for this many freed pages for every page released, over the release rate. */
const RELEASE_WAIT_FACTOR = 1000
const MOST_RELEASE_WAIT = 2 ** 20
/** How long to wait when there was nothing to release. */
const IDLE_RELEASE_WAIT = 2 ** 18
/** In the place of an error number: a live thread kept the lock for too long. */
export const PAGE_HEAP_BUSY = -1

/** What Span.Hint of a released span says once the tables that describe it were given back too. */
const TRIMMED = 1

// The page heap's words of the control section.
const END_PAGE = Control.PageHeap // first page that hasn't grown
const NORMAL_PAGES = Control.PageHeap + 1
const RELEASED_PAGES = Control.PageHeap + 2
const RELEASE_WAIT = Control.PageHeap + 3 // freed pages until the next release
const RELEASE_CURSOR = Control.PageHeap + 4 // the list to release from next
const RELEASING_PAGES = Control.PageHeap + 5 // in no list while the system takes them back
const NORMAL_LISTS = Control.PageHeap + 8
const RELEASED_LISTS = NORMAL_LISTS + SPAN_LISTS_WORDS
// The roots of the two trees are words of page 0's entry, which no span has.

/**
 * The page heap: every page of the heap that no span in use holds, in spans as long as they can be. It alone grows the
 * heap and gives pages back. Public methods take its lock where they need it; private ones are called with it held.
 *
 * INVARIANT: the pages from Page.First to the end are tiled by spans without a gap; no two neighbours are both normal, and
 * no two both released; object states of free spans are all NONE.
 *
 * INVARIANT, also for a thread that is struck between any two stores: going from each span's first page by its Length, one
 * comes to the first page of the next. So an entry inside a span is written before the Length that uncovers it.
 */
export class PageHeap {
  /** Why the last allocation failed: the system's error number, 0 for the limit, PAGE_HEAP_BUSY where nobody could look. */
  lastErrno = 0
  private readonly tables: Tables
  private readonly control: Int32Array
  private readonly spans: Int32Array
  private readonly mapper: Mapper
  private readonly mapping: Mapping
  private readonly normal: SpanLists
  private readonly released: SpanLists
  /** Spans are multiples of this many pages, so that each is made of whole system pages. */
  private readonly unit: number
  private readonly limitPage: number
  private readonly releaseRate: number
  private readonly locks: Locks
  private readonly transit: number
  private readonly releasing: number

  /** @param slot the thread slot whose page heap this is: one of many over the same words */
  constructor(
    tables: Tables,
    mapper: Mapper,
    mapping: Mapping,
    limitPages: number,
    releaseRate: number,
    locks: Locks,
    slot: number
  ) {
    this.locks = locks
    this.transit = locationOf(Location.Transit, slot)
    this.releasing = locationOf(Location.Releasing, slot)
    this.tables = tables
    this.control = tables.control
    this.spans = tables.spans
    this.mapper = mapper
    this.mapping = mapping
    this.normal = new SpanLists(tables.control, NORMAL_LISTS, tables.spans, Child.Left)
    this.released = new SpanLists(tables.control, RELEASED_LISTS, tables.spans, Child.Right)
    this.unit = leastSpanPages(mapper.systemPageSize)
    this.limitPage = Page.First + limitPages
    this.releaseRate = mapper.canRelease ? releaseRate : 0
  }

  /** Readies a new heap's words. */
  initialize(): void {
    this.control[END_PAGE] = Page.First
  }

  get endPage(): number {
    return this.control[END_PAGE]!
  }

  get mappedPages(): number {
    return this.control[END_PAGE]! - Page.First
  }

  /** Free pages that are backed; those that the system is just taking back among them. */
  get normalPages(): number {
    return this.control[NORMAL_PAGES]! + this.control[RELEASING_PAGES]!
  }

  get releasedPages(): number {
    return this.control[RELEASED_PAGES]!
  }

  /**
   * A span of at least `pages` that starts at a multiple of `alignment` pages, in TRANSIT until its new owner writes another location; its
   * first page, or 0 where neither the system nor the limit allows it.
   */
  allocate(pages: number, alignment = 1): number {
    if (!this.hold()) return this.fail(PAGE_HEAP_BUSY)
    const start = this.take(pages, alignment)
    this.locks.release(Lock.PageHeap)
    return start
  }

  /** Takes the page heap's lock for a caller that holds a class; false where it can't be had. */
  hold(): boolean {
    return this.locks.tryAcquire(Lock.PageHeap)
  }

  letGo(): void {
    this.locks.release(Lock.PageHeap)
  }

  private take(pages: number, alignment: number): number {
    const needed = this.roundToUnit(pages)
    if (needed > this.limitPage) return this.tooLarge()
    let found = this.fit(needed, alignment)
    if (found === 0 && this.grow(needed, alignment)) found = this.fit(needed, alignment)
    if (found !== 0 && !this.claimReleased(found, needed)) {
      // Without what is free here the budget may allow it.
      while (this.releaseOldest(false) > 0);
      found = this.claim(needed) ? this.fit(needed, alignment) : 0
    }
    return found === 0 ? 0 : this.carve(found, needed, ceilTo(found, alignment))
  }

  /** Refuses more than any heap can have: no span, and no fault of the system's. */
  tooLarge(): 0 {
    return this.fail(0)
  }

  private fail(errno: number): 0 {
    this.lastErrno = errno
    return 0
  }

  /** Takes a large block of this state back. False where it has another: another thread was faster with a free of its own. */
  freeLarge(start: number, state: number): boolean {
    this.locks.acquire(Lock.PageHeap)
    const { states } = this.tables
    const granule = start << Page.GranuleShift
    // Its pages may be small objects by now, of which the first is live.
    const live = states[granule] === state && this.isLarge(start, state)
    if (live) {
      this.spans[(start << SpanEntry.Shift) + Span.Location] = this.transit
      states[granule] = ObjectState.None
      this.takeBack(start)
    }
    this.locks.release(Lock.PageHeap)
    return live
  }

  /** Takes a span back that is in transit. REQUIRES: its object states are NONE, its class 0; the caller holds the page heap. */
  takeBack(start: number): void {
    const pages = this.spans[(start << SpanEntry.Shift) + Span.Length]!
    this.insertCoalesced(start, pages, Location.Normal)
    if (this.releaseRate > 0) this.control[RELEASE_WAIT]! -= pages
  }

  /** Makes a span longer by pages of the free spans behind it; false where they aren't enough. */
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
    // Normal and released spans alternate, so two of them may have to be taken.
    let last = start + length
    let found = 0
    let released = 0
    while (found < missing) {
      const next = this.freeSpanAt(last)
      if (next === 0) return false
      const pages = spans[(next << SpanEntry.Shift) + Span.Length]!
      if (spans[(next << SpanEntry.Shift) + Span.Location] === Location.Released)
        released += Math.min(pages, missing - found)
      found += pages
      last = start + length + found
    }
    if (released > 0 && !this.claim(released)) return false
    let taken = 0
    while (taken < missing) {
      const next = start + length + taken
      const part = Math.min(spans[(next << SpanEntry.Shift) + Span.Length]!, missing - taken)
      this.carve(next, part, next)
      taken += part
    }
    this.setSpan(start, needed, spans[entry + Span.Location]!)
    return true
  }

  /** Makes a span shorter and takes the rest back. */
  shrink(start: number, pages: number): void {
    this.locks.acquire(Lock.PageHeap)
    const length = this.spans[(start << SpanEntry.Shift) + Span.Length]!
    const kept = this.roundToUnit(pages)
    if (kept < length && this.isLarge(start, ObjectState.Live)) {
      this.setSpan(start + kept, length - kept, this.transit)
      this.setSpan(start, kept, this.spans[(start << SpanEntry.Shift) + Span.Location]!)
      this.insertCoalesced(start + kept, length - kept, Location.Normal)
    }
    this.locks.release(Lock.PageHeap)
  }

  /** Gives at least `pages` free pages back to the system if there are so many; returns how many it gave. */
  release(pages: number): number {
    let given = 0
    while (given < pages) {
      if (!this.hold()) break
      const released = this.releaseOldest(true)
      this.locks.release(Lock.PageHeap)
      if (released === 0) break
      given += released
    }
    return given
  }

  /** After spans were freed: once enough have been, a little is released. Called by threads that hold no lock. */
  releaseDue(): void {
    const { control } = this
    if (control[RELEASE_WAIT]! >= 0) return
    const given = this.release(1)
    control[RELEASE_WAIT] =
      given === 0 ? IDLE_RELEASE_WAIT : Math.min(MOST_RELEASE_WAIT, (RELEASE_WAIT_FACTOR / this.releaseRate) * given)
  }

  /**
   * Makes all of it whole again after a thread was struck: from the tiling of the pages, the one thing that always holds.
   * What a struck thread was at work on becomes free. REQUIRES: the caller holds the page heap.
   * @param isStruck whether the work of a slot will never be finished
   * @throws AllocatorError `ERR_HEAP_CORRUPT` where the pages aren't tiled
   */
  rebuild(isStruck: (slot: number) => boolean): void {
    const { control, spans } = this
    this.normal.clear()
    this.released.clear()
    control[NORMAL_PAGES] = 0
    control[RELEASED_PAGES] = 0
    control[RELEASING_PAGES] = 0
    let run = 0
    let runLocation = Location.Nowhere
    const end = control[END_PAGE]!
    for (let page = Page.First; page < end; ) {
      const entry = page << SpanEntry.Shift
      const length = spans[entry + Span.Length]!
      if (length <= 0 || page + length > end) {
        throw new AllocatorError('ERR_HEAP_CORRUPT', `the span at page ${page} has a length of ${length} pages`)
      }
      let location = spans[entry + Span.Location]!
      if (slotOf(location) >= 0 && isStruck(slotOf(location))) {
        this.wipe(page, length)
        location = Location.Normal
      } else if ((location & Location.Mask) === Location.Releasing) control[RELEASING_PAGES]! += length
      const isFree = location === Location.Normal || location === Location.Released
      if (run !== 0 && location !== runLocation) {
        this.list(run, page - run, runLocation)
        run = 0
      }
      if (isFree && run === 0) {
        run = page
        runLocation = location
      }
      // Not the location: the span's owner, alive and without this lock, may just be writing it.
      spans[entry + Span.Start] = page
      spans[((page + length - 1) << SpanEntry.Shift) + Span.Start] = page
      page += length
    }
    if (run !== 0) this.list(run, end - run, runLocation)
    // What was given back and is in transit counts as backed now, whatever the budget.
    this.claim(0, MOST_HEAP_BYTES / Page.Bytes)
  }

  /** Makes pages nobody's. */
  private wipe(page: number, length: number): void {
    const { tables } = this
    // Not by shifts: the last page of the largest heap ends at granule 2^31.
    tables.states.fill(ObjectState.None, page * Page.Granules, (page + length) * Page.Granules)
    tables.pageClass.fill(0, page, page + length)
    tables.pageDirty.fill(1, page, page + length)
  }

  /** Gives the memory of the tables that describe released spans back too, once for each. */
  trimTables(): void {
    this.locks.acquire(Lock.PageHeap)
    const { spans } = this
    for (const { start } of this.released) {
      const entry = start << SpanEntry.Shift
      if (spans[entry + Span.Hint] === TRIMMED) continue
      this.tables.trim(start, spans[entry + Span.Length]!)
      spans[entry + Span.Hint] = TRIMMED
    }
    this.locks.release(Lock.PageHeap)
  }

  /** The lists by the location of the spans in them; for audits. */
  lists(): ReadonlyMap<number, SpanLists> {
    return new Map([
      [Location.Normal, this.normal],
      [Location.Released, this.released],
    ])
  }

  roundToUnit(pages: number): number {
    const { unit } = this
    return unit === 1 ? pages : Math.ceil(pages / unit) * unit
  }

  /** The best span of both states. */
  private bestFit(pages: number): number {
    const normal = this.normal.bestFit(pages)
    return this.control[RELEASED_PAGES] === 0 ? normal : this.better(normal, this.released.bestFit(pages))
  }

  /** Of two free spans, or one and 0, the released one only where it is strictly shorter, since its pages must come anew. */
  private better(normal: number, released: number): number {
    if (normal === 0) return released
    if (released === 0) return normal
    const { spans } = this
    return spans[(released << SpanEntry.Shift) + Span.Length]! < spans[(normal << SpanEntry.Shift) + Span.Length]!
      ? released
      : normal
  }

  /**
   * The free span to take an aligned piece of `pages` from: the best fit if it has one, else the shortest that is sure to, else the shortest
   * that has one. Only the last of these looks at spans one by one.
   */
  private fit(pages: number, alignment: number): number {
    const best = this.bestFit(pages)
    if (alignment === 1 || best === 0) return best
    const { spans } = this
    const holds = (start: number): boolean =>
      ceilTo(start, alignment) + pages <= start + spans[(start << SpanEntry.Shift) + Span.Length]!
    if (holds(best)) return best
    return (
      this.bestFit(pages + alignment - 1) ||
      this.better(this.normal.firstOf(pages, holds), this.released.firstOf(pages, holds))
    )
  }

  /**
   * Makes sure that so many more pages may be backed: all heaps of the process that have no limit of their own share one budget. What
   * this one has of it is no count that a strike could leave wrong, but follows from its counters each time.
   */
  private claim(pages: number, most = this.control[HeapWord.BudgetPages]!): boolean {
    if (this.control[HeapWord.BudgetPages] === 0) return true
    const backed = this.mappedPages - this.control[RELEASED_PAGES]! + pages
    if (this.mapping.claim(backed * Page.Bytes, most * Page.Bytes)) return true
    this.lastErrno = 0
    return false
  }

  /** The same for pages of a free span, which only count anew if they were given back. */
  private claimReleased(start: number, pages: number): boolean {
    return this.spans[(start << SpanEntry.Shift) + Span.Location] !== Location.Released || this.claim(pages)
  }

  /** Takes `pages` of a free span, from `at` on; what is left keeps its state. */
  private carve(start: number, pages: number, at: number): number {
    const { spans } = this
    const entry = start << SpanEntry.Shift
    const location = spans[entry + Span.Location]!
    const length = spans[entry + Span.Length]!
    const lists = this.unlink(start, location, length)
    const before = at - start
    const behind = length - pages - before
    // From the last to the first: an entry comes before the length that uncovers it.
    if (behind > 0) this.leave(lists, at + pages, behind, location, spans[entry + Span.Hint]!)
    this.setSpan(at, pages, this.transit)
    if (before > 0) this.leave(lists, start, before, location, spans[entry + Span.Hint]!)
    return at
  }

  /** Lists what is left of a free span that a piece was taken of. */
  private leave(lists: SpanLists, start: number, pages: number, location: number, hint: number): void {
    this.setSpan(start, pages, location)
    this.spans[(start << SpanEntry.Shift) + Span.Hint] = hint
    lists.insert(start)
    this.control[location === Location.Normal ? NORMAL_PAGES : RELEASED_PAGES]! += pages
  }

  /** Makes a span free, and one with its neighbours of the same location. */
  private insertCoalesced(start: number, pages: number, location: number): void {
    const { spans } = this
    let first = start
    let length = pages
    const before = spans[((start - 1) << SpanEntry.Shift) + Span.Start]!
    // Page 7, which is before the first one, has an entry of zeros, and so a location of nowhere.
    if (spans[(before << SpanEntry.Shift) + Span.Location] === location) {
      const merged = spans[(before << SpanEntry.Shift) + Span.Length]!
      this.unlink(before, location, merged)
      first = before
      length += merged
    }
    const behind = start + pages
    if (behind < this.control[END_PAGE]! && spans[(behind << SpanEntry.Shift) + Span.Location] === location) {
      const merged = spans[(behind << SpanEntry.Shift) + Span.Length]!
      this.unlink(behind, location, merged)
      length += merged
    }
    this.list(first, length, location)
  }

  /** Makes pages one free span, and puts it into its list. */
  private list(start: number, length: number, location: number): void {
    this.setSpan(start, length, location)
    if (location === Location.Normal) {
      this.normal.insert(start)
      this.control[NORMAL_PAGES]! += length
    } else {
      this.spans[(start << SpanEntry.Shift) + Span.Hint] = 0
      this.released.insert(start)
      this.control[RELEASED_PAGES]! += length
    }
  }

  private unlink(start: number, location: number, length: number): SpanLists {
    const lists = location === Location.Normal ? this.normal : this.released
    lists.remove(start)
    this.control[location === Location.Normal ? NORMAL_PAGES : RELEASED_PAGES]! -= length
    // A stale entry inside a longer span must not look like a span of its own.
    this.spans[(start << SpanEntry.Shift) + Span.Location] = this.transit
    return lists
  }

  private setSpan(start: number, pages: number, location: number): void {
    const { spans } = this
    const entry = start << SpanEntry.Shift
    spans[entry + Span.Start] = start
    spans[entry + Span.Length] = pages
    spans[entry + Span.Location] = location
    spans[((start + pages - 1) << SpanEntry.Shift) + Span.Start] = start
  }

  /** Whether a span is one large block, of this state (a span cache keeps those of others), or about to be one, by this thread. */
  private isLarge(start: number, state: number): boolean {
    const location = this.spans[(start << SpanEntry.Shift) + Span.Location]
    return location === Location.Large ? this.tables.states[start * Page.Granules] === state : location === this.transit
  }

  private freeSpanAt(page: number): number {
    if (page >= this.control[END_PAGE]!) return 0
    const location = this.spans[(page << SpanEntry.Shift) + Span.Location]!
    return location === Location.Normal || location === Location.Released ? page : 0
  }

  /** Makes room for a span that fits nowhere. False if neither the limit nor the system allows it. */
  private grow(pages: number, alignment: number): boolean {
    const { control } = this
    const end = control[END_PAGE]!
    const least = this.roundToUnit(LEAST_GROWTH_PAGES)
    if (this.forcedReleaseIsDue(Math.max(pages, least))) {
      while (this.releaseOldest(false) > 0);
      if (this.fit(pages, alignment) !== 0) return true
    }
    /** How far the end has to move if the free pages from `start` on come before what is new. */
    const missing = (start: number) => ceilTo(start, alignment) + pages - end
    const tail = this.freeTail(Location.Normal)
    // An aligned piece begins in the tail if it can, since up to the next multiple behind it may be far.
    const wanted = alignment === 1 ? pages : missing(tail)
    if (this.growBy(Math.max(wanted, least)) || (wanted < least && this.growBy(wanted))) return true
    if (missing(tail) < wanted && this.growBy(missing(tail))) return true
    // Nothing more to be had, but what free neighbours of both states come to once they are one: when all is released.
    const mixed = missing(this.freeTail(Location.Normal, Location.Released))
    if (mixed > 0 && mixed < missing(tail)) this.growBy(mixed)
    const sharesBudget = control[HeapWord.BudgetPages] !== 0
    if (control[NORMAL_PAGES] === 0 || (control[RELEASED_PAGES] === 0 && !sharesBudget)) return false
    while (this.releaseOldest(false) > 0);
    // What was given back counts in the budget no more.
    return this.fit(pages, alignment) !== 0 || (sharesBudget && this.growBy(missing(end)))
  }

  /** Where the free spans of these locations start that end the heap; its end if none does. */
  private freeTail(...locations: Location[]): number {
    const { spans } = this
    let start = this.control[END_PAGE]!
    for (;;) {
      // Page 7 is in no span, and its location is nowhere.
      const before = spans[((start - 1) << SpanEntry.Shift) + Span.Start]!
      if (!locations.includes(spans[(before << SpanEntry.Shift) + Span.Location]!)) return start
      start = before
    }
  }

  private forcedReleaseIsDue(pages: number): boolean {
    const { mappedPages } = this
    const free = this.control[NORMAL_PAGES]! + this.control[RELEASED_PAGES]!
    return (
      this.releaseRate > 0 &&
      free >= mappedPages / 4 &&
      Math.floor((mappedPages + pages) / FORCED_RELEASE_PAGES) > Math.floor(mappedPages / FORCED_RELEASE_PAGES)
    )
  }

  private growBy(pages: number): boolean {
    const start = this.control[END_PAGE]!
    this.lastErrno = 0
    if (start + pages > this.limitPage || !this.claim(pages)) return false
    this.lastErrno = this.tables.cover(start + pages) || this.mapping.grow(start * Page.Bytes, pages * Page.Bytes)
    if (this.lastErrno !== 0) return false
    this.setSpan(start, pages, this.transit)
    this.control[END_PAGE] = start + pages
    this.insertCoalesced(start, pages, Location.Normal)
    return true
  }

  /**
   * Releases the oldest span of the next list that has any; returns its pages, 0 where there is none or the system refuses.
   * With `yielding` the lock is let go during the call, and others may go on with the rest.
   */
  private releaseOldest(yielding: boolean): number {
    const { control, spans, tables } = this
    const start = this.normal.oldestFrom(control[RELEASE_CURSOR]!)
    if (start === 0) return 0
    const pages = spans[(start << SpanEntry.Shift) + Span.Length]!
    control[RELEASE_CURSOR] = this.normal.listBehind(pages)
    this.unlink(start, Location.Normal, pages)
    control[RELEASING_PAGES]! += pages
    spans[(start << SpanEntry.Shift) + Span.Location] = this.releasing
    if (yielding) this.locks.release(Lock.PageHeap)
    const errno = this.mapping.release(start * Page.Bytes, pages * Page.Bytes)
    if (errno === 0) tables.pageDirty.fill(this.mapper.releaseZeroes ? 0 : 1, start, start + pages)
    if (yielding) this.locks.acquire(Lock.PageHeap)
    control[RELEASING_PAGES]! -= pages
    this.insertCoalesced(start, pages, errno === 0 ? Location.Released : Location.Normal)
    this.claim(0)
    return errno === 0 ? pages : 0
  }
}

/** The least multiple of `alignment`, a power of two, that is `page` or more. */
function ceilTo(page: number, alignment: number): number {
  return (page + alignment - 1) & -alignment
}
