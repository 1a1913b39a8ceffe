import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { Writable } from 'node:stream'
import test from 'ava'
import { Heap, PoolSet } from '../../lib/index.ts'
import { collectGarbage } from '../support/garbage.ts'
import { fileOf, gather, listening, sample, until } from '../support/pool-io.ts'
import { stateOf } from '../support/pools.ts'

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
  t.throws(() => pools.release(buffer), { code: 'ERR_POOL_DOUBLE_RELEASE' })
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
  t.throws(() => pools.release(own), { code: 'ERR_POOL_DOUBLE_RELEASE' })
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

for (const debug of [false, true]) {
  const mode = debug ? ', in debug mode' : ''

  test(`leases are as long as was asked, from the pools and beyond them${mode}`, async (t) => {
    using heap = new Heap({ debug })
    await using pools = new PoolSet({ heap, sizes: [100, 1000], max: 2, leaks: 'off' })
    for (const size of [0, 1, 99, 100, 101, 1000, 1001, 300_000]) {
      const lease = pools.lease(size)
      t.is(lease.buffer.length, size)
      lease.buffer.fill(1)
      const part = lease.buffer.subarray(size >> 1)
      t.is(size === 0 ? lease : pools.leaseOf(part), lease)
      t.throws(() => pools.release(lease.buffer), { code: 'ERR_POOL_LEASED' })
      t.throws(() => pools.pass(lease.buffer), { code: 'ERR_POOL_LEASED' })
      const letGo = pools.hold(lease.buffer)!
      lease.release()
      t.is(lease.references, 1)
      letGo()
      t.is(lease.references, 0)
      t.is(pools.leaseOf(part), undefined)
    }
    const [first, second] = [pools.lease(5), await pools.leaseAsync(6)]
    t.throws(() => pools.lease(7), { code: 'ERR_POOL_EXHAUSTED' })
    t.is(pools.tryAcquire(7), undefined)
    const waiting = [pools.leaseAsync(7), pools.acquireAsync(8)] as const
    t.deepEqual(await Promise.all(waiting.map(stateOf)), ['waiting', 'waiting'])
    first.release()
    second.release()
    t.is((await waiting[0]).buffer.length, 7)
    t.is((await waiting[1]).length, 100)
    ;(await waiting[0]).release()
    pools.release(await waiting[1])
    const large = [await pools.leaseAsync(5000), await pools.acquireAsync(5000), pools.tryAcquire(5000)!] as const
    t.deepEqual([large[0].buffer.length, large[1].length, large[2].length], [5000, 5000, 5000])
    large[0].release()
    for (const buffer of large.slice(1) as Buffer[]) pools.release(buffer)
    for (const call of ['leaseAsync', 'acquireAsync'] as const) {
      await t.throwsAsync(pools[call](5000, { signal: AbortSignal.abort(new Error('no')) }), { message: 'no' })
      await t.throwsAsync(pools[call](50, { signal: {} as AbortSignal }), WRONG_TYPE)
      await t.throwsAsync(pools[call](-1), { code: 'ERR_OUT_OF_RANGE' })
    }
    heap.audit()
    t.true(pools.stats().every(({ acquired, leased }) => acquired + leased === 0))
  })

  test(`pass and adopt, from the pools and beyond them${mode}`, (t) => {
    using heap = new Heap({ debug })
    using pools = new PoolSet({ heap, sizes: [100, 1000], leaks: 'off' })
    for (const size of [100, 1000, 1001, 300_000]) {
      const passed = structuredClone(pools.pass(pools.acquire(size).fill(size)))
      const adopted = pools.adopt(passed)
      t.deepEqual([adopted.length, adopted[50]], [size, size & 255])
      t.throws(() => pools.adopt(passed), { code: 'ERR_HEAP_STALE_HANDLE' })
      t.throws(() => pools.adoptLease(passed), { code: 'ERR_HEAP_STALE_HANDLE' })
      pools.release(adopted)
      t.throws(() => pools.release(adopted), { code: 'ERR_POOL_DOUBLE_RELEASE' })
      t.throws(() => pools.pass(adopted), { code: 'ERR_POOL_DOUBLE_RELEASE' })
    }
    for (const size of [0, 70, 900, 1001]) {
      const lease = pools.lease(size)
      lease.buffer.fill(7)
      const again = pools.adoptLease(lease.pass())
      t.deepEqual([again.buffer.length, again.buffer.every((byte) => byte === 7)], [size, true])
      const buffer = pools.adopt(again.pass())
      t.is(buffer.length, size)
      pools.release(buffer)
    }
    for (const value of [undefined, null, 7])
      t.throws(() => pools.adopt(value as never), { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' })
    for (const value of [{}, [], { owner: 7, from: 'pool' }])
      t.throws(() => pools.adopt(value as never), { code: 'ERR_HEAP_STALE_HANDLE' })
    t.true(pools.stats().every(({ acquired, leased, passed }) => acquired + leased + passed === 0))
    heap.audit()
  })

  test(`a shared set: what one takes, another gives back${mode}`, (t) => {
    using heap = new Heap({ debug })
    using pools = new PoolSet({ heap, sizes: [100, 1000], alignment: 64, zero: 'acquire', leaks: 'off' })
    const token = structuredClone(pools.share())
    using other = PoolSet.attach(token, { tag: 'other', leaks: 'off', idleBytes: 10_000 })
    t.deepEqual(
      other.stats().map(({ size }) => size),
      [100, 1000]
    )
    t.is(other.tag, 'other')
    for (const size of [100, 1000, 5000]) {
      const lease = other.adoptLease(pools.pass(pools.acquire(size).fill(3)))
      t.deepEqual([lease.buffer.length, lease.buffer[10]], [size, 3])
      lease.release()
      const adopted = pools.adopt(other.lease(size).pass())
      t.deepEqual([adopted.length, adopted.every((byte) => byte === 0)], [size, true])
      t.is(pools.heap.addressOf(adopted) % 64, 0)
      pools.release(adopted)
    }
    for (const wrong of [
      { ...token, pools: [] },
      { ...token, pools: undefined },
      { ...token, pools: [null] },
      { ...token, pools: [token.pools[0], { pool: 16, generation: 5 }] },
      { ...token, pools: [{ pool: token.pools[0]!.pool, generation: 1 }] },
    ])
      t.throws(() => PoolSet.attach(wrong as never), { code: 'ERR_HEAP_INVALID_TOKEN' })
    t.throws(() => PoolSet.attach(token, { size: 7 } as never), { instanceOf: TypeError })
    t.throws(() => PoolSet.attach(token, { idleBytes: -1 }), { code: 'ERR_OUT_OF_RANGE' })
    heap.audit()
  })
}

test('options concern buffers beyond the pools too', async (t) => {
  using heap = new Heap()
  heap.freeBuffer(heap.allocBuffer(5000).fill(1))
  using pools = new PoolSet({ heap, sizes: [100], zero: 'release', alignment: 512, tag: 'mine', leaks: 'all' })
  const buffer = pools.acquire(5000)
  t.true(buffer.every((byte) => byte === 0))
  t.is(buffer.byteOffset % 512, 0)
  const mine = heap.stats({ detail: true }).owners.filter(({ tag }) => tag === 'mine')
  t.deepEqual(
    mine.map(({ buffers, bytes }) => [buffers, bytes]),
    [[1, 5000]]
  )
  pools.release(buffer)
  const reports: { kind: string; bytes: number }[] = []
  const listen = (report: unknown) => void reports.push(report as { kind: string; bytes: number })
  subscribe('spanheap:leak', listen)
  t.teardown(() => unsubscribe('spanheap:leak', listen))
  const kept = pools.acquire(7001)
  ;(() => pools.acquire(7002).fill(1))()
  ;(() => pools.lease(7003).buffer.fill(1))()
  await collectGarbage()
  const ours = reports.filter(({ bytes }) => bytes > 7000 && bytes < 7010).sort((a, b) => a.bytes - b.bytes)
  t.deepEqual(
    ours.map(({ kind, bytes }) => [kind, bytes]),
    [
      ['buffer', 7002],
      ['lease', 7003],
    ]
  )
  pools.release(kept)
})

test('what is written is held until it is done, whatever its size', async (t) => {
  await using pools = new PoolSet({ sizes: [100] })
  let done = () => {}
  const target = new Writable({
    write(_chunk, _encoding, callback) {
      done = callback
    },
  })
  for (const size of [100, 5000]) {
    const buffer = pools.acquire(size)
    const written = pools.write(target, buffer.subarray(10))
    pools.release(buffer)
    t.true(pools.heap.usableSize(pools.heap.addressOf(buffer)) >= size, 'it is not free yet')
    done()
    await written
    t.throws(() => pools.release(buffer), { code: 'ERR_POOL_DOUBLE_RELEASE' })
    await t.throwsAsync(pools.write(target, buffer), { code: 'ERR_POOL_DOUBLE_RELEASE' })
    const lease = pools.lease(size)
    const again = pools.write(target, lease)
    lease.release()
    t.is(lease.references, 1)
    done()
    await again
    t.is(lease.references, 0)
  }
  await t.throwsAsync(pools.write(target, 7 as never), WRONG_TYPE)
})

test('files and sockets are read into buffers of one of the pools', async (t) => {
  await using pools = new PoolSet()
  const contents = sample(200_000)
  const file = await fileOf(t, contents)
  t.deepEqual(await gather(pools.read(file, { start: 0 })), contents)
  t.deepEqual(
    pools.stats().flatMap(({ size, buffers }) => (buffers > 0 ? size : [])),
    [65_536]
  )
  const server = pools.createServer(async (socket) => {
    for await (const chunk of pools.read(socket)) await pools.write(socket, chunk)
    socket.end()
  })
  const port = await listening(t, server)
  const socket = pools.connect(port, '127.0.0.1')
  socket.end(contents)
  t.deepEqual(await gather(pools.read(socket)), contents)
  await until(() => pools.stats().every(({ leased }) => leased === 0))
  using small = new PoolSet({ sizes: [10, 1000] })
  for await (const chunk of small.read(file, { start: 0 })) t.is(chunk.length, 1000)
})

test('reclaim takes back what dead threads had', (t) => {
  using pools = new PoolSet({ sizes: [100, 1000] })
  pools.share()
  t.is(pools.reclaim(), 0)
  pools.release(pools.acquire(5))
  t.is(pools.trim(), 100)
})
