import test from 'ava'
import { BufferPool, Heap, type PoolToken } from '../../lib/index.ts'
import { GrowableMapper } from '../../lib/os/growable-mapper.ts'

const LIMIT_BYTES = 2 ** 26

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

test('tokens that are none, of pools that are gone, or of other things, are refused', (t) => {
  using heap = new Heap({ limitBytes: LIMIT_BYTES })
  const pool = new BufferPool({ size: 100, heap })
  const token = pool.share()
  t.deepEqual(pool.share(), token)
  const block = heap.calloc(1, 10_000)
  for (const address of [0, 48, -1, 1.5, block, block + 16, 2 ** 40, Number.NaN, pool.acquire().byteOffset])
    t.throws(() => BufferPool.attach({ ...token, pool: address }), { code: 'ERR_HEAP_INVALID_TOKEN' }, `${address}`)
  for (const wrong of [
    { ...token, heap: undefined },
    { ...token, generation: undefined },
    { heap: token.heap },
    { ...token, heap: {} },
  ])
    t.throws(() => BufferPool.attach(wrong as PoolToken), { code: 'ERR_HEAP_INVALID_TOKEN' })
  for (const options of [null, 7, { heap: {} }, { min: 'x' }, { tag: 1 }])
    t.throws(() => BufferPool.attach(token, options as never), { code: 'ERR_INVALID_ARG_TYPE' })
  t.is(heap.stats().threads, 1, 'nothing is left of these')
  const own = new BufferPool({ size: 100, heap: new Heap({ mapper: new GrowableMapper() }) })
  t.throws(() => own.share(), { code: 'ERR_HEAP_NOT_SHARED' })
  own.close()
  pool.trim()
  pool.reclaim()
  const last = new BufferPool({ size: 100, heap })
  const gone = last.share()
  last.close()
  t.throws(() => BufferPool.attach(gone, { heap }), { code: 'ERR_HEAP_INVALID_TOKEN' })
})

test('a pool that is open twice in one thread is one owner: either gives back, once, but nothing that the other holds', (t) => {
  using pool = new BufferPool({ size: 100, max: 2 })
  using other = BufferPool.attach(pool.share())
  const buffer = pool.acquire()
  const letGo = pool.hold(buffer)!
  t.throws(() => other.release(buffer), { code: 'ERR_POOL_LEASED' })
  letGo()
  other.release(buffer)
  t.throws(() => pool.release(buffer), { code: 'ERR_POOL_DOUBLE_RELEASE' })
  other.close()
  t.is(pool.stats().idle, 1)
})

test('a thread that was struck in share() is no less a part of the pool after another call', (t) => {
  const pool = new BufferPool({ size: 100, max: 2 })
  pool.release(pool.acquire())
  const struck = pool as unknown as { enterShared?: () => void }
  struck.enterShared = () => {
    throw new Error('struck')
  }
  t.throws(() => pool.share(), { message: 'struck' })
  delete struck.enterShared
  const other = BufferPool.attach(pool.share())
  const buffers = [pool.acquire(), other.acquire()]
  t.is(new Set(buffers.map((buffer) => pool.heap.addressOf(buffer))).size, 2)
  t.is(other.tryAcquire(), undefined)
  other.close()
  t.true(pool.blocks.slots.block!.isJoined)
  for (const buffer of buffers) pool.release(buffer)
  pool.close()
})
