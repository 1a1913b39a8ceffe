import test from 'ava'
import { Heap } from '../../lib/index.ts'
import type { Told } from '../children/pass-worker.ts'
import { reportOf, runChild } from '../support/child.ts'
import { answerOf, startPassWorker as start } from '../support/pass-worker.ts'

const GIB = 2 ** 30
const STALE = { code: 'ERR_HEAP_STALE_HANDLE' }

/** A Buffer of a heap, or one that starts above 4 GiB. */
function bufferOf(heap: Heap, isHigh: boolean): Buffer {
  if (!isHigh) return heap.allocBuffer(300_000)
  heap.malloc(4 * GIB - 2 ** 21)
  for (;;) {
    const buffer = heap.allocBuffer(300_000)
    if (buffer.byteOffset >= 4 * GIB) return buffer
  }
}

for (const [limitBytes, isHigh] of [
  [2 ** 28, false],
  [4 * GIB, false],
  [6 * GIB, true],
  [32 * GIB, true],
] as const) {
  const where = `${limitBytes / GIB} GiB, ${isHigh ? 'above 4 GiB' : 'the first block'}`

  test.serial(`a block reaches a worker, and comes back: ${where}`, async (t) => {
    using heap = new Heap({ limitBytes, leaks: 'off' })
    const buffer = bufferOf(heap, isHigh).fill(0x77)
    const seen = { address: buffer.byteOffset, length: 300_000, first: 0x77, last: 0x77 }
    const before = heap.stats().liveBytes
    for (const clone of [() => structuredClone(buffer), () => new MessageChannel().port1.postMessage(buffer)])
      t.throws(clone, { any: true, name: 'DataCloneError' }, 'V8 never copies or moves it')
    const worker = start(heap, { task: 'pass', passed: heap.pass(buffer) })
    const { passed, ...first } = await answerOf(worker)
    t.deepEqual(first, seen)
    const back = heap.adopt(passed!)
    t.deepEqual([back.byteOffset, back.length, back[0], back[299_999]], [seen.address, 300_000, 9, 9])
    t.throws(() => heap.adopt(passed!), STALE)
    const again = heap.pass(back)
    worker.postMessage({ task: 'free', passed: again } satisfies Told)
    t.deepEqual(await answerOf(worker), { ...seen, first: 9, last: 9 })
    t.throws(() => heap.adopt(again), STALE)
    t.is(heap.stats().liveBytes, before - 303_104)
    t.is(heap.stats().passedBytes, 0)
    await worker.terminate()
  })
}

test.serial('what a worker never adopted is taken back by whoever passed it', async (t) => {
  using heap = new Heap({ limitBytes: 2 ** 28, leaks: 'off' })
  for (const isStarted of [false, true]) {
    const worker = start(heap)
    if (isStarted) {
      worker.postMessage({ task: 'free', passed: heap.pass(heap.allocBuffer(10)) } satisfies Told)
      await answerOf(worker)
    }
    const passed = heap.pass(heap.allocBuffer(100).fill(5))
    if (!isStarted) worker.postMessage({ task: 'keep', passed } satisfies Told)
    await worker.terminate()
    t.is(heap.stats().passedBytes, 112)
    t.is(heap.stats().deadThreadsBytes, 0)
    const back = heap.adopt(passed)
    t.is(back[99], 5)
    heap.freeBuffer(back)
    t.is(heap.stats().liveBytes, 0)
    heap.audit()
  }
})

test.serial('what a worker had adopted is the dead’s, and what it had passed on is nobody’s', async (t) => {
  using heap = new Heap({ limitBytes: 2 ** 28, leaks: 'off' })
  const worker = start(heap)
  const kept = heap.pass(heap.allocBuffer(1000))
  worker.postMessage({ task: 'keep', passed: kept } satisfies Told)
  await answerOf(worker)
  worker.postMessage({ task: 'pass', passed: heap.pass(heap.allocBuffer(5000)) } satisfies Told)
  const { passed } = await answerOf(worker)
  await worker.terminate()
  t.like(heap.stats(), { deadThreadsBytes: 1024, passedBytes: 5120, liveBytes: 6144 })
  t.throws(() => heap.adopt(kept), STALE)
  const back = heap.adopt(passed!)
  t.is(back[4999], 9)
  heap.freeBuffer(back)
  heap.audit()
})

test.serial('four workers pass blocks at random and are killed: none is lost, doubled or seen by two', async (t) => {
  const report = reportOf<{ passes: number; kills: number; failures: string[] }>(
    await runChild('passes', ['--passes', '400', '--kills'])
  )
  t.log(JSON.stringify(report))
  t.deepEqual(report.failures, [])
  t.true(report.passes >= 400 && report.kills > 0)
})
