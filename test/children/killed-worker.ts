// Terminates a worker that has written to a heap of its own, which it never closed; reports how many bytes the process has less.
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'

const BYTES = 100 * 2 ** 20
const library = JSON.stringify(new URL('../../lib/index.js', import.meta.url).href)
const program = `
  const { parentPort } = require('node:worker_threads')
  import(${library}).then(({ Heap }) => {
    const heap = new Heap({ limitBytes: 2 ** 28 })
    globalThis.kept = [heap, heap.allocBuffer(${BYTES}).fill(1)]
    parentPort.postMessage('filled')
    setInterval(() => {}, 1000)
  })`
const worker = new Worker(program, { eval: true })
await once(worker, 'message')
const before = process.memoryUsage.rss()
await worker.terminate()
process.stdout.write(`${JSON.stringify({ bytes: BYTES, returned: before - process.memoryUsage.rss() })}\n`)
