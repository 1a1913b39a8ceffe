import test from 'ava'
import { DirectHeap } from '../../lib/direct/index.ts'
import { Heap, type HeapOptions } from '../../lib/index.ts'
import { SimulatedMapper } from '../../lib/testing/index.ts'

const MIB = 2 ** 20

const WRONG_TYPES: Readonly<Record<string, readonly unknown[]>> = {
  shared: [1, null, {}, 'yes', Symbol('shared')],
  limitBytes: ['64', null, {}, true, 64n, Symbol('64')],
  cacheBytes: ['64', null, {}, true, 64n],
  releaseRate: ['1', null, {}, true, 1n],
}

const OUT_OF_RANGE: Readonly<Record<string, readonly unknown[]>> = {
  limitBytes: [-1, 0, 8191, Number.NaN, Infinity, -Infinity, 2 ** 35 + 8192, 2 ** 53],
  cacheBytes: [-1, Number.NaN, Infinity, 2 ** 30 + 1],
  releaseRate: [-1, Number.NaN, Infinity, 10_001],
}

for (const [option, values] of Object.entries(WRONG_TYPES)) {
  test(`${option} of the wrong type is a TypeError`, (t) => {
    for (const value of values) {
      t.throws(() => new Heap({ limitBytes: MIB, [option]: value }), {
        instanceOf: TypeError,
        code: 'ERR_INVALID_ARG_TYPE',
      })
    }
  })
}

for (const [option, values] of Object.entries(OUT_OF_RANGE)) {
  test(`${option} out of range is a RangeError`, (t) => {
    for (const value of values) {
      t.throws(() => new Heap({ limitBytes: MIB, [option]: value }), {
        instanceOf: RangeError,
        code: 'ERR_OUT_OF_RANGE',
      })
    }
  })
}

test('options that are no object are a TypeError', (t) => {
  for (const value of [null, 64, 'shared', true]) {
    t.throws(() => new Heap(value as unknown as HeapOptions), { code: 'ERR_INVALID_ARG_TYPE' })
    t.throws(() => new DirectHeap(value as unknown as { limitBytes: number }), { code: 'ERR_INVALID_ARG_TYPE' })
  }
})

test('undefined options are the defaults', (t) => {
  const heap = new Heap({ shared: undefined, limitBytes: undefined, cacheBytes: undefined } as unknown as HeapOptions)
  t.true(heap.buffer instanceof SharedArrayBuffer)
  t.true(heap.buffer.byteLength > MIB)
  heap.close()
})

test('a heap of one page has just that page to give', (t) => {
  const heap = new Heap({ limitBytes: 8192 })
  const address = heap.malloc(1000)
  t.is(heap.stats().mappedBytes, 8192)
  t.throws(() => heap.malloc(16), { code: 'ERR_HEAP_OUT_OF_MEMORY' })
  heap.free(address)
  heap.free(heap.malloc(16))
  heap.audit()
  heap.close()
})

test('without a thread cache nothing is ever in it', (t) => {
  const heap = new Heap({ limitBytes: 64 * MIB, cacheBytes: 0 })
  for (let i = 0; i < 2000; i++) {
    heap.free(heap.malloc(i))
    if (heap.stats().threadCacheBytes !== 0) t.fail(`${heap.stats().threadCacheBytes} bytes are cached`)
  }
  t.is(heap.stats().threadCacheBytes, 0)
  heap.close()
})

test('the thread cache never holds more than its budget', (t) => {
  for (const cacheBytes of [1, 1000, 65_536, MIB]) {
    const heap = new Heap({ limitBytes: 64 * MIB, cacheBytes })
    const addresses = Array.from({ length: 4000 }, (_, i) => heap.malloc((i * 37) % 5000))
    for (const address of addresses) {
      heap.free(address)
      if (heap.stats().threadCacheBytes > cacheBytes) t.fail(`${heap.stats().threadCacheBytes} bytes are cached`)
    }
    t.true(heap.stats().threadCacheBytes <= cacheBytes)
    heap.close()
  }
})

test('with a release rate of 0 pages go back only where that is asked for', (t) => {
  const mapper = new SimulatedMapper()
  const heap = new Heap({ limitBytes: 64 * MIB, releaseRate: 0, mapper })
  for (let i = 0; i < 200; i++) heap.free(heap.malloc(8 * MIB))
  t.is(heap.stats().pageHeapReleasedBytes, 0)
  const { madvise } = mapper.syscalls()
  t.true(heap.releaseFreeMemory() >= 8 * MIB)
  t.true(mapper.syscalls().madvise > madvise)
})

test.serial('SPANHEAP_DEBUG=1 is the default of the option', (t) => {
  const before = process.env.SPANHEAP_DEBUG
  const isDebug = (options: HeapOptions = {}) => {
    const heap = new Heap({ limitBytes: MIB, ...options })
    const address = heap.malloc(3)
    const usable = heap.usableSize(address)
    heap.close()
    return usable === 3
  }
  process.env.SPANHEAP_DEBUG = '1'
  t.true(isDebug())
  t.false(isDebug({ debug: false }))
  process.env.SPANHEAP_DEBUG = '0'
  t.false(isDebug())
  t.true(isDebug({ debug: true }))
  if (before === undefined) delete process.env.SPANHEAP_DEBUG
  else process.env.SPANHEAP_DEBUG = before
})
