import { AllocatorError } from '../errors.ts'
import { isCached, ObjectState } from '../memory/object-state.ts'
import { Page } from '../memory/page.ts'
import { Location, Span, SpanEntry } from '../memory/span.ts'
import type { Tables } from '../memory/tables.ts'
import type { CentralCache } from './central-cache.ts'
import type { PageHeap } from './page-heap.ts'
import type { SizeClassTable } from './size-class.ts'
import { SpanLists } from './span-lists.ts'
import type { ThreadCache } from './thread-cache.ts'
import type { TransferCache } from './transfer-cache.ts'

/** What an audit looks at, and what the statistics say. */
export interface AuditedTiers {
  tables: Tables
  classes: SizeClassTable
  pageHeap: PageHeap
  central: CentralCache
  cache: ThreadCache
  transfer: TransferCache
  /** The state of an object in this thread's cache. */
  cacheState: number
  liveBytes: number
}

/** Objects of one class, as a walk of the states has found them. */
interface ClassTally {
  spans: number
  free: number
  cached: number
  transfer: number
}

/**
 * Walks every page and every object state, and compares what it finds with the lists and counters of all tiers.
 * @throws AllocatorError `ERR_HEAP_CORRUPT`
 */
export function auditTiers(tiers: AuditedTiers): void {
  const walk = new HeapWalk(tiers)
  walk.pages()
  walk.pageHeap()
  walk.central()
  walk.caches()
}

class HeapWalk {
  private readonly tiers: AuditedTiers
  private readonly tallies: ClassTally[]
  private readonly pages_ = { [Location.Normal]: 0, [Location.Released]: 0 }
  private readonly spans_ = { [Location.Normal]: 0, [Location.Released]: 0 }
  private liveBytes = 0

  constructor(tiers: AuditedTiers) {
    this.tiers = tiers
    this.tallies = Array.from({ length: tiers.classes.count }, () => ({ spans: 0, free: 0, cached: 0, transfer: 0 }))
  }

  /** Spans tile the heap, and each is what its location says. */
  pages(): void {
    const { spans } = this.tiers.tables
    const { endPage } = this.tiers.pageHeap
    let before = -1
    let page = Page.First
    while (page < endPage) {
      const entry = page << SpanEntry.Shift
      const length = spans[entry + Span.Length]!
      const location = spans[entry + Span.Location]!
      this.check(spans[entry + Span.Start] === page, `page ${page} starts a span, but its entry names another`)
      this.check(length > 0 && page + length <= endPage, `the span at page ${page} is ${length} pages long`)
      this.check(
        spans[((page + length - 1) << SpanEntry.Shift) + Span.Start] === page,
        `the span at ${page} has a wrong last page`
      )
      if (location === Location.Normal || location === Location.Released) {
        this.check(before !== location, `the free span at page ${page} wasn't joined with the one before it`)
        this.pages_[location] += length
        this.spans_[location]++
        this.objects(page, page + length, 0, 0)
      } else if (location === Location.Central) {
        this.centralSpan(page, length)
      } else {
        this.check(location === Location.Large, `the span at page ${page} is in no tier (${location})`)
        this.check(
          this.tiers.tables.states[page << Page.GranuleShift] === ObjectState.Live,
          `the large block at page ${page} isn't live`
        )
        this.objects(page, page + length, 1, 0)
        this.check(this.tiers.tables.pageClass[page] === 0, `the large block at page ${page} has a size class`)
        this.liveBytes += length * Page.Bytes
      }
      before = location
      page += length
    }
    this.check(
      this.liveBytes === this.tiers.liveBytes,
      `${this.liveBytes} bytes are live, but the statistics say ${this.tiers.liveBytes}`
    )
  }

  /** The page heap's lists hold just the free spans, in the right lists, and its counters are right. */
  pageHeap(): void {
    const { pageHeap, tables } = this.tiers
    for (const [location, lists] of pageHeap.lists()) {
      let spans = 0
      for (const { start, list } of lists) {
        this.check(start !== 0, `the bitmap and the head of page list ${list} disagree`)
        const entry = start << SpanEntry.Shift
        this.check(
          tables.spans[entry + Span.Location] === location,
          `page list ${list} holds the span at ${start}, which isn't free`
        )
        this.check(
          SpanLists.holds(list, tables.spans[entry + Span.Length]!),
          `the span at ${start} is in the wrong list`
        )
        spans++
      }
      this.check(
        spans === this.spans_[location as Location.Normal],
        `${spans} spans are listed as free, but others are`
      )
    }
    this.check(pageHeap.normalPages === this.pages_[Location.Normal], 'the count of free pages is wrong')
    this.check(pageHeap.releasedPages === this.pages_[Location.Released], 'the count of released pages is wrong')
  }

  /** Each class's lists hold just its spans with free objects, by occupancy. */
  central(): void {
    const { central, classes, tables } = this.tiers
    for (let sizeClass = 1; sizeClass < classes.count; sizeClass++) {
      const { spans, freeObjects, lists } = central.describe(sizeClass)
      const tally = this.tallies[sizeClass]!
      this.check(spans === tally.spans, `class ${sizeClass} counts ${spans} spans, there are ${tally.spans}`)
      this.check(
        freeObjects === tally.free,
        `class ${sizeClass} counts ${freeObjects} free objects, there are ${tally.free}`
      )
      let listed = 0
      for (const [occupancy, list] of lists.entries()) {
        for (const span of list) {
          const entry = span << SpanEntry.Shift
          listed += tables.spans[entry + Span.FreeObjects]!
          this.check(
            tables.spans[entry + Span.Occupancy] === occupancy,
            `the span at page ${span} is in the wrong list`
          )
        }
      }
      this.check(listed === freeObjects, `class ${sizeClass} lists ${listed} free objects and counts ${freeObjects}`)
    }
  }

  /** Every object on a stack has the state of that stack, and no other object has. */
  caches(): void {
    const { cache, cacheState, classes, transfer } = this.tiers
    for (let sizeClass = 1; sizeClass < classes.count; sizeClass++) {
      const { cached, transfer: batched } = this.tallies[sizeClass]!
      this.stack(cache.entries(sizeClass), sizeClass, cacheState, cached)
      this.stack(transfer.entries(sizeClass), sizeClass, ObjectState.Transfer, batched)
    }
    const { limits, claimed, budget } = cache.claims()
    this.check(limits === claimed, `the cache's limits come to ${limits} bytes, but it claims ${claimed}`)
    this.check(claimed <= budget, `the cache claims ${claimed} bytes of ${budget}`)
  }

  private stack(entries: Int32Array, sizeClass: number, state: number, tallied: number): void {
    const { tables } = this.tiers
    for (const granule of entries) {
      this.check(
        tables.states[granule] === state,
        `granule ${granule} is on the stack of state ${state}, but has another`
      )
      this.check(
        tables.pageClass[granule >>> Page.GranuleShift] === sizeClass,
        `granule ${granule} is on a wrong stack`
      )
    }
    const distinct = new Set(entries).size
    this.check(
      distinct === tallied && entries.length === tallied,
      `${tallied} objects of class ${sizeClass} have state ${state}, but ${entries.length} are on its stack`
    )
  }

  private centralSpan(page: number, length: number): void {
    const { classes, tables } = this.tiers
    const sizeClass = tables.pageClass[page]!
    this.check(sizeClass > 0 && sizeClass < classes.count, `the span at page ${page} has no size class`)
    this.check(length === classes.pages[sizeClass], `the span at page ${page} has a wrong length for its class`)
    for (let i = page; i < page + length; i++) {
      this.check(tables.pageClass[i] === sizeClass, `page ${i} has another class than its span`)
      this.check(
        tables.spans[(i << SpanEntry.Shift) + Span.Start] === page,
        `page ${i} names another span than its own`
      )
    }
    const tally = this.tallies[sizeClass]!
    const free = tally.free
    tally.spans++
    this.objects(page, page + length, classes.objects[sizeClass]!, sizeClass)
    const { [(page << SpanEntry.Shift) + Span.FreeObjects]: counted } = tables.spans
    this.check(
      tally.free - free === counted,
      `the span at page ${page} counts ${counted} free objects, not ${tally.free - free}`
    )
  }

  /** Counts the objects of a span by state; anything where no object starts is an error. */
  private objects(page: number, endPage: number, count: number, sizeClass: number): void {
    const { classes, tables } = this.tiers
    const { states } = tables
    const end = endPage << Page.GranuleShift
    const stride = sizeClass === 0 ? 1 : classes.stride[sizeClass]!
    const tally = this.tallies[sizeClass]!
    let granule = page << Page.GranuleShift
    for (let i = 0; i < count; i++) {
      const state = states[granule]!
      if (state === ObjectState.Live && sizeClass !== 0) this.liveBytes += classes.size[sizeClass]!
      else if (state === ObjectState.Free) tally.free++
      else if (isCached(state)) tally.cached++
      else if (state === ObjectState.Transfer) tally.transfer++
      else this.check(state === ObjectState.Live, `the object at granule ${granule} has state ${state}`)
      for (let inner = granule + 1; inner < granule + stride; inner++) {
        if (states[inner] !== ObjectState.None)
          this.check(false, `granule ${inner} has a state, but no object starts there`)
      }
      granule += stride
    }
    for (; granule < end; granule++) {
      if (states[granule] !== ObjectState.None)
        this.check(false, `granule ${granule} has a state, but no object starts there`)
    }
  }

  private check(holds: boolean, message: string): void {
    if (!holds) throw new AllocatorError('ERR_HEAP_CORRUPT', message)
  }
}
