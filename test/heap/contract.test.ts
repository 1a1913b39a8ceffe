import test from 'ava'
import { DirectHeap } from '../../lib/direct/index.ts'
import { Heap, type HeapOptions, SimulatedMapper } from '../../lib/index.ts'
import { GrowableMapper } from '../../lib/os/growable-mapper.ts'
import { type Candidate, contractSuite } from '../support/contract-suite.ts'

const MOST_ALIGNMENT = 2 ** 26
const LIMIT_BYTES = 2 ** 29

const heaps: { name: string; options: () => HeapOptions; maxAlignment: number }[] = [
  { name: 'shared', options: () => ({}), maxAlignment: MOST_ALIGNMENT },
  { name: 'private', options: () => ({ memory: 'private' }), maxAlignment: MOST_ALIGNMENT },
  { name: 'without thread cache', options: () => ({ threadCache: false }), maxAlignment: MOST_ALIGNMENT },
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

test('an address is the offset of its view in the heap’s buffer', (t) => {
  using heap = new Heap()
  const address = heap.malloc(100)
  t.is(heap.view(address).byteOffset, address)
  t.is(heap.view(address).buffer, heap.buffer)
  t.true(heap.buffer instanceof SharedArrayBuffer)
})

test('after close shared views read zeros and private ones have length 0', (t) => {
  const shared = new Heap({ limitBytes: LIMIT_BYTES })
  const sharedView = shared.view(shared.malloc(5000)).fill(7)
  shared.close()
  t.true(sharedView.every((value) => value === 0))
  sharedView[0] = 1
  t.is(sharedView[0], 1, 'a write does no harm')

  const private_ = new Heap({ memory: 'private', limitBytes: LIMIT_BYTES })
  const privateView = private_.view(private_.malloc(5000)).fill(7)
  private_.close()
  t.is(privateView.length, 0)
})

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
