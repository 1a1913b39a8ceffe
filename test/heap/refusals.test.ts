import test from 'ava'
import type { Address } from '../../lib/allocator.ts'
import { Heap } from '../../lib/heap.ts'
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
/** Small, medium and large ones: tables grow, the heap grows, spans are carved. */
const SIZES = [64, 5000, 100_000, 400_000, 2 * MIB, 70 * MIB]

test('whichever system call is refused, the heap says so, is as it was, and goes on', (t) => {
  let refused = 0
  for (let call = 1; call <= 24; call++) {
    const mapper = new SimulatedMapper({ refuseCall: call })
    const heap = withOneRetry(() => new Heap({ limitBytes: 256 * MIB, mapper }))
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
    t.is(heap.stats().pageHeapReleasedBytes, heap.stats().mappedBytes, `call ${call} refused`)
    heap.audit()
    refused += mapper.ring().filter(({ errno }) => errno !== undefined).length
  }
  t.true(refused >= 15, `only ${refused} calls were refused`)
})

test('a refused call is not in the counts', (t) => {
  const mapper = new SimulatedMapper()
  const heap = new Heap({ limitBytes: 64 * MIB, mapper })
  heap.malloc(64)
  const before = heap.stats().syscalls
  exhaust(mapper)
  t.throws(() => heap.malloc(4 * MIB), OUT_OF_MEMORY)
  t.deepEqual(heap.stats().syscalls, before)
})

for (const size of [64, 100_000, 400_000, 3 * MIB]) {
  test(`a system that is out of memory for blocks of ${size} bytes refuses each call until it has some again`, (t) => {
    const mapper = new SimulatedMapper()
    const heap = new Heap({ limitBytes: 64 * MIB, mapper })
    heap.malloc(64)
    exhaust(mapper)
    const live: Address[] = []
    fillUp(t, size, () => live.push(heap.malloc(size)))
    t.throws(() => heap.calloc(1, size), OUT_OF_MEMORY)
    t.throws(() => heap.realloc(0, size), OUT_OF_MEMORY)
    t.throws(() => heap.alignedAlloc(4096, size), OUT_OF_MEMORY)
    heap.audit()

    mapper.limitBytes = Number.POSITIVE_INFINITY
    for (let i = 0; i < 4; i++) live.push(heap.malloc(size))
    for (const address of live) heap.free(address)
    heap.audit()
  })
}

test('after the system has refused, the limit and an overflow are still told from it', (t) => {
  const mapper = new SimulatedMapper()
  tellsLimitFromSystem(t, new Heap({ limitBytes: 64 * MIB, mapper }), mapper)
})

test('pages that the system does not take back stay, and their contents are no secret of the next calloc', (t) => {
  const mapper = new SimulatedMapper()
  clearsWhatWasNotTakenBack(t, new Heap({ limitBytes: 64 * MIB, mapper, releaseRate: 0 }), mapper)
})
