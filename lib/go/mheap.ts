import { leastSpanPages, Page, roundUp } from '../memory/page.ts'
import type { Mapper, Mapping } from '../os/mapper.ts'
import type { ObjectBits } from './object-bits.ts'
import { type GoSizeClasses, SpanClass } from './size-class.ts'
import { Bits, PageEntry, PageWord, Span, SpanEntry } from './span.ts'
import type { GoTables } from './tables.ts'

/** The fewest pages that the heap grows by: 4 MiB, as in Go (a chunk of its page bitmap). */
const GROWTH_PAGES = 512
/** How many pages the scavenger gives back at a time: 512 KiB. */
const SCAVENGED_PAGES = 64
/** How many pages must be freed for each that it gives back: a madvise takes some 30 µs (and gperftools' rate is the same). */
const FREED_FOR_EACH = 1000
/** A tenth more pages are kept than the recent peak in use (Go's retainExtraPercent of 10), and 4 MiB at least. */
const KEPT_PART = 10
const KEPT_PAGES = 512
/** Each time that the scavenger looks, the recent peak decays by this part. */
const FORGOTTEN_PART = 16

/** A page's contents, as far as they are known. */
export const enum PageState {
  /** It may hold earlier contents. */
  Dirty = 1,
  /** It was given back to the system. */
  Released = 2,
  /** It has been in a span of tiny objects. */
  Tiny = 4,
}

/** The purpose of a new span. */
export interface SpanRequest {
  pages: number
  spanClass: number
  /** The program frees its objects. */
  manual: boolean
}

/** Go's mheap: pages from the system, spans of pages, and pages back to the system. */
export class MHeap {
  /** The first page that hasn't grown yet. */
  endPage = Page.First
  /** Pages in spans. */
  usedPages = 0
  /** Free pages that were given back. */
  releasedPages = 0
  /** Free pages that are as the system gave them, and count as neither used nor given back. They take no memory. */
  newPages = 0
  /** The system's error number at the last refusal; 0 if the limit refused. */
  lastErrno = 0
  /** The limit for pages in spans plus free pages not given back; see GoHeapOptions.memoryLimit. */
  softLimitPages = Number.POSITIVE_INFINITY
  /** Pages that were ever in spans of tiny objects, each counted once: their tables are the largest. */
  tinyPages = 0
  /** Sweeps for this many pages before the system is asked for more. The collector sets it, since it is made later. */
  reclaim: (pages: number) => void = () => {}
  private readonly tables: GoTables
  private readonly classes: GoSizeClasses
  private readonly bits: ObjectBits
  private readonly mapper: Mapper
  private readonly mapping: Mapping
  private readonly limitEnd: number
  /** Pages of a system page, if that is more than one. */
  private readonly unit: number
  /** From here on, every free page was given back. */
  private scavengeTop = Page.First
  private freedPages = 0
  /** The recent peak of pages in use, as the scavenger saw it. */
  private recentPages = 0

  constructor(
    tables: GoTables,
    classes: GoSizeClasses,
    bits: ObjectBits,
    mapper: Mapper,
    mapping: Mapping,
    limitPages: number
  ) {
    this.tables = tables
    this.classes = classes
    this.bits = bits
    this.mapper = mapper
    this.mapping = mapping
    this.limitEnd = Page.First + limitPages
    this.unit = leastSpanPages(mapper.systemPageSize)
  }

  /** Pages that have grown. */
  get mappedPages(): number {
    return this.endPage - Page.First
  }

  /** Whether the heap could hold so many pages at all. */
  canHold(pages: number): boolean {
    return pages <= this.limitEnd - Page.First
  }

  /** Free pages that weren't given back to the system. */
  get freePages(): number {
    return this.mappedPages - this.usedPages - this.releasedPages
  }

  /** A span whose pages start at a multiple of `alignment` pages; 0 if there is no memory. */
  allocate(request: SpanRequest, alignment = 1): number {
    const { pageAlloc } = this.tables
    const { pages } = request
    const find = () => (alignment === 1 ? pageAlloc.allocate(pages) : pageAlloc.allocateAligned(pages, alignment))
    let start = find()
    if (start === 0) {
      this.reclaim(pages)
      start = find()
    }
    if (start === 0) {
      // At worst, this many pages come before an aligned one.
      if (!this.grow(pages + alignment - 1)) return 0
      start = find()
    }
    this.begin(start, request)
    return start
  }

  /** Makes a span's pages free. REQUIRES: it is in no list and in no cache. */
  free(start: number): void {
    const pages = this.tables.spans[(start << SpanEntry.Shift) + Span.Pages]!
    this.freeRange(start, pages)
  }

  /** Cuts a large object short: frees the pages after its first `pages`. */
  shrink(start: number, pages: number): void {
    const entry = (start << SpanEntry.Shift) + Span.Pages
    const before = this.tables.spans[entry]!
    this.tables.spans[entry] = pages
    this.freeRange(start + pages, before - pages)
  }

  /** Extends a large object in place, if the pages after it are free. */
  extend(start: number, pages: number): boolean {
    const { spans, pageAlloc, pages: pageEntries } = this.tables
    const entry = (start << SpanEntry.Shift) + Span.Pages
    const before = spans[entry]!
    const end = start + before
    if (start + pages > this.endPage || !pageAlloc.allocateAt(end, pages - before)) return false
    this.takePages(end, pages - before)
    this.name(end, start + pages, pageEntries[start << PageEntry.Shift]!)
    spans[entry] = pages
    return true
  }

  /** Whether a span's memory may hold earlier contents; if not, it is as the system gave it, all zero. */
  needsZero(start: number): boolean {
    return this.tables.spans[(start << SpanEntry.Shift) + Span.NeedsZero] === 1
  }

  /** Gives up to `pages` free pages back to the system, those at high addresses first; returns how many. */
  release(pages: number): number {
    const { pageAlloc, pageState } = this.tables
    if (!this.mapper.canRelease) return 0
    const isKept = (page: number) => pageAlloc.isFree(page) && (pageState[page]! & PageState.Released) === 0
    let released = 0
    // A caller that wants all also gets pages passed over before because they were no whole system page then.
    let page = pages >= this.freePages ? this.endPage : this.scavengeTop
    while (released < pages && page > Page.First) {
      if (!isKept(page - 1)) {
        page--
        continue
      }
      const runEnd = page
      // If a run doesn't end with a system page, the part after its last whole one stays.
      const end = page - (page % this.unit)
      const least = Math.max(Page.First, end - roundUp(pages - released, this.unit))
      while (page > least && isKept(page - 1)) page--
      const start = roundUp(page, this.unit)
      if (end <= start) continue
      if (this.mapping.release(start * Page.Bytes, (end - start) * Page.Bytes) !== 0) {
        page = runEnd
        break
      }
      const contents = PageState.Released | (this.mapper.releaseZeroes ? 0 : PageState.Dirty)
      for (let given = start; given < end; given++) {
        if (pageState[given] === 0) this.newPages--
        pageState[given] = contents | (pageState[given]! & PageState.Tiny)
      }
      released += end - start
    }
    this.scavengeTop = page
    this.releasedPages += released
    return released
  }

  /** When it is due, gives back a few of the pages beyond those to be kept. */
  scavenge(): void {
    const over = Math.min(this.freePages, this.usedPages + this.freePages - this.softLimitPages)
    if (over > 0) this.release(over)
    if (this.freedPages < SCAVENGED_PAGES * FREED_FOR_EACH) return
    this.freedPages = 0
    this.recentPages = Math.max(this.usedPages, this.recentPages - Math.ceil(this.recentPages / FORGOTTEN_PART))
    const kept = Math.max(KEPT_PAGES, this.recentPages + Math.ceil(this.recentPages / KEPT_PART))
    const excess = this.usedPages + this.freePages - kept
    if (excess > 0) this.release(Math.min(excess, SCAVENGED_PAGES))
  }

  private freeRange(start: number, pages: number): void {
    this.name(start, start + pages, 0)
    this.tables.pageAlloc.free(start, pages)
    this.usedPages -= pages
    this.freedPages += pages
    // The rest of a system page that was in use may be free.
    this.scavengeTop = Math.max(this.scavengeTop, roundUp(start + pages, this.unit))
  }

  /** Asks the system for pages, so that a run of `pages` is free. False if it, or the limit, refuses. */
  private grow(pages: number): boolean {
    const { tables, endPage } = this
    const missing = roundUp(pages - tables.pageAlloc.endRun(endPage), this.unit)
    const room = this.limitEnd - endPage
    this.lastErrno = 0
    if (missing > room) return false
    const wanted = Math.min(room, roundUp(missing, GROWTH_PAGES))
    // Pages beyond the needed ones aren't worth a refusal.
    if (!this.growBy(wanted) && (wanted === missing || !this.growBy(missing))) return false
    return true
  }

  private growBy(pages: number): boolean {
    const { tables, mapping, endPage } = this
    this.lastErrno = tables.cover(endPage + pages) || mapping.grow(endPage * Page.Bytes, pages * Page.Bytes)
    if (this.lastErrno !== 0) return false
    tables.pageAlloc.add(endPage, pages)
    this.newPages += pages
    this.endPage = endPage + pages
    this.scavengeTop = this.endPage
    return true
  }

  /** Takes pages out of the free ones. Returns whether any may hold earlier contents. */
  private takePages(start: number, pages: number): boolean {
    const { pageState } = this.tables
    if (this.unit > 1) this.renew(start, roundUp(start + pages, this.unit))
    let state = 0
    for (let page = start; page < start + pages; page++) {
      state |= pageState[page]!
      if ((pageState[page]! & PageState.Released) !== 0) this.releasedPages--
      else if (pageState[page] === 0) this.newPages--
      pageState[page] = PageState.Dirty | (pageState[page]! & PageState.Tiny)
    }
    this.usedPages += pages
    return (state & PageState.Dirty) !== 0
  }

  /** Renews system pages that were given back, each as a whole: also the free pages that share one with the range up to `end`. */
  private renew(start: number, end: number): void {
    const { pageState } = this.tables
    for (let page = start - (start % this.unit); page < end; page++) {
      if ((pageState[page]! & PageState.Released) === 0) continue
      pageState[page]! &= ~PageState.Released
      this.releasedPages--
      if (pageState[page] === 0) this.newPages++
    }
    this.scavengeTop = Math.max(this.scavengeTop, end)
  }

  private countTiny(start: number, pages: number): void {
    const { pageState } = this.tables
    for (let page = start; page < start + pages; page++) {
      if ((pageState[page]! & PageState.Tiny) !== 0) continue
      pageState[page]! |= PageState.Tiny
      this.tinyPages++
    }
  }

  /** Writes the word of pages. */
  private name(start: number, end: number, word: number): void {
    const { pages } = this.tables
    for (let page = start; page < end; page++) pages[page << PageEntry.Shift] = word
  }

  private begin(start: number, { pages, spanClass, manual }: SpanRequest): void {
    const { spans } = this.tables
    const entry = start << SpanEntry.Shift
    const needsZero = this.takePages(start, pages)
    spans.fill(0, entry, entry + SpanEntry.Words)
    spans[entry + Span.Pages] = pages
    spans[entry + Span.SpanClass] = spanClass
    spans[entry + Span.Objects] = spanClass < 2 ? 1 : this.classes.objects[spanClass >>> 1]!
    spans[entry + Span.NeedsZero] = needsZero ? 1 : 0
    const word = (start << PageWord.StartShift) | (manual ? PageWord.Manual : 0) | spanClass
    this.name(start, start + pages, word)
    if (spanClass === SpanClass.Tiny && !manual) this.countTiny(start, pages)
    this.bits.clear(0, start)
    if (!manual) this.bits.clear(this.tables.bitsPerSet, start)
    // Old pointers there would look like live blocks. (Of a large block only its start is looked at.)
    else if (spanClass >= 2) this.tables.unitBits.fill(0, start << Bits.PageShift, (start + pages) << Bits.PageShift)
  }
}
