import test from 'ava'
import { DirectHeap } from '../../lib/direct/index.ts'
import { Heap, type HeapOptions } from '../../lib/index.ts'
import { GrowableMapper } from '../../lib/os/growable-mapper.ts'
import { SimulatedMapper } from '../../lib/testing/index.ts'
import { bufferSuite, type Candidate, contractSuite } from '../support/contract-suite.ts'

const MOST_ALIGNMENT = 2 ** 26
const LIMIT_BYTES = 2 ** 29

const heaps: { name: string; options: () => HeapOptions; maxAlignment: number }[] = [
  { name: 'native', options: () => ({}), maxAlignment: MOST_ALIGNMENT },
  { name: 'without thread cache', options: () => ({ cacheBytes: 0 }), maxAlignment: MOST_ALIGNMENT },
  { name: 'growable', options: () => ({ mapper: new GrowableMapper() }), maxAlignment: 4096 },
  ...[4096, 16384, 65536].map((systemPageSize) => ({
    name: `simulated, pages of ${systemPageSize}`,
    options: () => ({ mapper: new SimulatedMapper({ systemPageSize }) }),
    maxAlignment: 4096,
  })),
  {
    name: 'simulated, released pages keep rubbish',
    options: () => ({ mapper: new SimulatedMapper({ releaseZeroes: false }) }),
    maxAlignment: 4096,
  },
]

const candidates: Candidate[] = [
  ...heaps.map(({ name, options, maxAlignment }) => ({
    name: `Heap, ${name}`,
    open: (limitBytes = LIMIT_BYTES) => new Heap({ ...options(), limitBytes }),
    maxAlignment,
  })),
  {
    name: 'DirectHeap',
    open: (limitBytes = LIMIT_BYTES) => new DirectHeap({ limitBytes }),
    maxAlignment: MOST_ALIGNMENT,
  },
]

for (const candidate of candidates) contractSuite(test, candidate)

bufferSuite(test, 'Heap', () => new Heap({ limitBytes: LIMIT_BYTES }))

test('blocks just below, across and above 2 GiB keep their bytes', (t) => {
  using heap = new Heap({ limitBytes: 2 ** 32 })
  const filler: number[] = []
  while ((filler.at(-1) ?? 0) < 2 ** 31 - 2 ** 22) filler.push(heap.malloc(2 ** 20))
  let crossed = false
  for (const size of [16, 48, 100, 256, 300, 3000, 50_000]) {
    const blocks: number[] = []
    for (let i = 0; i < (3 * 2 ** 21) / Math.max(size, 512); i++) {
      const address = heap.calloc(1, size)
      crossed ||= address > 2 ** 31
      t.true(heap.view(address, size).every((value) => value === 0))
      heap.view(address, size).fill(i & 0xff)
      blocks.push(address)
    }
    for (const [i, address] of blocks.entries()) {
      const moved = heap.realloc(address, size + 700)
      t.true(
        heap.view(moved, size).every((value) => value === (i & 0xff)),
        `${address} of ${size}`
      )
      heap.free(moved)
    }
  }
  t.true(crossed)
  heap.audit()
})
