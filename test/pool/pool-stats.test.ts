import test from 'ava'
import { Heap } from '../../lib/index.ts'
import { PoolSlots } from '../../lib/pool/pool-slots.ts'
import { poolStats } from '../../lib/pool/pool-stats.ts'
import { ACQUIRED, EMPTY, FREE, LEASED, MAKING, SHAPE, TRIMMING, WATCHED } from '../support/slot-states.ts'

const LIMIT_BYTES = 2 ** 26

test('stats: each slot is counted once, by its word', (t) => {
  using heap = new Heap({ limitBytes: LIMIT_BYTES })
  const slots = PoolSlots.local(heap, SHAPE).grown(heap)
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
