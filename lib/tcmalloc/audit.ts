import { AllocatorError } from '../base/errors.ts'
import { Page } from '../memory/page.ts'
import type { CacheBudget } from './cache-budget.ts'
import { type CentralCache, ownerOf } from './central-cache.ts'
import { isCached, isHandedOut, ObjectState } from './object-state.ts'
import type { PageHeap } from './page-heap.ts'
import type { PassSlots } from './pass-slots.ts'
import type { SizeClassTable } from './size-class.ts'
import { AreaWord } from './slot-area.ts'
import { Location, Span, SpanEntry, slotOf } from './span.ts'
import { MOST_EXACT_PAGES, SpanLists } from './span-lists.ts'
import type { Tables } from './tables.ts'
import type { ThreadCache } from './thread-cache.ts'
import type { TransferCache } from './transfer-cache.ts'

/** The tiers that an audit checks, and the statistics to compare them with. */
export interface AuditedTiers {
  tables: Tables
  classes: SizeClassTable
  pageHeap: PageHeap
  central: CentralCache
  cache: ThreadCache
  transfer: TransferCache
  budget: CacheBudget
  /** Blocks in the quarantine, in usable bytes. */
  quarantineBytes: number
  passes: PassSlots
  /** Whether no other thread has the heap open now. If so, nothing moves during the walk. */
  isAlone(): boolean
  /** Live blocks plus thread caches, by the statistics. Only the sum is constant while other threads run. */
  inUseBytes: number
}

/** The objects of one class found by walking the states. */
interface ClassTally {
  spans: number
  free: number
  /** Of those, in spans owned by slots. */
  owned: number
  /** In this thread's cache. */
  own: number
  /** In other threads' caches. */
  others: number
  transfer: number
}

/**
 * Walks every page and every object state, and compares the result with the lists and counters of all tiers. Other threads' stacks are left
 * out, since those threads use them meanwhile. REQUIRES: the caller holds all classes and the page heap.
 * @throws AllocatorError `ERR_HEAP_CORRUPT`
 */
export function auditTiers(tiers: AuditedTiers): void {
  const walk = new HeapWalk(tiers)
  walk.pages()
  walk.pageHeap()
  walk.central()
  walk.caches()
  walk.passes()
}

class HeapWalk {
  private readonly tiers: AuditedTiers
  private readonly tallies: ClassTally[]
  private readonly pages_ = { [Location.Normal]: 0, [Location.Released]: 0 }
  private readonly spans_ = { [Location.Normal]: 0, [Location.Released]: 0 }
  private inUseBytes = 0
  private quarantinedBytes = 0
  /** Blocks that were passed. */
  private passed = 0

  constructor(tiers: AuditedTiers) {
    this.tiers = tiers
    this.tallies = Array.from({ length: tiers.classes.count }, () => ({
      spans: 0,
      free: 0,
      owned: 0,
      own: 0,
      others: 0,
      transfer: 0,
    }))
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
      } else if (slotOf(location) >= 0 && !this.tiers.isAlone()) {
        // Another thread is allocating the span or giving it back to the system: counted as in use, or as free.
        if ((location & Location.Mask) === Location.Releasing) this.pages_[Location.Normal] += length
        else this.inUseBytes += length * Page.Bytes
      } else {
        const state = this.tiers.tables.states[page << Page.GranuleShift]!
        this.check(location === Location.Large, `the span at page ${page} is in no tier (${location})`)
        this.check(
          this.isInUse(state) || state === ObjectState.Quarantined,
          `the large block at page ${page} isn't live, and in no thread's cache`
        )
        this.objects(page, page + length, 1, 0)
        this.check(this.tiers.tables.pageClass[page] === 0, `the large block at page ${page} has a size class`)
        if (state === ObjectState.Quarantined) this.quarantinedBytes += length * Page.Bytes
        else this.inUseBytes += length * Page.Bytes
      }
      before = location
      page += length
    }
    this.check(
      this.inUseBytes === this.tiers.inUseBytes,
      `${this.inUseBytes} bytes are live or in thread caches, but the statistics say ${this.tiers.inUseBytes}`
    )
    this.check(
      this.quarantinedBytes === this.tiers.quarantineBytes,
      `${this.quarantinedBytes} bytes are in quarantine by their states, but ${this.tiers.quarantineBytes} in its list`
    )
  }

  /** The page heap's lists hold exactly the free spans, each in the right list, and its counters are right. */
  pageHeap(): void {
    const { pageHeap, tables } = this.tiers
    for (const [location, lists] of pageHeap.free.lists()) {
      let spans = 0
      let long = 0
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
        if (tables.spans[entry + Span.Length]! > MOST_EXACT_PAGES) long++
      }
      let before = 0
      for (const start of lists.longSpans()) {
        const length = tables.spans[(start << SpanEntry.Shift) + Span.Length]!
        // The tree's order as one number: 22 bits for each part.
        const key = length * 2 ** 22 + start
        this.check(key > before, `the span at ${start} isn't where the tree of long spans should have it`)
        before = key
        long--
      }
      this.check(long === 0, `the tree of long spans and their list differ by ${long}`)
      this.check(
        spans === this.spans_[location as Location.Normal],
        `${spans} spans are listed as free, but others are`
      )
    }
    this.check(pageHeap.normalPages === this.pages_[Location.Normal], 'the count of free pages is wrong')
    this.check(pageHeap.releasedPages === this.pages_[Location.Released], 'the count of released pages is wrong')
  }

  /** Each class's lists hold exactly its spans with free objects, by occupancy, except those owned by slots. */
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
      let listed = tally.owned
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

  /** Exactly the objects on a stack have that stack's state. */
  caches(): void {
    const { cache, classes, transfer } = this.tiers
    for (let sizeClass = 1; sizeClass < classes.count; sizeClass++) {
      const { own, others, transfer: batched } = this.tallies[sizeClass]!
      this.stack(cache.entries(sizeClass), sizeClass, cache.state, own)
      this.stack(transfer.entries(sizeClass), sizeClass, ObjectState.Transfer, batched)
      this.check(
        others === 0 || !this.tiers.isAlone(),
        `${others} objects of class ${sizeClass} are in caches that nobody has`
      )
    }
    const { own, others } = this.tallies[0]!
    const kept = cache.spans.entries()
    this.check(
      own === kept.length && own === new Set(kept).size,
      `${own} large blocks have state ${cache.state}, but ${kept.length} are in its span cache`
    )
    this.check(others === 0 || !this.tiers.isAlone(), `${others} large blocks are in caches that nobody has`)
    // Not compared with the budget: other threads may have taken from it, until this cache next wants room.
    const { limits, claimed } = cache.claims()
    this.check(limits === claimed, `the cache's limits come to ${limits} bytes, but it claims ${claimed}`)
    const { missing } = this.tiers.budget
    this.check(missing === 0 || !this.tiers.isAlone(), `${missing} bytes of the budget are in nobody's claim`)
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

  /** Every passed block has exactly one slot. Other running threads pass and adopt meanwhile. */
  passes(): void {
    if (!this.tiers.isAlone()) return
    const { passes, tables } = this.tiers
    const granules = new Set(passes.granules())
    for (const granule of granules)
      this.check(
        tables.states[granule] === ObjectState.Passed,
        `the block at granule ${granule} isn't passed, but has a slot`
      )
    const { length } = passes.granules()
    this.check(
      length === granules.size && length === this.passed,
      `${this.passed} blocks are passed, but ${length} slots have ${granules.size}`
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
    const counted = tables.spans[(page << SpanEntry.Shift) + Span.FreeObjects]!
    this.check(
      tally.free - free === counted,
      `the span at page ${page} counts ${counted} free objects, not ${tally.free - free}`
    )
    const owner = ownerOf(tables.spans[(page << SpanEntry.Shift) + Span.Occupancy]!)
    if (owner < 0) return
    tally.owned += counted
    this.check(
      tables.slotArea(owner)[AreaWord.OwnSpan + sizeClass] === page && counted > 0,
      `the span at page ${page} is slot ${owner}'s own, which has another, or it is full`
    )
  }

  /** Counts the objects of a span by state; a state where no object starts is an error. */
  private objects(page: number, endPage: number, count: number, sizeClass: number): void {
    const { cache, classes, tables } = this.tiers
    const { states } = tables
    const own = cache.state
    const end = endPage * Page.Granules
    const stride = sizeClass === 0 ? 1 : classes.stride[sizeClass]!
    const tally = this.tallies[sizeClass]!
    let granule = page << Page.GranuleShift
    for (let i = 0; i < count; i++) {
      const state = states[granule]!
      if (state === ObjectState.Passed) this.passed++
      if (this.isInUse(state)) {
        // For large blocks, class 0, all pages count; see there.
        if (sizeClass !== 0) this.inUseBytes += classes.size[sizeClass]!
        if (state === own) tally.own++
        else if (isCached(state)) tally.others++
      } else if (state === ObjectState.Quarantined) this.quarantinedBytes += classes.size[sizeClass]!
      else if (state === ObjectState.Free) tally.free++
      else if (state === ObjectState.Transfer) tally.transfer++
      else this.check(false, `the object at granule ${granule} has state ${state}`)
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

  /** Whether an object in this state is handed out, passed, or in a thread's cache. */
  private isInUse(state: number): boolean {
    return isHandedOut(state) || isCached(state) || state === ObjectState.Passed || state === ObjectState.Collected
  }

  private check(holds: boolean, message: string): void {
    if (!holds) throw new AllocatorError('ERR_HEAP_CORRUPT', message)
  }
}
