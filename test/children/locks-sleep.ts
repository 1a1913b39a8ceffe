// Holds the page heap's lock for a second while workers want it, and tells what part of a processor each of them used meanwhile.
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { Heap } from '../../lib/index.ts'
import { HOST } from '../../lib/lifetime/host.ts'
import { Control, Lock } from '../../lib/tcmalloc/control.ts'
import { Locks } from '../../lib/threads/locks.ts'
import { childScript } from '../support/child.ts'

const WORKERS = 4
const HELD_MS = 1000

const heap = new Heap()
const token = heap.share()
const { slots, tag } = heap[HOST].thread()
const locks = new Locks(new Int32Array(token.tables.buffer), Control.Locks, slots, tag, { mend() {}, check() {} })

const workers = Array.from(
  { length: WORKERS },
  () => new Worker(childScript('heap-worker'), { workerData: { token, task: 'serve' } })
)
const call = (name: string, ...args: unknown[]) =>
  workers.map(async (worker) => {
    worker.postMessage({ call: name, args })
    return (await once(worker, 'message'))[0] as { result: number }
  })
await Promise.all(call('stats'))

const asleep = (milliseconds: number) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds)
locks.acquire(Lock.PageHeap)
let answers = 0
const results = call('malloc', 2 ** 20)
for (const result of results) result.then(() => answers++)
asleep(200)
const before = process.cpuUsage()
asleep(HELD_MS)
const used = process.cpuUsage(before)
// Let messages in: whoever didn't wait has answered.
await new Promise((resolve) => setTimeout(resolve, 50))
const early = answers
locks.release(Lock.PageHeap)
const addresses = await Promise.all(results)
await Promise.all(call('close'))
heap.close()
const distinct = new Set(addresses.map(({ result }) => result)).size
const share = (used.user + used.system) / 1000 / HELD_MS / WORKERS
process.stdout.write(JSON.stringify({ early, distinct, share }))
