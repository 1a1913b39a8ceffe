import test from 'ava'
import type { GoHeap } from '../../lib/go/index.ts'
import { addBallast, chain, distract, isThere, lengthOf, openQuiet } from '../support/go-heaps.ts'

/** So many slices a cycle takes at least, with the ballast that a test adds. */
const SLICES = 8

/**
 * A heap with an object that is scanned in the first slice of a cycle, then ballast, then one that is scanned in the last.
 * Both have two pointers. In front of them all is a root of another object.
 */
function openWithBothEnds() {
  const heap = openQuiet()
  const node = heap.defineType({ size: 64, pointers: [0, 56] })
  const earliest = heap.addRoot(heap.allocate(node))
  const first = heap.allocate(node)
  heap.addRoot(first)
  addBallast(heap, SLICES)
  const last = heap.allocate(node)
  heap.addRoot(last)
  return { heap, node, earliest, first, last }
}

/** Begins a cycle, and goes so many slices on, of which no one ends it. */
function begin(heap: GoHeap, slices: number): void {
  for (let i = 0; i < slices; i++) if (heap.collectStep(0)) throw new Error(`the cycle has ended after ${i + 1} slices`)
}

function finish(heap: GoHeap): void {
  while (!heap.collectStep(0));
}

for (let slices = 0; slices <= SLICES; slices++) {
  test(`an object whose only pointer moves to where the collector has been stays: after ${slices} slices`, (t) => {
    const { heap, node, first, last } = openWithBothEnds()
    const hidden = heap.allocate(node)
    const behind = heap.allocate(node)
    // It leads to another, which is reached by it alone.
    heap.setPointer(hidden, 56, behind)
    heap.setPointer(last, 56, hidden)
    distract(heap)
    begin(heap, slices)
    heap.setPointer(first, 0, heap.getPointer(last, 56))
    heap.setPointer(last, 56, 0)
    finish(heap)
    t.true(isThere(heap, hidden) && isThere(heap, behind))
    t.is(heap.getPointer(heap.getPointer(first, 0), 56), behind)
    heap.collect()
    t.true(isThere(heap, hidden) && isThere(heap, behind))
    heap.setPointer(first, 0, 0)
    heap.collect()
    t.false(isThere(heap, hidden) || isThere(heap, behind))
    heap.audit()
  })

  test(`the same where it is cleared first, and stored then: after ${slices} slices`, (t) => {
    const { heap, node, first, last } = openWithBothEnds()
    const hidden = chain(heap, node, 10)
    heap.setPointer(last, 56, hidden)
    distract(heap)
    begin(heap, slices)
    heap.setPointer(last, 56, 0)
    heap.setPointer(first, 0, hidden)
    finish(heap)
    t.is(lengthOf(heap, hidden), 10)
    heap.collect()
    t.is(lengthOf(heap, hidden), 10)
    heap.audit()
  })

  test(`an object that only a root kept may be stored, and the root removed: after ${slices} slices`, (t) => {
    const { heap, node, first } = openWithBothEnds()
    const hidden = chain(heap, node, 10)
    const root = heap.addRoot(hidden)
    distract(heap)
    begin(heap, slices)
    heap.setPointer(first, 0, hidden)
    heap.removeRoot(root)
    finish(heap)
    t.is(lengthOf(heap, hidden), 10)
    heap.collect()
    t.is(lengthOf(heap, hidden), 10)
    heap.audit()
  })

  test(`an object that only a scope kept may be stored, and the scope ended: after ${slices} slices`, (t) => {
    const { heap, node, first } = openWithBothEnds()
    const older = heap.scope()
    heap.allocate(node)
    const scope = heap.scope()
    const hidden = chain(heap, node, 10)
    older[Symbol.dispose]()
    distract(heap)
    begin(heap, slices)
    heap.setPointer(first, 0, hidden)
    scope[Symbol.dispose]()
    finish(heap)
    t.is(lengthOf(heap, hidden), 10)
    heap.collect()
    t.is(lengthOf(heap, hidden), 10)
    heap.audit()
  })

  test(`an object may become a root where a pointer kept it: after ${slices} slices`, (t) => {
    const { heap, node, earliest, last } = openWithBothEnds()
    const hidden = chain(heap, node, 10)
    heap.setPointer(last, 0, hidden)
    distract(heap)
    begin(heap, slices)
    // The id of a root that was looked at comes again.
    heap.removeRoot(earliest)
    heap.addRoot(hidden)
    heap.setPointer(last, 0, 0)
    finish(heap)
    t.is(lengthOf(heap, hidden), 10)
    heap.collect()
    t.is(lengthOf(heap, hidden), 10)
    heap.audit()
  })

  test(`the newest object may be stored, and others made: after ${slices} slices`, (t) => {
    const { heap, node, first } = openWithBothEnds()
    const hidden = chain(heap, node, 10)
    begin(heap, slices)
    heap.setPointer(first, 0, hidden)
    for (let i = 0; i < 100; i++) heap.allocate(node)
    finish(heap)
    t.is(lengthOf(heap, hidden), 10)
    heap.collect()
    t.is(lengthOf(heap, hidden), 10)
    heap.audit()
  })

  test(`scopes that end while others are open lose none of what is left to look at: after ${slices} slices`, (t) => {
    const { heap, node } = openWithBothEnds()
    const scopes = Array.from({ length: 4 }, () => {
      const scope = heap.scope()
      const objects = Array.from({ length: 300 }, () => heap.allocate(node))
      addBallast(heap, 1)
      return { scope, objects }
    })
    distract(heap)
    begin(heap, slices)
    for (const i of [0, 2]) scopes[i]!.scope[Symbol.dispose]()
    finish(heap)
    // Those of the third were allocated in the second too.
    for (const { objects } of scopes.slice(1)) t.true(objects.every((object) => isThere(heap, object)))
    heap.collect()
    for (const { objects } of scopes.slice(1)) t.true(objects.every((object) => isThere(heap, object)))
    t.false(scopes[0]!.objects.some((object) => isThere(heap, object)))
    heap.audit()
  })

  test(`objects that are made while a cycle runs survive it, and go in the next one: after ${slices} slices`, (t) => {
    const { heap, node } = openWithBothEnds()
    const layouts = [
      { size: 64, pointers: [0] },
      { size: 64, pointers: [] },
      { size: 16, pointers: [] },
      { size: 3, pointers: [] },
      { size: 5, pointers: [] },
      { size: 100_000, pointers: [0] },
      { size: 100_000, pointers: [] },
    ]
    const types = layouts.map((layout) => heap.defineType(layout))
    // Some have room in a block, or a span, that was there when the cycle began.
    for (const type of types) heap.allocate(type)
    distract(heap)
    begin(heap, slices === 0 ? 1 : slices)
    const made = types.flatMap((type) => [heap.allocate(type), heap.allocate(type), heap.allocate(type, 2)])
    distract(heap)
    finish(heap)
    // In the terms of the contract they may be gone, since nothing reaches them; but that is what a snapshot means.
    t.true(made.every((object) => isThere(heap, object)))
    heap.collect()
    t.false(made.some((object) => isThere(heap, object)))
    t.is(heap.memStats().HeapObjects, SLICES + 4, 'ballast, the three roots and the newest')
    t.true(isThere(heap, heap.allocate(node)))
    heap.audit()
  })
}

test('an object that is made while a cycle runs keeps what it is given', (t) => {
  const { heap, node, last } = openWithBothEnds()
  const type = heap.defineType({ size: 100_000, pointers: [0, 99_992] })
  for (const made of [node, type]) {
    const offset = made === node ? 56 : 99_992
    const hidden = [chain(heap, node, 10), 0]
    heap.setPointer(last, 0, hidden[0]!)
    hidden[1] = chain(heap, node, 10)
    heap.setPointer(last, 56, hidden[1])
    distract(heap)
    begin(heap, 3)
    const object = heap.allocate(made)
    const root = heap.addRoot(object)
    heap.setPointer(object, 0, hidden[0]!)
    heap.setPointer(object, offset, hidden[1])
    heap.setPointer(last, 0, 0)
    heap.setPointer(last, 56, 0)
    heap.removeRoot(root)
    finish(heap)
    t.is(lengthOf(heap, hidden[0]!), 10)
    t.is(lengthOf(heap, hidden[1]), 10)
    heap.collect()
    t.true(
      hidden.every((address) => isThere(heap, address)),
      'the object is the newest'
    )
    distract(heap)
    heap.collect()
    t.false([object, ...hidden].some((address) => isThere(heap, address)))
    heap.audit()
  }
})

test('what is stored in a part of a large object that was scanned already is kept', (t) => {
  const heap = openQuiet()
  const size = 2 ** 20
  const large = heap.defineType({ size, pointers: Array.from({ length: size / 1024 }, (_, i) => i * 1024) })
  const node = heap.defineType({ size: 16, pointers: [0] })
  const object = heap.allocate(large)
  heap.addRoot(object)
  const fields = size / 1024
  for (let i = 0; i < fields; i++) heap.setPointer(object, i * 1024, chain(heap, node, 2))
  distract(heap)
  // What is at its end moves to its start, a little with each slice, and the other way round.
  for (let i = 0; i < fields / 2; i++) {
    const [low, high] = [i * 1024, (fields - 1 - i) * 1024]
    const target = heap.getPointer(object, high)
    heap.setPointer(object, high, heap.getPointer(object, low))
    heap.setPointer(object, low, target)
    if (i % 4 === 0) heap.collectStep(0)
  }
  finish(heap)
  for (let i = 0; i < fields; i++) t.is(lengthOf(heap, heap.getPointer(object, i * 1024)), 2)
  heap.collect()
  t.is(heap.memStats().HeapObjects, 2 * fields + 2)
  heap.audit()
})

test('blocks may be freed while a cycle runs, and their pages be objects’ then', (t) => {
  const { heap, node, last } = openWithBothEnds()
  const blocks = Array.from({ length: 40 }, (_, i) => heap.malloc(8192 * (1 + (i % 5))))
  const pointers = heap.defineType({ size: 8, pointers: [0] })
  const array = heap.allocate(pointers, blocks.length)
  heap.setPointer(last, 0, array)
  for (const [i, block] of blocks.entries()) heap.setPointer(array, i * 8, block)
  distract(heap)
  begin(heap, 2)
  // The pointers to them stay, and lead anywhere.
  for (const block of blocks) heap.free(block)
  const kept = heap.scope()
  const objects = Array.from({ length: 3000 }, (_, i) => {
    if (i % 700 === 0) heap.releaseFreeMemory()
    return heap.allocate(node)
  })
  finish(heap)
  heap.audit()
  t.true(objects.every((object) => isThere(heap, object)))
  heap.collect()
  t.true(objects.every((object) => isThere(heap, object)))
  kept[Symbol.dispose]()
  for (let i = 0; i < blocks.length; i++) heap.setPointer(array, i * 8, 0)
  heap.collect()
  t.is(heap.memStats().HeapObjects, SLICES + 5)
  heap.audit()
})

test('what a program writes into pointers itself hurts nobody but it', (t) => {
  const { heap, node, last } = openWithBothEnds()
  const array = heap.allocate(node, 500)
  heap.setPointer(last, 0, array)
  const words = new Float64Array(heap.buffer, array, 500 * 8)
  const bits = new BigUint64Array(heap.buffer, array, 500 * 8)
  for (let i = 0; i < 1000; i++) {
    const at = Math.floor(i / 2) * 8 + (i % 2) * 7
    if (i % 3 === 0) words[at] = Math.PI * i
    else bits[at] = BigInt(65_536 + i * 5000) * BigInt(i % 11 === 0 ? 2 ** 20 : 1) + BigInt(i % 7)
  }
  distract(heap)
  heap.collect()
  heap.audit()
  bits.fill(0n)
  heap.collect()
  heap.collect()
  t.is(heap.memStats().HeapObjects, SLICES + 5)
  heap.audit()
})
