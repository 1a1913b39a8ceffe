import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import { Heap } from '../../lib/index.ts'
import { Page } from '../../lib/memory/page.ts'
import { SpanEntry } from '../../lib/tcmalloc/span.ts'
import { childScript } from '../support/child.ts'
import { churn, random } from '../support/churn.ts'

const MIB = 2 ** 20
/** Room for what the dead had been handed: most of a churn's blocks, each time. Nobody writes to it. */
const LIMIT_BYTES = 16 * 2 ** 30
/** Kills by terminate(); a long run by hand sets more. */
const KILLS = Number(process.env.SPANHEAP_KILLS ?? 40)
/** So long 300 operations of a survivor may take, in milliseconds: most of it is a wait for a lock of the dead, but in debug mode. */
const MOST_WAIT_MS = process.env.SPANHEAP_DEBUG === '1' ? 1000 : 100

const start = (heap: Heap, task: string, options = {}) =>
  new Worker(childScript('heap-worker'), { workerData: { token: heap.share(), task }, stderr: true, ...options })

/** The heap is whole, and nothing of the dead is left but what they had been handed. */
function survives(heap: Heap): number {
  const before = performance.now()
  churn(heap, 9, 300)
  const waited = performance.now() - before
  heap.audit()
  const { threads, threadCacheBytes, liveBytes, deadThreadsBytes } = heap.stats()
  if (threads !== 1) throw new Error(`${threads} threads are counted`)
  heap.threadIdle()
  if (heap.stats().threadCacheBytes !== 0) throw new Error(`${threadCacheBytes} bytes stay in caches of the dead`)
  if (liveBytes > 0 && deadThreadsBytes === 0) throw new Error('what the dead hold is not told')
  return waited
}

test.serial('terminate at any moment: nothing blocks, nothing is lost but what was handed out', async (t) => {
  const heap = new Heap({ limitBytes: LIMIT_BYTES })
  const next = random(1)
  let worst = 0
  for (let kill = 0; kill < KILLS; kill++) {
    const worker = start(heap, 'churn')
    // A third dies while it starts and attaches, the others at work.
    if (kill % 3 !== 0) await once(worker, 'message')
    const until = performance.now() + (kill % 3 === 0 ? (next() % 400) / 10 : (next() % 100) / 20)
    while (performance.now() < until) churn(heap, kill + 1, 20)
    await worker.terminate()
    worst = Math.max(worst, survives(heap))
  }
  t.log(`${KILLS} kills, the longest 300 operations after one took ${worst.toFixed(1)} ms`)
  t.true(worst < MOST_WAIT_MS)
  heap.close()
})

for (const task of ['exit', 'throw', 'out of memory']) {
  test.serial(`a worker ends by ${task}: it is cleared up behind`, async (t) => {
    const heap = new Heap({ limitBytes: LIMIT_BYTES })
    const worker = start(heap, task, { resourceLimits: { maxOldGenerationSizeMb: 32 } })
    worker.on('error', () => {}) // on purpose
    await new Promise((resolve) => worker.once('exit', resolve))
    survives(heap)
    t.is(heap.stats().liveBytes, 0)
    heap.close()
  })
}

/** A small stack overflows after fewer calls: of a worker's usual 4 MiB, a round would take four times as long to be struck once. */
const SMALL_STACK = { resourceLimits: { stackSizeMb: 1 } }

for (const task of ['timeouts', 'overflows']) {
  test.serial(`a thread is struck by ${task} and lives on: it repairs what it held`, async (t) => {
    const heap = new Heap({ limitBytes: LIMIT_BYTES })
    const worker = start(heap, task, SMALL_STACK)
    const done = once(worker, 'message')
    let running = true
    done.finally(() => (running = false))
    for (let seed = 1; running; seed++) {
      churn(heap, seed, 100)
      await sleep(1)
    }
    t.deepEqual(await done, ['done'])
    heap.audit()
    await worker.terminate()
    survives(heap)
    heap.close()
  })
}

for (const task of ['timeouts, then idle', 'overflows, then idle']) {
  test.serial(
    `a thread with several Heap objects is struck (${task}): nobody waits longer than for its event loop`,
    async (t) => {
      const heap = new Heap({ limitBytes: LIMIT_BYTES, cacheBytes: 0 })
      const worker = start(heap, task, SMALL_STACK)
      const done = once(worker, 'message')
      let running = true
      done.finally(() => (running = false)).catch(() => {})
      let worst = 0
      for (let seed = 1; running; seed++) {
        const before = performance.now()
        churn(heap, seed, 20)
        worst = Math.max(worst, performance.now() - before)
        if (seed % 5 === 0) await sleep(1)
      }
      t.deepEqual(await done, ['done'])
      t.log(`20 operations took ${worst.toFixed(1)} ms at most`)
      t.true(worst < 10 * MOST_WAIT_MS)
      heap.audit()
      await worker.terminate()
      survives(heap)
      heap.close()
    }
  )
}

/** Bytes of the tables but for those that describe pages: how many pages are mapped depends on how many workers churn at once. */
function tablesBesidePages(heap: Heap): number {
  const { metadataBytes, mappedBytes } = heap.stats()
  return metadataBytes - (mappedBytes / Page.Bytes) * (Page.Granules + SpanEntry.Bytes + 2)
}

test.serial(
  'many workers in turn, and many at once: tables and memory do not grow with those that are gone',
  async (t) => {
    const heap = new Heap({ limitBytes: LIMIT_BYTES })
    const run = async (count: number) => {
      const workers = Array.from({ length: count }, () => start(heap, 'exit once told'))
      await Promise.all(workers.map((worker) => once(worker, 'message'))) // so that each has a slot of its own
      const exits = workers.map((worker) => once(worker, 'exit'))
      for (const worker of workers) worker.postMessage('exit')
      await Promise.all(exits)
      survives(heap)
    }
    await run(8)
    heap.releaseFreeMemory()
    const { mappedBytes } = heap.stats()
    const tableBytes = tablesBesidePages(heap)
    for (let round = 0; round < 4; round++) await run(8)
    heap.releaseFreeMemory()
    t.is(tablesBesidePages(heap), tableBytes)
    t.true(heap.stats().mappedBytes <= mappedBytes * 1.5 + 32 * MIB)
    t.is(heap.stats().liveBytes, 0)
    heap.close()
  }
)
