import test from 'ava'
import type { Address } from '../../lib/allocator.ts'
import { FreeListHeap } from '../../lib/freelist/index.ts'
import { SimulatedMapper } from '../../lib/os/simulated-mapper.ts'
import {
  clearsWhatWasNotTakenBack,
  exhaust,
  fillUp,
  OUT_OF_MEMORY,
  tellsLimitFromSystem,
  withOneRetry,
} from '../support/refusals.ts'

const MIB = 2 ** 20
const SIZES = [64, 5000, 100_000, 400_000, 5 * MIB]
/** So much of a heap that is all free stays with it: the page of the header. */
const KEPT_BYTES = 4096

for (const growth of ['exact', { step: MIB }, { percent: 25 }] as const) {
  test(`whichever system call is refused, the heap says so, is as it was, and goes on (${JSON.stringify(growth)})`, (t) => {
    let refused = 0
    for (let call = 1; call <= 16; call++) {
      const mapper = new SimulatedMapper({ refuseCall: call })
      const heap = withOneRetry(() => new FreeListHeap({ limitBytes: 256 * MIB, mapper, growth }))
      const live: Address[] = []
      for (const size of SIZES) {
        const address = withOneRetry(() => heap.calloc(1, size))
        const view = heap.view(address, size)
        view[0] = view[size - 1] = 0x2e
        live.push(address)
      }
      heap.audit()
      for (const [i, address] of live.entries()) {
        const view = heap.view(address, SIZES[i]!)
        if (view[0] !== 0x2e || view.at(-1) !== 0x2e) t.fail(`the block at ${address} has changed`)
        heap.free(address)
      }
      heap.releaseFreeMemory()
      heap.releaseFreeMemory()
      t.is(heap.stats().liveBytes, 0)
      t.is(heap.stats().pageHeapReleasedBytes, heap.stats().mappedBytes - KEPT_BYTES, `call ${call} refused`)
      heap.audit()
      refused += mapper.ring().filter(({ errno }) => errno !== undefined).length
    }
    t.true(refused >= 7, `only ${refused} calls were refused`)
  })
}

test('where the tables can’t grow, the heap doesn’t either', (t) => {
  const mapper = new SimulatedMapper()
  using heap = new FreeListHeap({ limitBytes: 512 * MIB, mapper })
  heap.malloc(64)
  const before = heap.stats()
  mapper.refuseCall = mapper.ring().length + 1
  t.throws(() => heap.malloc(140 * MIB), OUT_OF_MEMORY)
  t.deepEqual(heap.stats(), before)
  heap.audit()
  heap.malloc(140 * MIB)
  t.is(heap.stats().syscalls.mmap, before.syscalls.mmap + 2)
  heap.audit()
})

test('a refused call is not in the counts, and the heap is as it was', (t) => {
  const mapper = new SimulatedMapper()
  const heap = new FreeListHeap({ limitBytes: 64 * MIB, mapper })
  heap.malloc(64)
  const before = heap.stats()
  exhaust(mapper)
  t.throws(() => heap.malloc(4 * MIB), OUT_OF_MEMORY)
  t.deepEqual(heap.stats(), before)
  heap.audit()
})

for (const search of ['all', 'free'] as const) {
  for (const size of [64, 100_000, 3 * MIB]) {
    test(`a system that is out of memory for ${size} bytes refuses until it has some again (${search})`, (t) => {
      const mapper = new SimulatedMapper()
      const heap = new FreeListHeap({ limitBytes: 64 * MIB, mapper, search })
      heap.malloc(64)
      exhaust(mapper)
      const live: Address[] = []
      fillUp(t, size, () => live.push(heap.malloc(size)))
      t.throws(() => heap.calloc(1, size), OUT_OF_MEMORY)
      t.throws(() => heap.realloc(0, size), OUT_OF_MEMORY)
      t.throws(() => heap.alignedAlloc(4096, size), OUT_OF_MEMORY)
      const mutator = heap.mutator()
      const type = mutator.defineType({ size, references: [] })
      t.throws(() => mutator.allocate(type), OUT_OF_MEMORY)
      heap.audit()

      mapper.limitBytes = Number.POSITIVE_INFINITY
      for (let i = 0; i < 4; i++) live.push(heap.malloc(size))
      mutator.allocate(type).dispose()
      for (const address of live) heap.free(address)
      heap.audit()
    })
  }
}

test('a block that realloc has no memory for keeps its place and its bytes', (t) => {
  const mapper = new SimulatedMapper()
  const heap = new FreeListHeap({ limitBytes: 64 * MIB, mapper })
  const address = heap.malloc(100)
  heap.malloc(16)
  heap.view(address, 100).fill(3)
  mapper.limitBytes = 0
  t.throws(() => heap.realloc(address, MIB), OUT_OF_MEMORY)
  t.throws(() => heap.realloc(address, 2 ** 40), OUT_OF_MEMORY)
  t.true(heap.view(address, 100).every((value) => value === 3))
  heap.audit()
})

test('after the system has refused, the limit and an overflow are still told from it', (t) => {
  const mapper = new SimulatedMapper()
  tellsLimitFromSystem(t, new FreeListHeap({ limitBytes: 64 * MIB, mapper }), mapper)
})

test('pages that the system does not take back stay, and their contents are no secret of the next calloc', (t) => {
  const mapper = new SimulatedMapper()
  clearsWhatWasNotTakenBack(t, new FreeListHeap({ limitBytes: 64 * MIB, mapper }), mapper)
})

test('a limit below a system page leaves room for nothing', (t) => {
  using heap = new FreeListHeap({ limitBytes: 8192, mapper: new SimulatedMapper({ systemPageSize: 65_536 }) })
  t.throws(() => heap.malloc(1), OUT_OF_MEMORY)
  t.is(heap.collect(), 0)
  t.is(heap.releaseFreeMemory(), 0)
  heap.audit()
})
