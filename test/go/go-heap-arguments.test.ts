import test from 'ava'
import { GoHeap, type TypeLayout } from '../../lib/go/index.ts'

const INVALID = 'ERR_HEAP_INVALID_ADDRESS'
const WRONG_TYPES = ['16', null, {}, [], true, 16n, Symbol('16'), () => 16]
const OUT_OF_RANGE = [-1, -16, 1.5, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 2 ** 53]

/** A heap with an object that has pointers at 0 and 56, one without pointers, and a block. */
function open() {
  const heap = new GoHeap({ limitBytes: 2 ** 26, gcPercent: -1 })
  const node = heap.defineType({ size: 64, pointers: [56, 0] })
  const leaf = heap.defineType({ size: 64, pointers: [] })
  const scope = heap.scope()
  const object = heap.allocate(node)
  const data = heap.allocate(leaf)
  const block = heap.malloc(64)
  return { heap, node, leaf, scope, object, data, block }
}

/** The methods that GoHeap has beyond an Allocator's, by the argument that is tried. */
function callsOf({ heap, node, object }: ReturnType<typeof open>): Record<string, (value: never) => unknown> {
  return {
    'allocate type': (value) => heap.allocate(value),
    'allocate type, with a count': (value) => heap.allocate(value, 3),
    'allocate count': (value) => heap.allocate(node, value),
    'defineType size': (value) => heap.defineType({ size: value, pointers: [] }),
    'defineType pointers': (value) => heap.defineType({ size: 64, pointers: [0, value] }),
    'setPointer object': (value) => heap.setPointer(value, 0, 0),
    'setPointer offset': (value) => heap.setPointer(object, value, 0),
    'setPointer target': (value) => heap.setPointer(object, 0, value),
    'getPointer object': (value) => heap.getPointer(value, 0),
    'getPointer offset': (value) => heap.getPointer(object, value),
    addRoot: (value) => heap.addRoot(value),
    removeRoot: (value) => heap.removeRoot(value),
    collectStep: (value) => heap.collectStep(value),
    setMemoryLimit: (value) => heap.setMemoryLimit(value),
    setGCPercent: (value) => heap.setGCPercent(value),
  }
}

/** What is a value like any other for some. */
const ALLOWED: Record<string, readonly unknown[]> = {
  setMemoryLimit: [Number.POSITIVE_INFINITY],
  setGCPercent: [-1],
}

for (const call of Object.keys(callsOf(open()))) {
  test(`${call} of the wrong type is a TypeError`, (t) => {
    const opened = open()
    const { heap } = opened
    const before = heap.stats()
    for (const value of WRONG_TYPES) {
      const error = t.throws(() => callsOf(opened)[call]!(value as never), { instanceOf: TypeError }, `${typeof value}`)
      t.is((error as NodeJS.ErrnoException).code, 'ERR_INVALID_ARG_TYPE', `${typeof value}`)
      heap.audit()
    }
    t.deepEqual(heap.stats(), before)
  })

  test(`${call} out of range is a RangeError`, (t) => {
    const opened = open()
    const { heap } = opened
    const before = heap.stats()
    for (const value of OUT_OF_RANGE) {
      if (ALLOWED[call]?.includes(value)) continue
      const error = t.throws(() => callsOf(opened)[call]!(value as never), { instanceOf: RangeError }, `${value}`)
      t.is((error as NodeJS.ErrnoException).code, 'ERR_OUT_OF_RANGE', `${value}`)
      heap.audit()
    }
    t.deepEqual(heap.stats(), before)
  })
}

test('what must be given is missed', (t) => {
  const { heap, object } = open()
  for (const call of [
    () => heap.allocate(undefined as never),
    () => heap.defineType(undefined as never),
    () => heap.defineType({ size: 8 } as TypeLayout),
    () => heap.defineType({ pointers: [0] } as unknown as TypeLayout),
    () => heap.setPointer(object, 0, undefined as never),
    () => heap.setPointer(object, undefined as never, 0),
    () => heap.getPointer(undefined as never, 0),
    () => heap.addRoot(undefined as never),
    () => heap.removeRoot(undefined as never),
    () => heap.collectStep(undefined as never),
    () => heap.setGCPercent(undefined as never),
    () => heap.setMemoryLimit(undefined as never),
  ]) {
    t.throws(call, { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' }, String(call))
    heap.audit()
  }
})

test('a layout that isn’t one is told by code', (t) => {
  const { heap } = open()
  const wrong: [unknown, string][] = [
    [null, 'ERR_INVALID_ARG_TYPE'],
    ['64', 'ERR_INVALID_ARG_TYPE'],
    [{ size: 64, pointers: 0 }, 'ERR_INVALID_ARG_TYPE'],
    [{ size: 64, pointers: null }, 'ERR_INVALID_ARG_TYPE'],
    [{ size: 64, pointers: { length: 1, 0: 8 } }, 'ERR_INVALID_ARG_TYPE'],
    [{ size: 64, pointers: [4] }, 'ERR_OUT_OF_RANGE'],
    [{ size: 64, pointers: [64] }, 'ERR_OUT_OF_RANGE'],
    [{ size: 63, pointers: [56] }, 'ERR_OUT_OF_RANGE'],
    [{ size: 0, pointers: [0] }, 'ERR_OUT_OF_RANGE'],
    [{ size: 7, pointers: [0] }, 'ERR_OUT_OF_RANGE'],
    [{ size: 64, pointers: [0, 8, 0] }, 'ERR_OUT_OF_RANGE'],
    [{ size: 64, pointers: [56, 8, 16, 56] }, 'ERR_OUT_OF_RANGE'],
    [{ size: 2 ** 40, pointers: [] }, 'ERR_OUT_OF_RANGE'],
    // An array with a hole has no offset there.
    [{ size: 64, pointers: new Array(1) }, 'ERR_INVALID_ARG_TYPE'],
  ]
  for (const [layout, code] of wrong) {
    t.throws(() => heap.defineType(layout as TypeLayout), { code }, JSON.stringify(layout))
  }
  heap.audit()
})

test('a type is one that this heap has defined', (t) => {
  const { heap, leaf } = open()
  for (const type of [0, leaf + 1, 1000, 2 ** 31, 2 ** 32 + 1, Number.MAX_SAFE_INTEGER]) {
    t.throws(() => heap.allocate(type), { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' }, String(type))
    t.throws(() => heap.allocate(type, 2), { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' }, String(type))
  }
  t.throws(() => heap.allocate(leaf, 0), { code: 'ERR_OUT_OF_RANGE' })
  heap.audit()
})

test('types are numbered from 1 on, and there may be many', (t) => {
  using heap = new GoHeap({ limitBytes: 2 ** 26 })
  for (let i = 1; i <= 1000; i++) {
    t.is(heap.defineType({ size: 8 + i, pointers: i % 2 === 0 ? [] : [0] }), i)
  }
  const scope = heap.scope()
  for (let i = 1; i <= 1000; i++) {
    const address = heap.allocate(i)
    t.true(heap.usableSize(address) >= 8 + i)
    if (i % 2 === 1) heap.setPointer(address, 0, address)
    else t.throws(() => heap.setPointer(address, 0, address), { code: 'ERR_OUT_OF_RANGE' })
  }
  scope[Symbol.dispose]()
  heap.audit()
})

test('a pointer is only where the type has one', (t) => {
  const { heap, node, object, data } = open()
  const array = heap.allocate(node, 3)
  const large = heap.allocate(node, 1000)
  for (const address of [object, array, large]) {
    const count = address === object ? 1 : address === array ? 3 : 1000
    for (const i of [0, 1, count - 1].filter((index) => index < count)) {
      for (const offset of [0, 56]) {
        heap.setPointer(address, i * 64 + offset, data)
        t.is(heap.getPointer(address, i * 64 + offset), data)
        heap.setPointer(address, i * 64 + offset, 0)
        t.is(heap.getPointer(address, i * 64 + offset), 0)
      }
      for (const offset of [1, 7, 8, 16, 48, 55, 57, 63]) {
        const wrong = { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' }
        t.throws(() => heap.setPointer(address, i * 64 + offset, data), wrong, `${offset}`)
        t.throws(() => heap.getPointer(address, i * 64 + offset), wrong, `${offset}`)
      }
    }
    // The class that serves an array of three is of 192 bytes; behind 1000 of them the span goes on.
    for (const offset of [count * 64, count * 64 + 56, 2 ** 20, 2 ** 31, 2 ** 32, 2 ** 35, 2 ** 52]) {
      t.throws(() => heap.setPointer(address, offset, data), { code: 'ERR_OUT_OF_RANGE' }, `${offset}`)
      t.throws(() => heap.getPointer(address, offset), { code: 'ERR_OUT_OF_RANGE' }, `${offset}`)
    }
  }
  t.throws(() => heap.setPointer(data, 0, object), { code: 'ERR_OUT_OF_RANGE' })
  t.throws(() => heap.getPointer(data, 0), { code: 'ERR_OUT_OF_RANGE' })
  const tiny = heap.allocate(heap.defineType({ size: 8, pointers: [] }))
  t.throws(() => heap.getPointer(tiny, 0), { code: 'ERR_OUT_OF_RANGE' })
  heap.audit()
})

test('a pointer refers to what is live, at its start; what it was stays', (t) => {
  const { heap, node, object, data, block } = open()
  heap.setPointer(object, 0, data)
  const freed = heap.malloc(64)
  heap.free(freed)
  const dead = heap.allocate(node)
  const tiny = heap.defineType({ size: 5, pointers: [] })
  const tinies = [heap.allocate(tiny), heap.allocate(tiny)] as const
  t.is(tinies[1], tinies[0] + 5)
  for (const target of [data + 8, object + 56, block + 16, tinies[1] + 1, tinies[1] - 1, 16, 2 ** 40]) {
    t.throws(() => heap.setPointer(object, 0, target), { code: INVALID }, `${target}`)
  }
  t.throws(() => heap.setPointer(object, 0, freed), { code: 'ERR_HEAP_DOUBLE_FREE' })
  t.is(heap.getPointer(object, 0), data)
  for (const target of [object, block, tinies[1], dead, 0]) {
    heap.setPointer(object, 0, target)
    t.is(heap.getPointer(object, 0), target)
  }
  heap.audit()
})

test('a root is removed once, and its id may come again', (t) => {
  const { heap, object } = open()
  const root = heap.addRoot(object)
  const other = heap.addRoot(object)
  t.not(root, other)
  t.true(root >= 1 && other >= 1)
  heap.removeRoot(root)
  for (const wrong of [root, 0, other + 1, 1000, 2 ** 31, 2 ** 32 + other, Number.MAX_SAFE_INTEGER]) {
    t.throws(() => heap.removeRoot(wrong), { code: INVALID }, `${wrong}`)
    heap.audit()
  }
  heap.removeRoot(other)
  t.throws(() => heap.removeRoot(other), { code: INVALID })
  const again = heap.addRoot(object)
  heap.removeRoot(again)
  t.throws(() => heap.removeRoot(again), { code: INVALID })
})

test('after close everything but close, stats and the end of a scope says so', (t) => {
  const { heap, node, scope, object, block } = open()
  const root = heap.addRoot(object)
  heap.collectStep(0)
  heap.close()
  heap.close()
  for (const call of [
    () => heap.malloc(1),
    () => heap.malloc(100_000),
    () => heap.free(block),
    () => heap.calloc(1, 1),
    () => heap.realloc(block, 1),
    () => heap.realloc(0, 1),
    () => heap.alignedAlloc(64, 1),
    () => heap.usableSize(block),
    () => heap.view(object),
    () => heap.defineType({ size: 8, pointers: [] }),
    () => heap.allocate(node),
    () => heap.allocate(node, 3),
    () => heap.allocate(node, 10_000),
    () => heap.scope(),
    () => heap.setPointer(object, 0, object),
    () => heap.setPointer(object, 0, 0),
    () => heap.getPointer(object, 0),
    () => heap.addRoot(object),
    () => heap.removeRoot(root),
    () => heap.collect(),
    () => heap.collectStep(100),
    () => heap.setGCPercent(100),
    () => heap.setMemoryLimit(100),
    () => heap.memStats(),
    () => heap.audit(),
    () => heap.releaseFreeMemory(),
  ]) {
    t.throws(call, { code: 'ERR_HEAP_CLOSED' }, String(call))
  }
  scope[Symbol.dispose]()
  const stats = heap.stats()
  t.is(stats.mappedBytes, 0)
  t.true(stats.peakMappedBytes > 0)
  heap[Symbol.dispose]()
})

test('a scope that is over has no second end', (t) => {
  const { heap, node, scope } = open()
  const inner = heap.scope()
  const kept = heap.allocate(node)
  scope[Symbol.dispose]()
  scope[Symbol.dispose]()
  heap.allocate(node)
  heap.collect()
  t.is(heap.usableSize(kept), 64)
  inner[Symbol.dispose]()
  inner[Symbol.dispose]()
  heap.allocate(node)
  heap.collect()
  t.throws(() => heap.usableSize(kept), { code: INVALID })
  heap.audit()
})
