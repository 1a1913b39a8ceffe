import test from 'ava'
import { FreeListHeap } from '../../lib/freelist/index.ts'
import { SimulatedMapper } from '../../lib/os/simulated-mapper.ts'
import {
  clearsWhatWasNotTakenBack,
  exhaust,
  goesOnAfterARefusal,
  keepsWhatCantMove,
  OUT_OF_MEMORY,
  refusesUntilThereIsSome,
  tellsLimitFromSystem,
} from '../support/refusals.ts'

const MIB = 2 ** 20
const SIZES = [64, 5000, 100_000, 400_000, 5 * MIB]
/** So much of a heap that is all free stays with it: the page of the header. */
const KEPT_BYTES = 4096

for (const growth of ['exact', { step: MIB }, { percent: 25 }] as const) {
  test(`whichever system call is refused, the heap says so, is as it was, and goes on (${JSON.stringify(growth)})`, (t) => {
    const open = (mapper: SimulatedMapper) => new FreeListHeap({ limitBytes: 256 * MIB, mapper, growth })
    goesOnAfterARefusal(t, { open, sizes: SIZES, calls: 16, leastRefused: 7, keptBytes: KEPT_BYTES })
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
      const mutator = heap.mutator()
      const type = mutator.defineType({ size, references: [] })
      const allocate = () => mutator.allocate(type)
      refusesUntilThereIsSome(t, heap, mapper, size, [allocate], () => allocate().dispose())
    })
  }
}

test('a block that realloc has no memory for keeps its place and its bytes', (t) => {
  const mapper = new SimulatedMapper()
  keepsWhatCantMove(t, new FreeListHeap({ limitBytes: 64 * MIB, mapper }), mapper)
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
