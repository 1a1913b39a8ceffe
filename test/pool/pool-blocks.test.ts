import test from 'ava'
import { Heap } from '../../lib/index.ts'
import { HOST } from '../../lib/lifetime/host.ts'
import { PoolBlocks } from '../../lib/pool/pool-blocks.ts'
import { PoolSlots } from '../../lib/pool/pool-slots.ts'
import { ACQUIRED, FREE, SHAPE } from '../support/slot-states.ts'

const LIMIT_BYTES = 2 ** 26

test('blocks: made, dropped, and given views that are known until they are gone', (t) => {
  using heap = new Heap({ limitBytes: LIMIT_BYTES })
  const owner = {}
  const blocks = new PoolBlocks(heap, PoolSlots.local(heap, SHAPE).grown(heap), { size: 100, tag: undefined }, owner)
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
  t.is(heap.stats().liveBytes, heap.usableSize(blocks.slots.home!.address), 'the roster')
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
