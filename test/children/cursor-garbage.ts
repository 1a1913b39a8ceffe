/**
 * Prints how many garbage collections three million moves of a cursor bring on in loops that run long and seldom, which V8 compiles
 * while they run, or as many small objects.
 */
import { setTimeout } from 'node:timers/promises'
import { Heap } from '../../lib/index.ts'
import { f64, i32, struct } from '../../lib/struct/index.ts'
import { collectionsDuring } from '../support/collections.ts'

const LENGTH = 300_000
const ROUNDS = 10
/** After each of the first rounds: V8 compiles in a thread of its own, and what is interpreted until then makes objects. */
const COMPILED_MS = 100
const Order = struct({ price: f64, qty: i32 }, { name: 'Order' })
const cursor = Order.array(new Heap(), LENGTH).cursor()
const kept: { address: number }[] = []

const loops: Record<string, () => unknown> = {
  move: () => {
    let sum = 0.5
    for (let i = 0; i < LENGTH; i++) sum += cursor.move(i).price
    return sum
  },
  index: () => {
    for (let i = 0; i < LENGTH; i++) {
      cursor.index = i
      cursor.price = i + 0.5
      cursor.qty = i
    }
    return 0
  },
  objects: () => {
    for (let i = 0; i < LENGTH; i++) kept[i & 15] = { address: i }
    return 0
  },
}

const run = loops[process.argv[2]!]!
for (let i = 0; i < 5; i++) {
  run()
  await setTimeout(COMPILED_MS)
}
const collections = await collectionsDuring(() => {
  for (let i = 0; i < ROUNDS; i++) run()
})
process.stdout.write(String(collections))
