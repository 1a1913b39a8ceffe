// A worker that shares a pool: it takes all buffers and keeps them, waits for one, or takes and returns one for ever.
import { setImmediate } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { BufferPool, type PoolToken } from '../../lib/index.ts'

const { token, task } = workerData as { token: PoolToken; task: string }
const port = parentPort!
const pool = BufferPool.attach(token)
switch (task) {
  case 'keep all':
    while (pool.tryAcquire() !== undefined);
    port.postMessage('has all')
    setInterval(() => {}, 1000)
    break
  case 'wait':
    pool.acquireAsync().catch((error: { code: string }) => port.postMessage(error.code))
    port.postMessage('waits')
    break
  default: {
    port.postMessage('runs')
    for (let round = 1; ; round++) {
      const buffer = pool.tryAcquire()
      const until = performance.now() + 1
      while (performance.now() < until);
      if (buffer !== undefined) pool.release(buffer)
      if (task === 'take and return, and let others in' && round % 10 === 0) await setImmediate()
    }
  }
}
