import { Worker } from 'node:worker_threads'
import test from 'ava'
import { Heap as RealHeap } from '../../lib/index.ts'
import { ObjectState } from '../../lib/tcmalloc/object-state.ts'
import { SlotState, type ThreadSlots as Slots } from '../../lib/threads/thread-slots.ts'
import { random } from '../support/churn.ts'
import {
  chosenPoints,
  countPoints,
  expect,
  insidesOf,
  type Library,
  loadStrikable,
  strikeAt,
} from '../support/strikes.ts'

const MIB = 2 ** 20
const TOO_MANY = { code: 'ERR_HEAP_TOO_MANY_WORKERS' }

let library: Library
test.before(async () => {
  library = await loadStrikable('strike-spare')
})

/** The words of the slots, to claim one as another thread would. */
const claim = (slots: Slots, slot: number) => {
  const { words } = slots as unknown as { words: Int32Array }
  words[slot + 1] = ((words[slot + 1]! & ~SlotState.Mask) + SlotState.Mask + 1) | SlotState.Live
}

/** A heap all of whose slots are taken, two of them by dead threads, of which one was struck on a slow path. */
function allTaken(seed: number) {
  const options = { mapper: new library.SimulatedMapper(), leaks: 'off' as const }
  const maker = new library.Heap({ limitBytes: 64 * MIB, ...options })
  const victim = library.Heap.attach(maker.share(), options)
  for (const size of [64, 1000, 300_000]) {
    const blocks = Array.from({ length: 4 }, () => victim.malloc(size))
    for (const address of blocks) victim.free(address)
  }
  const liveBytes = 112
  maker.malloc(100)
  const { slots } = insidesOf(maker).tables
  strikeAt(10 + (seed % 60), () => {
    victim.threadIdle()
    victim.free(victim.malloc(MIB))
  })
  for (const slot of [0, 1]) slots.markDead(slot)
  for (let slot = 2; slot < ObjectState.SlotCount; slot++) claim(slots, slot)
  const token = maker.share()
  return { slots, liveBytes, attach: () => library.Heap.attach(token, options) }
}

test.serial(
  'a thread that finds no slot but of the dead, and is struck anywhere as it attaches, leaves a heap that can be attached',
  (t) => {
    let struck = 0
    const total = countPoints(allTaken(0).attach)
    for (const n of chosenPoints(total, random(7))) {
      for (const dies of [true, false]) {
        const { slots, liveBytes, attach } = allTaken(n)
        try {
          // Not every seed has as many points.
          if (!strikeAt(n, attach)) continue
          struck++
          for (let slot = 0; dies && slot < slots.count; slot++)
            if (slots.state(slot) === SlotState.Live) slots.markDead(slot)
          const heap = attach()
          expect(slots.state(ObjectState.SlotCount) === SlotState.Free, 'the spare slot is in use')
          expect(heap.stats().liveBytes - liveBytes <= MIB, `${heap.stats().liveBytes} bytes are live`)
          expect(heap.stats().liveBytes % MIB === liveBytes, `${heap.stats().liveBytes} bytes are live`)
          heap.free(heap.malloc(1000))
          if (dies) heap.audit()
        } catch (error) {
          t.fail(`point ${n}, ${dies ? 'dead' : 'alive'}: ${error instanceof Error ? error.stack : String(error)}`)
          return
        }
      }
    }
    t.log(`${struck} strikes at ${total} points`)
    t.true(struck > 30)
  }
)

test.serial('the spare slot of a live thread is waited for, and a heap of live threads only says so', (t) => {
  const { slots, attach } = allTaken(0)
  const heap = attach()
  for (let slot = 0; slot < ObjectState.SlotCount; slot++) if (slots.state(slot) === SlotState.Free) claim(slots, slot)
  t.throws(attach, TOO_MANY)
  t.is(slots.state(ObjectState.SlotCount), SlotState.Free)
  claim(slots, ObjectState.SlotCount)
  t.throws(attach, TOO_MANY)
  slots.markDead(9)
  slots.markDead(ObjectState.SlotCount)
  const other = attach()
  t.is(insidesOf(other).member.slot, 9)
  other.free(other.malloc(100))
  heap.free(heap.malloc(100))
})

test.serial(
  'workers that attach and never close use up the slots, and end: a program that has the token only attaches',
  async (t) => {
    const program = `
    import { parentPort } from 'node:worker_threads'
    import { Heap } from '${new URL('../../lib/index.js', import.meta.url).href}'
    const heap = new Heap({ limitBytes: 64 * 2 ** 20, leaks: 'off' })
    heap.malloc(100)
    try { for (;;) Heap.attach(heap.share(), { leaks: 'off' }) } catch (error) { parentPort.postMessage([error.code, heap.share()]) }
    setInterval(() => {}, 1000)`
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(program)}`))
    const [code, token] = await new Promise<[string, ReturnType<RealHeap['share']>]>((resolve, reject) => {
      worker.once('message', resolve).once('error', reject)
    })
    t.is(code, TOO_MANY.code)
    await worker.terminate()
    using heap = RealHeap.attach(token, { leaks: 'off' })
    t.is(heap.stats().threads, 1)
    t.is(heap.stats().deadThreadsBytes, 112)
    heap.audit()
  }
)
