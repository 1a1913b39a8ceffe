import test from 'ava'
import { BufferPool, Heap } from '../../lib/index.ts'
import { Slot } from '../../lib/pool/pool-slots.ts'
import { poolOf } from '../support/pool-io.ts'
import { countsOf } from '../support/pools.ts'

const LIMIT_BYTES = 2 ** 26

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

test('hold ends once, however often it is told to', (t) => {
  using pool = new BufferPool({ size: 100 })
  const buffer = pool.acquire()
  const first = pool.hold(buffer)!
  first()
  const second = pool.hold(buffer)!
  first()
  t.deepEqual(countsOf(pool), { acquired: 0, leased: 1, idle: 0 })
  const lease = pool.lease()
  const third = pool.hold(lease.buffer)!
  third()
  third()
  t.is(lease.references, 1)
  pool.release(buffer)
  t.throws(() => pool.release(buffer), { code: 'ERR_POOL_DOUBLE_RELEASE' }, 'though an operation has it still')
  second()
  t.deepEqual(countsOf(pool), { acquired: 0, leased: 1, idle: 1 })
})

test('a longer or later use of a part holds the whole', (t) => {
  using pool = new BufferPool({ size: 100 })
  const buffer = pool.acquire()
  const letGo = pool.hold(buffer.subarray(90, 100))!
  t.is(pool.hold(new Uint8Array(pool.heap.buffer, buffer.byteOffset + 100, 1)), undefined, 'just behind it')
  pool.release(buffer)
  t.not(pool.acquire(), buffer)
  letGo()
  t.is(pool.acquire(), buffer)
})

test('what holds a buffer of a closed pool touches nothing where its slots were', (t) => {
  using heap = new Heap()
  const pool = new BufferPool({ heap, size: 100, max: 4 })
  const other = BufferPool.attach(pool.share(), { heap })
  const lease = pool.lease()
  const part = pool.first(lease, 10)
  lease.release()
  const { words } = pool.blocks.slots
  pool.close()
  other.close()
  const address = heap.malloc(words.byteLength)
  words.fill(Slot.Acquired)
  t.is(pool.hold(part), undefined)
  t.is(pool.hold(Buffer.alloc(10)), undefined)
  t.is(pool.leaseOf(part), undefined)
  t.true(words.every((word) => word === Slot.Acquired))
  heap.free(address)
})
