import test from 'ava'
import { Heap, PoolSet } from '../../lib/index.ts'

const LIMIT_BYTES = 2 ** 26
const WRONG_TYPE = { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' }

test('a buffer comes from the smallest pool that has room for it, and goes back there', (t) => {
  using pools = new PoolSet({ sizes: [100, 1500, 1000, 5000] })
  for (const [size, length] of [
    [0, 100],
    [1, 100],
    [100, 100],
    [101, 1000],
    [1000, 1000],
    [1001, 1500],
    [1024, 1500],
    [1500, 1500],
    [1501, 5000],
    [5000, 5000],
  ]) {
    const buffer = pools.acquire(size!)
    t.is(buffer.length, length!, `${size}`)
    pools.release(buffer)
    t.is(pools.acquire(size!), buffer, 'the same again')
    pools.release(buffer)
    t.throws(() => pools.release(buffer), { code: 'ERR_POOL_DOUBLE_RELEASE' })
  }
  t.deepEqual(
    pools.stats().map(({ size, buffers, idle }) => [size, buffers, idle]),
    [100, 1000, 1500, 5000].map((size) => [size, 1, 1])
  )
  pools.heap.audit()
})

test('by default there are pools from 1 KiB to 1 MiB, whose buffers take what they are long and are seldom much longer than asked', (t) => {
  using pools = new PoolSet()
  const sizes = pools.stats().map(({ size }) => size)
  t.deepEqual([sizes[0], sizes.at(-1)], [1024, 2 ** 20])
  const wasted: number[] = []
  for (let size = 1024; size <= 2 ** 20; size *= 1.001) {
    const bytes = Math.floor(size)
    const buffer = pools.acquire(bytes)
    wasted.push(buffer.length / bytes - 1)
    t.is(pools.heap.usableSize(buffer.byteOffset), buffer.length)
    pools.release(buffer)
  }
  t.true(Math.max(...wasted) < 0.25)
  const mean = wasted.reduce((sum, waste) => sum + waste, 0) / wasted.length
  t.true(mean > 0 && mean < 0.07, `${mean}`)
  const largest = pools.acquire(2 ** 20)
  t.is(largest.length, 2 ** 20)
  pools.release(largest)
})

test('what lies idle is bounded for all pools together', (t) => {
  using pools = new PoolSet({ sizes: [1000, 10_000], idleBytes: 40_000 })
  for (const [size, idle] of [
    [1000, 20],
    [10_000, 2],
  ]) {
    const buffers = Array.from({ length: 30 }, () => pools.acquire(size!))
    for (const buffer of buffers) pools.release(buffer)
    t.is(pools.stats().find((stats) => stats.size === size)!.idle, idle!, `${size}`)
  }
  t.throws(() => new PoolSet({ idleBytes: -1 }), { code: 'ERR_OUT_OF_RANGE' })
})

test('what is larger comes from the heap, exactly as long, and goes back there', (t) => {
  using pools = new PoolSet({ sizes: [100] })
  const before = pools.heap.stats().liveBytes
  const buffer = pools.acquire(101)
  t.is(buffer.length, 101)
  pools.release(buffer)
  t.is(pools.heap.stats().liveBytes, before)
  t.throws(() => pools.release(buffer), { code: 'ERR_HEAP_DOUBLE_FREE' })
})

test('a closed set takes back what is out, and then closes a heap of its own', async (t) => {
  const pools = new PoolSet({ sizes: [100] })
  const { heap } = pools
  const small = pools.acquire(10).fill(1)
  const large = pools.acquire(1000).fill(2)
  pools.close()
  pools.close()
  t.throws(() => pools.acquire(10), { code: 'ERR_POOL_CLOSED' })
  t.throws(() => pools.acquire(1000), { code: 'ERR_POOL_CLOSED' })
  pools.release(small)
  await new Promise((resolve) => setImmediate(resolve))
  t.true(
    large.every((byte) => byte === 2),
    'the last one is there still'
  )
  pools.release(large)
  await new Promise((resolve) => setImmediate(resolve))
  t.throws(() => heap.malloc(1), { code: 'ERR_HEAP_CLOSED' })
})

test('a heap of somebody else’s stays open', async (t) => {
  using heap = new Heap()
  const pools = new PoolSet({ heap, sizes: [100] })
  pools.release(pools.acquire(10))
  pools.close()
  await new Promise((resolve) => setImmediate(resolve))
  heap.free(heap.malloc(10))
  heap.audit()
  t.is(heap.stats().liveBytes, 0)
})

test('wrong arguments', (t) => {
  using pools = new PoolSet({ sizes: [100] })
  for (const sizes of [[], [0], [-1], [1.5], [2 ** 30], [Number.NaN]])
    t.throws(() => new PoolSet({ sizes }), { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' }, `${sizes}`)
  for (const sizes of ['no', 7, null, ['100']])
    t.throws(() => new PoolSet({ sizes: sizes as never }), { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' })
  for (const size of [-1, 1.5, Number.NaN, 2 ** 53]) t.throws(() => pools.acquire(size), { code: 'ERR_OUT_OF_RANGE' })
  t.throws(() => pools.acquire('5' as never), { code: 'ERR_INVALID_ARG_TYPE' })
  t.throws(() => pools.release(5 as never), { code: 'ERR_INVALID_ARG_TYPE' })
  t.throws(() => pools.release(Buffer.alloc(100)), { code: 'ERR_POOL_FOREIGN_BUFFER' })
  t.throws(() => pools.release(Buffer.alloc(10)), { code: 'ERR_POOL_FOREIGN_BUFFER' })
  t.throws(() => new PoolSet({ sizes: [1], heap: {} as never }), { code: 'ERR_INVALID_ARG_TYPE' })
})

test('a buffer of the heap that the set has not handed out is none of its own, and stays live', (t) => {
  using heap = new Heap()
  using pools = new PoolSet({ heap, sizes: [1000] })
  const [own, strange] = [pools.acquire(5000), heap.allocBuffer(5000)]
  t.throws(() => pools.release(strange), { code: 'ERR_POOL_FOREIGN_BUFFER' })
  t.is(heap.addressOf(strange), strange.byteOffset)
  pools.release(own)
  t.throws(() => pools.release(own), { code: 'ERR_HEAP_DOUBLE_FREE' })
  heap.freeBuffer(strange)
  t.is(heap.stats().liveBytes, 0)
})

test("what is too large for its pools keeps a set's own heap open until it is released", (t) => {
  const pools = new PoolSet({ sizes: [1000] })
  const strange = pools.heap.allocBuffer(5000)
  const own = pools.acquire(5000)
  pools.close()
  t.throws(() => pools.release(strange), { code: 'ERR_POOL_FOREIGN_BUFFER' })
  pools.heap.freeBuffer(strange)
  return new Promise<void>((resolve) => setImmediate(resolve)).then(() => {
    t.is(pools.heap.stats().liveBytes >= 5000, true)
    pools.release(own)
    t.throws(() => pools.heap.malloc(1), { code: 'ERR_HEAP_CLOSED' })
  })
})

test('a set: options of its pools are checked as theirs, and nothing stays of one that was refused', (t) => {
  using heap = new Heap({ limitBytes: LIMIT_BYTES })
  for (const options of [{ max: 0 }, { min: -1 }, { alignment: 3 }, { zero: 'always' }, { leaks: 'none' }])
    t.throws(() => new PoolSet({ heap, sizes: [10], ...(options as object) }), { code: 'ERR_OUT_OF_RANGE' })
  for (const options of [{ tag: 7 }, { trimMs: '1' }, { heap: {} }])
    t.throws(() => new PoolSet({ heap, sizes: [10], ...(options as object) }), WRONG_TYPE)
  for (const value of [null, 7, 'x']) t.throws(() => new PoolSet(value as never), WRONG_TYPE)
  t.deepEqual(heap.stats({ detail: true }).owners, [])
  t.is(heap.stats().liveBytes, 0)
})
