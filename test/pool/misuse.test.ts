import { once } from 'node:events'
import { createServer } from 'node:net'
import { PassThrough } from 'node:stream'
import test from 'ava'
import { BufferPool, Heap, PoolSet } from '../../lib/index.ts'
import { HOST } from '../../lib/lifetime/host.ts'
import { fileOf, gather, isWhole, poolOf, reasonOf, sample } from '../support/pool-io.ts'
import { countsOf } from '../support/pools.ts'

const LIMIT_BYTES = 2 ** 26
const WRONG_TYPE = { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' }

test('what still works after close, and what doesn’t', async (t) => {
  const pool = new BufferPool({ size: 100 })
  const [acquired, kept] = [pool.acquire().fill(1), pool.acquire()]
  const lease = pool.lease()
  pool.close()
  // As long as something is out, it can be held, looked for, written and released; nothing more is handed out.
  const letGo = pool.hold(kept)!
  pool.release(kept)
  t.is(pool.leaseOf(lease.buffer), lease)
  t.is(lease.retain().references, 2)
  const stream = new PassThrough()
  await pool.write(stream, acquired)
  t.is(stream.read().length, 100)
  t.deepEqual(countsOf(pool), { acquired: 1, leased: 2, idle: 0 })
  t.is((await reasonOf(gather(pool.read(await fileOf(t, sample(10)))))).code, 'ERR_POOL_CLOSED')
  letGo()
  pool.release(acquired)
  lease.release()
  t.true(pool.heap[HOST].isOpen)
  lease.release()
  t.false(pool.heap[HOST].isOpen)
  t.is(pool.hold(acquired), undefined)
  t.is(pool.leaseOf(acquired), undefined)
  for (const call of [() => pool.release(acquired), () => pool.pass(acquired), () => pool.connect({ port: 1 })])
    t.throws(call, { code: 'ERR_POOL_CLOSED' })
  t.deepEqual(pool.stats(), {
    size: 100,
    max: 2 ** 20,
    buffers: 0,
    acquired: 0,
    leased: 0,
    passed: 0,
    idle: 0,
    dead: 0,
    waiting: 0,
    bytes: 0,
  })
})

test('a heap that is closed first: its pools and sets are closed', async (t) => {
  const heap = new Heap({ limitBytes: LIMIT_BYTES })
  const pool = new BufferPool({ size: 100, heap })
  const set = new PoolSet({ sizes: [100], heap })
  const small = set.acquire(1)
  const lease = pool.lease()
  heap.close()
  t.throws(() => pool.acquire(), { code: 'ERR_POOL_CLOSED' })
  t.throws(() => set.acquire(1), { code: 'ERR_POOL_CLOSED' })
  t.throws(() => new BufferPool({ size: 100, heap }).acquire(), { code: 'ERR_HEAP_CLOSED' })
  t.notThrows(() => lease.release())
  t.throws(() => lease.release(), { code: 'ERR_POOL_DOUBLE_RELEASE' })
  t.throws(() => set.release(small), { code: 'ERR_POOL_CLOSED' })
  set.close()
  pool.close()
  await pool[Symbol.asyncDispose]()
  t.deepEqual(heap.stats({ detail: true }).owners, [])
})

test('options of connect and createServer that are none', async (t) => {
  const pool = poolOf(t)
  for (const value of [undefined, {}]) t.throws(() => pool.connect(value as never), { code: 'ERR_MISSING_ARGS' })
  for (const value of [null, true, Symbol('x')]) t.throws(() => pool.connect(value as never), WRONG_TYPE)
  for (const value of [7, 'x', true, Symbol('x')])
    t.throws(() => pool.createServer(value as never, () => {}), WRONG_TYPE, String(value))
  for (const value of [null, {}, 7]) t.throws(() => pool.createServer({}, value as never), WRONG_TYPE)
  await isWhole(t, pool)
})

test('what another holds by its address alone is held', (t) => {
  const pool = poolOf(t, 100)
  const buffer = pool.acquire()
  const same = new DataView(buffer.buffer, buffer.byteOffset + 10, 20)
  const letGo = pool.hold(same)!
  t.deepEqual(countsOf(pool), { acquired: 0, leased: 1, idle: 0 })
  t.is(pool.leaseOf(same), undefined, 'no lease of the program’s')
  t.throws(() => pool.pass(buffer), { code: 'ERR_POOL_LEASED' })
  letGo()
  pool.release(new Uint8Array(buffer.buffer, buffer.byteOffset, 0))
  t.deepEqual(countsOf(pool), { acquired: 0, leased: 0, idle: 1 })
})

test('a pool whose memory is another thread’s lease can’t hold it; what another acquired, it can', (t) => {
  using heap = new Heap({ limitBytes: LIMIT_BYTES })
  const pool = new BufferPool({ heap, size: 100, trimMs: 0 })
  const other = BufferPool.attach(pool.share(), { heap: Heap.attach(heap.share()) })
  const lease = pool.lease()
  t.throws(() => other.hold(lease.buffer), { code: 'ERR_POOL_LEASED' })
  const acquired = pool.acquire()
  const letGo = other.hold(acquired)!
  t.throws(() => pool.hold(acquired), { code: 'ERR_POOL_LEASED' }, 'an operation there has it')
  t.throws(() => pool.release(acquired), { code: 'ERR_POOL_LEASED' })
  letGo()
  pool.release(acquired)
  t.throws(() => other.hold(acquired), { code: 'ERR_POOL_DOUBLE_RELEASE' })
  lease.release()
  t.throws(() => other.hold(acquired), { code: 'ERR_POOL_DOUBLE_RELEASE' })
  other.close()
  pool.close()
})

test('attach: a heap that is another’s, or closed, and a pool that is closed, are told', (t) => {
  using heap = new Heap({ limitBytes: LIMIT_BYTES })
  using other = new Heap({ limitBytes: LIMIT_BYTES })
  const pool = new BufferPool({ heap, size: 100 })
  const token = pool.share()
  const closed = Heap.attach(heap.share())
  closed.close()
  t.throws(() => BufferPool.attach(token, { heap: other }), { code: 'ERR_HEAP_INVALID_TOKEN' })
  t.throws(() => BufferPool.attach(token, { heap: closed }), { code: 'ERR_HEAP_CLOSED' })
  pool.close()
  t.throws(() => BufferPool.attach(token), { code: 'ERR_HEAP_INVALID_TOKEN' })
  t.throws(() => BufferPool.attach(token, { heap }), { code: 'ERR_HEAP_INVALID_TOKEN' })
  t.is(heap.stats().threads, 1)
  t.is(heap.stats().liveBytes, 0)
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

test('a block that is longer than a view can be is told by code, and its bytes can be looked at in parts', (t) => {
  using heap = new Heap({ limitBytes: 2 ** 33 })
  const address = heap.malloc(2 ** 32 + 4096)
  const usable = heap.usableSize(address)
  for (const length of [undefined, usable]) {
    // Node 20 has views of at most 4 GiB; later ones have longer ones.
    const calls = [() => heap.bufferAt(address, length), () => heap.view(address, length)]
    for (const call of calls) {
      try {
        t.is(call().length, usable)
      } catch (error) {
        t.like(error, { name: 'RangeError', code: 'ERR_OUT_OF_RANGE' })
      }
    }
  }
  t.is(heap.bufferAt(address, 100).length, 100)
  heap.free(address)
})

test('a server of a pool that is closed goes on with ordinary buffers', async (t) => {
  const pool = poolOf(t)
  const server = pool.createServer({}, async (socket) => {
    const got = await gather(pool.read(socket))
    socket.end(got)
  })
  t.true(server instanceof createServer().constructor)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as { port: number }
  const socket = pool.connect({ port, host: '127.0.0.1', allowHalfOpen: true } as never)
  await once(socket, 'connect')
  pool.close()
  socket.end(sample(5000))
  // The server ends when its client does, unless it allows half open ones; so what it says is cut off at worst.
  await gather(pool.read(socket)).catch(() => {})
  socket.destroy()
  await pool[Symbol.asyncDispose]()
  t.false(pool.heap[HOST].isOpen)
})
