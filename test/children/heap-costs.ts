/** Prints how many garbage collections ten million pairs of malloc and free bring on, or as many small objects. */
import { Heap } from '../../lib/heap/heap.ts'
import { collectionsDuring } from '../support/collections.ts'

const PAIRS = 10_000_000
const heap = new Heap({ limitBytes: 2 ** 28 })
const kept: { address: number }[] = []

function pairs(count: number): void {
  for (let i = 0; i < count; i++) heap.free(heap.malloc((i & 7) * 40))
}

function garbage(count: number): void {
  for (let i = 0; i < count; i++) kept[i & 15] = { address: i }
}

const run = process.argv[2] === 'heap' ? pairs : garbage
for (let i = 0; i < 50; i++) run(100_000) // compiled by then
process.stdout.write(String(await collectionsDuring(() => run(PAIRS))))
