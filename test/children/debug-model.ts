// A worker that does nothing wrong with a heap and a pool in debug mode, and says what was told of it.
import { parentPort, workerData } from 'node:worker_threads'
import { BufferPool, Heap, type PoolToken } from '../../lib/index.ts'
import { Random } from '../support/random.ts'
import { rightUse } from '../support/right-use.ts'
import { told } from '../support/told.ts'

const { token, seed, rounds } = workerData as { token: PoolToken; seed: number; rounds: number }
const heap = Heap.attach(token.heap, { leaks: 'off' })
const pool = BufferPool.attach(token, { heap, leaks: 'off' })
const random = new Random(seed)
const { error, reports } = told(() => {
  for (let round = 0; round < rounds; round++) rightUse(heap, pool, random, 10)
  pool.close()
  heap.close()
})
parentPort!.postMessage([...(error === undefined ? [] : [String(error.stack)]), ...reports])
