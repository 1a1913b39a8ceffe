import { isArrayBuffer, isSharedArrayBuffer } from 'node:util/types'
import type { ExecutionContext, TestFn } from 'ava'
import type { Allocator } from '../../lib/index.ts'

/** A heap that the contract is held against. */
export interface Candidate {
  name: string
  /** A new heap; `limitBytes` where a test wants a small one. */
  open(limitBytes?: number): Allocator
  /** The largest alignment that it can promise. */
  maxAlignment: number
}

const SMALL = 100
const MEDIUM = 500_000
const LARGE = 3_000_000
const SIZES = [0, 1, 8, 16, 17, SMALL, 1024, 8192, 40_000, 262_144, 262_145, MEDIUM, LARGE]

/** What every heap must do, as tests of the given name. */
export function contractSuite(test: TestFn, { name, open, maxAlignment }: Candidate): void {
  const titled = (title: string, body: (t: ExecutionContext) => void) => test(`${name}: ${title}`, body)

  titled('blocks are disjoint, aligned to 16, and hold what is written to them', (t) => {
    using heap = open()
    const blocks = SIZES.flatMap((size) => [size, size]).map((size, i) => {
      const address = heap.malloc(size)
      t.is(address % 16, 0)
      t.true(address > 0)
      t.true(heap.usableSize(address) >= size)
      heap.view(address, size).fill(i + 1)
      return { address, size, byte: i + 1 }
    })
    t.is(new Set(blocks.map(({ address }) => address)).size, blocks.length, 'size 0 gives a block of its own too')
    for (const { address, size, byte } of blocks) {
      t.true(heap.view(address, size).every((value) => value === byte))
    }
    heap.audit()
    for (const { address } of blocks) heap.free(address)
    heap.audit()
    t.is(heap.stats().liveBytes, 0)
  })

  titled('calloc clears, also what was used before and what was released', (t) => {
    using heap = open()
    for (let round = 0; round < 3; round++) {
      for (const size of SIZES) {
        const used = heap.malloc(size)
        heap.view(used).fill(0xee)
        heap.free(used)
        if (round === 1) heap.releaseFreeMemory()
        const address = heap.calloc(size, 1)
        t.true(
          heap.view(address, size).every((value) => value === 0),
          `${size} bytes in round ${round}`
        )
        heap.free(address)
      }
    }
    heap.audit()
  })

  titled('calloc refuses a product that overflows', (t) => {
    using heap = open()
    t.throws(() => heap.calloc(2 ** 40, 2 ** 40), { code: 'ERR_HEAP_OUT_OF_MEMORY' })
    t.throws(() => heap.calloc(2 ** 27, 2 ** 26), { code: 'ERR_HEAP_OUT_OF_MEMORY' })
    heap.free(heap.malloc(1))
    heap.audit()
  })

  titled('realloc keeps the bytes that both sizes have', (t) => {
    using heap = open()
    for (const from of SIZES) {
      for (const to of SIZES) {
        const before = heap.malloc(from)
        heap.view(before, from).forEach((_, i, bytes) => {
          bytes[i] = (i * 7 + from) & 0xff
        })
        const after = heap.realloc(before, to)
        t.true(heap.usableSize(after) >= to)
        t.true(
          heap.view(after, Math.min(from, to)).every((value, i) => value === ((i * 7 + from) & 0xff)),
          `${from} to ${to}`
        )
        heap.free(after)
      }
    }
    heap.audit()
    t.is(heap.stats().liveBytes, 0)
  })

  titled('realloc of 0 is malloc, and to 0 leaves a live block', (t) => {
    using heap = open()
    const address = heap.realloc(0, SMALL)
    const kept = heap.realloc(address, 0)
    t.true(heap.usableSize(kept) >= 0)
    heap.free(kept)
    t.is(heap.stats().liveBytes, 0)
  })

  titled('alignedAlloc honours every power of two', (t) => {
    using heap = open(2 ** 28)
    for (let alignment = 1; alignment <= maxAlignment; alignment *= 2) {
      for (const size of [0, 1, SMALL, 10_000, MEDIUM]) {
        const address = heap.alignedAlloc(alignment, size)
        t.is(address % alignment, 0, `${size} bytes at ${alignment}`)
        t.true(heap.usableSize(address) >= size)
        heap.view(address, size).fill(1)
        heap.free(address)
      }
    }
    heap.audit()
    for (const alignment of [3, 48, 2 ** 27]) {
      t.throws(() => heap.alignedAlloc(alignment, 1), { code: 'ERR_OUT_OF_RANGE' })
    }
  })

  titled('views are the block itself, and no longer than it', (t) => {
    using heap = open()
    const address = heap.malloc(SMALL)
    heap.view(address)[3] = 42
    t.is(heap.view(address, 10)[3], 42)
    t.is(heap.view(address).length, heap.usableSize(address))
    t.is(heap.view(address, 0).length, 0)
    t.throws(() => heap.view(address, heap.usableSize(address) + 1), { code: 'ERR_OUT_OF_RANGE' })
  })

  titled('every byte is in one place, after every step', (t) => {
    using heap = open()
    const live: number[] = []
    for (let i = 0; i < 600; i++) {
      if (i % 5 === 4) heap.free(live.splice((i * 31) % live.length, 1)[0]!)
      else if (i % 97 === 0) heap.releaseFreeMemory()
      else live.push(heap.malloc((i * 7919) % (i % 50 === 0 ? 2_000_000 : 9000)))
      const stats = heap.stats()
      t.is(
        stats.mappedBytes,
        stats.liveBytes +
          stats.threadCacheBytes +
          stats.centralCacheBytes +
          stats.pageHeapFreeBytes +
          stats.pageHeapReleasedBytes
      )
      t.true(stats.peakLiveBytes >= stats.liveBytes && stats.peakMappedBytes >= stats.mappedBytes)
    }
    heap.audit()
  })

  titled('the limit holds, and what is refused can be had once there is room', (t) => {
    using heap = open(2 ** 23)
    const blocks: number[] = []
    t.throws(
      () => {
        for (;;) blocks.push(heap.malloc(100_000))
      },
      { code: 'ERR_HEAP_OUT_OF_MEMORY' }
    )
    t.true(heap.stats().mappedBytes <= 2 ** 23)
    t.true(blocks.length >= 40, 'most of the limit was of use')
    heap.audit()
    t.throws(() => heap.malloc(2 ** 40), { code: 'ERR_HEAP_OUT_OF_MEMORY' })
    for (const address of blocks.splice(0)) heap.free(address)
    heap.free(heap.malloc(4_000_000))
    heap.audit()
  })

  titled('arguments of the wrong type or out of range are told by code', (t) => {
    using heap = open()
    const address = heap.malloc(SMALL)
    const calls: Record<string, (value: never) => unknown> = {
      malloc: (value) => heap.malloc(value),
      'calloc count': (value) => heap.calloc(value, 1),
      'calloc size': (value) => heap.calloc(1, value),
      'realloc address': (value) => heap.realloc(value, 1),
      'realloc size': (value) => heap.realloc(address, value),
      'alignedAlloc alignment': (value) => heap.alignedAlloc(value, 1),
      'alignedAlloc size': (value) => heap.alignedAlloc(16, value),
      free: (value) => heap.free(value),
      usableSize: (value) => heap.usableSize(value),
      'view address': (value) => heap.view(value),
      'view length': (value) => heap.view(address, value),
      releaseFreeMemory: (value) => heap.releaseFreeMemory(value),
    }
    for (const [call, run] of Object.entries(calls)) {
      for (const value of ['16', null, {}, [], true, 16n, Symbol('16'), () => 16]) {
        const error = t.throws(() => run(value as never), { instanceOf: TypeError }, `${call} of a ${typeof value}`)
        t.is((error as NodeJS.ErrnoException).code, 'ERR_INVALID_ARG_TYPE', `${call} of a ${typeof value}`)
      }
      for (const value of [-1, -16, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
        const error = t.throws(() => run(value as never), { instanceOf: RangeError }, `${call} of ${value}`)
        t.is((error as NodeJS.ErrnoException).code, 'ERR_OUT_OF_RANGE', `${call} of ${value}`)
      }
    }
    heap.audit()
    heap.free(address)
  })

  titled('after close everything but close and stats says so', (t) => {
    const heap = open()
    const address = heap.malloc(SMALL)
    heap.malloc(LARGE)
    heap.close()
    heap.close()
    const calls = [
      () => heap.malloc(1),
      () => heap.malloc(LARGE),
      () => heap.calloc(1, 1),
      () => heap.realloc(address, 1),
      () => heap.realloc(0, 1),
      () => heap.alignedAlloc(64, 1),
      () => heap.free(address),
      () => heap.usableSize(address),
      () => heap.view(address),
      () => heap.audit(),
      () => heap.releaseFreeMemory(),
    ]
    for (const call of calls) t.throws(call, { code: 'ERR_HEAP_CLOSED' }, String(call))
    t.is(heap.stats().mappedBytes, 0)
    heap[Symbol.dispose]()
  })
}

/** What also holds of heaps whose blocks lie in one memory; `open` makes one of 512 MiB at most. */
export function bufferSuite(test: TestFn, name: string, open: () => Allocator & { buffer: SharedArrayBuffer }): void {
  test(`${name}: an address is an offset in the heap’s buffer, and in the one that its views are over`, (t) => {
    using heap = open()
    const address = heap.malloc(100)
    const view = heap.view(address).fill(7)
    t.is(view.byteOffset, address)
    t.true(isArrayBuffer(view.buffer) && view.buffer.byteLength >= 2 ** 32, 'V8 copies none that is so long')
    t.true(heap.view(heap.malloc(1)).buffer === view.buffer)
    t.true(isSharedArrayBuffer(heap.buffer))
    t.deepEqual(new Uint8Array(heap.buffer, address, view.length), new Uint8Array(view))
  })

  test(`${name}: after close views read zeros`, (t) => {
    const heap = open()
    const address = heap.malloc(5000)
    const views = [heap.view(address).fill(7), new Uint8Array(heap.buffer, address, 5000)]
    heap.close()
    for (const view of views) {
      t.true(view.every((value) => value === 0))
      view[0] = 1
      t.is(view[0], 1, 'a write does no harm')
      view[0] = 0
    }
  })
}
