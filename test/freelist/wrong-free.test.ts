import test from 'ava'
import { FreeListHeap } from '../../lib/freelist/index.ts'
import { callsOn, DOUBLE_FREE, INVALID, refuses, refusesOfAnother, WAYS } from '../support/wrong-free.ts'

const SIZES = { small: 48, medium: 20_000, large: 5_000_000 }

/** Brings a block's address into a state in which a free is wrong. */
const HISTORIES: { name: string; code: string; prepare: (heap: FreeListHeap, size: number) => number }[] = [
  {
    name: 'freed just now',
    code: DOUBLE_FREE,
    prepare: WAYS.freedJustNow,
  },
  {
    name: 'free between live blocks',
    code: DOUBLE_FREE,
    prepare: (heap, size) => {
      const blocks = Array.from({ length: 8 }, () => heap.malloc(size))
      heap.free(blocks[3]!)
      heap.free(blocks[5]!)
      return blocks[3]!
    },
  },
  {
    name: 'free, and merged with the one behind it',
    code: DOUBLE_FREE,
    prepare: (heap, size) => {
      const blocks = Array.from({ length: 8 }, () => heap.malloc(size))
      heap.free(blocks[3]!)
      heap.free(blocks[4]!)
      return blocks[3]!
    },
  },
  {
    name: 'free, and merged with the one before it',
    code: INVALID,
    prepare: (heap, size) => {
      const blocks = Array.from({ length: 8 }, () => heap.malloc(size))
      heap.free(blocks[3]!)
      heap.free(blocks[4]!)
      return blocks[4]!
    },
  },
  {
    name: 'free, and pages given back to the system',
    code: DOUBLE_FREE, // that of its header stays
    prepare: WAYS.released,
  },
  {
    name: 'inside of a longer block that was cut there since',
    code: INVALID,
    prepare: (heap, size) => {
      const before = heap.malloc(size)
      const address = heap.malloc(size)
      heap.free(before)
      heap.free(address)
      heap.malloc(2 * size)
      return address
    },
  },
  {
    name: 'moved away by realloc',
    code: DOUBLE_FREE,
    prepare: (heap, size) => {
      const address = heap.malloc(size)
      heap.malloc(16)
      heap.realloc(address, 2 * size)
      return address
    },
  },
  {
    name: 'inside a live block, at a multiple of 16',
    code: INVALID,
    prepare: WAYS.insideLive(16),
  },
  {
    name: 'inside a live block, at an odd address',
    code: INVALID,
    prepare: WAYS.insideLive(7),
  },
  {
    name: 'at the header of a live block',
    code: INVALID,
    prepare: WAYS.insideLive(-16),
  },
  {
    name: 'inside a block that holds what looks like a header',
    code: INVALID,
    prepare: (heap, size) => {
      const address = heap.malloc(size)
      const words = new Int32Array(heap.buffer, address - 16, 12)
      words.copyWithin(4, 0, 4)
      return address + 16
    },
  },
  {
    name: 'inside a free block',
    code: INVALID,
    prepare: WAYS.insideFree,
  },
  {
    name: 'an object of a mutator that was collected',
    code: DOUBLE_FREE,
    prepare: (heap, size) => {
      const mutator = heap.mutator()
      const handle = mutator.allocate(mutator.defineType({ size, references: [] }))
      const { address } = handle
      handle.dispose()
      heap.collect()
      return address
    },
  },
]

for (const search of ['all', 'free'] as const) {
  for (const [kind, size] of Object.entries(SIZES)) {
    for (const { name, code, prepare } of HISTORIES) {
      test(`search of ${search}, ${kind}: ${name}`, (t) => {
        using heap = new FreeListHeap({ search, limitBytes: 2 ** 28 })
        const address = prepare(heap, size)
        refuses(t, heap, { address, calls: callsOn(heap, address), code, size })
      })
    }
  }
}

test('addresses that no block ever had', (t) => {
  using heap = new FreeListHeap({ limitBytes: 2 ** 28 })
  for (const address of [0, 16, 65_536, 65_552]) t.throws(() => heap.free(address), { code: INVALID }, String(address))
  heap.malloc(100)
  const { mappedBytes } = heap.stats()
  const never = [0, 16, 8192, 65_536, 65_536 + mappedBytes, 65_552 + mappedBytes, 2 ** 28, 2 ** 31, 2 ** 35, 2 ** 52]
  for (const address of never) t.throws(() => heap.free(address), { code: INVALID }, String(address))
  heap.audit()
})

test('another heap’s address is refused where this heap has no block there', (t) => {
  using one = new FreeListHeap({ limitBytes: 2 ** 28 })
  using other = new FreeListHeap({ limitBytes: 2 ** 28 })
  one.malloc(16)
  refusesOfAnother(t, one, other)
})

test('an object of a mutator is not for the program to free or to resize', (t) => {
  using heap = new FreeListHeap({ limitBytes: 2 ** 28 })
  const mutator = heap.mutator()
  const handle = mutator.allocate(mutator.defineType({ size: 40, references: [0] }))
  t.throws(() => heap.free(handle.address), { code: INVALID })
  t.throws(() => heap.realloc(handle.address, 100), { code: INVALID })
  t.is(heap.usableSize(handle.address), 48)
  t.is(heap.view(handle.address).byteOffset, handle.address)
  heap.audit()
})

test('what a program scribbles over its blocks doesn’t hurt the heap', (t) => {
  using heap = new FreeListHeap({ limitBytes: 2 ** 24 })
  const blocks = Array.from({ length: 1000 }, (_, i) => heap.malloc(i % 300))
  for (const address of blocks) heap.view(address).fill(0xff)
  heap.audit()
  for (const address of blocks) heap.free(address)
  heap.audit()
  t.is(heap.stats().liveBytes, 0)
})
