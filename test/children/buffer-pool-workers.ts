// A worker that shares a pool: acquires, stamps, checks and releases at random, for so many rounds or until it is killed.
import { parentPort, workerData } from 'node:worker_threads'
import { BufferPool, type PoolToken } from '../../lib/index.ts'
import { type Sent, StampedBuffers } from '../support/stamped-buffers.ts'

const { token, seed, rounds } = workerData as { token: PoolToken; seed: number; rounds: number }
const port = parentPort!
const pool = BufferPool.attach(token, { idleBytes: 4 * 4096, leaks: 'off' })
const stamped = new StampedBuffers(pool, seed)
port.on('message', (message: Sent | 'end') => {
  if (message !== 'end') stamped.receive(message)
  else {
    pool.close()
    port.close()
  }
})
port.postMessage('running')
for (let round = 0; round < rounds; round++)
  await stamped.step(rounds === Infinity ? undefined : (sent) => port.postMessage(sent))
stamped.releaseAll()
port.postMessage('done')
