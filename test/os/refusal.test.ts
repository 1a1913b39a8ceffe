import { constants } from 'node:os'
import test, { type ExecutionContext } from 'ava'
import { AllocatorError, Heap } from '../../lib/index.ts'
import { openMapper } from '../../lib/os/open-mapper.ts'
import { SimulatedMapper, type SimulatedSystem } from '../../lib/testing/index.ts'
import { collectGarbage } from '../support/garbage.ts'
import { HeapModel, type Occupancy, occupancyFor } from '../support/model.ts'
import type { Operation } from '../support/operations.ts'
import { ReusedMapper } from '../support/reused-mapper.ts'
import { WatchedMapper } from '../support/watched-mapper.ts'

const KIB = 1024
const MIB = 2 ** 20
const LIMIT_BYTES = 2 ** 30

/** Small, medium and large blocks, realloc, alignment, frees and releases: every place that asks the system for something. */
const WORKLOAD: Operation[] = [
  { kind: 'malloc', size: 100, pick: 0 },
  { kind: 'mallocRun', size: 3000, pick: 31 },
  { kind: 'mallocRun', size: 30 * KIB, pick: 20 },
  { kind: 'malloc', size: 300 * KIB, pick: 0 },
  { kind: 'malloc', size: 900 * KIB, pick: 0 },
  { kind: 'malloc', size: 5 * MIB, pick: 0 },
  { kind: 'calloc', size: 3 * MIB, pick: 0 },
  { kind: 'freeRun', size: 0, pick: 31 },
  { kind: 'release', size: 0, pick: 0 },
  { kind: 'alignedAlloc', size: 40 * KIB, pick: 12 },
  { kind: 'realloc', size: 6 * MIB, pick: 255 },
  { kind: 'realloc', size: 2 * MIB, pick: 128 },
  { kind: 'realloc', size: 700, pick: 10 },
  { kind: 'mallocRun', size: 20 * KIB, pick: 31 },
  { kind: 'free', size: 0, pick: 255 },
  { kind: 'free', size: 0, pick: 250 },
  { kind: 'calloc', size: 200 * KIB, pick: 1 },
  { kind: 'release', size: 2 * MIB, pick: 8 },
  { kind: 'malloc', size: 8 * MIB, pick: 0 },
  { kind: 'wrongFree', size: 0, pick: 3 },
  { kind: 'freeRun', size: 0, pick: 159 },
  { kind: 'mallocRun', size: 100, pick: 31 },
  { kind: 'release', size: 0, pick: 16 },
]

/** Beyond 64 MiB the tables grow a second time. Short: the simulated system writes to all that it releases. */
const SECOND_GROWTH: Operation[] = [
  { kind: 'malloc', size: 100, pick: 0 },
  { kind: 'malloc', size: 66 * MIB, pick: 0 },
  { kind: 'mallocRun', size: 30 * KIB, pick: 20 },
  { kind: 'free', size: 0, pick: 50 },
  { kind: 'release', size: 0, pick: 0 },
  { kind: 'malloc', size: 5 * MIB, pick: 0 },
]

interface Scene {
  name: string
  system: SimulatedSystem
  workload: Operation[]
  /** So many operations fail at least, if the system refuses all calls from one on. */
  failures: number
}

const scenes: Scene[] = [
  { name: '4 KiB pages', system: { systemPageSize: 4 * KIB }, workload: WORKLOAD, failures: 10 },
  { name: 'tables that grow twice', system: { systemPageSize: 4 * KIB }, workload: SECOND_GROWTH, failures: 5 },
  {
    name: '64 KiB pages that come back with undefined contents',
    system: { systemPageSize: 64 * KIB, releaseZeroes: false },
    workload: WORKLOAD,
    failures: 10,
  },
]

const outOfMemory = { instanceOf: AllocatorError, code: 'ERR_HEAP_OUT_OF_MEMORY' }

/** How much the system refuses: a single call, for which the heap may find another way, or all until an operation has failed. */
type Refusal = 'one call' | 'all calls from one on'

const refusals: Refusal[] = ['one call', 'all calls from one on']

/** Behind the first calls, which make the heap, each kind of refusal takes every second one; a long run by hand takes all. */
const MAKING_CALLS = 8
const STRIDE = process.env.SPANHEAP_REFUSALS === 'all' ? 1 : 2

type Outcome = 'construction failed' | 'an operation failed' | 'all went well'

/** Runs the workload while calls from `first` on, and before `until`, are refused; how many calls there were, and what came of it. */
function runRefusing(
  t: ExecutionContext,
  system: ReusedMapper,
  workload: readonly Operation[],
  first: number,
  until: number,
  occupied: Occupancy
) {
  system.reuse()
  const mapper = new WatchedMapper(system, first, until)
  let outcome: Outcome = 'all went well'
  let heap: Heap
  try {
    heap = new Heap({ limitBytes: LIMIT_BYTES, releaseRate: 1000, mapper })
  } catch (error) {
    t.like(error, { code: 'ERR_HEAP_OUT_OF_MEMORY', syscall: 'mmap', errno: constants.errno.ENOMEM })
    t.is(mapper.held.size, 0, `call ${first}: pages stay`)
    outcome = 'construction failed'
    return { calls: mapper.calls, outcome }
  }
  const model = new HeapModel(heap, mapper.maxAlignment, occupied)
  model.reliable = false
  for (const operation of workload) {
    if (model.attempt(operation)) continue
    t.is(outcome, 'all went well', `call ${first}: an operation failed though memory was back`)
    outcome = 'an operation failed'
    mapper.refuseUntil = mapper.calls
    t.true(model.attempt(operation), `call ${first}: ${operation.kind} failed again when memory was back`)
  }
  if (until === Number.POSITIVE_INFINITY) mapper.refuseUntil = mapper.calls
  model.finish()
  heap.close()
  t.is(mapper.held.size, 0)
  return { calls: mapper.calls, outcome }
}

for (const scene of scenes) {
  for (const refusal of refusals) {
    test.serial(`the system refuses ${refusal}, whichever: the heap is as it was and goes on; ${scene.name}`, (t) => {
      const system = new ReusedMapper(scene.system)
      const occupied = occupancyFor(LIMIT_BYTES)
      const { calls, outcome } = runRefusing(t, system, scene.workload, 0, 0, occupied)
      t.is(outcome, 'all went well')
      const outcomes = new Map<Outcome, number>()
      for (let first = 1; first <= calls; first += first < MAKING_CALLS ? 1 : STRIDE) {
        const until = refusal === 'one call' ? first + 1 : Number.POSITIVE_INFINITY
        const { outcome } = runRefusing(t, system, scene.workload, first, until, occupied)
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
      }
      t.log(`${calls} calls: ${[...outcomes].map(([what, count]) => `${what} ${count}`).join(', ')}`)
      // Of two reservations that are refused together the heap tries half.
      t.true(outcomes.get('construction failed')! >= (refusal === 'one call' ? 1 : 3))
      if (refusal !== 'one call') t.true(outcomes.get('an operation failed')! >= scene.failures / STRIDE)
    })
  }
}

test.serial('a construction that fails leaves nothing mapped', async (t) => {
  let failures = 0
  for (let refuseCall = 1; ; refuseCall++) {
    // All calls from one on: a reservation that is refused is tried again without the guard.
    const mapper = new WatchedMapper(openMapper({}), refuseCall, Number.POSITIVE_INFINITY)
    let code: string | undefined
    try {
      new Heap({ limitBytes: 16 * MIB, mapper }).close()
    } catch (error) {
      code = (error as AllocatorError).code
    }
    await collectGarbage()
    // An address range goes with the next reservation, once V8 has let go of the ArrayBuffer over it.
    new Heap({ limitBytes: 16 * MIB }).close()
    const { mmap, munmap } = mapper.syscalls()
    if (code === undefined) break
    failures++
    t.is(code, 'ERR_HEAP_OUT_OF_MEMORY')
    t.is(munmap, Math.min(mmap, refuseCall - 1, 2), `after call ${refuseCall} was refused`)
  }
  t.is(failures, 4, 'two reservations, the fixed tables and the first slot can be refused')
})

test('a system with little memory refuses what is beyond it, and serves what fits', (t) => {
  const mapper = new SimulatedMapper()
  const heap = new Heap({ limitBytes: LIMIT_BYTES, mapper })
  const small = heap.malloc(1000)
  heap.view(small).fill(7)
  mapper.limitBytes = mapper.pagesGrown * mapper.systemPageSize + 8 * MIB

  const before = heap.stats()
  const error = t.throws(() => heap.malloc(20 * MIB), outOfMemory)
  t.like(error, { requested: 20 * MIB, syscall: 'mmap', errno: constants.errno.ENOMEM })
  heap.audit()
  t.is(heap.stats().liveBytes, before.liveBytes)
  t.true(heap.view(small).every((byte) => byte === 7))

  const fits = heap.malloc(4 * MIB)
  t.throws(() => heap.calloc(1, 6 * MIB), outOfMemory)
  t.throws(() => heap.realloc(fits, 20 * MIB), outOfMemory)
  t.is(heap.usableSize(fits), 4 * MIB)
  heap.audit()

  mapper.limitBytes = Number.POSITIVE_INFINITY
  heap.free(heap.malloc(20 * MIB))
  heap.audit()
  heap.close()
})

test('pages that the system refuses to take back stay in the heap, and go with the next release', (t) => {
  const mapper = new SimulatedMapper()
  const heap = new Heap({ limitBytes: LIMIT_BYTES, releaseRate: 0, mapper })
  const kept = heap.malloc(MIB)
  heap.view(kept).fill(9)
  heap.free(heap.malloc(3 * MIB))
  const free = heap.stats().pageHeapFreeBytes
  t.true(free >= 3 * MIB)

  mapper.refuseCall = mapper.ring().length + 1
  t.is(heap.releaseFreeMemory(), 0)
  t.is(mapper.ring().at(-1)?.call, 'madvise')
  t.is(mapper.ring().at(-1)?.errno, constants.errno.ENOMEM)
  t.like(heap.stats(), { pageHeapFreeBytes: free, pageHeapReleasedBytes: 0 })
  heap.audit()

  t.is(heap.releaseFreeMemory(), free)
  t.like(heap.stats(), { pageHeapFreeBytes: 0, pageHeapReleasedBytes: free })
  t.true(heap.view(kept).every((byte) => byte === 9))
  heap.audit()
  heap.close()
})

for (const [call, what] of ['its addresses', 'its tables’ addresses', 'its first tables'].entries()) {
  test.serial(`a heap that is refused ${what} once is made without a guard, and has all of its limit`, (t) => {
    const heap = new Heap({ limitBytes: 64 * MIB, mapper: new WatchedMapper(openMapper({}), call + 1) })
    t.notThrows(() => heap.free(heap.malloc(40 * MIB)))
    heap.close()
  })
}
