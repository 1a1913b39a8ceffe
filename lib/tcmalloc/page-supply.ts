import { Page } from '../memory/page.ts'
import type { Mapper, Mapping } from '../os/mapper.ts'
import type { Locks } from '../threads/locks.ts'
import { HeapWord, Lock, PageWord } from './control.ts'
import { ceilTo, type FreeSpans } from './free-spans.ts'
import { notePages } from './page-past.ts'
import { Location, locationOf, Span, SpanEntry } from './span.ts'
import type { Tables } from './tables.ts'

/** The heap grows by at least this much: 1 MiB (gperftools' kMinSystemAlloc). */
export const LEAST_GROWTH_PAGES = 128
/**
 * When the heap would grow across a multiple of 128 MiB while much of it is free, all free pages are released first
 * (kForcedCoalesceInterval).
 */
const FORCED_RELEASE_PAGES = (128 * 2 ** 20) / Page.Bytes
/** After a release, wait for this many freed pages for every page released, over the release rate. */
const RELEASE_WAIT_FACTOR = 1000
const MOST_RELEASE_WAIT = 2 ** 20
/** The wait if there was nothing to release. */
const IDLE_RELEASE_WAIT = 2 ** 18

/** A heap's growth, and the release of its free pages. REQUIRES of all methods: the caller holds the page heap. */
export class PageSupply {
  /** Why pages were last refused: the system's error number, 0 for the limit. */
  lastErrno = 0
  private readonly free: FreeSpans
  private readonly tables: Tables
  private readonly control: Int32Array
  private readonly spans: Int32Array
  private readonly mapper: Mapper
  private readonly mapping: Mapping
  private readonly locks: Locks
  private readonly limitPage: number
  private readonly leastPages: number
  private readonly releaseRate: number
  private readonly transit: number
  private readonly releasing: number

  constructor(
    free: FreeSpans,
    tables: Tables,
    mapper: Mapper,
    mapping: Mapping,
    limitPage: number,
    leastPages: number,
    releaseRate: number,
    locks: Locks,
    slot: number
  ) {
    this.free = free
    this.tables = tables
    this.control = tables.control
    this.spans = tables.spans
    this.mapper = mapper
    this.mapping = mapping
    this.limitPage = limitPage
    this.leastPages = leastPages
    this.releaseRate = mapper.canRelease ? releaseRate : 0
    this.locks = locks
    this.transit = locationOf(Location.Transit, slot)
    this.releasing = locationOf(Location.Releasing, slot)
  }

  /**
   * Makes sure that so many more pages may be backed: all heaps of the process without a limit of their own share one budget. This heap's
   * claim is computed from its counters each time, so a strike can't leave it wrong.
   */
  claim(pages: number, most = this.control[HeapWord.BudgetPages]!): boolean {
    if (this.control[HeapWord.BudgetPages] === 0) return true
    const backed = this.control[PageWord.End]! - Page.First - this.control[PageWord.ReleasedPages]! + pages
    if (this.mapping.claim(backed * Page.Bytes, most * Page.Bytes)) return true
    this.lastErrno = 0
    return false
  }

  /** The same for pages of a free span: they only need a claim if they were given back. */
  claimReleased(start: number, pages: number): boolean {
    return this.spans[(start << SpanEntry.Shift) + Span.Location] !== Location.Released || this.claim(pages)
  }

  /** Makes room for a span that fits nowhere. False if the limit or the system refuses. */
  grow(pages: number, alignment: number): boolean {
    const { control } = this
    const end = control[PageWord.End]!
    const least = this.leastPages
    if (this.forcedReleaseIsDue(Math.max(pages, least))) {
      this.releaseAll()
      if (this.free.fit(pages, alignment) !== 0) return true
    }
    /** The pages to grow by if the free pages from `start` on are used too. */
    const missing = (start: number) => ceilTo(start, alignment) + pages - end
    const tail = this.free.freeTail(Location.Normal)
    // An aligned piece begins in the free tail if it can, since the next multiple behind it may be far.
    const wanted = alignment === 1 ? pages : missing(tail)
    if (this.growBy(Math.max(wanted, least)) || (wanted < least && this.growBy(wanted))) return true
    if (missing(tail) < wanted && this.growBy(missing(tail))) return true
    // No more pages to be had. But normal and released neighbours may be long enough together: they merge when all is released.
    const mixed = missing(this.free.freeTail(Location.Normal, Location.Released))
    if (mixed > 0 && mixed < missing(tail)) this.growBy(mixed)
    const sharesBudget = control[HeapWord.BudgetPages] !== 0
    if (control[PageWord.NormalPages] === 0 || (control[PageWord.ReleasedPages] === 0 && !sharesBudget)) return false
    this.releaseAll()
    // Released pages no longer count in the budget.
    return this.free.fit(pages, alignment) !== 0 || (sharesBudget && this.growBy(missing(end)))
  }

  /** Makes the heap longer by so many pages at its end. False if the limit or the system refuses. */
  growEnd(pages: number): boolean {
    return (pages < this.leastPages && this.growBy(this.leastPages)) || this.growBy(pages)
  }

  /** Counts freed pages towards the next release. */
  noteFreed(pages: number): void {
    if (this.releaseRate > 0) this.control[PageWord.ReleaseWait]! -= pages
  }

  /** Whether enough pages were freed for a release to be due. */
  get releaseIsDue(): boolean {
    return this.control[PageWord.ReleaseWait]! < 0
  }

  /** Sets when the next release is due, after one that gave so many pages. */
  wait(given: number): void {
    this.control[PageWord.ReleaseWait] =
      given === 0 ? IDLE_RELEASE_WAIT : Math.min(MOST_RELEASE_WAIT, (RELEASE_WAIT_FACTOR / this.releaseRate) * given)
  }

  /** Gives all free pages back to the system. */
  releaseAll(): void {
    while (this.releaseOldest(false) > 0);
  }

  private forcedReleaseIsDue(pages: number): boolean {
    const mappedPages = this.control[PageWord.End]! - Page.First
    const free = this.control[PageWord.NormalPages]! + this.control[PageWord.ReleasedPages]!
    return (
      this.releaseRate > 0 &&
      free >= mappedPages / 4 &&
      Math.floor((mappedPages + pages) / FORCED_RELEASE_PAGES) > Math.floor(mappedPages / FORCED_RELEASE_PAGES)
    )
  }

  private growBy(pages: number): boolean {
    const start = this.control[PageWord.End]!
    this.lastErrno = 0
    if (start + pages > this.limitPage || !this.claim(pages)) return false
    this.lastErrno = this.tables.cover(start + pages) || this.mapping.grow(start * Page.Bytes, pages * Page.Bytes)
    if (this.lastErrno !== 0) return false
    this.free.setSpan(start, pages, this.transit)
    this.control[PageWord.End] = start + pages
    this.free.insertCoalesced(start, pages, Location.Normal)
    return true
  }

  /**
   * Releases the oldest span of the next list that has any; returns its pages, 0 if there is none or the system refuses. With `yielding`
   * the lock is let go during the call, so that other threads can use the page heap.
   */
  releaseOldest(yielding: boolean): number {
    const { control, spans, tables } = this
    const start = this.free.normal.oldestFrom(control[PageWord.ReleaseCursor]!)
    if (start === 0) return 0
    const pages = spans[(start << SpanEntry.Shift) + Span.Length]!
    control[PageWord.ReleaseCursor] = this.free.normal.listBehind(pages)
    this.free.unlink(start, Location.Normal, pages)
    control[PageWord.ReleasingPages]! += pages
    spans[(start << SpanEntry.Shift) + Span.Location] = this.releasing
    if (yielding) this.locks.release(Lock.PageHeap)
    const errno = this.mapping.release(start * Page.Bytes, pages * Page.Bytes)
    if (errno === 0) notePages(tables.pagePast, start, start + pages, !this.mapper.releaseZeroes)
    if (yielding) this.locks.acquire(Lock.PageHeap)
    control[PageWord.ReleasingPages]! -= pages
    this.free.insertCoalesced(start, pages, errno === 0 ? Location.Released : Location.Normal)
    this.claim(0)
    if (yielding) Atomics.notify(control, PageWord.ReleasingPages)
    return errno === 0 ? pages : 0
  }
}
