import test from 'ava'
import type { GoHeap } from '../../lib/go/index.ts'
import { SimulatedMapper } from '../../lib/testing/index.ts'
import { addBallast, chain, distract, isThere, lengthOf, openQuiet } from '../support/go-heaps.ts'

const PIECE_BYTES = 16 * 1024

test('what a root leads to stays, and what none leads to goes', (t) => {
  using heap = openQuiet()
  const node = heap.defineType({ size: 40, pointers: [0, 32] })
  const one = chain(heap, node, 100)
  const root = heap.addRoot(one)
  const two = chain(heap, node, 50)
  heap.collect()
  t.is(heap.memStats().HeapObjects, 150)
  distract(heap)
  heap.collect()
  t.is(heap.memStats().HeapObjects, 101)
  t.is(lengthOf(heap, one), 100)
  t.false(isThere(heap, two))
  heap.removeRoot(root)
  heap.collect()
  t.is(heap.memStats().HeapObjects, 1)
  heap.audit()
})

test('rings go, and what leads to itself', (t) => {
  using heap = openQuiet()
  const node = heap.defineType({ size: 16, pointers: [0, 8] })
  const first = chain(heap, node, 1000)
  let last = first
  while (heap.getPointer(last, 0) !== 0) last = heap.getPointer(last, 0)
  heap.setPointer(last, 0, first)
  for (let at = first, i = 0; i < 1000; i++, at = heap.getPointer(at, 0)) heap.setPointer(at, 8, at)
  const root = heap.addRoot(last)
  distract(heap)
  heap.collect()
  t.is(heap.memStats().HeapObjects, 1001)
  heap.removeRoot(root)
  heap.collect()
  t.is(heap.memStats().HeapObjects, 1)
})

test('a root that was added twice is removed twice', (t) => {
  using heap = openQuiet()
  const object = heap.allocate(heap.defineType({ size: 64, pointers: [] }))
  const roots = [heap.addRoot(object), heap.addRoot(object)]
  distract(heap)
  heap.removeRoot(roots[0]!)
  heap.collect()
  t.true(isThere(heap, object))
  heap.removeRoot(roots[1]!)
  heap.collect()
  t.false(isThere(heap, object))
})

test('roots by the thousand keep what they name, and their ids come again', (t) => {
  using heap = openQuiet()
  const type = heap.defineType({ size: 8, pointers: [0] })
  const roots = Array.from({ length: 5000 }, () => heap.addRoot(heap.allocate(type)))
  heap.collect()
  t.is(heap.memStats().HeapObjects, 5000)
  for (let i = 0; i < 5000; i += 2) heap.removeRoot(roots[i]!)
  distract(heap)
  heap.collect()
  t.is(heap.memStats().HeapObjects, 2501)
  for (let i = 0; i < 2500; i++) t.true(heap.addRoot(heap.allocate(type)) <= 5000)
  heap.collect()
  t.is(heap.memStats().HeapObjects, 5000)
})

test('outside a scope the newest object stays, and no other that has no root', (t) => {
  using heap = openQuiet()
  const types = [
    { size: 64, pointers: [0] },
    { size: 64, pointers: [] },
    { size: 3, pointers: [] },
    { size: 100_000, pointers: [0] },
    { size: 100_000, pointers: [] },
  ].map((layout) => heap.defineType(layout))
  let before = 0
  for (let i = 0; i < 50; i++) {
    const object = heap.allocate(types[i % types.length]!, i % 3 === 0 ? 1 : 2)
    heap.collect()
    t.true(isThere(heap, object), `${i}`)
    if (before !== 0 && before !== object) t.false(isThere(heap, before), `${i}`)
    t.is(heap.memStats().HeapObjects, 1)
    before = object
  }
})

test('what is allocated in a scope stays until it ends', (t) => {
  using heap = openQuiet()
  const node = heap.defineType({ size: 64, pointers: [0] })
  const objects: number[] = []
  {
    using _scope = heap.scope()
    for (let i = 0; i < 2000; i++) objects.push(heap.allocate(node))
    heap.collect()
    t.true(objects.every((object) => isThere(heap, object)))
  }
  heap.collect()
  t.is(heap.memStats().HeapObjects, 1)
  t.true(isThere(heap, objects.at(-1)!), 'it is the newest still')
})

test('what was allocated in several scopes stays until all of them have ended, in whatever order', (t) => {
  for (const order of ['012', '021', '102', '120', '201', '210']) {
    using heap = openQuiet()
    const node = heap.defineType({ size: 64, pointers: [0] })
    const scopes: Disposable[] = []
    const objects: number[] = []
    for (let i = 0; i < 3; i++) {
      scopes.push(heap.scope())
      objects.push(heap.allocate(node))
    }
    distract(heap)
    const open = new Set([0, 1, 2])
    for (const digit of order) {
      scopes[Number(digit)]![Symbol.dispose]()
      open.delete(Number(digit))
      heap.collect()
      // The i-th object was allocated in the scopes up to the i-th.
      for (const [i, object] of objects.entries()) {
        t.is(
          isThere(heap, object),
          [...open].some((scope) => scope <= i),
          `${order}: object ${i}, open are ${[...open]}`
        )
      }
    }
    heap.audit()
  }
})

test('after an inner scope the outer one goes on', (t) => {
  using heap = openQuiet()
  const node = heap.defineType({ size: 64, pointers: [0] })
  const outer = heap.scope()
  const before = heap.allocate(node)
  const inner = heap.scope()
  inner[Symbol.dispose]()
  const behind = heap.allocate(node)
  distract(heap)
  heap.collect()
  t.true(isThere(heap, before) && isThere(heap, behind))
  outer[Symbol.dispose]()
  heap.collect()
  t.false(isThere(heap, before) || isThere(heap, behind))
})

test('an array lives as one, and every element’s pointers count', (t) => {
  using heap = openQuiet()
  const leaf = heap.defineType({ size: 16, pointers: [] })
  // 20 bytes with pointers are 24 apart; 9 of them are a small object, 5000 a large one.
  const node = heap.defineType({ size: 20, pointers: [8] })
  for (const count of [1, 2, 9, 341, 1365, 1366, 5000]) {
    const scope = heap.scope()
    const array = heap.allocate(node, count)
    for (let i = 0; i < count; i++) heap.setPointer(array, i * 24 + 8, heap.allocate(leaf))
    const root = heap.addRoot(array)
    scope[Symbol.dispose]()
    distract(heap)
    heap.collect()
    t.is(heap.memStats().HeapObjects, count + 2, `${count}`)
    for (let i = 0; i < count; i++) if (!isThere(heap, heap.getPointer(array, i * 24 + 8))) t.fail(`${i} of ${count}`)
    for (let i = 0; i < count; i += 2) heap.setPointer(array, i * 24 + 8, 0)
    heap.collect()
    t.is(heap.memStats().HeapObjects, Math.floor(count / 2) + 2, `${count}`)
    heap.removeRoot(root)
    heap.collect()
    t.is(heap.memStats().HeapObjects, 1)
    heap.audit()
  }
})

test('arrays without pointers lie without gaps', (t) => {
  using heap = openQuiet()
  const type = heap.defineType({ size: 20, pointers: [] })
  t.is(heap.usableSize(heap.allocate(type, 4)), 80)
  t.is(heap.usableSize(heap.allocate(type, 1000)), 20_480)
  const tiny = heap.defineType({ size: 3, pointers: [] })
  t.is(heap.usableSize(heap.allocate(tiny, 5)) >= 15, true)
  t.is(heap.usableSize(heap.allocate(tiny, 6)), 24)
  const nothing = heap.defineType({ size: 0, pointers: [] })
  t.not(heap.allocate(nothing), heap.allocate(nothing))
  t.true(heap.usableSize(heap.allocate(nothing, 1000)) >= 0)
})

for (const size of [40_000, PIECE_BYTES * 3, PIECE_BYTES * 16, 1_000_000]) {
  test(`a large object of ${size} bytes has pointers at both ends, and where its pieces meet`, (t) => {
    using heap = openQuiet()
    const borders = Array.from({ length: Math.floor(size / PIECE_BYTES) }, (_, i) => (i + 1) * PIECE_BYTES)
    const pointers = [0, ...borders.flatMap((border) => [border - 8, border]), size - 8].filter((at) => at + 8 <= size)
    const large = heap.defineType({ size, pointers: [...new Set(pointers)] })
    const node = heap.defineType({ size: 48, pointers: [0, 40] })
    const scope = heap.scope()
    const object = heap.allocate(large)
    const targets = new Map<number, number>()
    for (const offset of new Set(pointers)) {
      const target = heap.allocate(node)
      heap.setPointer(target, 40, heap.allocate(node))
      heap.setPointer(object, offset, target)
      targets.set(offset, target)
    }
    const root = heap.addRoot(object)
    scope[Symbol.dispose]()
    distract(heap)
    heap.collect()
    t.is(heap.memStats().HeapObjects, 2 * targets.size + 2)
    for (const [offset, target] of targets) {
      t.is(heap.getPointer(object, offset), target)
      t.true(isThere(heap, heap.getPointer(target, 40)))
    }
    heap.removeRoot(root)
    heap.collect()
    t.is(heap.memStats().HeapObjects, 1)
    heap.audit()
  })
}

test('large objects lead to one another, in pieces each', (t) => {
  using heap = openQuiet()
  const large = heap.defineType({ size: 100_000, pointers: [99_992, 8 * 1024, 0] })
  // A list through ends, and from every object back to the first.
  const first = chain(heap, large, 50)
  const root = heap.addRoot(first)
  for (let at = first; at !== 0; at = heap.getPointer(at, 0)) heap.setPointer(at, 99_992, first)
  distract(heap)
  while (!heap.collectStep(0));
  t.is(lengthOf(heap, first), 50)
  heap.removeRoot(root)
  heap.collect()
  t.is(heap.memStats().HeapObjects, 1)
})

test('tiny objects share blocks, keep their bytes, and a block lives while any of them does', (t) => {
  using heap = openQuiet()
  const types = [1, 2, 3, 4, 5, 7, 8, 12, 15].map((size) => heap.defineType({ size, pointers: [] }))
  const sizes = [1, 2, 3, 4, 5, 7, 8, 12, 15]
  const scope = heap.scope()
  const objects = Array.from({ length: 900 }, (_, i) => {
    const kind = (i * 7) % sizes.length
    const address = heap.allocate(types[kind]!)
    const size = sizes[kind]!
    t.true(heap.usableSize(address) >= size && heap.usableSize(address) < size + 8, `${size} at ${address % 16}`)
    t.true(heap.view(address, size).every((byte) => byte === 0))
    heap.view(address, size).fill(i)
    return { address, size, byte: i & 0xff }
  })
  const blockOf = (address: number) => Math.floor(address / 16)
  const blocks = new Set(objects.map(({ address }) => blockOf(address)))
  t.true(blocks.size < 600, `${blocks.size} blocks`)
  t.is(heap.memStats().HeapObjects, blocks.size)
  t.true(heap.memStats().Mallocs >= 900)
  const kept = objects.filter((_, i) => i % 10 === 0)
  const roots = kept.map(({ address }) => heap.addRoot(address))
  scope[Symbol.dispose]()
  distract(heap)
  heap.collect()
  const keptBlocks = new Set(kept.map(({ address }) => blockOf(address)))
  t.is(heap.memStats().HeapObjects, keptBlocks.size + 1)
  for (const { address, size, byte } of objects) {
    t.is(isThere(heap, address), keptBlocks.has(blockOf(address)))
    if (keptBlocks.has(blockOf(address))) t.true(heap.view(address, size).every((value) => value === byte))
  }
  for (const root of roots) heap.removeRoot(root)
  heap.collect()
  t.is(heap.memStats().HeapObjects, 1)
  heap.audit()
})

test('a pointer to a tiny object keeps its whole block', (t) => {
  using heap = openQuiet()
  const tiny = heap.defineType({ size: 5, pointers: [] })
  const node = heap.defineType({ size: 8, pointers: [0] })
  const scope = heap.scope()
  const [one, two, three] = [heap.allocate(tiny), heap.allocate(tiny), heap.allocate(tiny)]
  t.is(three, one + 10)
  const object = heap.allocate(node)
  heap.setPointer(object, 0, two)
  heap.addRoot(object)
  scope[Symbol.dispose]()
  distract(heap)
  heap.collect()
  t.true([one, two, three].every((address) => isThere(heap, address)))
  heap.setPointer(object, 0, 0)
  heap.collect()
  t.false([one, two, three].some((address) => isThere(heap, address)))
})

test('a list of a million objects overflows nothing', (t) => {
  using heap = openQuiet()
  const type = heap.defineType({ size: 16, pointers: [0] })
  const first = chain(heap, type, 1_000_000)
  const root = heap.addRoot(first)
  distract(heap)
  heap.collect()
  t.is(heap.memStats().HeapObjects, 1_000_001)
  t.is(lengthOf(heap, first), 1_000_000)
  heap.removeRoot(root)
  heap.collect()
  t.is(heap.memStats().HeapObjects, 1)
})

/**
 * Combs, each of `teeth` pointers: the first and the last lead to the next comb, the others to objects which lead to one more
 * each, and all to one large object that has a pointer at its end. Whichever way the collector goes on, all the others wait
 * meanwhile.
 */
function combs(heap: GoHeap, count: number, teeth: number): number {
  const comb = heap.defineType({ size: teeth * 8, pointers: Array.from({ length: teeth }, (_, i) => i * 8) })
  const tooth = heap.defineType({ size: 24, pointers: [8, 16] })
  const tip = heap.defineType({ size: 8, pointers: [0] })
  const shared = heap.allocate(heap.defineType({ size: 100_000, pointers: [99_992] }))
  const sharedRoot = heap.addRoot(shared)
  heap.setPointer(shared, 99_992, heap.allocate(tip))
  let first = 0
  let firstRoot = 0
  for (let i = 0; i < count; i++) {
    const object = heap.allocate(comb)
    const root = heap.addRoot(object)
    for (let at = 1; at < teeth - 1; at++) {
      const target = heap.allocate(tooth)
      heap.setPointer(object, at * 8, target)
      heap.setPointer(target, 8, shared)
      heap.setPointer(target, 16, heap.allocate(tip))
    }
    if (first !== 0) for (const offset of [0, (teeth - 1) * 8]) heap.setPointer(object, offset, first)
    if (i > 0) heap.removeRoot(firstRoot)
    first = object
    firstRoot = root
  }
  heap.removeRoot(sharedRoot)
  return first
}

for (const [count, teeth] of [
  [100, 1000],
  [40, 4200],
] as const) {
  for (const slices of [false, true]) {
    const how = `${count} objects of ${teeth} pointers${slices ? ', in slices' : ''}`
    test(`more grey objects than the mark stack has room for change nothing: ${how}`, (t) => {
      using heap = openQuiet()
      let comb = combs(heap, count, teeth)
      distract(heap)
      const all = count * (1 + 2 * (teeth - 2)) + 3
      for (let cycle = 0; cycle < 3; cycle++) {
        if (slices) while (!heap.collectStep(0));
        else heap.collect()
        t.is(heap.memStats().HeapObjects, all)
      }
      let wrong = 0
      for (; comb !== 0; comb = heap.getPointer(comb, 0)) {
        for (let at = 1; at < teeth - 1; at++) {
          const tooth = heap.getPointer(comb, at * 8)
          if (heap.usableSize(tooth) !== 24 || heap.usableSize(heap.getPointer(tooth, 16)) !== 8) wrong++
          if (at % 2 === 0) heap.setPointer(comb, at * 8, 0)
        }
      }
      t.is(wrong, 0)
      heap.collect()
      t.is(heap.memStats().HeapObjects, count * (teeth - 1) + 3)
      heap.audit()
    })
  }
}

test('an array of 300 000 pointers, each to an object that leads on, is no trouble', (t) => {
  using heap = openQuiet()
  const pointer = heap.defineType({ size: 8, pointers: [0] })
  const node = heap.defineType({ size: 24, pointers: [16] })
  const count = 300_000
  const array = heap.allocate(pointer, count)
  heap.addRoot(array)
  for (let i = 0; i < count; i++) {
    const object = heap.allocate(node)
    heap.setPointer(array, i * 8, object)
    heap.setPointer(object, 16, heap.allocate(pointer))
  }
  distract(heap)
  heap.collect()
  t.is(heap.memStats().HeapObjects, 2 * count + 2)
  while (!heap.collectStep(0));
  t.is(heap.memStats().HeapObjects, 2 * count + 2)
  let wrong = 0
  for (let i = 0; i < count; i++) {
    const object = heap.getPointer(array, i * 8)
    if (heap.usableSize(object) !== 24 || heap.usableSize(heap.getPointer(object, 16)) !== 8) wrong++
    if (i % 3 !== 0) heap.setPointer(array, i * 8, 0)
  }
  t.is(wrong, 0)
  heap.collect()
  t.is(heap.memStats().HeapObjects, (2 * count) / 3 + 2)
})

test('more large objects than the mark stack has room for are no trouble', (t) => {
  // Address space for 70 000 of them, of which few pages are touched.
  using heap = openQuiet({ limitBytes: 2 ** 33 })
  const pointer = heap.defineType({ size: 8, pointers: [0] })
  const large = heap.defineType({ size: 40_000, pointers: [0, 39_992] })
  const count = 70_000
  const array = heap.allocate(pointer, count)
  heap.addRoot(array)
  const leaf = heap.defineType({ size: 16, pointers: [] })
  for (let i = 0; i < count; i++) {
    const object = heap.allocate(large)
    heap.setPointer(array, i * 8, object)
    if (i % 1000 === 0) heap.setPointer(object, 39_992, heap.allocate(leaf))
  }
  distract(heap)
  heap.collect()
  t.is(heap.memStats().HeapObjects, count + count / 1000 + 2)
})

test('objects are all zero, whatever was in their place before', (t) => {
  for (const mapper of [undefined, new SimulatedMapper({ releaseZeroes: false })]) {
    using heap = openQuiet(mapper === undefined ? {} : { mapper, limitBytes: 2 ** 24 })
    const layouts = [5, 8, 16, 24, 64, 100, 512, 520, 3000, 32_768, 32_769, 100_000].flatMap((size) => [
      { size, pointers: [] },
      ...(size < 8 ? [] : [{ size, pointers: [size - (size % 8) - 8] }]),
    ])
    const types = layouts.map((layout) => heap.defineType(layout))
    for (let round = 0; round < 6; round++) {
      const scope = heap.scope()
      for (const [i, type] of types.entries()) {
        const { size, pointers } = layouts[i]!
        for (let n = 0; n < 20; n++) {
          const object = heap.allocate(type)
          if (heap.view(object, size).some((byte) => byte !== 0)) t.fail(`${size} bytes in round ${round}`)
          if (pointers.length > 0) t.is(heap.getPointer(object, pointers[0]!), 0)
          heap.view(object).fill(0xff)
        }
      }
      // What a program scribbles there leads nowhere.
      scope[Symbol.dispose]()
      if (round % 3 === 0) heap.collect()
      else while (!heap.collectStep(0));
      if (round % 2 === 0) heap.releaseFreeMemory()
      heap.audit()
    }
  }
})

test('blocks from malloc are no objects: a collection leaves them as they are', (t) => {
  using heap = openQuiet()
  const node = heap.defineType({ size: 48, pointers: [0] })
  const blocks = [16, 48, 1000, 40_000].flatMap((size) =>
    Array.from({ length: 50 }, () => ({ address: heap.malloc(size), size }))
  )
  for (const [i, { address, size }] of blocks.entries()) {
    heap.view(address, size).fill(i)
    heap.allocate(node)
  }
  heap.collect()
  t.is(heap.memStats().HeapObjects, blocks.length + 1)
  for (const [i, { address, size }] of blocks.entries()) {
    t.true(heap.view(address, size).every((byte) => byte === (i & 0xff)))
    heap.free(address)
  }
  heap.collect()
  t.is(heap.memStats().HeapObjects, 1)
  addBallast(heap, 2)
  heap.audit()
})
