import { constants } from 'node:os'
import type { ExecutionContext } from 'ava'
import { type Address, type Allocator, AllocatorError } from '../../lib/index.ts'
import { SimulatedMapper } from '../../lib/testing/index.ts'

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

/** What `goesOnAfterARefusal` plays, and what must come of it. */
export interface RefusedOnce {
  open: (mapper: SimulatedMapper) => Allocator
  sizes: readonly number[]
  /** The first, second and so on up to this call of the system's is refused, each in a heap of its own; the last ones are never made. */
  calls: number
  leastRefused: number
  /** Bytes that a heap keeps of what is all free. */
  keptBytes: number
}

/** Whichever system call is refused, the heap says so, is as it was, and goes on when the call is made again. */
export function goesOnAfterARefusal(t: ExecutionContext, played: RefusedOnce): void {
  const { open, sizes, calls, leastRefused, keptBytes } = played
  let refused = 0
  for (let call = 1; call <= calls; call++) {
    const mapper = new SimulatedMapper({ refuseCall: call })
    const heap = withOneRetry(() => open(mapper))
    const live: Address[] = []
    for (const size of sizes) {
      const address = withOneRetry(() => heap.calloc(1, size))
      const view = heap.view(address, size)
      view[0] = view[size - 1] = 0x2e
      live.push(address)
    }
    heap.audit()
    for (const [i, address] of live.entries()) {
      const view = heap.view(address, sizes[i]!)
      if (view[0] !== 0x2e || view.at(-1) !== 0x2e) t.fail(`the block at ${address} has changed`)
      heap.free(address)
    }
    heap.releaseFreeMemory()
    heap.releaseFreeMemory()
    const { liveBytes, mappedBytes, pageHeapReleasedBytes } = heap.stats()
    t.is(liveBytes, 0)
    t.is(pageHeapReleasedBytes, mappedBytes - keptBytes, `call ${call} refused`)
    heap.audit()
    refused += mapper.ring().filter(({ errno }) => errno !== undefined).length
  }
  t.true(refused >= leastRefused, `only ${refused} calls were refused`)
}

/**
 * A heap with a block, in a system that has no more, refuses whatever `more` and its own calls need until there is some again; `then` is
 * run when there is.
 */
export function refusesUntilThereIsSome(
  t: ExecutionContext,
  heap: Allocator,
  mapper: SimulatedMapper,
  size: number,
  more: (() => unknown)[] = [],
  then: () => void = () => {}
): void {
  exhaust(mapper)
  const live: Address[] = []
  fillUp(t, size, () => live.push(heap.malloc(size)))
  for (const call of [
    () => heap.calloc(1, size),
    () => heap.realloc(0, size),
    () => heap.alignedAlloc(4096, size),
    ...more,
  ])
    t.throws(call, OUT_OF_MEMORY, String(call))
  heap.audit()

  mapper.limitBytes = Number.POSITIVE_INFINITY
  for (let i = 0; i < 4; i++) live.push(heap.malloc(size))
  then()
  for (const address of live) heap.free(address)
  heap.audit()
}

/** A block that realloc has no memory for keeps its place and its bytes. */
export function keepsWhatCantMove(t: ExecutionContext, heap: Allocator, mapper: SimulatedMapper): void {
  const blocks = [100, 20_000, 100_000].map((size) => heap.malloc(size))
  heap.malloc(16) // nor is there room behind the last
  for (const address of blocks) heap.view(address, 100).fill(3)
  exhaust(mapper)
  for (const address of blocks) {
    t.throws(() => heap.realloc(address, 30 * 2 ** 20), OUT_OF_MEMORY)
    t.throws(() => heap.realloc(address, 2 ** 40), OUT_OF_MEMORY)
    t.true(heap.view(address, 100).every((value) => value === 3))
  }
  heap.audit()
}
