/** Prints how many garbage collections ten million pairs of malloc and free bring on, or as many small objects. */
import { PerformanceObserver } from 'node:perf_hooks'
import { Heap } from '../../lib/heap.ts'

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
let collections = 0
new PerformanceObserver((list) => {
  collections += list.getEntries().length
}).observe({ entryTypes: ['gc'] })
await new Promise((resolve) => setTimeout(resolve, 20))
collections = 0
run(PAIRS)
await new Promise((resolve) => setTimeout(resolve, 100))
process.stdout.write(String(collections))
