import test from 'ava'
import { BufferPool, Heap } from '../../lib/index.ts'
import { Slot } from '../../lib/pool/pool-slots.ts'
import { Waiters } from '../../lib/threads/waiters.ts'
import { collectGarbage } from '../support/garbage.ts'

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

test('what a closed heap watched is left alone when it is collected, while others have the heap open', async (t) => {
  const heap = new Heap({ leaks: 'all' })
  using other = Heap.attach(heap.share())
  for (let i = 0; i < 5; i++) heap.allocBuffer(100)
  heap.close()
  await collectGarbage()
  t.notThrows(() => other.audit())
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

test('a shared pool that is closed ends when the last operation lets go of an acquired buffer', async (t) => {
  const pool = new BufferPool({ size: 100 })
  pool.share()
  const letGo = pool.hold(pool.acquire())!
  pool.close()
  letGo()
  await pool[Symbol.asyncDispose]()
  t.is(pool.stats().buffers, 0)
})

test('to let go of a buffer twice counts once', (t) => {
  using pool = new BufferPool({ size: 100 })
  const lease = pool.lease()
  const letGo = pool.hold(lease.buffer)!
  letGo()
  letGo()
  t.is(lease.references, 1)
  lease.release()
})

test('a buffer that another thread has given back a moment ago is not filled with zeros', (t) => {
  using pool = new BufferPool({ size: 100, zero: 'release' })
  const buffer = pool.acquire().fill(7)
  const { slots } = pool.blocks
  const before = slots.state(0) ^ 0x1000 // as another thread's word was
  t.false(pool.makeFree(0, before))
  t.true(buffer.every((byte) => byte === 7))
  pool.release(buffer)
  t.true(buffer.every((byte) => byte === 0))
})

test('who waited before a pool was shared gets what another thread releases', async (t) => {
  const pool = new BufferPool({ size: 100, max: 1 })
  const buffer = pool.acquire()
  const waiting = pool.acquireAsync()
  const other = BufferPool.attach(pool.share())
  other.release(buffer)
  pool.release(await waiting)
  other.close()
  pool.close()
  t.pass()
})

test('an error while waiters are served is told to the first, and the rest go on waiting', async (t) => {
  const waiters = new Waiters<number>()
  let take = (): number => {
    throw new Error('no memory')
  }
  const first = waiters.wait(() => take())
  const second = waiters.wait(() => take())
  waiters.serve()
  await t.throwsAsync(first, { message: 'no memory' })
  t.is(waiters.length, 1)
  take = () => 5
  waiters.serve()
  t.is(await second, 5)
})

test('slots that lost their blocks are found again, also by a thread that did not trim them', (t) => {
  using pool = new BufferPool({ size: 100, max: 3 })
  const fill = (own: BufferPool) => [own.acquire(), own.acquire(), own.acquire()]
  for (let round = 0; round < 2; round++) {
    for (const buffer of fill(pool)) pool.release(buffer)
    t.is(pool.trim(1), 200)
  }
  using other = BufferPool.attach(pool.share())
  for (let round = 0; round < 2; round++) {
    for (const buffer of fill(other)) pool.release(buffer)
    t.is(pool.trim(), 300)
  }
  t.is(pool.stats().buffers, 0)
})

test('a thread dies for a pool whatever the bits of its tag are', (t) => {
  using heap = new Heap()
  using pool = new BufferPool({ heap, size: 100 })
  const { slots } = pool.blocks
  t.true(slots.isDead(-(2 ** 31) | Slot.Acquired | 7))
  t.false(slots.isDead(slots.own(Slot.Acquired)))
  t.false(slots.isDead(Slot.Free))
  t.false(slots.isDead(Slot.Empty))
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

test('a slot that its thread was struck in is used again: by the thread where it lives, by others where it died', (t) => {
  using heap = new Heap()
  using pool = new BufferPool({ heap, size: 100, max: 2 })
  const { malloc } = heap
  heap.malloc = () => {
    Object.assign(pool.blocks.slots, { change: () => false, empty: () => {} })
    throw new Error('struck')
  }
  t.throws(() => pool.acquire(), { message: 'struck' })
  heap.malloc = malloc
  const slots = pool.blocks.slots as unknown as Record<string, unknown>
  for (const name of ['change', 'empty']) delete slots[name]
  t.is(pool.stats().buffers, 1)
  ;(pool.blocks as unknown as { isAtWork: boolean }).isAtWork = true
  for (const buffer of [pool.acquire(), pool.acquire()]) pool.release(buffer)
  t.is(pool.trim(), 200)
  t.is(pool.stats().buffers, 0)
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
