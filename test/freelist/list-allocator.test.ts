import test from 'ava'
import { FreeListHeap, type FreeListHeapOptions } from '../../lib/freelist/index.ts'
import { GrowableMapper } from '../../lib/os/growable-mapper.ts'
import { SimulatedMapper } from '../../lib/testing/index.ts'

const HEADER = 16
const SEARCHES = ['all', 'free'] as const

const open = (options: FreeListHeapOptions = {}) => new FreeListHeap({ limitBytes: 2 ** 26, ...options })

for (const search of SEARCHES) {
  test(`the first free block that is large enough is taken, not the best (${search})`, (t) => {
    using heap = open({ search })
    const [small, , large, , fitting] = [64, 16, 4096, 16, 128, 16].map((size) => heap.malloc(size))
    for (const address of [fitting!, large!, small!]) heap.free(address)
    t.is(heap.malloc(128), large!, 'the first one is too small')
    t.is(heap.malloc(60), small!)
    t.is(heap.malloc(100), large! + 128 + HEADER, 'what was left of the large one')
    heap.audit()
  })

  test(`what is left is a block of its own where it has room for a header and 16 bytes (${search})`, (t) => {
    using heap = open({ search })
    const blocks = Array.from({ length: 4 }, () => [heap.malloc(256), heap.malloc(16)][0]!)
    for (const address of blocks) heap.free(address)
    for (const [i, size] of [256, 240, 224, 208].entries()) {
      const address = heap.malloc(size)
      t.is(address, blocks[i]!)
      t.is(heap.usableSize(address), [256, 256, 224, 208][i]!)
      heap.audit()
    }
    t.is(heap.malloc(16), blocks[2]! + 224 + HEADER)
    t.is(heap.malloc(32), blocks[3]! + 208 + HEADER)
  })

  test(`a freed block is merged with free neighbours on both sides (${search})`, (t) => {
    for (const order of ['012', '021', '102', '120', '201', '210']) {
      using heap = open({ search })
      heap.malloc(16)
      const three = [heap.malloc(100), heap.malloc(200), heap.malloc(300)]
      heap.malloc(16)
      const headers = heap.stats().centralCacheBytes
      for (const i of order) {
        heap.free(three[Number(i)]!)
        heap.audit()
      }
      t.is(heap.stats().centralCacheBytes, headers - 2 * HEADER, 'two headers are gone')
      const all = 112 + 208 + 304 + 2 * HEADER
      t.is(heap.malloc(all), three[0]!)
      t.is(heap.usableSize(three[0]!), all)
    }
  })

  test(`all freed, the heap is one block again, whatever the order (${search})`, (t) => {
    using heap = open({ search })
    for (const stride of [1, 7, 31, 99]) {
      const blocks = Array.from({ length: 100 }, (_, i) => heap.malloc(i * 37))
      for (let i = 0; i < 100; i++) heap.free(blocks[(i * stride) % 100]!)
      heap.audit()
      t.is(heap.stats().centralCacheBytes, HEADER)
      t.is(heap.stats().pageHeapFreeBytes, heap.stats().mappedBytes - HEADER)
    }
  })

  test(`realloc shrinks and grows a block where it stands (${search})`, (t) => {
    using heap = open({ search })
    const address = heap.malloc(1000)
    const behind = heap.malloc(1000)
    heap.malloc(16)
    t.is(heap.realloc(address, 1000 - 32), address)
    t.is(heap.usableSize(address), 1008 - 32, 'the rest is a free block')
    t.is(heap.realloc(address, 1008 - 48), address)
    t.is(heap.usableSize(address), 1008 - 32, '16 bytes more are too little for a block')
    t.is(heap.realloc(address, 1008 - 16), address)
    t.is(heap.usableSize(address), 1008, 'what would be left has no room for a header')
    t.is(heap.realloc(address, 1000 - 16), address)
    t.is(heap.usableSize(address), 1008)
    t.not(heap.realloc(address, 1009), address, 'the next block is in use')
    heap.audit()

    const first = heap.malloc(1000)
    t.is(first, address)
    heap.free(behind)
    t.is(heap.realloc(first, 1500), first, 'of the next block a part is taken')
    t.is(heap.usableSize(first), 1504)
    heap.audit()
    t.is(heap.realloc(first, 2 * 1008 + HEADER), first, 'and then the rest')
    t.is(heap.usableSize(first), 2 * 1008 + HEADER)
    t.not(heap.realloc(first, 2 * 1008 + HEADER + 1), first)
    heap.audit()
  })

  test(`an aligned block leaves what is in front of it free (${search})`, (t) => {
    using heap = open({ search })
    heap.malloc(16)
    const address = heap.alignedAlloc(4096, 100)
    t.is(address % 4096, 0)
    heap.audit()
    const before = heap.malloc(1000)
    t.true(before < address)
    const near = heap.alignedAlloc(32, 100)
    const again = heap.alignedAlloc(64, 100)
    t.true(near % 32 === 0 && again % 64 === 0 && near < address && again < address)
    heap.audit()
    for (const block of [before, address, near, again]) heap.free(block)
    heap.audit()
  })
}

test('what an aligned block leaves in front of it has room for a header and 16 bytes, or isn’t left', (t) => {
  const first = 65_536 + 16
  for (const [size, aligned] of [
    [16, first + 112],
    [32, first + 48],
    [48, first + 112],
    [64, first + 112],
  ] as const) {
    using heap = open()
    heap.malloc(size)
    t.is(heap.alignedAlloc(64, 16), aligned, `behind ${size} bytes`)
    heap.audit()
  }
})

test('both ways of searching choose the same blocks', (t) => {
  using all = open({ search: 'all' })
  using free = open({ search: 'free' })
  const live: number[] = []
  for (let i = 0; i < 5000; i++) {
    const kind = (i * 7919) % 11
    if (kind < 5 && live.length > 0) {
      const [address] = live.splice((i * 104_729) % live.length, 1)
      all.free(address!)
      free.free(address!)
    } else {
      const size = (i * 31_337) % (kind === 10 ? 50_000 : 600)
      const alignment = kind === 9 ? 256 : 16
      const address = all.alignedAlloc(alignment, size)
      if (free.alignedAlloc(alignment, size) !== address) t.fail(`step ${i}`)
      live.push(address)
    }
  }
  free.audit()
  t.deepEqual({ ...all.stats(), peakLiveBytes: 0 }, { ...free.stats(), peakLiveBytes: 0 })
})

for (const systemPageSize of [4096, 65_536]) {
  test(`whole pages of free blocks are given back, and come anew when they are used (${systemPageSize})`, (t) => {
    for (const search of SEARCHES) {
      const mapper = new SimulatedMapper({ systemPageSize, releaseZeroes: false })
      using heap = open({ mapper, search })
      const size = 10 * systemPageSize
      const address = heap.malloc(size)
      const kept = heap.malloc(100)
      heap.view(kept).fill(1)
      heap.free(address)
      const given = heap.releaseFreeMemory()
      t.is(given % systemPageSize, 0)
      t.true(given >= 9 * systemPageSize)
      t.is(heap.stats().pageHeapReleasedBytes, given)
      t.is(mapper.pagesReleased, given / systemPageSize)
      t.is(heap.releaseFreeMemory(), 0, 'only once')
      heap.audit()
      t.is(heap.malloc(100), address)
      t.true(heap.stats().pageHeapReleasedBytes >= given - 2 * systemPageSize, 'the page of a small block')
      heap.audit()
      t.is(heap.realloc(address, size), address)
      t.is(heap.stats().pageHeapReleasedBytes, 0)
      t.true(heap.view(kept).every((value) => value === 1))
      heap.audit()
    }
  })
}

test('so many bytes are given back as were asked for, from the end of the heap', (t) => {
  const mapper = new SimulatedMapper()
  using heap = open({ mapper, growth: 'exact' })
  const blocks = Array.from({ length: 4 }, () => [heap.malloc(40_960), heap.malloc(16)][0]!)
  for (const address of blocks) heap.free(address)
  t.is(heap.releaseFreeMemory(0), 0)
  t.is(heap.releaseFreeMemory(1), 4096)
  t.is(heap.releaseFreeMemory(3 * 4096), 3 * 4096)
  heap.audit()
  const calls = mapper.syscalls().madvise
  t.is(heap.malloc(40_000), blocks[0]!)
  t.is(heap.stats().pageHeapReleasedBytes, 4 * 4096, 'the first block was not touched')
  heap.releaseFreeMemory(4096 * 7)
  t.is(heap.stats().pageHeapReleasedBytes, 11 * 4096)
  t.is(mapper.syscalls().madvise, calls + 2, 'what was left of the last block, and a part of the one before')
  heap.audit()
})

test('where nothing can be given back, nothing is', (t) => {
  using heap = open({ mapper: new GrowableMapper() })
  heap.free(heap.malloc(100_000))
  t.is(heap.releaseFreeMemory(), 0)
  t.is(heap.stats().pageHeapReleasedBytes, 0)
  t.is(heap.stats().system, 'growable')
})
