import test from 'ava'
import { BufferPool, Heap } from '../../lib/index.ts'
import { countsOf } from '../support/pools.ts'

const LIMIT_BYTES = 2 ** 26

const openHeap = () => new Heap({ limitBytes: LIMIT_BYTES })

test('a buffer is released once', (t) => {
  for (const options of [{}, { leaks: 'all' }, { zero: 'release' }, { idleBytes: 0 }] as const) {
    for (const shared of [false, true]) {
      using pool = new BufferPool({ size: 100, ...options })
      if (shared) pool.share()
      const buffer = pool.acquire()
      pool.release(buffer)
      const error = t.throws(() => pool.release(buffer), { code: 'ERR_POOL_DOUBLE_RELEASE' })
      t.like(error, { address: buffer.byteOffset })
      t.throws(() => pool.hold(buffer), { code: 'ERR_POOL_DOUBLE_RELEASE' })
      t.throws(() => pool.pass(buffer), { code: 'ERR_POOL_DOUBLE_RELEASE' })
      t.is(pool.leaseOf(buffer), undefined)
      t.is(pool.stats().acquired, 0)
    }
  }
})

test('what isn’t a buffer of the pool, from its start, is refused', (t) => {
  using heap = openHeap()
  using pool = new BufferPool({ size: 100, heap })
  using other = new BufferPool({ size: 100, heap })
  using elsewhere = new BufferPool({ size: 100 })
  const buffer = pool.acquire()
  const foreign = [
    buffer.subarray(1),
    buffer.subarray(5),
    buffer.subarray(16),
    new Uint16Array(buffer.buffer, buffer.byteOffset + 2, 4),
    Buffer.alloc(100),
    heap.allocBuffer(100),
    heap.bufferAt(heap.malloc(100)),
    other.acquire(),
    elsewhere.acquire(),
    new Uint8Array(heap.buffer, 0, 8),
  ]
  for (const view of foreign) {
    t.throws(() => pool.release(view), { code: 'ERR_POOL_FOREIGN_BUFFER' })
    t.throws(() => pool.pass(view), { code: 'ERR_POOL_FOREIGN_BUFFER' })
  }
  for (const view of foreign.slice(4)) t.is(pool.hold(view), undefined)
  t.deepEqual(countsOf(pool), { acquired: 1, leased: 0, idle: 0 })
  pool.release(buffer.subarray(0, 10))
  t.deepEqual(countsOf(pool), { acquired: 0, leased: 0, idle: 1 }, 'what starts it stands for it')
})

test('the heap of a pool frees and moves none of its buffers', (t) => {
  using heap = openHeap()
  using pool = new BufferPool({ size: 100, heap })
  const leased = pool.lease()
  const idle = pool.acquire()
  const out = pool.acquire()
  pool.release(idle)
  for (const buffer of [out, idle, leased.buffer]) {
    const address = heap.addressOf(buffer)
    for (const call of [
      () => heap.freeBuffer(buffer),
      () => heap.freeBuffer(buffer.subarray(0)),
      () => heap.free(address),
      () => heap.realloc(address, 50),
      () => heap.realloc(address, 100_000),
      () => heap.freeBuffer(heap.bufferAt(address)),
    ])
      t.throws(call, { code: 'ERR_HEAP_INVALID_ADDRESS' }, String(call))
  }
  heap.audit()
  t.deepEqual(countsOf(pool), { acquired: 1, leased: 1, idle: 1 })
  leased.release()
})

test('a view whose block is gone stands for nothing, whoever has its place', (t) => {
  using heap = openHeap()
  using pool = new BufferPool({ size: 100, heap, leaks: 'off' })
  const old = pool.acquire()
  pool.release(old)
  pool.trim()
  const now = pool.acquire()
  t.is(now.byteOffset, old.byteOffset)
  t.throws(() => pool.release(old), { code: 'ERR_POOL_DOUBLE_RELEASE' })
  t.throws(() => pool.hold(old), { code: 'ERR_POOL_DOUBLE_RELEASE' })
  t.is(pool.leaseOf(old), undefined)
  t.deepEqual(countsOf(pool), { acquired: 1, leased: 0, idle: 0 })
  pool.release(now)
})
