import test from 'ava'
import { BufferPool, Heap, type PassedBlock } from '../../lib/index.ts'
import { HOST } from '../../lib/lifetime/host.ts'
import { countsOf } from '../support/pools.ts'

const STALE = { code: 'ERR_HEAP_STALE_HANDLE' }

for (const shared of [false, true]) {
  const open = () => {
    const pool = new BufferPool({ size: 100, max: 4, leaks: 'off' })
    if (shared) pool.share()
    return pool
  }
  const name = shared ? 'a shared pool' : 'a pool of one thread'

  test(`${name}: a buffer that was passed is nobody’s until it is adopted, once`, (t) => {
    using pool = open()
    const values: PassedBlock[] = []
    for (let round = 0; round < 5; round++) {
      const buffer = pool.acquire().fill(round)
      const { byteOffset } = buffer
      const passed = pool.pass(buffer)
      t.like(pool.stats(), { buffers: 1, acquired: 0, idle: 0, passed: 1, dead: 0, bytes: 100 })
      for (const call of [() => pool.release(buffer), () => pool.pass(buffer), () => pool.hold(buffer)])
        t.throws(call, { code: 'ERR_POOL_DOUBLE_RELEASE' })
      t.is(pool.leaseOf(buffer), undefined)
      t.is(pool.trim(), 0)
      t.is(pool.reclaim(), 0)
      const another = pool.acquire()
      t.not(another.byteOffset, byteOffset)
      pool.release(another)
      pool.trim()
      for (const stale of values) t.throws(() => pool.adopt(stale), STALE)
      const adopted = pool.adopt(structuredClone(passed))
      values.push(passed)
      t.deepEqual([adopted.byteOffset, adopted.length, adopted[0]], [byteOffset, 100, round])
      t.throws(() => pool.adopt(passed), STALE)
      t.like(pool.stats(), { buffers: 1, acquired: 1, passed: 0 })
      pool.release(adopted)
      t.throws(() => pool.adopt(passed), STALE)
      t.deepEqual(countsOf(pool), { acquired: 0, leased: 0, idle: 1 })
    }
    pool.heap.audit()
  })

  test(`${name}: no forged, damaged or foreign value adopts anything`, (t) => {
    using pool = open()
    using other = open()
    const passed = pool.pass(pool.acquire())
    const theirs = other.pass(other.acquire())
    const block = pool.heap.pass(pool.heap.allocBuffer(100))
    for (const value of [undefined, null, 7, 'x', () => {}])
      t.throws(() => pool.adopt(value as never), { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' })
    const forged: unknown[] = [
      {},
      [],
      Buffer.alloc(100),
      theirs,
      block,
      { ...theirs, owner: passed.owner, address: 16 },
    ]
    for (const field of ['slot', 'sequence', 'address', 'length', 'owner'] as const) {
      // A lease passes the length of its buffer, which may be any up to the pool's size.
      for (const more of [1, ...(field === 'length' ? [] : [-1]), 16, 2 ** 8, 2 ** 29, 2 ** 32])
        forged.push({ ...passed, [field]: passed[field] + more })
      for (const value of [-1, 0.5, Number.NaN, '0', null, {}, 7n]) forged.push({ ...passed, [field]: value })
    }
    const before = pool.stats()
    for (const value of forged) t.throws(() => pool.adopt(value as never), STALE)
    t.throws(() => pool.heap.adopt(passed), STALE)
    t.deepEqual(pool.stats(), before)
    pool.release(pool.adopt(passed))
    pool.heap.freeBuffer(pool.heap.adopt(block))
  })

  test(`${name}: what a lease has, or an operation holds, isn’t passed`, (t) => {
    using pool = open()
    const lease = pool.lease()
    t.throws(() => pool.pass(lease.buffer), { code: 'ERR_POOL_LEASED' })
    const buffer = pool.acquire()
    const letGo = pool.hold(buffer)!
    t.throws(() => pool.pass(buffer), { code: 'ERR_POOL_LEASED' })
    letGo()
    const passed = pool.pass(buffer)
    lease.release()
    pool.release(pool.adopt(passed))
    t.deepEqual(countsOf(pool), { acquired: 0, leased: 0, idle: 2 })
  })

  test(`${name}: who waits gets what another has adopted and releases`, async (t) => {
    using pool = open()
    const values = Array.from({ length: 4 }, () => pool.pass(pool.acquire()))
    t.throws(() => pool.acquire(), { code: 'ERR_POOL_EXHAUSTED' })
    const waiting = pool.acquireAsync()
    pool.release(pool.adopt(values[0]!))
    const buffer = await waiting
    t.is(buffer.byteOffset, values[0]!.address)
    for (const passed of values.slice(1)) pool.release(pool.adopt(passed))
    pool.release(buffer)
  })
}

test('a value from before the pool was shared is as good as one from after it', (t) => {
  using pool = new BufferPool({ size: 100, leaks: 'off' })
  const passed = pool.pass(pool.acquire().fill(7))
  using other = BufferPool.attach(pool.share(), { leaks: 'off' })
  const adopted = other.adopt(passed)
  t.is(adopted[0], 7)
  t.throws(() => pool.adopt(passed), STALE)
  other.release(adopted)
})

test('a pool of one thread that grows keeps what was passed', (t) => {
  using pool = new BufferPool({ size: 100, leaks: 'off' })
  const values = Array.from({ length: 100 }, (_, i) => pool.pass(pool.acquire().fill(i)))
  t.is(pool.stats().passed, 100)
  for (const [i, passed] of values.entries()) {
    const buffer = pool.adopt(passed)
    t.is(buffer[0], i)
    pool.release(buffer)
  }
})

test('the dead had nothing of what they passed, and have what they adopted', (t) => {
  using heap = new Heap({ limitBytes: 2 ** 28 })
  using pool = new BufferPool({ size: 100, heap, leaks: 'off' })
  const theirs = Heap.attach(heap.share())
  const other = BufferPool.attach(pool.share(), { heap: theirs, leaks: 'off' })
  const passed = other.pass(other.acquire().fill(7))
  other.adopt(pool.pass(pool.acquire()))
  const { slots, slot } = theirs[HOST].thread()
  slots.markDead(slot)
  t.like(pool.stats(), { acquired: 1, passed: 1, dead: 1 })
  t.is(pool.reclaim(), 1)
  t.like(pool.stats(), { acquired: 0, passed: 1, dead: 0, idle: 1 })
  const adopted = pool.adopt(passed)
  t.is(adopted[0], 7)
  pool.release(adopted)
})

test('the last close of a shared pool frees what was passed and not adopted, and a value from before is stale', (t) => {
  using heap = new Heap({ limitBytes: 2 ** 28 })
  const pool = new BufferPool({ size: 100, heap, leaks: 'off' })
  const other = BufferPool.attach(pool.share(), { heap, leaks: 'off' })
  const passed = pool.pass(pool.acquire())
  pool.close()
  t.throws(() => pool.adopt(passed), { code: 'ERR_POOL_CLOSED' })
  other.close()
  t.is(heap.stats().liveBytes, 0)
  using next = new BufferPool({ size: 100, heap, leaks: 'off' })
  t.throws(() => next.adopt(passed), STALE)
  next.share()
  t.throws(() => next.adopt(passed), STALE)
})

test('a pool of one thread that is closed waits for what was passed, and is told when the heap is closed', (t) => {
  const pool = new BufferPool({ size: 100, leaks: 'off' })
  const passed = pool.pass(pool.acquire())
  pool.close()
  t.true(pool.heap[HOST].isOpen)
  pool.release(pool.adopt(passed))
  t.false(pool.heap[HOST].isOpen)

  const heap = new Heap({ limitBytes: 2 ** 28 })
  const second = new BufferPool({ size: 100, heap, leaks: 'off' })
  second.share()
  const buffer = second.acquire()
  const lost = second.pass(second.acquire())
  heap.close()
  t.throws(() => second.pass(buffer), { code: 'ERR_POOL_CLOSED' })
  t.throws(() => second.adopt(lost), { code: 'ERR_POOL_CLOSED' })
})

test('a buffer that is watched for a leak is passed like any other', (t) => {
  using pool = new BufferPool({ size: 100, leaks: 'all' })
  using other = BufferPool.attach(pool.share())
  const buffer = pool.acquire()
  const adopted = other.adopt(pool.pass(buffer))
  t.is(adopted.byteOffset, buffer.byteOffset)
  other.release(adopted)
  const lease = pool.lease()
  t.throws(() => other.pass(lease.buffer), { code: 'ERR_POOL_LEASED' })
  lease.release()
})
