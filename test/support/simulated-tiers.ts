import { leastSpanPages, Page } from '../../lib/memory/page.ts'
import type { Mapping } from '../../lib/os/mapper.ts'
import { SimulatedMapper, type SimulatedSystem } from '../../lib/os/simulated-mapper.ts'
import { CacheBudget } from '../../lib/tcmalloc/cache-budget.ts'
import { CentralCache } from '../../lib/tcmalloc/central-cache.ts'
import { PageWord } from '../../lib/tcmalloc/control.ts'
import { PageHeap } from '../../lib/tcmalloc/page-heap.ts'
import { Repair } from '../../lib/tcmalloc/repair.ts'
import { SizeClassTable } from '../../lib/tcmalloc/size-class.ts'
import { threadCacheLayout } from '../../lib/tcmalloc/slot-area.ts'
import { Location, Span, SpanEntry } from '../../lib/tcmalloc/span.ts'
import { StaleEntries } from '../../lib/tcmalloc/stale-entries.ts'
import { Tables } from '../../lib/tcmalloc/tables.ts'
import { ThreadCache } from '../../lib/tcmalloc/thread-cache.ts'
import { TransferCache, transferLayout } from '../../lib/tcmalloc/transfer-cache.ts'
import type { Locks } from '../../lib/threads/locks.ts'

export interface TiersOptions {
  limitPages?: number
  /** 0 unless asked for: then nothing is released that a test doesn't release. */
  releaseRate?: number
  budgetBytes?: number
  system?: SimulatedSystem
}

/** TCMalloc's tiers one by one, over a simulated system. */
export interface Tiers {
  mapper: SimulatedMapper
  mapping: Mapping
  tables: Tables
  classes: SizeClassTable
  pageHeap: PageHeap
  central: CentralCache
  transfer: TransferCache
  locks: Locks
  /** Another thread's cache over the same tiers. */
  openCache(): ThreadCache
}

export function openTiers(options: TiersOptions = {}): Tiers {
  const { limitPages = 4096, releaseRate = 0, budgetBytes = 32 * 2 ** 20, system = {} } = options
  const mapper = new SimulatedMapper(system)
  const classes = new SizeClassTable(leastSpanPages(mapper.systemPageSize))
  const stacks = threadCacheLayout(classes)
  const transfers = transferLayout(classes)
  const pages = Page.First + limitPages
  const mapping = mapper.reserve({
    byteLength: pages * Page.Bytes,
    shared: true,
    alignment: mapper.maxAlignment,
    hugePages: true,
  })
  if (typeof mapping === 'number') throw new Error(`the simulated system refused the reservation: ${mapping}`)
  const tables = new Tables(mapper, { pages, controlWords: transfers.end, slotBytes: stacks.end * 4 })
  CacheBudget.initialize(tables.control, budgetBytes)
  tables.control[PageWord.End] = Page.First
  const openThread = () => {
    const { slot } = tables.claimSlot()
    const repair = new Repair(tables, slot)
    const { locks } = repair
    const stale = new StaleEntries(tables, stacks)
    const pageHeap = new PageHeap(tables, mapper, mapping, limitPages, releaseRate, locks, stale, slot)
    const central = new CentralCache(tables, classes, pageHeap, slot)
    const transfer = new TransferCache(tables, classes, transfers, central)
    const budget = new CacheBudget(tables, locks)
    const cacheOf = (slot: number): ThreadCache =>
      new ThreadCache(tables, classes, stacks, transfer, locks, budget, slot, tables.slotArea(slot))
    repair.connect({ classes, pageHeap, central, transfer, budget, cacheOf })
    return { pageHeap, central, transfer, locks, cache: cacheOf(slot) }
  }
  const { pageHeap, central, transfer, locks } = openThread()
  const openCache = (): ThreadCache => {
    const { cache } = openThread()
    cache.initialize()
    return cache
  }
  return { mapper, mapping, tables, classes, pageHeap, central, transfer, locks, openCache }
}

/** Empties the transfer caches of all classes. */
export function flushTransfers({ classes, transfer }: Pick<Tiers, 'classes' | 'transfer'>): void {
  for (let sizeClass = 1; sizeClass < classes.count; sizeClass++) transfer.flush(sizeClass)
}

/** Gives a span back to the page heap, as a central cache does, and lets what is due go back to the system. */
export function freeSpan({ pageHeap }: Pick<Tiers, 'pageHeap'>, start: number): void {
  pageHeap.hold()
  pageHeap.takeBack(start)
  pageHeap.letGo()
  pageHeap.releaseDue()
}

/** The class of exactly this size. */
export function classOf({ classes }: Pick<Tiers, 'classes'>, size: number): number {
  const found = classes.size.indexOf(size)
  if (found < 1) throw new Error(`there is no class of ${size} bytes`)
  return found
}

/** One word of a span's entry. */
export function spanWord({ tables }: Pick<Tiers, 'tables'>, start: number, word: Span): number {
  return tables.spans[(start << SpanEntry.Shift) + word]!
}

/** The page heap's free spans, lowest first, each as `normal` or `released` with its first page and its length. */
export function freeSpans({ pageHeap, tables }: Pick<Tiers, 'pageHeap' | 'tables'>): string[] {
  const found: { start: number; text: string }[] = []
  for (const [location, lists] of pageHeap.free.lists()) {
    for (const { start } of lists) {
      const length = tables.spans[(start << SpanEntry.Shift) + Span.Length]!
      found.push({ start, text: `${location === Location.Normal ? 'normal' : 'released'} ${start}+${length}` })
    }
  }
  return found.sort((a, b) => a.start - b.start).map(({ text }) => text)
}
