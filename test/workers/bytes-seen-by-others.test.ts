import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import { Channel, Heap } from '../../lib/index.ts'
import { childScript } from '../support/child.ts'

/** How long each number of workers runs, in seconds; a long run by hand sets more. */
const SECONDS = Number(process.env.SPANHEAP_CONTENTS_SECONDS ?? 2)

for (const count of [2, 3, 8]) {
  test.serial(`what one of ${count} workers writes is what another reads`, async (t) => {
    t.timeout((SECONDS + 60) * 1000)
    const heap = new Heap({ limitBytes: 2 ** 30 })
    const channel = new Channel(heap, { capacity: 100 })
    const workerData = { token: heap.share(), channelToken: channel.share(), seconds: SECONDS }
    const reports = Array.from({ length: count }, async (_, index) => {
      const worker = new Worker(childScript('bytes-seen-by-others'), { workerData: { ...workerData, seed: index + 1 } })
      const exit = once(worker, 'exit')
      const [report] = (await once(worker, 'message')) as [{ checked: number; wrong: number }]
      await exit
      return report
    })
    let checked = 0
    for (const report of await Promise.all(reports)) {
      t.is(report.wrong, 0)
      checked += report.checked
    }
    t.true(checked > 100)
    t.log(`${checked} blocks were checked by another thread than had filled them, or by the same`)
    channel.close()
    t.is(heap.stats().liveBytes, 0)
    heap.audit()
    heap.close()
  })
}
