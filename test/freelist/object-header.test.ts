import test from 'ava'
import { FreeListHeap } from '../../lib/freelist/index.ts'
import { Header, State } from '../../lib/freelist/object-header.ts'

const WORDS = 4

/** The four words in front of a block. */
function headerOf(heap: FreeListHeap, address: number): Int32Array {
  return new Int32Array(heap.buffer, address - 16, WORDS)
}

const granules = (address: number) => address / 16

test('in front of each block is a header that says its size, its state, and where the next and the previous ones are', (t) => {
  using heap = new FreeListHeap({ limitBytes: 2 ** 24 })
  const one = heap.malloc(100)
  const two = heap.malloc(16)
  const three = heap.malloc(5000)
  t.deepEqual(
    [...headerOf(heap, two)],
    [1, State.Used, granules(three) - 1, granules(one) - 1],
    'in units of 16 bytes; a header is the one of its block'
  )
  t.is(headerOf(heap, one)[Header.Previous], 0, 'none is before the first')
  t.is(headerOf(heap, one)[Header.Size], 7)
  heap.free(two)
  t.is(headerOf(heap, two)[Header.State], State.Unused)
  t.is(headerOf(heap, two)[Header.Next], granules(three) - 1, 'a free block stays in the list')
})

test('blocks and their headers follow each other without a gap', (t) => {
  using heap = new FreeListHeap({ limitBytes: 2 ** 24 })
  let expected = 65_536 + 16
  for (const size of [1, 16, 17, 100, 4096, 100_000]) {
    const address = heap.malloc(size)
    t.is(address, expected)
    t.is(heap.usableSize(address), Math.ceil(size / 16) * 16)
    expected = address + heap.usableSize(address) + 16
  }
  t.is(heap.stats().centralCacheBytes, 7 * 16, 'of six blocks and a free one')
})

/** What a program may have written over a header, and the words that are there then. */
const SCRIBBLES: Record<string, (words: Int32Array) => void> = {
  zeros: (words) => words.fill(0),
  ones: (words) => words.fill(-1),
  text: (words) => words.fill(0x64646464),
  'a size': (words) => {
    words[Header.Size]! += 1
  },
  'a size and a next that go beyond the heap': (words) => {
    words[Header.Size]! += 2 ** 26
    words[Header.Next]! += 2 ** 26
  },
  'a size and a next that lead into a block': (words) => {
    words[Header.Size]! += 1
    words[Header.Next]! += 1
  },
  'a next that leads back': (words) => {
    words[Header.Next] = 4096
  },
}

for (const search of ['all', 'free'] as const) {
  for (const [name, scribble] of Object.entries(SCRIBBLES)) {
    test(`a header overwritten with ${name} is told, by every call that comes upon it (${search})`, (t) => {
      using heap = new FreeListHeap({ limitBytes: 2 ** 24, search })
      const corrupt = { code: 'ERR_HEAP_CORRUPT' }
      const blocks = Array.from({ length: 12 }, () => heap.malloc(100))
      for (const i of [2, 5, 9]) heap.free(blocks[i]!)
      const words = headerOf(heap, blocks[6]!)
      const before = words.slice()
      scribble(words)
      const damaged = words.slice()

      if (search === 'free') heap.free(heap.malloc(1000)) // the search doesn't come by
      const stats = heap.stats()
      t.throws(() => heap.audit(), corrupt)
      t.throws(() => heap.free(blocks[6]!), corrupt)
      t.throws(() => heap.realloc(blocks[6]!, 50), corrupt)
      t.throws(() => heap.view(blocks[6]!), corrupt)
      if (search === 'all') t.throws(() => heap.malloc(1000), corrupt)
      t.deepEqual(heap.stats(), stats, 'everything is as it was')
      t.deepEqual(words, damaged)

      words.set(before)
      heap.audit()
      for (const [i, address] of blocks.entries()) if (![2, 5, 9].includes(i)) heap.free(address)
      heap.audit()
    })
  }
}

for (const search of ['all', 'free'] as const) {
  for (const [name, scribble] of Object.entries(SCRIBBLES)) {
    test(`a free block’s header overwritten with ${name} is told before it is used (${search})`, (t) => {
      using heap = new FreeListHeap({ limitBytes: 2 ** 24, search })
      const corrupt = { code: 'ERR_HEAP_CORRUPT' }
      const blocks = Array.from({ length: 12 }, () => heap.malloc(100))
      heap.free(blocks[6]!)
      const words = headerOf(heap, blocks[6]!)
      const before = words.slice()
      scribble(words)
      const damaged = words.slice()
      const stats = heap.stats()
      t.throws(() => heap.malloc(16), corrupt)
      t.throws(() => heap.alignedAlloc(64, 1000), corrupt)
      t.throws(() => heap.free(blocks[5]!), corrupt)
      t.throws(() => heap.free(blocks[7]!), corrupt)
      t.throws(() => heap.realloc(blocks[5]!, 200), corrupt)
      t.throws(() => heap.releaseFreeMemory(), corrupt)
      t.deepEqual(heap.stats(), stats)
      t.deepEqual(words, damaged)
      words.set(before)
      heap.audit()
    })
  }
}

test('what a program writes into a freed block is told where the search of free blocks needs it', (t) => {
  for (const value of [0, -1, 0x64646464, 4096, 4110]) {
    using heap = new FreeListHeap({ limitBytes: 2 ** 24, search: 'free' })
    const blocks = Array.from({ length: 12 }, () => heap.malloc(100))
    const stale = heap.view(blocks[5]!)
    for (const i of [2, 5, 9]) heap.free(blocks[i]!)
    const before = stale.slice()
    new Int32Array(stale.buffer, stale.byteOffset, 4).fill(value)
    const stats = heap.stats()
    t.throws(() => heap.audit(), { code: 'ERR_HEAP_CORRUPT' })
    t.throws(() => heap.malloc(1000), { code: 'ERR_HEAP_CORRUPT' })
    t.throws(() => heap.free(blocks[4]!), { code: 'ERR_HEAP_CORRUPT' })
    t.throws(() => heap.free(blocks[7]!), { code: 'ERR_HEAP_CORRUPT' })
    t.throws(() => heap.realloc(blocks[4]!, 200), { code: 'ERR_HEAP_CORRUPT' })
    t.deepEqual(heap.stats(), stats)
    stale.set(before)
    heap.audit()
    for (const [i, address] of blocks.entries()) if (![2, 5, 9].includes(i)) heap.free(address)
    heap.audit()
  }
})
