import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import { BufferPool, Channel, HandleTable, Heap } from '../../lib/index.ts'
import { HOST } from '../../lib/lifetime/host.ts'
import { childScript } from '../support/child.ts'
import { SHARED_KINDS, SHARED_NAMES } from '../support/shared-kinds.ts'

/** Rounds of the races; a long run by hand sets more. */
const ROUNDS = Number(process.env.SPANHEAP_ATTACH_ROUNDS ?? 8_000)
const LIMIT_BYTES = 2 ** 26

const CLASSES = { BufferPool, Channel, HandleTable }

/** A heap in which something happens when a thread that attaches has found the words, and before it does anything with them. */
function interrupted(heap: Heap, run: () => void): Heap {
  const hooked = <T extends object>(of: T, hook: (key: PropertyKey, value: unknown) => unknown): T =>
    new Proxy(of, {
      get(target, key) {
        const value = hook(key, Reflect.get(target, key, target))
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
  const host = hooked(heap[HOST], (key, value) => {
    if (key === 'thread') run()
    return key === 'heap' ? late : value
  })
  const late: Heap = hooked(heap, (key, value) => (key === HOST ? host : value))
  return late
}

for (const name of SHARED_NAMES) {
  const kind = SHARED_KINDS[name]
  const { bytes } = kind
  const make = (heap: Heap) => {
    const made = kind.make(CLASSES, heap)
    return { ...made, attach: (at: Heap) => kind.attach(CLASSES, at, made.token) }
  }

  test(`a ${name} that is closed while a thread attaches: that one is told, and writes nothing where it was`, (t) => {
    for (const word of [7, 0, -1]) {
      using heap = new Heap({ limitBytes: LIMIT_BYTES })
      const made = make(heap)
      let others: Int32Array = new Int32Array()
      const late = interrupted(heap, () => {
        made.close()
        const address = heap.malloc(bytes)
        t.is(address, made.address, 'it is another’s memory by now')
        others = new Int32Array(heap.buffer, address, bytes / 4).fill(word)
      })
      t.throws(() => made.attach(late), { code: 'ERR_HEAP_INVALID_TOKEN' })
      t.true(others.every((value) => value === word) && others.length > 0, `words that are ${word}`)
      t.throws(() => made.attach(heap), { code: 'ERR_HEAP_INVALID_TOKEN' })
      heap.audit()
    }
  })

  test(`a ${name} that is closed while a thread attaches, to memory that nobody has yet`, (t) => {
    using heap = new Heap({ limitBytes: LIMIT_BYTES })
    const made = make(heap)
    t.throws(() => made.attach(interrupted(heap, () => made.close())), { code: 'ERR_HEAP_INVALID_TOKEN' })
    heap.audit()
    t.is(heap.stats().liveBytes, 0)
  })

  test.serial(`a ${name} is opened by one thread while another closes it, again and again`, async (t) => {
    const heap = new Heap({ limitBytes: LIMIT_BYTES })
    const words = new Int32Array(new SharedArrayBuffer(12))
    const first = make(heap)
    words[1] = first.address
    words[2] = first.generation
    const workerData = { token: heap.share(), kind: name, words }
    const worker = new Worker(childScript('attach-races'), { workerData })
    t.teardown(() => worker.terminate())
    await once(worker, 'message')
    first.close()
    for (let round = 0; round < ROUNDS; round++) {
      const made = make(heap)
      words[1] = made.address
      words[2] = made.generation
      // Now and then at once, while the other has just found the words.
      for (let spins = (round * 7) % 200; spins > 0; spins--) Atomics.load(words, 0)
      made.close()
      const block = new Int32Array(heap.buffer, heap.malloc(bytes), bytes / 4).fill(7)
      for (let spins = 0; spins < 20; spins++) Atomics.load(words, 0)
      const wrong = block.findIndex((word) => word !== 7)
      if (wrong >= 0) t.fail(`word ${wrong} of another’s block is ${block[wrong]} in round ${round}`)
      heap.free(block.byteOffset)
    }
    Atomics.store(words, 0, 1)
    // Both at once: on a busy machine the message comes with the exit.
    const [[counts]] = await Promise.all([once(worker, 'message'), once(worker, 'exit')])
    t.log(counts)
    t.true(counts.attached + counts.refused > 0)
    t.is(heap.stats().liveBytes, 0)
    heap.audit()
    heap.close()
  })

  test(`a token of a ${name} whose place another has is refused, also when that happens on the way`, (t) => {
    using heap = new Heap({ limitBytes: LIMIT_BYTES })
    const first = make(heap)
    let other: ReturnType<typeof make> | undefined
    const late = interrupted(heap, () => {
      if (other !== undefined) return
      first.close()
      other = make(heap)
      t.is(other.address, first.address)
    })
    t.throws(() => first.attach(late), { code: 'ERR_HEAP_INVALID_TOKEN' })
    t.throws(() => first.attach(heap), { code: 'ERR_HEAP_INVALID_TOKEN' })
    other!.close()
    t.is(heap.stats().liveBytes, 0, 'it was the only one that had it open')
  })
}
