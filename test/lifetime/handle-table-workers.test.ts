import { once } from 'node:events'
import test from 'ava'
import { Heap } from '../../lib/index.ts'
import { startLifetimeWorker as start } from '../support/lifetime-worker.ts'

/** Kills by terminate(); a long run by hand sets more. */
const KILLS = Number(process.env.SPANHEAP_KILLS ?? 20)

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
