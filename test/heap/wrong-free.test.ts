import test from 'ava'
import { Heap } from '../../lib/index.ts'
import { callsOn, DOUBLE_FREE, INVALID, refuses, refusesOfAnother, WAYS } from '../support/wrong-free.ts'

/** Sizes by the tier that serves them. */
const SIZES = { small: 48, 'small, more than a page': 20_000, medium: 600_000, large: 5_000_000 }
const isSmall = (size: number) => size <= 262_144

/** Brings a block's address into a state in which a free is wrong; `expected` by whether the block is small. */
const HISTORIES: { name: string; code: (size: number) => string; prepare: (heap: Heap, size: number) => number }[] = [
  {
    name: 'freed just now',
    code: (size) => (isSmall(size) ? DOUBLE_FREE : INVALID), // a large block's span goes back at once
    prepare: WAYS.freedJustNow,
  },
  {
    name: 'in the thread cache, among others',
    code: (size) => (isSmall(size) ? DOUBLE_FREE : INVALID),
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
    name: 'span carved anew, for another size',
    code: () => INVALID,
    prepare: (heap, size) => {
      // What starts a span starts every span that is carved there; so a block is taken that a longer one can cover.
      const before = heap.malloc(isSmall(size) ? size : 300_000)
      const address = heap.malloc(size)
      heap.free(before)
      heap.free(address)
      heap.releaseFreeMemory()
      heap.malloc(isSmall(size) ? 131_072 : size + 300_000)
      return address
    },
  },
  {
    name: 'inside a live block, at a multiple of 16',
    code: () => INVALID,
    prepare: WAYS.insideLive(16),
  },
  {
    name: 'inside a live block, at an odd address',
    code: () => INVALID,
    prepare: WAYS.insideLive(7),
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
      using heap = new Heap({ limitBytes: 2 ** 28 })
      const address = prepare(heap, size)
      refuses(t, heap, { address, calls: callsOn(heap, address), code: code(size), size })
    })
  }
}

test('addresses that no block ever had', (t) => {
  using heap = new Heap({ limitBytes: 2 ** 28 })
  heap.malloc(100)
  const never = [
    0,
    16,
    8192,
    65_520,
    heap.stats().mappedBytes + 2 ** 20,
    2 ** 28 + 2 ** 20,
    2 ** 31 - 16,
    2 ** 31,
    2 ** 35,
    2 ** 52,
  ]
  for (const address of never) t.throws(() => heap.free(address), { code: INVALID }, String(address))
  heap.audit()
})

test('another heap’s address is refused where this heap has no block there', (t) => {
  using one = new Heap({ limitBytes: 2 ** 28 })
  using other = new Heap({ limitBytes: 2 ** 28 })
  refusesOfAnother(t, one, other)
})

test('what a program scribbles over its blocks and behind them doesn’t hurt the heap', (t) => {
  using heap = new Heap({ limitBytes: 2 ** 24 })
  const blocks = Array.from({ length: 1000 }, (_, i) => heap.malloc(i % 300))
  new Uint8Array(heap.buffer, 65_536, heap.stats().mappedBytes).fill(0xff)
  heap.audit()
  for (const address of blocks) heap.free(address)
  heap.audit()
  t.is(heap.stats().liveBytes, 0)
})
