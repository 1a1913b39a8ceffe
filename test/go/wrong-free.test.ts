import test from 'ava'
import { GoHeap } from '../../lib/go/index.ts'
import { callsOn, DOUBLE_FREE, INVALID, refuses, refusesOfAnother, WAYS } from '../support/wrong-free.ts'

/** Sizes by how their spans are. */
const SIZES = { small: 48, 'small, two in a span': 20_000, large: 40_000, 'large, of many pages': 5_000_000 }
const isSmall = (size: number) => size <= 32_768

/** Brings a block's address into a state in which a free is wrong. */
const HISTORIES: { name: string; code: (size: number) => string; prepare: (heap: GoHeap, size: number) => number }[] = [
  {
    name: 'freed just now',
    code: (size) => (isSmall(size) ? DOUBLE_FREE : INVALID), // a large block's span goes back at once
    prepare: WAYS.freedJustNow,
  },
  {
    name: 'free, as all others of its size',
    code: (size) => (isSmall(size) ? DOUBLE_FREE : INVALID), // one empty span is kept
    prepare: WAYS.freedAmongOthers(1),
  },
  {
    name: 'free, in a span that was empty beside another',
    code: (size) => (size < 100 ? DOUBLE_FREE : INVALID), // of the smallest, all were in one span
    prepare: WAYS.freedAmongOthers(3),
  },
  {
    name: 'in its span, others of which are live',
    code: (size) => (isSmall(size) ? DOUBLE_FREE : INVALID),
    prepare: WAYS.freedBesideLive,
  },
  {
    name: 'pages given back to the system',
    code: () => INVALID,
    prepare: WAYS.released,
  },
  {
    name: 'moved away by realloc',
    code: (size) => (isSmall(size) ? DOUBLE_FREE : INVALID),
    prepare: (heap, size) => {
      const address = heap.malloc(size)
      heap.malloc(size)
      heap.realloc(address, size * 3)
      return address
    },
  },
  {
    name: 'span carved anew, for another size',
    code: () => INVALID,
    prepare: (heap, size) => {
      // What starts a span starts every span that is carved there; so a block is taken that a longer one can cover.
      const before = heap.malloc(size)
      const address = heap.malloc(size)
      heap.free(before)
      heap.free(address)
      heap.releaseFreeMemory()
      heap.malloc(size + 131_072)
      return address
    },
  },
  {
    name: 'span carved anew, for objects that are collected',
    code: () => INVALID,
    prepare: (heap, size) => {
      const address = heap.malloc(size)
      heap.free(address)
      heap.releaseFreeMemory()
      const type = heap.defineType({ size: size < 100 ? 64 : size, pointers: [0] })
      // The first of them is where the block was.
      if (heap.allocate(type) !== address) throw new Error('the object is somewhere else')
      return address
    },
  },
  {
    name: 'inside a live block, at a multiple of 16',
    code: () => INVALID,
    prepare: WAYS.insideLive(16),
  },
  {
    name: 'inside a live block, at a multiple of 8',
    code: () => INVALID,
    prepare: WAYS.insideLive(8),
  },
  {
    name: 'inside a live block, at an odd address',
    code: () => INVALID,
    prepare: WAYS.insideLive(7),
  },
  {
    name: 'inside a live block, on another of its pages, or at its last byte',
    code: () => INVALID,
    prepare: (heap, size) => heap.malloc(size) + (size > 8192 ? 8192 : size - 1),
  },
  {
    name: 'inside a free block',
    code: () => INVALID,
    prepare: WAYS.insideFree,
  },
]

for (const [kind, size] of Object.entries(SIZES)) {
  for (const { name, code, prepare } of HISTORIES) {
    test(`${kind}: ${name}`, (t) => {
      using heap = new GoHeap({ limitBytes: 2 ** 28, gcPercent: -1 })
      const address = prepare(heap, size)
      const calls: (() => unknown)[] = [() => heap.realloc(address, 0)]
      // What is collected by now may be an object's, which isn't the program's to free.
      if (name.endsWith('collected')) calls.push(...callsOn(heap, address).slice(0, 2))
      else calls.push(...callsOn(heap, address), () => heap.addRoot(address))
      refuses(t, heap, { address, calls, code: code(size), size })
    })
  }
}

test('what a span has left behind its last block is no block', (t) => {
  using heap = new GoHeap({ limitBytes: 2 ** 28, gcPercent: -1 })
  for (const [size, objects] of [
    [48, 170],
    [96, 85],
    [1152, 7],
    [1408, 11],
    [27_264, 3],
  ] as const) {
    const block = heap.malloc(size)
    const type = heap.defineType({ size, pointers: [0] })
    const object = heap.allocate(type)
    for (const first of [block, object]) {
      // Each is the first of its span.
      t.is(first % 8192, 0)
      const behind = first + objects * size
      t.throws(() => heap.free(behind), { code: INVALID }, `${size}`)
      t.throws(() => heap.realloc(behind, 1), { code: INVALID }, `${size}`)
      t.throws(() => heap.usableSize(behind), { code: INVALID }, `${size}`)
      t.throws(() => heap.addRoot(behind), { code: INVALID }, `${size}`)
      t.throws(() => heap.setPointer(object, 0, behind), { code: INVALID }, `${size}`)
      t.throws(() => heap.setPointer(behind, 0, object), { code: INVALID }, `${size}`)
    }
    heap.audit()
  }
})

test('addresses that no block ever had', (t) => {
  using heap = new GoHeap({ limitBytes: 2 ** 28 })
  const block = heap.malloc(100)
  const type = heap.defineType({ size: 64, pointers: [0] })
  const object = heap.allocate(type)
  const never = [
    0,
    8,
    16,
    8192,
    65_520,
    heap.stats().mappedBytes + 2 ** 20,
    2 ** 28 + 2 ** 20,
    2 ** 31 - 16,
    2 ** 31,
    2 ** 32,
    2 ** 32 + object,
    2 ** 35,
    2 ** 35 + object,
    2 ** 36 + block,
    2 ** 36 + object,
    2 ** 48 + block,
    2 ** 52,
    Number.MAX_SAFE_INTEGER,
  ]
  for (const address of never) {
    t.throws(() => heap.free(address), { code: INVALID }, String(address))
    t.throws(() => heap.usableSize(address), { code: INVALID }, String(address))
    t.throws(() => heap.addRoot(address), { code: INVALID }, String(address))
    t.throws(() => heap.setPointer(address, 0, object), { code: INVALID }, String(address))
    t.throws(() => heap.getPointer(address, 0), { code: INVALID }, String(address))
    if (address !== 0) {
      t.throws(() => heap.realloc(address, 1), { code: INVALID }, String(address))
      t.throws(() => heap.setPointer(object, 0, address), { code: INVALID }, String(address))
    }
  }
  t.is(heap.getPointer(object, 0), 0)
  heap.audit()
})

test('inside a large block nothing starts, whatever its pages were before', (t) => {
  using heap = new GoHeap({ limitBytes: 2 ** 28, gcPercent: -1 })
  const pointers = Array.from({ length: 128 }, (_, i) => i * 8)
  const types = [
    heap.defineType({ size: 1024, pointers }),
    heap.defineType({ size: 65_536, pointers: pointers.slice(1) }),
  ]
  const before = types.flatMap((type) => Array.from({ length: 64 }, () => heap.allocate(type)))
  heap.allocate(heap.defineType({ size: 8, pointers: [] }))
  const small = Array.from({ length: 2000 }, () => heap.malloc(48))
  heap.collect()
  for (const address of small) heap.free(address)
  heap.releaseFreeMemory()
  const large = heap.malloc(4_000_000)
  t.true(before.filter((address) => address > large && address < large + 4_000_000).length > 50)
  for (let address = large + 8; address < large + 4_000_000; address += 8 * 37) {
    if (address === large) continue
    for (const call of [() => heap.free(address), () => heap.realloc(address, 1), () => heap.usableSize(address)]) {
      const error = t.throws(call, undefined, `${address - large}`) as NodeJS.ErrnoException
      if (error.code !== INVALID) t.fail(`${address - large}: ${error.code}`)
    }
  }
  heap.audit()
})

test('another heap’s address is refused where this heap has no block there', (t) => {
  using one = new GoHeap({ limitBytes: 2 ** 28 })
  using other = new GoHeap({ limitBytes: 2 ** 28 })
  refusesOfAnother(t, one, other)
})

for (const size of [1, 8, 16, 48, 20_000, 40_000, 1_000_000]) {
  for (const pointers of size < 8 ? [[]] : [[], [0]]) {
    test(`an object of ${size} bytes with ${pointers.length} pointers isn’t the program’s to free`, (t) => {
      using heap = new GoHeap({ limitBytes: 2 ** 28 })
      const type = heap.defineType({ size, pointers })
      const object = heap.allocate(type)
      const before = heap.stats()
      const refused = [
        () => heap.free(object),
        () => heap.realloc(object, 1),
        () => heap.realloc(object, 100_000),
        () => heap.free(object + 16),
      ]
      for (const call of refused) t.throws(call, { code: INVALID }, String(call))
      t.deepEqual(heap.stats(), before)
      t.is(heap.usableSize(object), heap.view(object).length)
      heap.audit()
      // Nor when it is dead.
      heap.allocate(heap.defineType({ size: 3000, pointers: [] }))
      heap.collect()
      for (const call of [
        ...refused,
        () => heap.usableSize(object),
        () => heap.view(object),
        () => heap.addRoot(object),
        () => heap.setPointer(object, 0, 0),
        () => heap.getPointer(object, 0),
      ]) {
        t.throws(call, { code: INVALID }, String(call))
      }
      heap.audit()
    })
  }
}

for (const size of [1, 16, 48, 20_000, 40_000]) {
  test(`a block of ${size} bytes from malloc holds no pointers, but may be pointed to, and be a root`, (t) => {
    using heap = new GoHeap({ limitBytes: 2 ** 28 })
    const object = heap.allocate(heap.defineType({ size: 64, pointers: [0] }))
    const block = heap.malloc(size)
    t.throws(() => heap.setPointer(block, 0, object), { code: INVALID })
    t.throws(() => heap.setPointer(block, 0, 0), { code: INVALID })
    t.throws(() => heap.getPointer(block, 0), { code: INVALID })
    heap.setPointer(object, 0, block)
    t.is(heap.getPointer(object, 0), block)
    const root = heap.addRoot(block)
    heap.collect()
    t.is(heap.getPointer(object, 0), block)
    heap.removeRoot(root)
    heap.collect()
    heap.free(block)
    heap.collect()
    heap.audit()
  })
}

test('what a program scribbles over its blocks, its objects and behind them doesn’t hurt the heap', (t) => {
  using heap = new GoHeap({ limitBytes: 2 ** 24, gcPercent: -1 })
  const types = [24, 64, 1000, 50_000].map((size) => heap.defineType({ size, pointers: [0, 8, size - 8] }))
  for (const byte of [0xff, 0x01, 0x00]) {
    const blocks = Array.from({ length: 1000 }, (_, i) => heap.malloc(i % 300))
    const scope = heap.scope()
    for (let i = 0; i < 400; i++) heap.allocate(types[i % 100 === 0 ? 3 : i % 3]!)
    new Uint8Array(heap.buffer, 65_536, heap.stats().mappedBytes).fill(byte)
    heap.audit()
    heap.collect()
    heap.audit()
    scope[Symbol.dispose]()
    heap.collect()
    for (const address of blocks) heap.free(address)
    heap.audit()
    t.is(heap.memStats().HeapObjects, 1, 'the newest')
  }
})
