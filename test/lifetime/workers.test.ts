import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import { Arena, type ArenaToken, Heap } from '../../lib/index.ts'
import { childScript } from '../support/child.ts'

/** Kills by terminate(); a long run by hand sets more. */
const KILLS = Number(process.env.SPANHEAP_KILLS ?? 40)

const start = (heap: Heap, task: string, data: object = {}) =>
  new Worker(childScript('lifetime-worker'), { workerData: { heap: heap.share(), task, ...data } })

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

test.serial('killed at any moment between handles: the table is whole', async (t) => {
  const heap = new Heap()
  const table = heap.handles({ max: 400 * KILLS + 5000 })
  const own = Array.from({ length: 1000 }, () => table.alloc(100))
  for (let kill = 0; kill < KILLS; kill++) {
    const worker = start(heap, 'handles for ever', { seed: kill + 1, table: table.share() })
    await once(worker, 'message')
    const until = performance.now() + (kill % 10)
    while (performance.now() < until) table.free(table.alloc(10))
    await worker.terminate()
    heap.audit()
  }
  t.true(own.every((handle) => table.isLive(handle)))
  t.true(table.count() <= 1000 + 300 * KILLS)
  // What the dead had kept is used again.
  const most = 400 * KILLS + 5000 - table.count()
  const more = Array.from({ length: most }, () => table.alloc(0))
  t.is(new Set([...own, ...more]).size, most + 1000)
  t.throws(() => table.alloc(0), { code: 'ERR_HEAP_OUT_OF_MEMORY' })
  table.close()
  heap.audit()
  heap.close()
})

test.serial('several workers free the same handles at once: each is freed once', async (t) => {
  const heap = new Heap()
  const table = heap.handles()
  const handles = Array.from({ length: 20_000 }, () => table.alloc(32))
  const workers = [1, 2, 3].map(() => start(heap, 'free all', { table: table.share(), handles }))
  await Promise.all(workers.map((worker) => once(worker, 'message')))
  for (const worker of workers) worker.postMessage('go')
  const results = (await Promise.all(workers.map((worker) => once(worker, 'message')))).map(([result]) => result)
  t.is(
    results.reduce((sum, { freed }) => sum + freed, 0),
    20_000
  )
  t.is(
    results.reduce((sum, { stale }) => sum + stale, 0),
    40_000
  )
  t.is(table.count(), 0)
  table.close()
  t.is(heap.stats().liveBytes, 0)
  heap.audit()
  heap.close()
})
