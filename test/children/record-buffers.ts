// Counts its own allocations and prints the counts. With `workers`, so do three workers of different kinds at the same time.
import { fileURLToPath } from 'node:url'
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { type BufferCounts, countedBuffers } from '../support/counted-buffers.ts'

const ROUNDS = 500

function inWorker(options: { execArgv?: string[] }): Promise<BufferCounts> {
  return new Promise((resolve) => {
    new Worker(fileURLToPath(import.meta.url), options).once('message', resolve)
  })
}

if (isMainThread) {
  const workers = process.argv[2] === 'workers' ? [{}, {}, { execArgv: ['--no-warnings'] }] : []
  const all = await Promise.all([countedBuffers(ROUNDS), ...workers.map(inWorker)])
  const sum = (key: keyof BufferCounts) => all.reduce((total, counts) => total + counts[key], 0)
  const counts = { allocations: sum('allocations'), frees: sum('frees'), reallocations: sum('reallocations') }
  process.stdout.write(JSON.stringify(counts))
} else {
  parentPort!.postMessage(await countedBuffers(ROUNDS))
}
