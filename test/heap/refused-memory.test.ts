import test from 'ava'
import { Heap } from '../../lib/heap/heap.ts'
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
/** Small, medium and large ones: tables grow, the heap grows, spans are carved. */
const SIZES = [64, 5000, 100_000, 400_000, 2 * MIB, 70 * MIB]

test('whichever system call is refused, the heap says so, is as it was, and goes on', (t) => {
  const open = (mapper: SimulatedMapper) => new Heap({ limitBytes: 256 * MIB, mapper })
  goesOnAfterARefusal(t, { open, sizes: SIZES, calls: 24, leastRefused: 15, keptBytes: 0 })
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
    refusesUntilThereIsSome(t, heap, mapper, size)
  })
}

test('a block that realloc has no memory for keeps its place and its bytes', (t) => {
  const mapper = new SimulatedMapper()
  keepsWhatCantMove(t, new Heap({ limitBytes: 64 * MIB, mapper }), mapper)
})

test('after the system has refused, the limit and an overflow are still told from it', (t) => {
  const mapper = new SimulatedMapper()
  tellsLimitFromSystem(t, new Heap({ limitBytes: 64 * MIB, mapper }), mapper)
})

test('pages that the system does not take back stay, and their contents are no secret of the next calloc', (t) => {
  const mapper = new SimulatedMapper()
  clearsWhatWasNotTakenBack(t, new Heap({ limitBytes: 64 * MIB, mapper, releaseRate: 0 }), mapper)
})
