import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads'
import test from 'ava'
import { BufferPool, Channel, Heap, type PassedBlock } from '../../lib/index.ts'
import { HOST } from '../../lib/lifetime/host.ts'

const MIB = 2 ** 20
const STALE = { code: 'ERR_HEAP_STALE_HANDLE' }
const INVALID = { code: 'ERR_HEAP_INVALID_ADDRESS' }

const openHeap = (limitBytes = 64 * MIB) => new Heap({ limitBytes, leaks: 'off' })

/** What a message makes of a value. */
function sent<T>(value: T): T {
  const { port1, port2 } = new MessageChannel()
  port1.postMessage(value)
  const { message } = receiveMessageOnPort(port2) as { message: T }
  port1.close()
  return message
}

test('a block is passed and adopted: the same bytes, as many as the view had, and the adopter frees it', (t) => {
  using heap = openHeap()
  using other = Heap.attach(heap.share(), { leaks: 'off' })
  for (const size of [0, 1, 100, 5000, 300_000, 2 * MIB]) {
    const buffer = heap.allocBuffer(size).fill(0x77)
    const address = heap.addressOf(buffer)
    const usable = heap.usableSize(address)
    const passed = heap.pass(buffer)
    t.true(Object.isFrozen(passed))
    t.deepEqual(sent(passed), { ...passed })
    t.is(heap.stats().passedBytes, usable)
    t.is(heap.stats().liveBytes, usable)
    const adopted = other.adopt(sent(passed))
    t.true(Buffer.isBuffer(adopted))
    t.deepEqual([other.addressOf(adopted), adopted.length], [address, size])
    t.true(adopted.equals(Buffer.alloc(size, 0x77)))
    t.is(heap.stats().passedBytes, 0)
    t.is(heap.stats().liveBytes, usable)
    other.freeBuffer(adopted)
    t.is(heap.stats().liveBytes, 0)
  }
  const part = heap.pass(heap.view(heap.malloc(1000), 10))
  t.is(other.adopt(part).length, 10)
  const words = heap.pass(heap.allocArray(Uint32Array, 5))
  t.is(other.adopt(words).length, 20)
  heap.audit()
})

test('whoever passed a block can do nothing with it but adopt it back', (t) => {
  using heap = openHeap()
  for (const size of [100, 300_000]) {
    const buffer = heap.allocBuffer(size).fill(1)
    const address = heap.addressOf(buffer)
    const same = heap.bufferAt(address)
    const view = new Uint8Array(buffer.buffer, buffer.byteOffset, 10)
    const passed = heap.pass(buffer)
    for (const call of [() => heap.freeBuffer(buffer), () => heap.pass(buffer)])
      t.throws(call, { code: 'ERR_HEAP_DOUBLE_FREE', message: /passed/ }, String(call))
    for (const call of [
      () => heap.free(address),
      () => heap.realloc(address, 10),
      () => heap.usableSize(address),
      () => heap.view(address),
      () => heap.bufferAt(address),
      () => heap.addressOf(view),
      () => heap.addressOf(buffer),
      () => heap.freeBuffer(same),
      () => heap.freeBuffer(view),
      () => heap.unwatch(view),
      () => heap.pass(same),
      () => heap.pass(view),
    ])
      t.throws(call, { ...INVALID, message: /was passed/ }, String(call))
    heap.audit()
    const adopted = heap.adopt(passed)
    t.is(heap.addressOf(adopted), address)
    t.throws(() => heap.freeBuffer(buffer), { code: 'ERR_HEAP_DOUBLE_FREE' }, 'the view from before')
    t.throws(() => heap.pass(buffer), { code: 'ERR_HEAP_DOUBLE_FREE' })
    heap.freeBuffer(adopted)
  }
  t.is(heap.stats().liveBytes, 0)
})

test('a value is good for one adopt, also where its block is passed again at the same address', (t) => {
  using heap = openHeap()
  using other = Heap.attach(heap.share(), { leaks: 'off' })
  const values: PassedBlock[] = []
  const addresses = new Set<number>()
  for (let round = 0; round < 5; round++) {
    const buffer = heap.allocBuffer(64)
    addresses.add(heap.addressOf(buffer))
    const passed = heap.pass(buffer)
    for (const stale of values) {
      t.throws(() => heap.adopt(stale), STALE)
      t.throws(() => other.adopt(stale), STALE)
    }
    values.push(passed)
    const adopted = other.adopt(passed)
    t.throws(() => other.adopt(passed), STALE)
    t.throws(() => heap.adopt(passed), STALE)
    other.freeBuffer(adopted)
    other.threadIdle() // the next one is this thread's
    t.throws(() => heap.adopt(passed), STALE)
  }
  t.is(new Set(values.map(({ slot }) => slot)).size, 1)
  t.true(addresses.size < 5)
  t.is(heap.stats().liveBytes, 0)
  heap.audit()
})

test('no forged, damaged or foreign value adopts anything', (t) => {
  using heap = openHeap()
  using elsewhere = openHeap()
  using pool = new BufferPool({ size: 100, heap })
  const passed = heap.pass(heap.allocBuffer(100))
  const pooled = pool.pass(pool.acquire())
  for (const value of [undefined, null, 7, 'x', true, 7n, Symbol('x'), () => {}])
    t.throws(() => heap.adopt(value as never), { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' })
  const forged: unknown[] = [{}, [], Buffer.alloc(8), new Date(), pooled, elsewhere.pass(elsewhere.allocBuffer(100))]
  const wrong = [
    -1,
    0.5,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    2 ** 31,
    2 ** 32,
    2 ** 53,
    '0',
    null,
    undefined,
    {},
    [],
    7n,
  ]
  for (const name of ['slot', 'sequence', 'address', 'length', 'owner', 'from']) {
    const right = passed[name as keyof PassedBlock]
    const numbers = typeof right === 'number' ? [1, -1, 16, -16, 2 ** 29, 2 ** 32].map((more) => right + more) : []
    for (const value of [...wrong, ...numbers]) if (value !== right) forged.push({ ...passed, [name]: value })
  }
  const before = heap.stats()
  for (const value of forged)
    t.throws(
      () => heap.adopt(value as never),
      STALE,
      JSON.stringify(value, (_, v) => String(v))
    )
  t.throws(() => elsewhere.adopt(passed), STALE)
  t.throws(() => pool.adopt(passed), STALE)
  t.throws(
    () =>
      heap.adopt(
        new Proxy(
          {},
          {
            get: () => {
              throw new Error('mine')
            },
          }
        ) as never
      ),
    { message: 'mine' }
  )
  t.deepEqual(heap.stats(), before)
  heap.audit()
  t.notThrows(() => heap.freeBuffer(heap.adopt({ ...passed })))
  pool.release(pool.adopt(pooled))
})

test('only what its owner may free is passed', (t) => {
  using heap = openHeap()
  using pool = new BufferPool({ size: 100, heap })
  using channel = new Channel(heap)
  using arena = heap.arena()
  using handles = heap.handles()
  using elsewhere = openHeap()
  const block = handles.alloc(100)
  const before = heap.stats().liveBytes
  for (const view of [
    pool.acquire(),
    arena.allocBuffer(100),
    handles.view(block),
    heap.view(channel.share().channel),
    heap.allocBuffer(100, { isolated: true }),
    heap.allocBuffer(100).subarray(16),
    elsewhere.allocBuffer(100),
    Buffer.alloc(10),
    new DataView(heap.buffer, 0, 1),
  ])
    t.throws(() => heap.pass(view), INVALID)
  const freed = heap.malloc(100)
  const ofFreed = heap.view(freed)
  heap.free(freed)
  t.throws(() => heap.pass(ofFreed), { code: 'ERR_HEAP_DOUBLE_FREE' })
  for (const value of [undefined, null, 7, {}, []])
    t.throws(() => heap.pass(value as never), { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' })
  t.true(heap.stats().liveBytes >= before)
  t.is(heap.stats().passedBytes, 0)
  heap.audit()
})

test('after close pass and adopt say so', (t) => {
  const heap = openHeap()
  const buffer = heap.allocBuffer(10)
  const passed = heap.pass(heap.allocBuffer(10))
  const other = Heap.attach(heap.share())
  heap.close()
  for (const call of [() => heap.pass(buffer), () => heap.adopt(passed)]) t.throws(call, { code: 'ERR_HEAP_CLOSED' })
  t.is(heap.stats().passedBytes, 0)
  t.is(other.adopt(passed).length, 10, 'others go on')
  other.close()
  using next = openHeap()
  t.throws(() => next.adopt(passed), STALE)
})

test('blocks that are passed are nobody’s: what threads die with is told without them', (t) => {
  using heap = openHeap()
  const dies = () => {
    const other = Heap.attach(heap.share())
    const { slots, slot } = other[HOST].thread()
    return { other, die: () => slots.markDead(slot) }
  }
  const first = dies()
  const kept = first.other.allocBuffer(1000)
  const passed = first.other.pass(first.other.allocBuffer(300_000))
  first.die()
  const { deadThreadsBytes, passedBytes } = heap.stats()
  t.is(deadThreadsBytes, heap.usableSize(first.other.addressOf(kept)))
  t.is(passedBytes, 303_104)
  const second = dies()
  second.other.adopt(passed)
  t.is(heap.stats().deadThreadsBytes, deadThreadsBytes)
  second.die()
  t.is(heap.stats().deadThreadsBytes, deadThreadsBytes! + 303_104)
  t.is(heap.stats().passedBytes, 0)
})

test('once a thread has freed more than it had, nothing is claimed of the dead', (t) => {
  using heap = openHeap()
  using other = Heap.attach(heap.share())
  const allocated = (size: number) => Array.from({ length: 1000 }, () => other.malloc(size))
  const [own, others] = [heap.malloc(300_000), allocated(200)]
  t.is(heap.stats().deadThreadsBytes, 0)
  for (const address of others) heap.free(address)
  t.is(heap.stats().deadThreadsBytes, 0, 'it has still freed less than it had')
  heap.free(own)
  t.is(heap.stats().deadThreadsBytes, null)
  heap.free(heap.malloc(300_000))
  t.is(heap.stats().deadThreadsBytes, null, 'for good')

  using next = openHeap()
  using there = Heap.attach(next.share())
  for (const size of [200, 300_000])
    for (let i = 0; i < 1000; i++) next.freeBuffer(next.adopt(there.pass(there.allocBuffer(size))))
  t.is(next.stats().deadThreadsBytes, 0, 'what was passed is counted')
})

test('in debug mode whoever passed a block has a view of length 0, and the adopter’s is as long as before', (t) => {
  using heap = new Heap({ limitBytes: 64 * MIB, debug: true })
  using other = Heap.attach(heap.share())
  const buffer = heap.allocBuffer(100).fill(7)
  const adopted = other.adopt(heap.pass(buffer))
  t.is(buffer.length, 0)
  t.throws(() => heap.freeBuffer(buffer), { code: 'ERR_HEAP_DOUBLE_FREE' })
  t.throws(() => heap.pass(buffer), { code: 'ERR_HEAP_DOUBLE_FREE' })
  t.deepEqual([adopted.length, adopted.buffer.byteLength, adopted[99]], [100, 100, 7])
  other.freeBuffer(adopted)
  t.is(adopted.length, 0)

  using pool = new BufferPool({ size: 100, heap })
  const acquired = pool.acquire().fill(5)
  const back = pool.adopt(pool.pass(acquired))
  t.is(acquired.length, 0)
  t.throws(() => pool.release(acquired), { code: 'ERR_POOL_DOUBLE_RELEASE' })
  t.deepEqual([back.length, back[99]], [100, 5])
  pool.release(back)
  heap.audit()
})
