import { Worker } from 'node:worker_threads'
import type { Heap } from '../../lib/index.ts'
import { childScript } from './child.ts'

/** Starts a worker that does a task of children/lifetime-worker.ts with a heap. */
export const startLifetimeWorker = (heap: Heap, task: string, data: object = {}) =>
  new Worker(childScript('lifetime-worker'), { workerData: { heap: heap.share(), task, ...data } })
