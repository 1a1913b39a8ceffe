/**
 * Makes buffers, or objects of a class that is shaped like theirs, gives up each at once, and has the old space collected, again and again.
 * Run with --expose-gc and --trace-deopt, which tells of code that goes away with what it was compiled for.
 */
import { Heap } from '../../lib/index.ts'

const PAIRS = 100_000
const ROUNDS = 3
const heap = new Heap({ leaks: 'off' })

const Given = function given(object: object) {
  return object
} as unknown as new (
  object: object
) => object
class Stamp extends Given {
  #number = 1
  static of(object: object): number {
    return (object as Stamp).#number
  }
}

const loops: Record<string, () => unknown> = {
  buffers: () => {
    for (let i = 0; i < PAIRS; i++) heap.freeBuffer(heap.allocBuffer(64))
  },
  objects: () => {
    let sum = 0
    for (let i = 0; i < PAIRS; i++) sum += Stamp.of(new Stamp(new DataView(heap.buffer)))
    return sum
  },
}

const run = loops[process.argv[2]!]!
for (let round = 0; round < ROUNDS; round++) {
  for (let i = 0; i < 5; i++) run()
  global.gc!()
}
