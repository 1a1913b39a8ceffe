import test from 'ava'
import { checkSignal, orAborted } from '../../lib/base/abort.ts'
import { Heap } from '../../lib/index.ts'
import { HOST } from '../../lib/lifetime/host.ts'
import { Lease } from '../../lib/pool/lease.ts'
import { PoolBlocks } from '../../lib/pool/pool-blocks.ts'
import { checkBehaviour, checkPoolOptions } from '../../lib/pool/pool-options.ts'
import { isLeased, isOut, isPassed, PoolSlots } from '../../lib/pool/pool-slots.ts'
import { poolStats } from '../../lib/pool/pool-stats.ts'
import { Waiters } from '../../lib/threads/waiters.ts'
import { stateOf } from '../support/pools.ts'

const LIMIT_BYTES = 2 ** 26
const REASON = new Error('no more')
/** States of slots, as pool-slots.ts numbers them. */
const [EMPTY, FREE, MAKING, ACQUIRED, WATCHED, LEASED, TRIMMING] = [0, 1, 0x100, 0x200, 0x300, 0x400, 0x500] as const

test('abort: an operation that is done before wins, an abort from before it does too, and no listener stays', async (t) => {
  const controller = new AbortController()
  const { signal } = controller
  let listeners = 0
  const { addEventListener, removeEventListener } = AbortSignal.prototype
  signal.addEventListener = (...args: unknown[]) => {
    listeners++
    Reflect.apply(addEventListener, signal, args)
  }
  signal.removeEventListener = (...args: unknown[]) => {
    listeners--
    Reflect.apply(removeEventListener, signal, args)
  }
  t.is(await orAborted(Promise.resolve(5), signal), 5)
  await t.throwsAsync(orAborted(Promise.reject(new Error('failed')), signal), { message: 'failed' })
  t.is(listeners, 0)
  const late = orAborted(new Promise(() => {}), signal)
  t.is(listeners, 1)
  controller.abort(REASON)
  t.is(await t.throwsAsync(late), REASON)
  t.is(await t.throwsAsync(orAborted(Promise.resolve(5), signal)), REASON, 'though it is done')
  t.is(await t.throwsAsync(orAborted(Promise.reject(new Error('failed')), signal)), REASON)
  const plain = Promise.resolve(6)
  t.is(orAborted(plain, undefined), plain)
})

test('abort: what is no signal is refused, and an aborted one tells its reason', (t) => {
  checkSignal(undefined)
  checkSignal(new AbortController().signal)
  for (const value of [null, 7, {}, new AbortController()])
    t.throws(() => checkSignal(value as never), { code: 'ERR_INVALID_ARG_TYPE' })
  t.is(
    t.throws(() => checkSignal(AbortSignal.abort(REASON))),
    REASON
  )
})

/** A lease of a lender that only counts. */
function lent() {
  const calls = { ended: 0, operations: 0 }
  const lender = {
    endLease: () => {
      calls.ended++
    },
    beginOperation: () => {
      calls.operations++
      return () => {
        calls.operations--
      }
    },
  }
  return { calls, lease: new Lease(lender, 3, 'the buffer') }
}

test('lease: it ends with the last reference, once', (t) => {
  const { lease, calls } = lent()
  t.is(lease.retain(), lease)
  t.is(lease.references, 2)
  lease.release()
  t.is(lease.buffer, 'the buffer')
  t.is(calls.ended, 0)
  lease.release()
  t.is(calls.ended, 1)
  t.is(lease.references, 0)
  t.throws(() => lease.release(), { code: 'ERR_POOL_DOUBLE_RELEASE' })
  for (const call of [() => lease.buffer, () => lease.retain(), () => lease.hold()])
    t.throws(call, { code: 'ERR_HEAP_STALE_HANDLE' })
  lease[Symbol.dispose]()
  t.is(calls.ended, 1)
  t.is(lease.references, 0)
})

test('lease: dispose releases one reference, and only once', (t) => {
  const { lease, calls } = lent()
  lease.retain()
  lease[Symbol.dispose]()
  lease[Symbol.dispose]()
  t.is(lease.references, 1)
  lease.release()
  t.is(calls.ended, 1)
})

test('lease: during holds until the operation has settled, whatever comes of it', async (t) => {
  const { lease, calls } = lent()
  let finish: (value: number) => void = () => {}
  const running = lease.during(new Promise<number>((resolve) => (finish = resolve)))
  t.deepEqual([lease.references, calls.operations], [2, 1])
  lease.release()
  t.is(calls.ended, 0)
  finish(5)
  t.is(await running, 5)
  t.deepEqual([lease.references, calls.operations, calls.ended], [0, 0, 1])
  let ran = false
  const late = lease.during(async () => {
    ran = true
  })
  await t.throwsAsync(late, { code: 'ERR_HEAP_STALE_HANDLE' })
  t.false(ran)

  const { lease: other, calls: theirs } = lent()
  await t.throwsAsync(
    other.during(() => Promise.reject(REASON)),
    { is: REASON }
  )
  await t.throwsAsync(
    other.during(() => {
      throw REASON
    }),
    { is: REASON }
  )
  t.deepEqual([other.references, theirs.operations], [1, 0])
})

test('lease: asyncDispose waits for operations', async (t) => {
  const { lease, calls } = lent()
  const letGo = lease.hold()
  const ended = lease[Symbol.asyncDispose]()
  t.is(await stateOf(ended), 'waiting')
  letGo()
  letGo()
  t.is(await stateOf(ended), 'resolved')
  await lease[Symbol.asyncDispose]()
  t.deepEqual(calls, { ended: 1, operations: 0 })
})

const SHAPE = { size: 100, alignment: 0, zero: 0, most: 40 } as const

test('slots: each is claimed once, in order, and what was left empty comes first', (t) => {
  using heap = new Heap({ limitBytes: LIMIT_BYTES })
  const slots = PoolSlots.local(heap, SHAPE)
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

test('slots: shapes above 4 GiB, and blocks above 32 GiB, keep their numbers', (t) => {
  using heap = new Heap({ limitBytes: LIMIT_BYTES })
  const shape = { size: 2 ** 34 + 5, alignment: 2 ** 26, zero: 2, most: 3 } as const
  const slots = PoolSlots.local(heap, shape)
  t.deepEqual(slots.shape, shape)
  for (const address of [0, 16, 2 ** 31, 2 ** 35 + 32]) {
    slots.setAddress(2, address)
    t.is(slots.blockOf(2), address)
  }
})

test('slots: what lies in a block is found, and what lies beside it isn’t', (t) => {
  using heap = new Heap({ limitBytes: LIMIT_BYTES })
  const slots = PoolSlots.local(heap, SHAPE)
  const slot = slots.claimEmpty()
  slots.setAddress(slot, 65_536)
  for (const [address, reach, found] of [
    [65_536, 1, 0],
    [65_537, 1, -1],
    [65_635, 100, 0],
    [65_636, 100, -1],
    [65_535, 100, -1],
    [0, 100, -1],
  ] as const)
    t.is(slots.find(address, reach), found, `${address}`)
  slots.leaveEmpty(slot, MAKING as never)
  t.is(slots.find(65_536, 1), -1, 'an empty slot has none')
})

test('slots: words say whose a slot is, and what', (t) => {
  using heap = new Heap({ limitBytes: LIMIT_BYTES })
  const slots = PoolSlots.local(heap, SHAPE)
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
  slots.block!.leave(() => true)
  t.is(heap.stats().liveBytes, 0)
})

test('blocks: made, dropped, and given views that are known until they are gone', (t) => {
  using heap = new Heap({ limitBytes: LIMIT_BYTES })
  const owner = {}
  const blocks = new PoolBlocks(heap, PoolSlots.local(heap, SHAPE), { size: 100, tag: undefined }, owner)
  const slot = blocks.make()
  const view = blocks.viewOf(slot)
  t.is(blocks.viewOf(slot), view)
  t.not(blocks.newView(slot), view)
  t.is(blocks.first(slot, 10).length, 10)
  t.true(heap[HOST].isPooled(heap.addressOf(view)))
  for (const known of [view, view.subarray(0, 5), blocks.newView(slot)]) t.is(blocks.slotOf(known), slot)
  t.is(blocks.slotUnder(view.subarray(99)), slot)
  t.throws(() => blocks.slotOf(view.subarray(1)), { code: 'ERR_POOL_FOREIGN_BUFFER' })
  t.false(blocks.take(slot, FREE))
  t.true(blocks.take(slot, blocks.slots.own(ACQUIRED as never)))
  blocks.drop(slot)
  t.is(heap.stats().liveBytes, 0)
  t.true(blocks.isGone(view))
  t.is(blocks.slotUnder(view), -1)
  t.throws(() => blocks.slotOf(view), { code: 'ERR_POOL_DOUBLE_RELEASE' })
  const all: number[] = []
  for (let made = blocks.make(); made >= 0 || blocks.mayGrow; made = blocks.make()) {
    if (made >= 0) all.push(made)
    else blocks.slots = blocks.slots.grown(heap)
  }
  t.deepEqual(
    all,
    Array.from({ length: 40 }, (_, i) => i)
  )
  t.is(heap.addressOf(blocks.viewOf(39)), blocks.slots.blockOf(39), 'of the grown slots')
})

test('options: what isn’t chosen', (t) => {
  const { heap, ownsHeap, ...checked } = checkPoolOptions({ size: 1000 })
  t.true(ownsHeap)
  heap.close()
  t.like(checked, { shape: { size: 1000, alignment: 0, zero: 0, most: 2 ** 20 }, mostWhenShared: 65_536, min: 0 })
  t.like(checked, { idleMost: Math.floor((16 * 2 ** 20) / 1000), trimMs: 1000 })
  t.is(checkBehaviour({}, 2 ** 24).idleMost, 4, 'room for four')
  t.is(checkBehaviour({ idleBytes: 2500 }, 1000).idleMost, 2)
  t.is(checkBehaviour({ idleBytes: 0, min: 3 }, 1000).idleMost, 3)
  using mine = new Heap({ limitBytes: LIMIT_BYTES })
  const own = checkPoolOptions({ size: 8, heap: mine, max: 5, zero: 'release', alignment: 64 })
  t.like(own, { ownsHeap: false, mostWhenShared: 5, shape: { size: 8, alignment: 64, zero: 2, most: 5 } })
  t.is(own.heap, mine)
})

test('stats: each slot is counted once, by its word', (t) => {
  using heap = new Heap({ limitBytes: LIMIT_BYTES })
  const slots = PoolSlots.local(heap, SHAPE)
  const dead = -(2 ** 31) | 7
  for (const word of [FREE, FREE, slots.own(ACQUIRED as never), slots.own(WATCHED as never), dead | ACQUIRED]) {
    const slot = slots.claimEmpty()
    slots.change(slot, slots.own(MAKING as never), word)
  }
  for (const word of [slots.own(LEASED as never), dead | LEASED, slots.own(TRIMMING as never), EMPTY]) {
    const slot = slots.claimEmpty()
    slots.change(slot, slots.own(MAKING as never), word)
  }
  const passing = slots.claimEmpty()
  slots.change(passing, slots.own(MAKING as never), slots.passed(7))
  const out = { acquired: 3, leased: 2, passed: 1, dead: 2 }
  t.deepEqual(poolStats(slots, 100, 40, 9), { size: 100, max: 40, buffers: 9, idle: 2, waiting: 9, bytes: 900, ...out })
  const nothing = { acquired: 0, leased: 0, passed: 0, dead: 0 }
  const none = { size: 100, max: 40, buffers: 0, idle: 0, waiting: 0, bytes: 0, ...nothing }
  t.deepEqual(poolStats(undefined, 100, 40, 0), none)
})

test('waiters: the first come is the first served, who leaves is left out, and each change is told', async (t) => {
  const lengths: number[] = []
  const waiters = new Waiters<number>((length) => lengths.push(length))
  const controller = new AbortController()
  const buffers = [10, 11]
  const take = () => buffers.shift()
  const [first, second, third] = [waiters.wait(take), waiters.wait(take, controller.signal), waiters.wait(take)]
  controller.abort(REASON)
  t.is(await t.throwsAsync(second), REASON)
  waiters.serve()
  t.deepEqual(await Promise.all([first, third]), [10, 11])
  t.deepEqual(lengths, [1, 2, 3, 2, 1, 0])
  const last = waiters.wait(() => t.fail('nobody waits') as never, new AbortController().signal)
  waiters.end(REASON)
  t.is(await t.throwsAsync(last), REASON)
  t.is(waiters.length, 0)
  waiters.serve()
})

test('waiters: one who was served isn’t rejected by a later abort', async (t) => {
  const lengths: number[] = []
  const waiters = new Waiters<number>((length) => lengths.push(length))
  const controller = new AbortController()
  const served = waiters.wait(() => 5, controller.signal)
  waiters.serve()
  controller.abort(REASON)
  t.is(await served, 5)
  t.deepEqual(lengths, [1, 0], 'it isn’t listened to any more')
})
