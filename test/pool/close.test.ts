import { PassThrough } from 'node:stream'
import test from 'ava'
import { BufferPool, Heap, PoolSet } from '../../lib/index.ts'
import { HOST } from '../../lib/lifetime/host.ts'
import { fileOf, gather, reasonOf, sample } from '../support/pool-io.ts'
import { countsOf } from '../support/pools.ts'

const LIMIT_BYTES = 2 ** 26

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

test('after close every call says so', async (t) => {
  for (const shared of [false, true]) {
    const pool = new BufferPool({ size: 100 })
    const buffer = pool.acquire()
    pool.release(buffer)
    if (shared) pool.share()
    pool.close()
    for (const call of [
      () => pool.acquire(),
      () => pool.tryAcquire(),
      () => pool.lease(),
      () => pool.release(buffer),
      () => pool.pass(buffer),
      () => pool.adopt({} as never),
      () => pool.reclaim(),
      () => pool.trim(),
      () => pool.share(),
      () => pool.connect({ port: 1 }),
      () => pool.createServer(() => {}),
    ])
      t.throws(call, { code: 'ERR_POOL_CLOSED' }, String(call))
    for (const call of [() => pool.acquireAsync(), () => pool.leaseAsync()])
      await t.throwsAsync(call, { code: 'ERR_POOL_CLOSED' })
    t.is(pool.tryLease(), undefined)
    t.deepEqual(countsOf(pool), { acquired: 0, leased: 0, idle: 0 })
    pool.close()
    await pool[Symbol.asyncDispose]()
  }
})

test('a heap that is closed before its pool ends the pool: no timer throws, and nobody waits for it', async (t) => {
  const heap = new Heap()
  const pool = new BufferPool({ heap, size: 4096, trimMs: 5, max: 2 })
  const buffer = pool.acquire()
  pool.release(pool.acquire())
  const lease = pool.lease()
  const waiting = pool.acquireAsync()
  heap.close()
  await t.throwsAsync(waiting, { code: 'ERR_POOL_CLOSED' })
  t.throws(() => pool.acquire(), { code: 'ERR_POOL_CLOSED' })
  // What was out when the heap was closed may come back quietly.
  t.notThrows(() => pool.release(buffer))
  t.notThrows(() => lease.release())
  pool.close()
  await pool[Symbol.asyncDispose]()
  await new Promise((resolve) => setTimeout(resolve, 20))
  t.is(pool.stats().buffers, 0)
})

test('a shared pool that is closed ends when the last operation lets go of a released buffer', async (t) => {
  const pool = new BufferPool({ size: 100 })
  pool.share()
  const buffer = pool.acquire()
  const letGo = pool.hold(buffer)!
  pool.close()
  pool.release(buffer)
  t.is(pool.stats().leased, 1)
  letGo()
  await pool[Symbol.asyncDispose]()
  t.is(pool.stats().buffers, 0)
})

test('a heap that is closed with a pool open leaves no timer behind that throws', async (t) => {
  const heap = new Heap()
  const pool = new BufferPool({ size: 100, heap, trimMs: 1 })
  const lease = pool.lease()
  pool.release(pool.acquire())
  heap.close()
  lease.release()
  await new Promise((resolve) => setTimeout(resolve, 20))
  await pool[Symbol.asyncDispose]()
  t.is(pool.stats().buffers, 0)
})
