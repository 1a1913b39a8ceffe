// A cycle of Go's collector, slice by slice: colours, the write barrier, what is new, and the sweep.
//
//     node examples/story/10-mark-and-sweep.js
//
// A heap tells nobody the colour of an object. So it is found by experiment: a heap is built anew and its cycle goes on for k slices;
// then all pointers are erased behind the collector's back, and the cycle is brought to its end. What is left had been marked.
// Each object refers to a small witness of its own as well, which is marked when the object is scanned.
// So: no object left, it was white; the object alone, grey; the witness too, black.
import { GoHeap } from 'spanheap/go'
import { noArguments } from './arguments.js'

noArguments()

/** 32 KiB: the largest object that is scanned in one go, and more than a slice does at least. So each slice scans one. */
const BYTES = 32768
const [LEFT, RIGHT, WITNESS] = [BYTES - 24, BYTES - 16, BYTES - 8]
const GRAPH = { A: ['B', 'C'], B: ['D'], C: ['D', 'E'], D: [], E: [], F: ['G'], G: ['F'] }
const names = Object.keys(GRAPH)

/** A heap with the graph in it. A is a root; F and G refer to each other, and nothing to them. */
function build() {
  const heap = new GoHeap({ limitBytes: 2 ** 26, gcPercent: -1 })
  const Node = heap.defineType({ size: BYTES, pointers: [LEFT, RIGHT, WITNESS] })
  const Witness = heap.defineType({ size: 32, pointers: [] })
  const scope = heap.scope()
  const nodes = Object.fromEntries(names.map((name) => [name, heap.allocate(Node)]))
  const witnesses = Object.fromEntries(names.map((name) => [name, heap.allocate(Witness)]))
  for (const name of names) {
    for (const [i, target] of GRAPH[name].entries()) heap.setPointer(nodes[name], [LEFT, RIGHT][i], nodes[target])
    heap.setPointer(nodes[name], WITNESS, witnesses[name])
  }
  heap.addRoot(nodes.A)
  heap.allocate(Witness) // the newest object is a root as well: this one
  scope[Symbol.dispose]()
  const lives = (address) => {
    try {
      return heap.usableSize(address) > 0
    } catch {
      return false
    }
  }
  /** Writes a pointer past the write barrier, as no program should. */
  const scribble = (name, offset, target) => {
    new Float64Array(heap.buffer, nodes[name] + offset, 1)[0] = 0
    new Uint32Array(heap.buffer, nodes[name] + offset, 1)[0] = target
  }
  return { heap, Node, nodes, witnesses, lives, scribble }
}

function finish(heap) {
  while (!heap.collectStep(0));
}

/** The colours after so many slices; undefined where the cycle has ended by then. */
function coloursAfter(slices) {
  const { heap, nodes, witnesses, lives, scribble } = build()
  let ended = false
  for (let i = 0; i < slices; i++) ended = heap.collectStep(0)
  if (!ended && slices > 0) {
    for (const name of names) for (const offset of [LEFT, RIGHT, WITNESS]) scribble(name, offset, 0)
    finish(heap)
  }
  const colour = (name) => (!lives(nodes[name]) ? 'white' : lives(witnesses[name]) ? 'BLACK' : 'grey')
  const colours = names.map((name) => (slices === 0 ? 'white' : colour(name)))
  heap.close()
  return ended ? undefined : colours
}

console.log('A refers to B and C, B to D, C to D and E; F and G to each other; the root is A')
console.log(
  `  ${'slices'.padEnd(8)}${names
    .map((name) => name.padEnd(7))
    .join('')
    .trimEnd()}`
)
for (let slices = 0; ; slices++) {
  const colours = coloursAfter(slices)
  if (colours === undefined) break
  console.log(
    `  ${String(slices).padEnd(8)}${colours
      .map((colour) => colour.padEnd(7))
      .join('')
      .trimEnd()}`
  )
}
const whole = build()
const before = whole.heap.memStats().HeapObjects
finish(whole.heap)
const { HeapObjects, NumGC } = whole.heap.memStats()
console.log(
  `the cycle to its end: ${before} objects before, ${HeapObjects} after; gone: ${names.filter((name) => !whole.lives(whole.nodes[name])).join(' ')}; cycles ${NumGC}`
)
whole.heap.close()

console.log('\nafter one slice A is black. The program reads D from B, stores it in A, and clears it in B and in C')
for (const barrier of [true, false]) {
  const { heap, nodes, lives, scribble } = build()
  heap.collectStep(0)
  const store = (name, offset, target) =>
    barrier ? heap.setPointer(nodes[name], offset, target) : scribble(name, offset, target)
  store('A', LEFT, nodes.D)
  store('B', LEFT, 0)
  store('C', LEFT, 0)
  finish(heap)
  console.log(
    `  ${barrier ? 'by setPointer, which tells the collector' : 'written past the barrier'}: D ${lives(nodes.D) ? 'lives' : 'is lost, and A refers to a free block'}`
  )
  heap.close()
}

console.log('\nwhat the program drops, and what it makes, after the cycle has begun')
const { heap, Node, nodes, lives } = build()
heap.collectStep(0)
heap.setPointer(nodes.C, RIGHT, 0)
const made = heap.allocate(Node)
heap.allocate(Node)
finish(heap)
const state = () => `E ${lives(nodes.E) ? 'lives' : 'is gone'}, the new one ${lives(made) ? 'lives' : 'is gone'}`
console.log(`  at the end of this cycle: ${state()}`)
heap.collect()
console.log(`  at the end of the next:   ${state()}`)
heap.close()

console.log('\nthe sweep, 16 spans a slice: 160 objects of 8 KiB, a span each, of which 20 are in a list')
const swept = new GoHeap({ limitBytes: 2 ** 26, gcPercent: -1 })
const Link = swept.defineType({ size: 8192, pointers: [0] })
let last = swept.allocate(Link)
swept.addRoot(last)
for (let i = 1; i < 160; i++) {
  const next = swept.allocate(Link)
  if (i % 8 !== 0) continue
  swept.setPointer(last, 0, next)
  last = next
}
swept.allocate(swept.defineType({ size: 8, pointers: [] }))
const counts = []
for (let ended = false; !ended; ) {
  ended = swept.collectStep(0)
  const { HeapObjects } = swept.memStats()
  counts.push(HeapObjects)
}
console.log(`  objects after each slice: ${counts.join(' ')}`)
swept.close()
