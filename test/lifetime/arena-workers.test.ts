import { once } from 'node:events'
import test from 'ava'
import { Arena, type ArenaToken, Heap } from '../../lib/index.ts'
import { startLifetimeWorker as start } from '../support/lifetime-worker.ts'

/** Kills by terminate(); a long run by hand sets more. */
const KILLS = Number(process.env.SPANHEAP_KILLS ?? 20)

test('an arena is ended by another worker', async (t) => {
  const heap = new Heap()
  const arena = heap.arena()
  for (let i = 0; i < 10_000; i++) arena.malloc(1000)
  const worker = start(heap, 'dispose', { arena: arena.share() })
  await once(worker, 'message')
  t.throws(() => arena.malloc(1), { code: 'ERR_HEAP_STALE_HANDLE' })
  await worker.terminate()
  heap.threadIdle()
  t.is(heap.stats().liveBytes, 0)
  heap.audit()
  heap.close()
})

test('an arena of a worker that is killed ends, if it is to end with it; nobody’s stays until it is ended', async (t) => {
  const heap = new Heap()
  const worker = start(heap, 'arenas')
  const [{ own, anybodys }] = (await once(worker, 'message')) as [{ own: ArenaToken; anybodys: ArenaToken }]
  t.true(Arena.attach(own, { heap }).isOpen)
  t.true(heap.stats().liveBytes > 10_000_000)
  await worker.terminate()
  t.is(heap.stats().liveBytes, 65536)
  t.is(heap.stats().deadThreadsBytes, 0)
  t.throws(() => Arena.attach(own, { heap }), { code: 'ERR_HEAP_STALE_HANDLE' })
  Arena.attach(anybodys, { heap }).dispose()
  t.is(heap.stats().liveBytes, 0)
  heap.audit()
  heap.close()
})

test('a worker is told that its arena was ended by another', async (t) => {
  const heap = new Heap()
  const worker = start(heap, 'arenas')
  const [{ own }] = (await once(worker, 'message')) as [{ own: ArenaToken }]
  Arena.attach(own, { heap }).dispose()
  worker.postMessage('go on')
  t.deepEqual(await once(worker, 'message'), ['ERR_HEAP_STALE_HANDLE'])
  await worker.terminate()
})

test('memory that the dead had in arenas is there for an allocation that finds none', async (t) => {
  const heap = new Heap({ limitBytes: 16 * 2 ** 20 })
  const worker = start(heap, 'arenas')
  await once(worker, 'message')
  t.throws(() => heap.malloc(8 * 2 ** 20), { code: 'ERR_HEAP_OUT_OF_MEMORY' })
  await worker.terminate()
  t.notThrows(() => heap.free(heap.malloc(8 * 2 ** 20)))
  heap.close()
})

test.serial('killed at any moment between arenas: all of their memory comes back', async (t) => {
  const heap = new Heap()
  for (let kill = 0; kill < KILLS; kill++) {
    const worker = start(heap, 'arenas for ever', { seed: kill + 1 })
    await once(worker, 'message')
    const until = performance.now() + (kill % 10)
    while (performance.now() < until) {
      using arena = heap.arena()
      arena.malloc(100_000)
    }
    await worker.terminate()
    // Also what the worker was just about to get, or to give back.
    t.is(heap.stats().liveBytes, 0, `kill ${kill}`)
    heap.audit()
  }
  heap.close()
})
