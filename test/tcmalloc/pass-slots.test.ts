import test from 'ava'
import { Heap } from '../../lib/index.ts'
import { HOST } from '../../lib/lifetime/host.ts'
import { HeapWord } from '../../lib/tcmalloc/control.ts'
import { PassSlot, PassState, PassWord } from '../../lib/tcmalloc/pass-slot.ts'
import { SimulatedMapper } from '../../lib/testing/index.ts'

const MIB = 2 ** 20
const STALE = { code: 'ERR_HEAP_STALE_HANDLE' }

/** A heap's insides, for what a test does to them. */
const insidesOf = (heap: Heap) => heap[HOST].tiers

test('slots are used again, those that a dead thread had claimed too', (t) => {
  using heap = new Heap({ limitBytes: 64 * MIB, leaks: 'off' })
  const values = Array.from({ length: 300 }, () => heap.pass(heap.allocBuffer(16)))
  t.deepEqual(new Set(values.map(({ slot }) => slot)), new Set(Array.from({ length: 300 }, (_, slot) => slot)))
  for (const passed of values) heap.freeBuffer(heap.adopt(passed))
  const { passes } = insidesOf(heap)
  t.is(passes.used, 300)
  for (let i = 0; i < 50; i++) {
    const other = Heap.attach(heap.share())
    insidesOf(other).passes.ready()
    const { slots, slot } = other[HOST].thread()
    slots.markDead(slot)
    heap.stats() // clears up
  }
  const again = Array.from({ length: 300 }, () => heap.pass(heap.allocBuffer(16)))
  t.is(passes.used, 300)
  t.is(new Set(again.map(({ slot }) => slot)).size, 300)
  heap.audit()
})

test('a slot whose numbers are used up isn’t used again', (t) => {
  using heap = new Heap({ limitBytes: 64 * MIB, leaks: 'off' })
  const { tables } = insidesOf(heap)
  heap.freeBuffer(heap.adopt(heap.pass(heap.allocBuffer(16))))
  tables.passes[PassWord.Sequence] = PassSlot.LastSequence - 1
  const last = heap.pass(heap.allocBuffer(16))
  t.deepEqual([last.slot, last.sequence], [0, PassSlot.LastSequence])
  heap.freeBuffer(heap.adopt(last))
  for (let i = 0; i < 100; i++) {
    const passed = heap.pass(heap.allocBuffer(16))
    t.not(passed.slot, 0)
    heap.freeBuffer(heap.adopt(passed))
  }
  t.throws(() => heap.adopt(last), STALE)
})

test('where as many blocks are passed as may be, or the system has no memory for slots, nothing is changed', (t) => {
  const mapper = new SimulatedMapper()
  using heap = new Heap({ limitBytes: 64 * MIB, mapper, leaks: 'all' })
  const buffer = heap.allocBuffer(100)
  const live = heap.stats().liveBytes
  const refused = () => {
    const error = t.throws(() => heap.pass(buffer), { code: 'ERR_HEAP_OUT_OF_MEMORY' })
    t.is(heap.stats().liveBytes, live)
    t.is(heap.stats().passedBytes, 0)
    t.is(heap.stats({ detail: true }).owners[0]?.buffers, 1, 'it is watched still')
    heap.audit()
    return error
  }
  mapper.limitBytes = 0
  t.like(refused(), { syscall: 'mmap' })
  mapper.limitBytes = Number.POSITIVE_INFINITY
  heap.freeBuffer(heap.adopt(heap.pass(heap.allocBuffer(10))))
  // All others are another thread's, which lives.
  const { tables } = insidesOf(heap)
  using other = Heap.attach(heap.share(), { mapper })
  tables.coverPasses(PassSlot.Most)
  tables.control[HeapWord.PassesUsed] = PassSlot.Most
  for (let slot = 0; slot < PassSlot.Most; slot++)
    tables.passes[slot << PassSlot.Shift] = other[HOST].thread().tag | PassState.Claimed
  t.false('syscall' in refused()!)
  tables.passes[(PassSlot.Most - 1) << PassSlot.Shift] = PassState.Free
  t.is(heap.pass(buffer).slot, PassSlot.Most - 1, 'all are looked at')
})

test('an audit finds blocks without slots, and slots without blocks', (t) => {
  using heap = new Heap({ limitBytes: 64 * MIB, leaks: 'off' })
  const passed = heap.pass(heap.allocBuffer(100))
  const { tables } = insidesOf(heap)
  const granule = passed.address / 16
  const state = tables.states[granule]!
  heap.audit()
  tables.states[granule] = -1
  t.throws(() => heap.audit(), { code: 'ERR_HEAP_CORRUPT', message: /isn't passed, but has a slot/ })
  tables.states[granule] = state
  const word = tables.passes[PassWord.State]!
  tables.passes[PassWord.State] = 0
  t.throws(() => heap.audit(), { code: 'ERR_HEAP_CORRUPT', message: /1 blocks are passed, but 0 slots/ })
  tables.passes[PassWord.State] = word
  t.notThrows(() => heap.audit())
})
