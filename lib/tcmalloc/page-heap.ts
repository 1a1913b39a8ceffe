import { Page } from '../memory/page.ts'
import { Location, Span, SpanEntry } from '../memory/span.ts'
import type { Tables } from '../memory/tables.ts'
import type { Mapper, Mapping } from '../os/mapper.ts'
import { Control } from './control.ts'
import { SPAN_LISTS_WORDS, SpanLists } from './span-lists.ts'

/** The heap grows by at least this much: 1 MiB (gperftools' kMinSystemAlloc). */
const LEAST_GROWTH_PAGES = 128
/** Whenever the heap crosses a multiple of 128 MiB with much of it free, everything is released first (kForcedCoalesceInterval). */
const FORCED_RELEASE_PAGES = (128 * 2 ** 20) / Page.Bytes
/** After a release, wait for this many freed pages for every page released, over the release rate. */
const RELEASE_WAIT_FACTOR = 1000
const MOST_RELEASE_WAIT = 2 ** 20
/** How long to wait when there was nothing to release. */
const IDLE_RELEASE_WAIT = 2 ** 18

/** What Span.Hint of a released span says once the tables that describe it were given back too. */
const TRIMMED = 1

// The page heap's words of the control section.
const END_PAGE = Control.PageHeap // first page that hasn't grown
const NORMAL_PAGES = Control.PageHeap + 1
const RELEASED_PAGES = Control.PageHeap + 2
const RELEASE_WAIT = Control.PageHeap + 3 // freed pages until the next release
const RELEASE_CURSOR = Control.PageHeap + 4 // the list to release from next
const NORMAL_LISTS = Control.PageHeap + 8
const RELEASED_LISTS = NORMAL_LISTS + SPAN_LISTS_WORDS

/**
 * The page heap: every page of the heap that no span in use holds, in spans as long as they can be. It alone grows the
 * heap and gives pages back.
 *
 * INVARIANT: the pages from Page.First to the end are tiled by spans without a gap; no two neighbours are both normal, and
 * no two both released; object states of free spans are all NONE.
 */
export class PageHeap {
  /** The system's error number of the last growth that failed; 0 where the limit refused. */
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

  constructor(tables: Tables, mapper: Mapper, mapping: Mapping, limitPages: number, releaseRate: number) {
    this.tables = tables
    this.control = tables.control
    this.spans = tables.spans
    this.mapper = mapper
    this.mapping = mapping
    this.normal = new SpanLists(tables.control, NORMAL_LISTS, tables.spans)
    this.released = new SpanLists(tables.control, RELEASED_LISTS, tables.spans)
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

  get normalPages(): number {
    return this.control[NORMAL_PAGES]!
  }

  get releasedPages(): number {
    return this.control[RELEASED_PAGES]!
  }

  /**
   * A span of at least `pages`, in TRANSIT until its new owner writes another location; its first page, or 0 where neither
   * the system nor the limit allows it.
   */
  allocate(pages: number): number {
    const needed = this.roundToUnit(pages)
    if (needed > this.limitPage) return this.tooLarge()
    let found = this.bestFit(needed)
    if (found === 0 && this.grow(needed)) found = this.bestFit(needed)
    return found === 0 ? 0 : this.carve(found, needed)
  }

  /** Refuses more than any heap can have: no span, and no fault of the system's. */
  tooLarge(): 0 {
    this.lastErrno = 0
    return 0
  }

  /** The same, starting at a multiple of `alignment` pages: a longer span, trimmed at both ends. */
  allocateAligned(pages: number, alignment: number): number {
    const needed = this.roundToUnit(pages)
    const start = this.allocate(needed + alignment - 1)
    if (start === 0) return 0
    const aligned = Math.ceil(start / alignment) * alignment
    const length = this.spans[(start << SpanEntry.Shift) + Span.Length]!
    const behind = start + length - (aligned + needed)
    this.setSpan(aligned, needed, Location.Transit)
    if (aligned > start) this.giveBack(start, aligned - start)
    if (behind > 0) this.giveBack(aligned + needed, behind)
    return aligned
  }

  /** Takes a span back. REQUIRES: its object states are NONE, its class 0. */
  free(start: number): void {
    const pages = this.spans[(start << SpanEntry.Shift) + Span.Length]!
    this.giveBack(start, pages)
    if (this.releaseRate > 0) this.releaseSome(pages)
  }

  /** Makes a span longer by pages of the free spans behind it; false where they aren't enough. */
  extend(start: number, pages: number): boolean {
    const { spans } = this
    const entry = start << SpanEntry.Shift
    const length = spans[entry + Span.Length]!
    const needed = this.roundToUnit(pages)
    const missing = needed - length
    if (missing <= 0) return true
    // Normal and released spans alternate, so two of them may have to be taken.
    let last = start + length
    let found = 0
    while (found < missing) {
      const next = this.freeSpanAt(last)
      if (next === 0) return false
      found += spans[(next << SpanEntry.Shift) + Span.Length]!
      last = start + length + found
    }
    let taken = 0
    while (taken < missing) {
      const next = start + length + taken
      const part = Math.min(spans[(next << SpanEntry.Shift) + Span.Length]!, missing - taken)
      this.carve(next, part)
      taken += part
    }
    this.setSpan(start, needed, spans[entry + Span.Location]!)
    return true
  }

  /** Makes a span shorter and takes the rest back. */
  shrink(start: number, pages: number): void {
    const length = this.spans[(start << SpanEntry.Shift) + Span.Length]!
    const kept = this.roundToUnit(pages)
    if (kept >= length) return
    this.setSpan(start, kept, this.spans[(start << SpanEntry.Shift) + Span.Location]!)
    this.giveBack(start + kept, length - kept)
  }

  /** Gives at least `pages` free pages back to the system if there are so many; returns how many it gave. */
  release(pages: number): number {
    let given = 0
    while (given < pages) {
      const start = this.normal.oldestFrom(this.control[RELEASE_CURSOR]!)
      if (start === 0) break
      const length = this.spans[(start << SpanEntry.Shift) + Span.Length]!
      this.control[RELEASE_CURSOR] = this.normal.listBehind(length)
      if (!this.releaseSpan(start, length)) break
      given += length
    }
    return given
  }

  /** Gives the memory of the tables that describe released spans back too, once for each. */
  trimTables(): void {
    const { spans } = this
    for (const { start } of this.released) {
      const entry = start << SpanEntry.Shift
      if (spans[entry + Span.Hint] === TRIMMED) continue
      this.tables.trim(start, spans[entry + Span.Length]!)
      spans[entry + Span.Hint] = TRIMMED
    }
  }

  /** The lists by the location of the spans in them; for audits. */
  lists(): ReadonlyMap<number, SpanLists> {
    return new Map([
      [Location.Normal, this.normal],
      [Location.Released, this.released],
    ])
  }

  private roundToUnit(pages: number): number {
    const { unit } = this
    return unit === 1 ? pages : Math.ceil(pages / unit) * unit
  }

  /** The best span of both states: a released one only where it is strictly shorter, since its pages must come anew. */
  private bestFit(pages: number): number {
    const normal = this.normal.bestFit(pages)
    if (this.control[RELEASED_PAGES] === 0) return normal
    const released = this.released.bestFit(pages)
    if (normal === 0) return released
    if (released === 0) return normal
    const { spans } = this
    return spans[(released << SpanEntry.Shift) + Span.Length]! < spans[(normal << SpanEntry.Shift) + Span.Length]!
      ? released
      : normal
  }

  /** Takes the first `pages` of a free span; what is left keeps its state. */
  private carve(start: number, pages: number): number {
    const { spans } = this
    const entry = start << SpanEntry.Shift
    const location = spans[entry + Span.Location]!
    const length = spans[entry + Span.Length]!
    const lists = this.unlink(start, location, length)
    if (length > pages) {
      this.setSpan(start + pages, length - pages, location)
      spans[((start + pages) << SpanEntry.Shift) + Span.Hint] = spans[entry + Span.Hint]!
      lists.insert(start + pages)
      this.control[location === Location.Normal ? NORMAL_PAGES : RELEASED_PAGES]! += length - pages
    }
    this.setSpan(start, pages, Location.Transit)
    return start
  }

  /** Makes a span normal and one with its normal neighbours. */
  private giveBack(start: number, pages: number): void {
    this.insertCoalesced(start, pages, Location.Normal)
  }

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
    this.setSpan(first, length, location)
    if (location === Location.Normal) {
      this.normal.insert(first)
      this.control[NORMAL_PAGES]! += length
    } else {
      this.spans[(first << SpanEntry.Shift) + Span.Hint] = 0
      this.released.insert(first)
      this.control[RELEASED_PAGES]! += length
    }
  }

  private unlink(start: number, location: number, length: number): SpanLists {
    const lists = location === Location.Normal ? this.normal : this.released
    lists.remove(start)
    this.control[location === Location.Normal ? NORMAL_PAGES : RELEASED_PAGES]! -= length
    // A stale entry inside a longer span must not look like a span of its own.
    this.spans[(start << SpanEntry.Shift) + Span.Location] = Location.Transit
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

  private freeSpanAt(page: number): number {
    if (page >= this.control[END_PAGE]!) return 0
    const location = this.spans[(page << SpanEntry.Shift) + Span.Location]!
    return location === Location.Normal || location === Location.Released ? page : 0
  }

  private grow(pages: number): boolean {
    const least = this.roundToUnit(LEAST_GROWTH_PAGES)
    if (this.forcedReleaseIsDue(Math.max(pages, least))) {
      this.release(this.control[NORMAL_PAGES]!)
      if (this.bestFit(pages) !== 0) return true
    }
    if (this.growBy(Math.max(pages, least)) || (pages < least && this.growBy(pages))) return true
    const tail = this.freeTail()
    if (tail > 0 && this.growBy(pages - tail)) return true
    // Nothing more to be had. Where free neighbours of both states lie side by side, releasing all makes them one.
    if (this.control[NORMAL_PAGES] === 0 || this.control[RELEASED_PAGES] === 0) return false
    this.release(this.control[NORMAL_PAGES]!)
    return this.bestFit(pages) !== 0
  }

  /** Pages of the normal span that ends the heap; 0 where it is in use, or released. */
  private freeTail(): number {
    const { spans } = this
    const last = spans[((this.control[END_PAGE]! - 1) << SpanEntry.Shift) + Span.Start]! << SpanEntry.Shift
    return spans[last + Span.Location] === Location.Normal ? spans[last + Span.Length]! : 0
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
    if (start + pages > this.limitPage) return false
    this.lastErrno = this.tables.cover(start + pages) || this.mapping.grow(start * Page.Bytes, pages * Page.Bytes)
    if (this.lastErrno !== 0) return false
    this.control[END_PAGE] = start + pages
    this.giveBack(start, pages)
    return true
  }

  /** After every freed span: once enough has been freed, a little is released. */
  private releaseSome(freed: number): void {
    const { control } = this
    control[RELEASE_WAIT]! -= freed
    if (control[RELEASE_WAIT]! >= 0) return
    const given = this.release(1)
    control[RELEASE_WAIT] =
      given === 0 ? IDLE_RELEASE_WAIT : Math.min(MOST_RELEASE_WAIT, (RELEASE_WAIT_FACTOR / this.releaseRate) * given)
  }

  private releaseSpan(start: number, pages: number): boolean {
    this.unlink(start, Location.Normal, pages)
    // The call is made while the span is in no list: others may go on with the rest meanwhile.
    const errno = this.mapping.release(start * Page.Bytes, pages * Page.Bytes)
    if (errno === 0) this.tables.pageDirty.fill(this.mapper.releaseZeroes ? 0 : 1, start, start + pages)
    this.insertCoalesced(start, pages, errno === 0 ? Location.Released : Location.Normal)
    return errno === 0
  }
}

/** The smallest span, in pages: a system page, where that is more than a page. */
export function leastSpanPages(systemPageSize: number): number {
  return Math.max(1, systemPageSize >>> Page.Shift)
}
