import test from 'ava'
import { FreeListHeap, type FreeListHeapOptions } from '../../lib/freelist/index.ts'
import { GrowableMapper } from '../../lib/os/growable-mapper.ts'
import { SimulatedMapper } from '../../lib/testing/index.ts'
import { bufferSuite, contractSuite } from '../support/contract-suite.ts'

const MOST_ALIGNMENT = 2 ** 26
const LIMIT_BYTES = 2 ** 29

const heaps: { name: string; options: () => FreeListHeapOptions; maxAlignment: number }[] = [
  { name: 'native', options: () => ({}), maxAlignment: MOST_ALIGNMENT },
  { name: 'exact growth', options: () => ({ growth: 'exact' }), maxAlignment: MOST_ALIGNMENT },
  { name: 'search of free blocks', options: () => ({ search: 'free' }), maxAlignment: MOST_ALIGNMENT },
  {
    name: 'growable, growth by steps',
    options: () => ({ mapper: new GrowableMapper(), growth: { step: 2 ** 20 } }),
    maxAlignment: 4096,
  },
  ...[4096, 65536].map((systemPageSize) => ({
    name: `simulated, pages of ${systemPageSize}`,
    options: () => ({ mapper: new SimulatedMapper({ systemPageSize }) }),
    maxAlignment: 4096,
  })),
  {
    name: 'simulated, released pages keep rubbish, search of free blocks',
    options: () => ({ mapper: new SimulatedMapper({ releaseZeroes: false }), search: 'free' }),
    maxAlignment: 4096,
  },
]

for (const { name, options, maxAlignment } of heaps) {
  contractSuite(test, {
    name: `FreeListHeap, ${name}`,
    open: (limitBytes = LIMIT_BYTES) => new FreeListHeap({ ...options(), limitBytes }),
    maxAlignment,
  })
}

bufferSuite(test, 'FreeListHeap', () => new FreeListHeap({ limitBytes: LIMIT_BYTES }))

test('of a heap that is closed the peaks and the calls are left to tell', (t) => {
  const heap = new FreeListHeap({ limitBytes: LIMIT_BYTES, mapper: new SimulatedMapper() })
  heap.free(heap.malloc(100_000))
  heap.malloc(100)
  heap.releaseFreeMemory()
  const { peakLiveBytes, peakMappedBytes, syscalls } = heap.stats()
  heap[Symbol.dispose]()
  t.deepEqual(heap.stats(), {
    liveBytes: 0,
    mappedBytes: 0,
    reservedBytes: 0,
    threadCacheBytes: 0,
    centralCacheBytes: 0,
    pageHeapFreeBytes: 0,
    pageHeapReleasedBytes: 0,
    metadataBytes: 0,
    peakLiveBytes,
    peakMappedBytes,
    syscalls: { ...syscalls, madvise: syscalls.madvise + 2 }, // the heap's memory, and the tables'
    threads: 0,
    deadThreadsBytes: 0,
    passedBytes: 0,
    system: 'simulated',
  })
  t.is(heap.residentBytes(), 0)
})

test('blocks around 2, 4 and 8 GiB keep their bytes', (t) => {
  for (const search of ['all', 'free'] as const) {
    using heap = new FreeListHeap({ limitBytes: 2 ** 33 + 2 ** 24, search, growth: 'exact' })
    for (const border of [2 ** 31, 2 ** 32, 2 ** 33]) {
      // A system may refuse more than it has memory for, where all is asked for at once.
      const end = () => 65_536 + heap.stats().mappedBytes
      while (end() < border - 2 ** 28) heap.malloc(2 ** 27)
      heap.malloc(border - 2 ** 20 - end())
      const blocks: number[] = []
      for (let i = 0; i < 400; i++) {
        const address = heap.calloc(1, 6000)
        t.true(heap.view(address).every((value) => value === 0))
        heap.view(address).fill(i)
        blocks.push(address)
      }
      t.true(blocks[0]! < border && blocks.at(-1)! > border)
      for (const [i, address] of blocks.entries()) {
        const moved = heap.realloc(address, 7000)
        t.true(heap.view(moved, 6000).every((value) => value === (i & 0xff)))
        heap.free(moved)
      }
      heap.audit()
    }
  }
})
