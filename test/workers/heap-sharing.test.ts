import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import { Heap, type HeapToken } from '../../lib/index.ts'
import { HOST } from '../../lib/lifetime/host.ts'
import { GrowableMapper } from '../../lib/os/growable-mapper.ts'
import { childScript } from '../support/child.ts'
import { churn } from '../support/churn.ts'

const MIB = 2 ** 20

interface Answer {
  result?: unknown
  code?: string
}

/** A worker that makes calls on a heap when it is told to. */
function serve(token: HeapToken) {
  const worker = new Worker(childScript('heap-worker'), { workerData: { token, task: 'serve' } })
  const call = async (name: string, ...args: unknown[]): Promise<Answer> => {
    worker.postMessage({ call: name, args })
    const [answer] = (await once(worker, 'message')) as [Answer]
    return answer
  }
  return { worker, call }
}

test('blocks are allocated in one thread, and freed, viewed and made longer in another', async (t) => {
  const heap = new Heap({ limitBytes: 64 * MIB })
  const { worker, call } = serve(heap.share())
  const a = heap.malloc(100)
  heap.view(a, 100).fill(7)
  t.deepEqual(await call('usableSize', a), { result: heap.usableSize(a) })
  const { result: b } = (await call('realloc', a, 5000)) as { result: number }
  t.deepEqual([...heap.view(b, 100)], Array(100).fill(7))
  t.throws(() => heap.free(a), { code: 'ERR_HEAP_DOUBLE_FREE' })
  heap.free(b)
  const { result: large } = (await call('malloc', 3 * MIB)) as { result: number }
  t.is(heap.usableSize(large), 3 * MIB)
  heap.free(large)
  // Its pages were given up; in debug mode it waits in quarantine.
  t.regex((await call('free', large)).code!, /^ERR_HEAP_(INVALID_ADDRESS|DOUBLE_FREE)$/)
  t.is(heap.stats().liveBytes, 0)
  t.is(heap.stats().threads, 2)
  heap.audit()
  await worker.terminate()
})

test('a view of `buffer` that came by postMessage is freed where it arrives', async (t) => {
  // V8 cuts lengths to 32 bits: of a buffer of just 4 GiB, which heaps with lower limits have, no view arrives.
  const heap = new Heap({ limitBytes: 2 ** 32 + 64 * MIB })
  const { worker, call } = serve(heap.share())
  const address = heap.malloc(1000)
  t.deepEqual(await call('freeBuffer', new Uint8Array(heap.buffer, address, 1000)), { result: undefined })
  t.like(await call('freeBuffer', heap.buffer), { code: 'ERR_INVALID_ARG_TYPE' })
  t.like(await call('freeBuffer', new Uint8Array(new SharedArrayBuffer(8))), { code: 'ERR_HEAP_INVALID_ADDRESS' })
  t.is(heap.stats().liveBytes, 0)
  await worker.terminate()
})

test('close in one thread leaves the heap to the others, the last one gives all back', async (t) => {
  const heap = new Heap({ limitBytes: 64 * MIB })
  const { worker, call } = serve(heap.share())
  await call('malloc', 100)
  const token = heap.share()
  const { liveBytes } = heap.stats()
  t.true(liveBytes >= 112)
  heap.close()
  t.throws(() => heap.malloc(1), { code: 'ERR_HEAP_CLOSED' })
  const again = Heap.attach(token)
  t.throws(() => heap.malloc(1), { code: 'ERR_HEAP_CLOSED' }, 'the slot is used again, the closed heap is not')
  t.is(again.stats().liveBytes, liveBytes)
  churn(again, 1, 1000)
  again.audit()
  again.close()
  t.deepEqual(await call('audit'), { result: undefined })
  await Promise.all([call('close'), once(worker, 'exit')])
  t.throws(() => Heap.attach(token), { code: 'ERR_HEAP_INVALID_TOKEN' })
})

test('what isn’t the token of an open heap is refused', (t) => {
  const heap = new Heap({ limitBytes: 64 * MIB })
  const token = heap.share()
  const wrong: unknown[] = [
    undefined,
    null,
    7,
    {},
    { ...token, spanheap: token.spanheap + 1 },
    { ...token, generation: token.generation ^ 1 },
    { ...token, memory: new Uint8Array(new SharedArrayBuffer(100)) },
    { ...token, memory: token.memory.buffer },
    { ...token, copy: undefined },
    { ...token, memory: token.tables, tables: token.memory },
    { ...token, tables: token.memory },
    { ...token, limitPages: token.limitPages + 1 },
    { ...token, limitPages: -1 },
    { ...token, system: 1 },
    JSON.parse(JSON.stringify(token)),
  ]
  for (const value of wrong) {
    t.throws(() => Heap.attach(value as HeapToken), { code: 'ERR_HEAP_INVALID_TOKEN' }, JSON.stringify(value))
  }
  t.throws(() => Heap.attach({ ...token, system: 'simulated' }), { code: 'ERR_HEAP_UNSUPPORTED' })
  heap.audit()
  t.is(heap.stats().threads, 1)
  heap.close()
  t.throws(() => Heap.attach(token), { code: 'ERR_HEAP_INVALID_TOKEN' })
  t.throws(() => new Heap({ mapper: new GrowableMapper() }).share(), { code: 'ERR_HEAP_NOT_SHARED' })
})

test('an idle thread leaves its cache and its room to the others', (t) => {
  const heap = new Heap({ limitBytes: 64 * MIB })
  churn(heap, 1, 5000)
  t.true(heap.stats().threadCacheBytes > 0)
  heap.threadIdle()
  t.is(heap.stats().threadCacheBytes, 0)
  churn(heap, 1, 5000)
  heap.audit()
  t.is(heap.stats().liveBytes, 0)
})

test('a thread may open a heap more than once, and several heaps', (t) => {
  const heaps = [1, 2, 3].map(() => new Heap({ limitBytes: 64 * MIB }))
  const all = heaps.flatMap((heap) => [heap, Heap.attach(heap.share()), Heap.attach(heap.share())])
  for (const [index, heap] of all.entries()) churn(heap, index + 1, 2000)
  for (const heap of all) heap.audit()
  for (const heap of heaps) t.is(heap.stats().threads, 3)
  const address = all[0]!.malloc(64)
  all[1]!.free(address)
  t.throws(() => all[2]!.free(address), { code: 'ERR_HEAP_DOUBLE_FREE' })
  for (const heap of all) heap.close()
})

test('after close nothing finds a block, whatever way it is called, though another has the slot', (t) => {
  const owner = new Heap({ limitBytes: 64 * MIB, leaks: 'off' })
  const closed = Heap.attach(owner.share(), { leaks: 'off' })
  const view = closed.allocBuffer(64)
  const large = closed.allocBuffer(300_000)
  const { malloc, free, calloc, realloc, allocBuffer, freeBuffer } = closed
  closed.close()
  const next = Heap.attach(owner.share(), { leaks: 'off' })
  t.is(next[HOST].thread().slot, 1, 'it has the slot of the closed one')
  const blocks = Array.from({ length: 300 }, () => next.malloc(64))
  for (const address of blocks.splice(20)) next.free(address)
  for (let i = 0; i < 3; i++) next.free(next.malloc(300_000))
  const before = next.stats()
  const [address] = blocks
  const calls: Record<string, () => unknown> = {
    malloc: () => malloc.call(closed, 64),
    'large malloc': () => malloc.call(closed, 300_000),
    free: () => free.call(closed, address!),
    calloc: () => calloc.call(closed, 1, 64),
    'realloc in place': () => realloc.call(closed, address!, 60),
    'realloc that moves': () => realloc.call(closed, address!, 200),
    allocBuffer: () => allocBuffer.call(closed, 64),
    'large allocBuffer': () => allocBuffer.call(closed, 300_000),
    'allocBuffer of 0 bytes': () => allocBuffer.call(closed, 0),
    freeBuffer: () => freeBuffer.call(closed, view),
    'large freeBuffer': () => freeBuffer.call(closed, large),
    prototype: () => Heap.prototype.malloc.call(closed, 16),
    method: () => closed.malloc(16),
  }
  for (let round = 0; round < 3; round++)
    for (const [name, call] of Object.entries(calls)) t.throws(call, { code: 'ERR_HEAP_CLOSED' }, name)
  const after = next.stats()
  t.deepEqual([after.liveBytes, after.threadCacheBytes], [before.liveBytes, before.threadCacheBytes])
  next.audit()
  owner.close()
  next.close()
})
