import { type Allocator, Heap, type LedgerOptions, type SystemCall } from 'spanheap'
import { DirectHeap } from 'spanheap/direct'
import { FreeListHeap } from 'spanheap/freelist'
import { GoHeap } from 'spanheap/go'

/** The heaps of this package, by the name that the command line has for them. */
export const HEAPS = {
  direct: (ledger: LedgerOptions) => new DirectHeap({ ledger }),
  freelist: (ledger: LedgerOptions) => new FreeListHeap({ ledger, search: 'free' }),
  go: (ledger: LedgerOptions) => new GoHeap({ ledger }),
  tcmalloc: (ledger: LedgerOptions) => new Heap({ ledger }),
}
export type HeapName = keyof typeof HEAPS

const LIVE = 1000
/** More than any of them makes. */
const RING = 100_000

/** What a heap asked of the system. */
export interface ChurnReport {
  /** Calls that succeeded, in order. */
  readonly calls: readonly SystemCall[]
  /** How many of them there were after half of the allocations. */
  readonly atHalf: number
}

/** Replaces random blocks of a set, of 16 to 4096 bytes, until there were so many. */
export function churn(name: HeapName, allocations: number): ChurnReport {
  const heap: Allocator & { systemCalls(): SystemCall[] } = HEAPS[name]({ ring: RING })
  const calls = () => heap.systemCalls().filter(({ errno }) => errno === undefined)
  const live = new Float64Array(LIVE)
  let seed = 1
  let atHalf = 0
  for (let done = 0; done < allocations; done++) {
    seed ^= seed << 13
    seed ^= seed >>> 17
    seed ^= seed << 5
    const at = (seed >>> 0) % LIVE
    if (live[at] !== 0) heap.free(live[at]!)
    live[at] = heap.malloc(16 + ((seed >>> 4) % 4081))
    if (done === allocations >> 1) atHalf = calls().length
  }
  return { calls: calls(), atHalf }
}
