// One kind of program, twice: on a heap that it frees by hand, and on one whose collector frees.
//
//     node examples/story/01-by-hand-or-by-machine.js [OBJECTS]
import { Heap } from 'spanheap'
import { GoHeap } from 'spanheap/go'
import { integerArgument } from './arguments.js'

const most = integerArgument('OBJECTS', { standard: 300_000, least: 1000, most: 10_000_000 })

console.log('by hand')
const heap = new Heap()

const blocks = Array.from({ length: 1000 }, () => heap.malloc(100))
for (const address of blocks.slice(100)) heap.free(address)
console.log(`  1000 blocks, 900 freed, 100 forgotten: ${heap.stats().liveBytes} bytes stay until the heap is closed`)

const letter = heap.malloc(100)
const mine = heap.view(letter)
heap.free(letter)
try {
  heap.free(letter)
} catch (error) {
  console.log(`  freed twice: ${error.code}`)
}

const address = heap.malloc(100)
heap.view(address).set(Buffer.from('a stranger'))
console.log(`  used after its free: my view of block ${letter} now reads "${Buffer.from(mine.subarray(0, 10))}"`)
heap.close()

console.log('by machine')
let cycle
const collected = new GoHeap({
  gcPercent: -1, // it collects when it is told to, and only then
  onCycle: (record) => {
    cycle = record
  },
})
const Node = collected.defineType({ size: 16, pointers: [0, 8] })
const objects = () => collected.memStats().HeapObjects

const first = collected.allocate(Node)
const root = collected.addRoot(first)
let last = first
for (let i = 1; i < 1000; i++) {
  const next = collected.allocate(Node)
  collected.setPointer(last, 0, next)
  collected.setPointer(next, 8, last) // and back: so that 999 pairs refer to each other
  last = next
}
collected.collect()
console.log(`  a list of 1000 objects that one root leads to: ${objects()} live`)

let hundredth = first
for (let i = 1; i < 100; i++) hundredth = collected.getPointer(hundredth, 0)
collected.setPointer(hundredth, 0, 0)
collected.allocate(Node) // the newest object is a root of its own
collected.collect()
console.log(
  `  cut behind the 100th: ${objects() - 1} live; the other 900 refer to each other, which saves none of them`
)

collected.removeRoot(root)
collected.collect()
console.log(`  the root removed: ${objects() - 1} live`)
console.log('  the price: a cycle marks all that lives, needed or not')
for (const live of [most, most / 10, most / 100].map(Math.floor)) {
  const kept = collected.addRoot(collected.allocate(Node))
  let tail = collected.allocate(Node)
  const list = collected.addRoot(tail)
  for (let i = 2; i < live; i++) {
    const next = collected.allocate(Node)
    collected.setPointer(tail, 0, next)
    tail = next
  }
  let least = Number.POSITIVE_INFINITY
  for (let i = 0; i < 5; i++) {
    collected.collect()
    least = Math.min(least, cycle.totalMs)
  }
  console.log(
    `  ${String(objects()).padStart(8)} objects live: ${String(cycle.markedBytes).padStart(8)} bytes marked, ` +
      `${least.toFixed(2)} ms, the best of 5`
  )
  collected.removeRoot(kept)
  collected.removeRoot(list)
}
collected.close()
