import test from 'ava'
import { BufferPool, Heap } from '../../lib/index.ts'
import { HOST } from '../../lib/lifetime/host.ts'
import { isLeased, isOut, isPassed, PoolSlots, Slot } from '../../lib/pool/pool-slots.ts'
import { ACQUIRED, EMPTY, FREE, LEASED, MAKING, SHAPE, TRIMMING, WATCHED } from '../support/slot-states.ts'

const LIMIT_BYTES = 2 ** 26

test('slots: each is claimed once, in order, and what was left empty comes first', (t) => {
  using heap = new Heap({ limitBytes: LIMIT_BYTES })
  const none = PoolSlots.local(heap, SHAPE)
  t.deepEqual([none.capacity, none.claimEmpty()], [0, -1])
  const slots = none.grown(heap)
  t.deepEqual([slots.capacity, slots.used, slots.isShared], [16, 0, false])
  t.deepEqual(
    Array.from({ length: 17 }, () => slots.claimEmpty()),
    [...Array.from({ length: 16 }, (_, i) => i), -1]
  )
  slots.leaveEmpty(9, MAKING as never)
  slots.leaveEmpty(4, MAKING as never)
  slots.leaveEmpty(4, MAKING as never)
  t.deepEqual([slots.claimEmpty(), slots.claimEmpty(), slots.claimEmpty()], [4, 9, -1])
  const grown = slots.grown(heap)
  t.deepEqual([grown.capacity, grown.used, grown.claimEmpty()], [32, 16, 16])
  t.is(grown.grown(heap).capacity, 40, 'no more than there may be')
  t.deepEqual(grown.shape, SHAPE)
})

test('slots: shapes above 4 GiB keep their numbers', (t) => {
  using heap = new Heap({ limitBytes: LIMIT_BYTES })
  const shape = { size: 2 ** 34 + 5, alignment: 2 ** 26, zero: 2, most: 3 } as const
  t.deepEqual(PoolSlots.local(heap, shape).grown(heap).shape, shape)
})

test('slots: what lies in a block is found, and what lies beside it isn’t, nor what a slot has lost', (t) => {
  using heap = new Heap({ limitBytes: LIMIT_BYTES })
  const slots = PoolSlots.local(heap, SHAPE).grown(heap)
  const slot = slots.claimEmpty()
  const host = heap[HOST]
  const block = host.take(100)
  slots.place(slot)
  for (const [offset, reach, found] of [
    [0, 1, 0],
    [1, 1, -1],
    [99, 100, 0],
    [100, 100, -1],
    [-1, 100, -1],
  ] as const)
    t.is(slots.find(block + offset, reach), found, `${offset}`)
  t.is(slots.find(0, 100), -1)
  t.is(slots.blockOf(slot), block)
  slots.displace(slot)
  t.is(slots.find(block, 1), -1)
  t.is(host.tiers.hand.block[0], block / 16)
  slots.leaveEmpty(slot, MAKING as never)
  slots.home!.leave()
  t.is(heap.stats().liveBytes, 0)
})

test('slots: words say whose a slot is, and what', (t) => {
  using heap = new Heap({ limitBytes: LIMIT_BYTES })
  const slots = PoolSlots.local(heap, SHAPE).grown(heap)
  const table: [number, boolean, boolean][] = [
    [MAKING, false, false],
    [ACQUIRED, true, false],
    [WATCHED, true, false],
    [LEASED, true, true],
    [TRIMMING, false, false],
  ]
  for (const [state, out, leased] of table) {
    const word = slots.own(state as never)
    t.deepEqual([isOut(word), isLeased(word), isPassed(word), slots.isDead(word)], [out, leased, false, false])
  }
  for (const word of [EMPTY, FREE])
    t.deepEqual([isOut(word), isLeased(word), isPassed(word), slots.isDead(word)], [false, false, false, false])
  // What stands in the tag's place may look like that of a thread that never was.
  for (const number of [0, 1, 2 ** 20, 2 ** 29 - 1]) {
    const word = slots.passed(number)
    t.deepEqual([isOut(word), isLeased(word), isPassed(word), slots.isDead(word)], [false, false, true, false])
  }
  const slot = slots.claimEmpty()
  t.false(slots.change(slot, FREE, EMPTY))
  t.is(slots.state(slot), slots.own(MAKING as never))
})

test('slots: a look for a free one takes each once, the near ones first', (t) => {
  using heap = new Heap({ limitBytes: LIMIT_BYTES })
  const slots = PoolSlots.local(heap, { ...SHAPE, most: 300 }).shared(heap, 300)
  const making = slots.own(MAKING as never)
  const acquired = slots.own(ACQUIRED as never)
  for (let i = 0; i < 200; i++) slots.claimEmpty()
  for (const slot of [3, 150]) slots.change(slot, making, FREE)
  t.is(slots.takeFree(acquired, false), 3)
  t.is(slots.takeFree(acquired, false), -1, 'not within the next 64')
  t.is(slots.takeFree(acquired, true), 150)
  t.is(slots.takeFree(acquired, true), -1)
  slots.block!.leave()
  t.is(heap.stats().liveBytes, 0)
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

test('a slot that its thread was struck in is used again: by the thread where it lives, by others where it died', (t) => {
  using heap = new Heap()
  using pool = new BufferPool({ heap, size: 100, max: 2 })
  pool.release(pool.acquire())
  pool.trim()
  const host = heap[HOST] as unknown as { take?: () => number }
  host.take = () => {
    Object.assign(pool.blocks.slots, { change: () => false, empty: () => {} })
    throw new Error('struck')
  }
  t.throws(() => pool.acquire(), { message: 'struck' })
  delete host.take
  const slots = pool.blocks.slots as unknown as Record<string, unknown>
  for (const name of ['change', 'empty']) delete slots[name]
  t.is(pool.stats().buffers, 1)
  ;(pool.blocks as unknown as { isAtWork: boolean }).isAtWork = true
  for (const buffer of [pool.acquire(), pool.acquire()]) pool.release(buffer)
  t.is(pool.trim(), 200)
  t.is(pool.stats().buffers, 0)
})
