import { AllocatorError } from '../base/errors.ts'
import { Page } from '../memory/page.ts'
import { PageWord } from './control.ts'
import { ObjectState } from './object-state.ts'
import { notePages } from './page-past.ts'
import { Location, locationOf, Span, SpanEntry, slotOf } from './span.ts'
import { SPAN_LISTS_WORDS, SpanLists } from './span-lists.ts'
import { Child } from './span-tree.ts'
import type { Tables } from './tables.ts'

// Behind the lists of normal spans. The roots of the two trees are words of page 0's entry, since page 0 is in no span.
const RELEASED_LISTS = PageWord.NormalLists + SPAN_LISTS_WORDS

/**
 * A heap's pages as spans. Free spans are found by length, cut, and joined with their neighbours. This class neither locks nor calls the
 * system. REQUIRES of all methods: the caller holds the page heap.
 *
 * INVARIANT: the pages from Page.First to the end are tiled by spans without a gap; no two neighbours are both normal or both released;
 * object states of free spans are all NONE.
 *
 * INVARIANT, also for a thread that is struck between any two stores: each span's first page plus its Length is the first page of the next
 * span. So an entry inside a span is written before the Length that uncovers it.
 */
export class FreeSpans {
  readonly normal: SpanLists
  readonly released: SpanLists
  private readonly tables: Tables
  private readonly control: Int32Array
  private readonly spans: Int32Array
  private readonly transit: number

  /** @param slot the thread slot that holds each cut span, until its new owner writes another location */
  constructor(tables: Tables, slot: number) {
    const { control, spans } = tables
    this.tables = tables
    this.control = control
    this.spans = spans
    this.transit = locationOf(Location.Transit, slot)
    this.normal = new SpanLists(control, PageWord.NormalLists, spans, Child.Left)
    this.released = new SpanLists(control, RELEASED_LISTS, spans, Child.Right)
  }

  /** The lists by the location of their spans; for audits. */
  lists(): ReadonlyMap<number, SpanLists> {
    return new Map([
      [Location.Normal, this.normal],
      [Location.Released, this.released],
    ])
  }

  /** The best span of both states. */
  private bestFit(pages: number): number {
    const normal = this.normal.bestFit(pages)
    return this.control[PageWord.ReleasedPages] === 0 ? normal : this.better(normal, this.released.bestFit(pages))
  }

  /** The better of two free spans, either may be 0: the released one only if it is strictly shorter, since its pages must be backed anew. */
  private better(normal: number, released: number): number {
    if (normal === 0) return released
    if (released === 0) return normal
    const { spans } = this
    return spans[(released << SpanEntry.Shift) + Span.Length]! < spans[(normal << SpanEntry.Shift) + Span.Length]!
      ? released
      : normal
  }

  /**
   * The free span from which to take an aligned piece of `pages`: the best fit if it contains one, else the shortest span long enough to be
   * sure of one, else the shortest that contains one. Only the last search visits spans one by one.
   */
  fit(pages: number, alignment: number): number {
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

  /** Takes `pages` of a free span, from `at` on; the rest keeps its state. */
  cut(start: number, pages: number, at: number): number {
    const { spans } = this
    const entry = start << SpanEntry.Shift
    const location = spans[entry + Span.Location]!
    const length = spans[entry + Span.Length]!
    const lists = this.unlink(start, location, length)
    const before = at - start
    const behind = length - pages - before
    // From the last to the first: an entry is written before the length that uncovers it.
    if (behind > 0) this.leave(lists, at + pages, behind, location, spans[entry + Span.Hint]!)
    this.setSpan(at, pages, this.transit)
    if (before > 0) this.leave(lists, start, before, location, spans[entry + Span.Hint]!)
    return at
  }

  /** Lists the rest of a free span after a piece was cut from it. */
  private leave(lists: SpanLists, start: number, pages: number, location: number, hint: number): void {
    this.setSpan(start, pages, location)
    this.spans[(start << SpanEntry.Shift) + Span.Hint] = hint
    lists.insert(start)
    this.control[location === Location.Normal ? PageWord.NormalPages : PageWord.ReleasedPages]! += pages
  }

  /** Makes a span free, and merges it with neighbours of the same location. */
  insertCoalesced(start: number, pages: number, location: number): void {
    const { spans } = this
    let first = start
    let length = pages
    const before = spans[((start - 1) << SpanEntry.Shift) + Span.Start]!
    // The entry of page 7, the one before the first, is zeros, so its location is Nowhere.
    if (spans[(before << SpanEntry.Shift) + Span.Location] === location) {
      const merged = spans[(before << SpanEntry.Shift) + Span.Length]!
      this.unlink(before, location, merged)
      first = before
      length += merged
    }
    const behind = start + pages
    if (behind < this.control[PageWord.End]! && spans[(behind << SpanEntry.Shift) + Span.Location] === location) {
      const merged = spans[(behind << SpanEntry.Shift) + Span.Length]!
      this.unlink(behind, location, merged)
      length += merged
    }
    this.list(first, length, location)
  }

  /** Makes pages one free span, and puts it into its list. */
  list(start: number, length: number, location: number): void {
    this.setSpan(start, length, location)
    if (location === Location.Normal) {
      this.normal.insert(start)
      this.control[PageWord.NormalPages]! += length
    } else {
      this.spans[(start << SpanEntry.Shift) + Span.Hint] = 0
      this.released.insert(start)
      this.control[PageWord.ReleasedPages]! += length
    }
  }

  unlink(start: number, location: number, length: number): SpanLists {
    const lists = location === Location.Normal ? this.normal : this.released
    lists.remove(start)
    this.control[location === Location.Normal ? PageWord.NormalPages : PageWord.ReleasedPages]! -= length
    // A stale entry inside a longer span must not look like a span of its own.
    this.spans[(start << SpanEntry.Shift) + Span.Location] = this.transit
    return lists
  }

  setSpan(start: number, pages: number, location: number): void {
    const { spans } = this
    const entry = start << SpanEntry.Shift
    spans[entry + Span.Start] = start
    spans[entry + Span.Length] = pages
    spans[entry + Span.Location] = location
    spans[((start + pages - 1) << SpanEntry.Shift) + Span.Start] = start
  }

  /** The start of the run of free spans of these locations at the heap's end; the end itself if there is none. */
  freeTail(...locations: Location[]): number {
    const { spans } = this
    let start = this.control[PageWord.End]!
    for (;;) {
      // Page 7 is in no span, and its location is Nowhere.
      const before = spans[((start - 1) << SpanEntry.Shift) + Span.Start]!
      if (!locations.includes(spans[(before << SpanEntry.Shift) + Span.Location]!)) return start
      start = before
    }
  }

  /** The free span that starts at a page; 0 if none does. */
  freeSpanAt(page: number): number {
    if (page >= this.control[PageWord.End]!) return 0
    const location = this.spans[(page << SpanEntry.Shift) + Span.Location]!
    return location === Location.Normal || location === Location.Released ? page : 0
  }

  /**
   * Rebuilds everything after a thread was struck, from the tiling of the pages, the one thing that always holds. Spans that a struck
   * thread was working on become free.
   * @param isStruck whether a slot's thread was struck, so that its work will never be finished
   * @throws AllocatorError `ERR_HEAP_CORRUPT` if the pages aren't tiled
   */
  rebuild(isStruck: (slot: number) => boolean): void {
    const { control, spans } = this
    this.normal.clear()
    this.released.clear()
    control[PageWord.NormalPages] = 0
    control[PageWord.ReleasedPages] = 0
    control[PageWord.ReleasingPages] = 0
    let run = 0
    let runLocation = Location.Nowhere
    const end = control[PageWord.End]!
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
      } else if ((location & Location.Mask) === Location.Releasing) control[PageWord.ReleasingPages]! += length
      const isFree = location === Location.Normal || location === Location.Released
      if (run !== 0 && location !== runLocation) {
        this.list(run, page - run, runLocation)
        run = 0
      }
      if (isFree && run === 0) {
        run = page
        runLocation = location
      }
      // Not the location: the span's live owner, without this lock, may be writing it now.
      spans[entry + Span.Start] = page
      spans[((page + length - 1) << SpanEntry.Shift) + Span.Start] = page
      page += length
    }
    if (run !== 0) this.list(run, end - run, runLocation)
  }

  /** Clears the class and the object states of pages, and marks them dirty. */
  private wipe(page: number, length: number): void {
    const { tables } = this
    // No shifts: the last page of the largest heap ends at granule 2^31.
    tables.states.fill(ObjectState.None, page * Page.Granules, (page + length) * Page.Granules)
    tables.pageClass.fill(0, page, page + length)
    notePages(tables.pagePast, page, page + length, true)
  }
}

/** The least multiple of `alignment`, a power of two, that is `page` or more. */
export function ceilTo(page: number, alignment: number): number {
  return (page + alignment - 1) & -alignment
}
