import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import type { Heap, PassedBlock } from '../../lib/index.ts'
import type { Told } from '../children/pass-worker.ts'
import { childScript } from './child.ts'

/** Starts a worker that adopts what it is told of. */
export const startPassWorker = (heap: Heap, first?: Told) =>
  new Worker(childScript('pass-worker'), { workerData: { token: heap.share(), first } })

/** What a worker has seen of a block. */
export interface Seen {
  address: number
  length: number
  first: number
  last: number
  passed?: PassedBlock
}

export const answerOf = async (worker: Worker) => ((await once(worker, 'message')) as [Seen])[0]
