import { Tables } from '../../lib/memory/tables.ts'
import { SimulatedMapper, type SimulatedSystem } from '../../lib/os/simulated-mapper.ts'
import { CentralCache } from '../../lib/tcmalloc/central-cache.ts'
import { leastSpanPages, PageHeap } from '../../lib/tcmalloc/page-heap.ts'
import { SizeClassTable } from '../../lib/tcmalloc/size-class.ts'
import { initializeBudget, ThreadCache, threadCacheLayout } from '../../lib/tcmalloc/thread-cache.ts'
import { TransferCache, transferLayout } from '../../lib/tcmalloc/transfer-cache.ts'
import { FIRST_USED_PAGE } from './pages.ts'

/** What the tiers stand on in a test, and the tiers. */
export function openTiers({
  limitPages = 65_536,
  releaseRate = 0,
  budget = 2 ** 25,
  system = {},
}: {
  limitPages?: number
  releaseRate?: number
  budget?: number
  system?: SimulatedSystem
} = {}) {
  const mapper = new SimulatedMapper(system)
  const classes = new SizeClassTable(leastSpanPages(mapper.systemPageSize))
  const pages = FIRST_USED_PAGE + limitPages
  const mapping = mapper.reserve({ byteLength: pages * 8192, kind: 'shared', alignment: 4096, hugePages: true })
  if (typeof mapping === 'number') throw new Error(`no reservation: errno ${mapping}`)
  const stacks = threadCacheLayout(classes)
  const transfers = transferLayout(classes)
  const tables = new Tables(mapper, { pages, controlWords: transfers.end, slotBytes: stacks.end * 4 })
  const pageHeap = new PageHeap(tables, mapper, mapping, limitPages, releaseRate)
  pageHeap.initialize()
  initializeBudget(tables.control, budget)
  const central = new CentralCache(tables, classes, pageHeap)
  const transfer = new TransferCache(tables, classes, transfers, central)
  const { slot, area } = tables.claimSlot()
  const cache = new ThreadCache(tables, classes, stacks, transfer, slot, area)
  return { mapper, classes, tables, pageHeap, central, transfer, cache, stacks }
}
