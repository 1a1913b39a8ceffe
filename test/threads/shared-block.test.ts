import test from 'ava'
import { BufferPool, Channel, HandleTable, Heap } from '../../lib/index.ts'
import { HOST } from '../../lib/lifetime/host.ts'
import { ObjectState } from '../../lib/tcmalloc/object-state.ts'
import { SHARED_KINDS, SHARED_NAMES } from '../support/shared-kinds.ts'

const CLASSES = { BufferPool, Channel, HandleTable }
const INVALID = { code: 'ERR_HEAP_INVALID_TOKEN' }
const openHeap = () => new Heap({ limitBytes: 2 ** 26 })

for (const name of SHARED_NAMES) {
  const { make, attach } = SHARED_KINDS[name]

  test(`a ${name}'s token that names no such block is refused, whatever its numbers are`, (t) => {
    using heap = openHeap()
    const { address, generation, token, close } = make(CLASSES, heap)
    const [field] = Object.entries(token).find(([, value]) => value === address)!
    const freed = heap.malloc(address)
    heap.free(freed)
    const wrong = [freed, heap.malloc(64), 16, 0, -1, 1.5, Number.NaN, 2 ** 40, 'x', undefined]
    for (const value of wrong)
      t.throws(() => attach(CLASSES, heap, { ...token, [field]: value }), INVALID, `${field}: ${value}`)
    for (const value of [generation + 1, 1.5, undefined, 'x'])
      t.throws(() => attach(CLASSES, heap, { ...token, generation: value }), INVALID, `generation: ${value}`)
    close()
    t.throws(() => attach(CLASSES, heap, token), INVALID, 'it was closed')
    const theirs = Heap.attach(heap.share())
    theirs.close()
    t.throws(() => attach(CLASSES, theirs, token))
  })

  test(`a ${name}'s token isn't another kind's`, (t) => {
    using heap = openHeap()
    const { address, generation, close } = make(CLASSES, heap)
    for (const other of SHARED_NAMES.filter((other) => other !== name)) {
      const token = { channel: address, handles: address, pool: address, generation, heap: heap.share() }
      t.throws(() => SHARED_KINDS[other].attach(CLASSES, heap, token), INVALID, other)
    }
    close()
  })

  test(`a ${name} stays as long as one of the objects that have it open, of one heap object or two, and goes with the last`, (t) => {
    using heap = openHeap()
    const before = heap.stats().liveBytes
    const theirs = Heap.attach(heap.share())
    const { token, close } = make(CLASSES, heap)
    const there = [heap, heap, theirs].map((at) => attach(CLASSES, at, token))
    close()
    close()
    while (there.length > 0) {
      t.true(heap.stats().liveBytes > before + 300)
      const next = attach(CLASSES, theirs, token)
      there.pop()![Symbol.dispose]()
      next[Symbol.dispose]()
    }
    t.is(heap.stats().liveBytes, before)
    t.throws(() => attach(CLASSES, heap, token), INVALID)
    theirs.close()
    heap.audit()
  })

  test(`a ${name} isn't kept by a thread that died, or that closed its heap, with it open`, (t) => {
    for (const dies of [true, false]) {
      using heap = openHeap()
      const before = heap.stats().liveBytes
      const theirs = Heap.attach(heap.share())
      const { token, close } = make(CLASSES, heap)
      const other = attach(CLASSES, theirs, token)
      if (dies) {
        const { slots, slot } = theirs[HOST].thread()
        slots.markDead(slot)
        heap.threadIdle()
      } else {
        theirs.close()
        other[Symbol.dispose]()
      }
      close()
      t.is(heap.stats().liveBytes, before)
      t.throws(() => attach(CLASSES, heap, token), INVALID)
      heap.audit()
    }
  })

  test(`a ${name} whose threads have all died, or closed the heap, is ended by the next one that looks`, (t) => {
    const looks: ((heap: Heap, token: object) => void)[] = [
      (heap) => heap.stats(),
      (heap) => heap.releaseFreeMemory(),
      (heap) => Heap.attach(heap.share()).close(),
      (heap) => heap.handles().close(),
      (heap) => t.throws(() => heap.malloc(2 ** 30), { code: 'ERR_HEAP_OUT_OF_MEMORY' }),
      (heap, token) => t.throws(() => attach(CLASSES, heap, token), INVALID),
    ]
    for (const look of looks) {
      for (const dies of [true, false]) {
        using heap = openHeap()
        const theirs = Heap.attach(heap.share())
        const { token } = make(CLASSES, theirs)
        if (dies) {
          const { slots, slot } = theirs[HOST].thread()
          slots.markDead(slot)
        } else {
          // A pool ends with the heap's close, so that its slots must be open until then.
          theirs[HOST].buffers.closeOwners = () => {}
          theirs.close()
        }
        look(heap, token)
        const { states } = heap[HOST].tiers.tables
        t.false(states.subarray(0, 2 ** 16).includes(ObjectState.Pooled))
        const { liveBytes, deadThreadsBytes } = heap.stats()
        t.deepEqual({ liveBytes, deadThreadsBytes }, { liveBytes: 0, deadThreadsBytes: 0 })
        heap.audit()
      }
    }
  })
}
