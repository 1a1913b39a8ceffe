import test from 'ava'
import { reportOf, runChild } from '../support/child.ts'

/** The lives in children/endings.ts, each in a process of its own: what they report, where they end as they should. */
const lives: Record<string, Record<string, unknown>> = {
  'buffer outlives the worker that made the heap': { whole: true, writable: true },
  'buffer of a dead worker is collected': { posted: 'object', kept: 'undefined' },
  'worker ends with heaps alive': {},
  'worker is terminated while it uses heaps': {},
  'worker calls process.exit with heaps alive': { status: 0 },
  'process.exit with heaps alive': {},
  'process.exit while a worker uses heaps': {},
  'heap is closed, then collected': { length: 5 * 2 ** 20, zeros: true },
  'heap is closed while a file is read into it': { bytesRead: 64 * 2 ** 20 },
  'byte stream is given a view, and the heap is dropped': { whole: true },
}

for (const [scenario, expected] of Object.entries(lives)) {
  test(`ends without a crash: ${scenario}`, async (t) => {
    t.deepEqual(reportOf(await runChild('endings', [scenario])), expected)
  })
}

test('attached heaps that are dropped without a close count as threads that died', async (t) => {
  t.deepEqual(reportOf(await runChild('endings', ['attached heaps are dropped without a close'])), {
    threads: 1,
    liveBytes: 0,
  })
})

test('heaps that are dropped without a close give their address space back', async (t) => {
  const ended = await runChild('endings', ['heaps are dropped without a close'])
  const { reserved, grown, left } = reportOf<{ reserved: number; grown: number; left: number }>(ended)
  t.true(grown > 0.1 * reserved, `${grown} bytes were mapped of ${reserved}`)
  t.true(left < 0.02 * reserved, `${left} bytes are still mapped of ${reserved}`)
})
