import test from 'ava'
import { Heap } from '../../lib/index.ts'
import { HOST } from '../../lib/lifetime/host.ts'
import { Granule } from '../../lib/memory/page.ts'
import { Lock } from '../../lib/tcmalloc/control.ts'

test('a thread that hands a block out and dies while another repairs its class keeps the block live', (t) => {
  const heap = new Heap({ leaks: 'off' })
  const [other, dead] = [0, 1].map(() => Heap.attach(heap.share(), { leaks: 'off' })) as [Heap, Heap]
  for (const address of Array.from({ length: 4 }, () => other.malloc(1000))) other.free(address)
  const { tiers } = heap[HOST]
  const { slots } = tiers.tables
  const { member } = other[HOST].tiers
  let address = 0
  const die = () => {
    address = other.malloc(1000)
    slots.markDead(member.slot)
  }
  const state = slots.state.bind(slots)
  const { central } = tiers as unknown as { central: { rebuild(...args: unknown[]): void } }
  const rebuild = central.rebuild.bind(central)
  let rebuilds = 0
  central.rebuild = (...args) => {
    rebuilds++
    // The last moment: the repair has read a state of that slot, and asks whether its thread lives.
    slots.state = (slot) => {
      if (slot === member.slot && address === 0) die()
      return state(slot)
    }
    rebuild(...args)
    slots.state = state
    if (address === 0) die()
  }
  const doomed = dead[HOST].tiers
  doomed.member.locks.acquire(Lock.FirstClass + tiers.classBySize[Math.ceil(1000 / Granule.Bytes)]!)
  slots.markDead(doomed.member.slot)
  heap.threadIdle()
  heap.malloc(1000)
  t.is(rebuilds, 1)
  t.is(heap.usableSize(address), 1024)
  t.is(heap.stats().liveBytes, 2 * 1024)
  heap.audit()
  heap.free(address)
})
