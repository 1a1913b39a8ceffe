import { constants } from 'node:os'
import test from 'ava'
import type { Address } from '../../lib/allocator.ts'
import { AllocatorError } from '../../lib/errors.ts'
import { Heap } from '../../lib/heap.ts'
import { SimulatedMapper } from '../../lib/os/simulated-mapper.ts'

const MIB = 2 ** 20
/** Small, medium and large ones: tables grow, the heap grows, spans are carved. */
const SIZES = [64, 5000, 100_000, 400_000, 2 * MIB, 70 * MIB]

/** A call that a system which refuses once may refuse, and then not again. */
function withOneRetry<T>(call: () => T): T {
  try {
    return call()
  } catch (error) {
    if (!(error instanceof AllocatorError) || error.code !== 'ERR_HEAP_OUT_OF_MEMORY') throw error
    if (error.syscall !== 'mmap' || error.errno !== constants.errno.ENOMEM) throw error
    return call()
  }
}

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
  mapper.limitBytes = mapper.pagesGrown * mapper.systemPageSize
  t.throws(() => heap.malloc(4 * MIB), { code: 'ERR_HEAP_OUT_OF_MEMORY' })
  t.deepEqual(heap.stats().syscalls, before)
})

for (const size of [64, 100_000, 400_000, 3 * MIB]) {
  test(`a system that is out of memory for blocks of ${size} bytes refuses each call until it has some again`, (t) => {
    const mapper = new SimulatedMapper()
    const heap = new Heap({ limitBytes: 64 * MIB, mapper })
    heap.malloc(64)
    mapper.limitBytes = mapper.pagesGrown * mapper.systemPageSize
    const live: Address[] = []
    const outOfMemory = { instanceOf: AllocatorError, code: 'ERR_HEAP_OUT_OF_MEMORY' }
    const error = t.throws(() => {
      for (;;) live.push(heap.malloc(size))
    }, outOfMemory) as AllocatorError
    t.is(error.requested, size)
    t.is(error.syscall, 'mmap')
    t.is(error.errno, constants.errno.ENOMEM)
    t.throws(() => heap.calloc(1, size), outOfMemory)
    t.throws(() => heap.realloc(0, size), outOfMemory)
    t.throws(() => heap.alignedAlloc(4096, size), outOfMemory)
    heap.audit()

    mapper.limitBytes = Number.POSITIVE_INFINITY
    for (let i = 0; i < 4; i++) live.push(heap.malloc(size))
    for (const address of live) heap.free(address)
    heap.audit()
  })
}

test('after the system has refused, the limit and an overflow are still told from it', (t) => {
  const mapper = new SimulatedMapper()
  const heap = new Heap({ limitBytes: 64 * MIB, mapper })
  mapper.limitBytes = mapper.pagesGrown * mapper.systemPageSize
  t.throws(() => heap.malloc(MIB), { code: 'ERR_HEAP_OUT_OF_MEMORY' })
  for (const call of [
    () => heap.calloc(2 ** 32, 2 ** 32),
    () => heap.malloc(2 ** 40),
    () => heap.alignedAlloc(4096, 2 ** 40),
    () => heap.malloc(65 * MIB),
  ]) {
    const error = t.throws(call, { code: 'ERR_HEAP_OUT_OF_MEMORY' }) as AllocatorError
    t.is(error.errno, undefined)
    t.is(error.syscall, undefined)
  }
})

test('pages that the system does not take back stay, and their contents are no secret of the next calloc', (t) => {
  const mapper = new SimulatedMapper()
  const heap = new Heap({ limitBytes: 64 * MIB, mapper, releaseRate: 0 })
  const address = heap.malloc(3 * MIB)
  heap.view(address).fill(0xff)
  heap.free(address)
  mapper.refuseCall = mapper.ring().length + 1
  t.is(heap.releaseFreeMemory(), 0)
  t.is(heap.stats().pageHeapReleasedBytes, 0)
  const cleared = heap.calloc(1, 3 * MIB)
  t.is(Buffer.compare(heap.view(cleared), Buffer.alloc(3 * MIB)), 0)
  heap.audit()
})
