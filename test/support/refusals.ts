import { constants } from 'node:os'
import type { ExecutionContext } from 'ava'
import { type Allocator, AllocatorError, type SimulatedMapper } from '../../lib/index.ts'

/** What a refused allocation throws. */
export const OUT_OF_MEMORY = { instanceOf: AllocatorError, code: 'ERR_HEAP_OUT_OF_MEMORY' }

/** A call that a system which refuses once may refuse, and then not again. */
export function withOneRetry<T>(call: () => T): T {
  try {
    return call()
  } catch (error) {
    if (!(error instanceof AllocatorError) || error.code !== 'ERR_HEAP_OUT_OF_MEMORY') throw error
    if (error.syscall !== 'mmap' || error.errno !== constants.errno.ENOMEM) throw error
    return call()
  }
}

/** Refuses everything from now on that needs more pages than it has given. */
export function exhaust(mapper: SimulatedMapper): void {
  mapper.limitBytes = mapper.pagesGrown * mapper.systemPageSize
}

/** Allocates until the system refuses, which the error has to tell. */
export function fillUp(t: ExecutionContext, size: number, allocate: () => unknown): void {
  const error = t.throws(() => {
    for (;;) allocate()
  }, OUT_OF_MEMORY) as AllocatorError
  t.is(error.requested, size)
  t.is(error.syscall, 'mmap')
  t.is(error.errno, constants.errno.ENOMEM)
}

/** After the system has refused a MiB, what a heap of 64 MiB refuses by itself isn't told as the system's. */
export function tellsLimitFromSystem(
  t: ExecutionContext,
  heap: Allocator,
  mapper: SimulatedMapper,
  more: (() => unknown)[] = []
): void {
  exhaust(mapper)
  t.throws(() => heap.malloc(2 ** 20), OUT_OF_MEMORY)
  for (const call of [
    () => heap.calloc(2 ** 32, 2 ** 32),
    () => heap.malloc(2 ** 40),
    () => heap.alignedAlloc(4096, 2 ** 40),
    () => heap.malloc(65 * 2 ** 20),
    ...more,
  ]) {
    const error = t.throws(call, OUT_OF_MEMORY, String(call)) as AllocatorError
    t.is(error.errno, undefined)
    t.is(error.syscall, undefined)
  }
}

/** Pages that the system does not take back stay, and a calloc clears them. Returns the address of what it gave. */
export function clearsWhatWasNotTakenBack(t: ExecutionContext, heap: Allocator, mapper: SimulatedMapper): number {
  const size = 3 * 2 ** 20
  const address = heap.malloc(size)
  heap.view(address).fill(0xff)
  heap.free(address)
  mapper.refuseCall = mapper.ring().length + 1
  t.is(heap.releaseFreeMemory(), 0)
  t.is(heap.stats().pageHeapReleasedBytes, 0)
  const cleared = heap.calloc(1, size)
  t.is(Buffer.compare(heap.view(cleared), Buffer.alloc(size)), 0)
  heap.audit()
  return cleared
}
