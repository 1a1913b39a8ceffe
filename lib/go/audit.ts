import { AllocatorError } from '../base/errors.ts'
import { Page } from '../memory/page.ts'
import type { ManualSpans } from './manual-spans.ts'
import type { MCache } from './mcache.ts'
import type { MCentral } from './mcentral.ts'
import { type MHeap, PageState } from './mheap.ts'
import type { ObjectBits } from './object-bits.ts'
import { type GoSizeClasses, SpanClass } from './size-class.ts'
import { Bits, PageEntry, PageWord, Span, SpanEntry, Word8 } from './span.ts'
import type { GoTables } from './tables.ts'
import type { Counts, Tally } from './tally.ts'

/** The tiers as an audit sees them. */
export interface AuditedGoTiers {
  tables: GoTables
  classes: GoSizeClasses
  bits: ObjectBits
  mheap: MHeap
  manual: ManualSpans
  central: MCentral
  cache: MCache
  tally: Tally
  collector: { readonly isMarking: boolean }
  /** How many objects of a class were handed out and taken back. */
  counts(sizeClass: number): Counts
}

/**
 * Walks every page, every span and all bits, and compares the findings with lists and counters.
 * @throws AllocatorError `ERR_HEAP_CORRUPT`
 */
export function auditGoHeap(tiers: AuditedGoTiers): void {
  const walk = new GoWalk(tiers)
  walk.lists()
  walk.pages()
  walk.counters()
}

/** The list or cache in which a span was found, and what that implies. */
interface Place {
  manual: boolean
  cached: boolean
  /** For a collected span: whether it is swept. */
  swept: boolean
  full: boolean
}

class GoWalk {
  private readonly tiers: AuditedGoTiers
  private readonly places = new Map<number, Place>()
  private readonly objects: number[]
  /** For manual spans: the number of allocated slots, live or on a stack. */
  private readonly slots: number[]
  private largeBytes = 0
  private usedPages = 0
  private releasedPages = 0
  private newPages = 0
  private listedPages = 0
  private unsweptPages = 0

  constructor(tiers: AuditedGoTiers) {
    this.tiers = tiers
    this.objects = Array.from({ length: tiers.classes.count }, () => 0)
    this.slots = [...this.objects]
  }

  /** No span is in two lists, or caches. */
  lists(): void {
    const { manual, central, cache, classes } = this.tiers
    for (let sizeClass = 1; sizeClass < classes.count; sizeClass++) {
      const { cached, listed } = manual.describe(sizeClass)
      if (cached !== 0) this.place(cached, { manual: true, cached: true, swept: true, full: false })
      for (const start of listed) this.place(start, { manual: true, cached: false, swept: true, full: false })
    }
    for (let spanClass = 0; spanClass < SpanClass.Slots; spanClass++) {
      const cached = spanClass < 2 ? 0 : cache.spanOf(spanClass)
      if (cached !== 0) this.place(cached, { manual: false, cached: true, swept: true, full: false })
      for (const { start, full, swept } of central.describe(spanClass)) {
        this.place(start, { manual: false, cached: false, swept, full })
        this.check(
          this.entry(start, Span.SpanClass) === spanClass,
          `the span at page ${start} is in another class's list`
        )
      }
    }
  }

  /** Each page is in a span, or free, and its entry says which. */
  pages(): void {
    const { tables, mheap } = this.tiers
    let page: number = Page.First
    while (page < mheap.endPage) {
      const word = tables.pages[page << PageEntry.Shift]!
      if (word === 0) {
        this.check(tables.pageAlloc.isFree(page), `page ${page} is in no span, and isn't free`)
        if ((tables.pageState[page]! & PageState.Released) !== 0) this.releasedPages++
        if (tables.pageState[page] === 0) this.newPages++
        page++
        continue
      }
      this.check(word >>> PageWord.StartShift === page, `page ${page} starts a span, but names another as its first`)
      const pages = this.entry(page, Span.Pages)
      this.check(pages > 0 && page + pages <= mheap.endPage, `the span at page ${page} is ${pages} pages long`)
      for (let i = page; i < page + pages; i++) {
        this.check(tables.pages[i << PageEntry.Shift] === word, `page ${i} has another word than its span's first`)
        this.check(!tables.pageAlloc.isFree(i), `page ${i} is in a span, and free`)
      }
      this.usedPages += pages
      this.span(page, pages, word)
      page += pages
    }
    const wrong = tables.pageAlloc.verify(mheap.endPage)
    this.check(wrong === undefined, `the page bitmap is wrong: ${wrong}`)
  }

  counters(): void {
    const { mheap, central, tally, classes } = this.tiers
    const counts = (sizeClass: number) => this.tiers.counts(sizeClass)
    this.check(mheap.usedPages === this.usedPages, `${mheap.usedPages} pages count as used, ${this.usedPages} are`)
    this.check(mheap.releasedPages === this.releasedPages, 'the count of released pages is wrong')
    this.check(mheap.newPages === this.newPages, 'the count of new pages is wrong')
    this.check(central.pages === this.listedPages, 'the count of collected pages in lists is wrong')
    this.check(central.unsweptPages === this.unsweptPages, 'the count of pages that wait to be swept is wrong')
    this.check(this.places.size === 0, `spans are in lists that aren't there: ${[...this.places.keys()].join(', ')}`)
    this.check(
      tally.largeBytes + this.tiers.manual.largeBytes === this.largeBytes,
      'the bytes of large objects are counted wrongly'
    )
    for (let sizeClass = 1; sizeClass < classes.count; sizeClass++) {
      const { manual } = this.tiers
      const stacked = manual.stacked(sizeClass)
      this.check(
        this.slots[sizeClass] === manual.liveObjects(sizeClass) + stacked.length,
        `class ${sizeClass} has ${this.slots[sizeClass]} slots allocated, but other counts of blocks`
      )
      this.check(new Set(stacked).size === stacked.length, `a block is twice on the stack of class ${sizeClass}`)
      this.check(
        !stacked.some((granule) => manual.isLive(granule)),
        `a live block is on the stack of class ${sizeClass}`
      )
      const { mallocs, frees } = counts(sizeClass)
      this.check(
        mallocs - frees === this.objects[sizeClass],
        `class ${sizeClass} counts ${mallocs - frees} objects, there are ${this.objects[sizeClass]}`
      )
    }
  }

  private span(start: number, pages: number, word: number): void {
    const { bits, classes, manual, central } = this.tiers
    const isManual = (word & PageWord.Manual) !== 0
    const sizeClass = (word & PageWord.SpanClass) >>> 1
    const place = this.places.get(start)
    this.places.delete(start)
    this.check(
      this.entry(start, Span.SpanClass) === (word & PageWord.SpanClass),
      `the span at page ${start} has another class than its pages say`
    )
    this.check(place === undefined || place.manual === isManual, `the span at page ${start} is in a wrong list`)
    if (sizeClass === 0) this.largeBytes += pages * Page.Bytes
    else this.check(pages === classes.pages[sizeClass], `the span at page ${start} has a wrong length for its class`)
    if (isManual) {
      if (sizeClass === 0) return
      const allocated = bits.count(0, start)
      this.slots[sizeClass]! += allocated
      this.objects[sizeClass]! += this.liveBlocks(start, pages, sizeClass)
      this.check(
        place !== undefined || allocated === classes.objects[sizeClass],
        `the span at page ${start} has free slots, and is in no list`
      )
      const settled = place?.cached === true || manual.isSettled(start, allocated, place !== undefined)
      this.check(settled, `the span at page ${start} expects a wrong number of frees`)
      return
    }
    this.check(place !== undefined, `the collected span at page ${start} is in no list`)
    const { cached, swept, full } = place!
    const allocated = swept ? bits.count(bits.allocated, start) : this.entry(start, Span.Allocated)
    if (sizeClass !== 0) this.objects[sizeClass]! += allocated
    const generation = (central.generation - this.entry(start, Span.SweepGen)) | 0
    this.check(generation === (swept ? 0 : 2), `the span at page ${start} is in a list of another generation`)
    if (swept && !this.tiers.collector.isMarking) this.unmarked(start)
    if (cached) return
    this.listedPages += pages
    if (!swept) this.unsweptPages += pages
    this.check(allocated === this.entry(start, Span.Allocated), `the span at page ${start} counts its objects wrongly`)
    this.check(full === (allocated === this.entry(start, Span.Objects)), `the span at page ${start} is in a wrong list`)
  }

  /** Outside marking, a swept span has no mark and no grey bit: a stale mark would keep garbage, and a stale grey bit would scan it. */
  private unmarked(start: number): void {
    const { bits, tables } = this.tiers
    this.check(bits.count(bits.marked, start) === 0, `the span at page ${start} has marks from an earlier cycle`)
    const first = start << Bits.PageShift
    const words = (this.entry(start, Span.Objects) + 31) >>> 5
    const grey = tables.greyBits.subarray(first, first + words).some((word) => word !== 0)
    this.check(!grey, `the span at page ${start} has grey objects, but nothing marks`)
  }

  /** Counts the live blocks of a manual span. A block starts at a slot that is allocated, and nowhere else. */
  private liveBlocks(start: number, pages: number, sizeClass: number): number {
    const { tables, classes } = this.tiers
    const { unitBits, bits } = tables
    let live = 0
    for (let i = 0; i < pages * Word8.PageUnits; i++) {
      const unit = (start << Word8.PageShift) + i
      if ((unitBits[unit >>> 5]! & (1 << unit)) === 0) continue
      const slot = i / classes.size8[sizeClass]!
      const isSlot = Number.isInteger(slot) && slot < classes.objects[sizeClass]!
      const taken = isSlot && (bits[(start << Bits.PageShift) + (slot >>> 5)]! & (1 << slot)) !== 0
      this.check(taken, `a live block starts at unit ${unit}, where no slot is allocated`)
      live++
    }
    return live
  }

  private place(start: number, place: Place): void {
    this.check(!this.places.has(start), `the span at page ${start} is in two places`)
    this.places.set(start, place)
  }

  private entry(start: number, word: Span): number {
    return this.tiers.tables.spans[(start << SpanEntry.Shift) + word]!
  }

  private check(holds: boolean, message: string): void {
    if (!holds) throw new AllocatorError('ERR_HEAP_CORRUPT', message)
  }
}
