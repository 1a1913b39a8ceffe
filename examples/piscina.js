// Workers of piscina get blocks of a shared pool instead of copies: a task's message holds what `pass` gave, and the memory is the
// same in every thread. Whoever has read a block releases it, in whichever thread, and it is used for the next task.
//
//     node examples/piscina.js [TASKS]
import { createHash } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { isMainThread } from 'node:worker_threads'
import { Piscina, workerData } from 'piscina'
import { BufferPool } from 'spanheap'

const BLOCK_BYTES = 2 ** 20
const THREADS = 2

const hashOf = (bytes) => createHash('sha256').update(bytes).digest('hex')

const shared = isMainThread ? undefined : BufferPool.attach(workerData)

/** A task, in a worker. */
export default function hash({ block }) {
  // From now on the block is this thread's: should it die, the main thread's reclaim finds it.
  const bytes = shared.adopt(block)
  try {
    return hashOf(bytes)
  } finally {
    shared.release(bytes)
  }
}

async function main() {
  const tasks = Number(process.argv[2] ?? 200)
  const pool = new BufferPool({ size: BLOCK_BYTES, max: 8, tag: 'blocks' })
  const workers = new Piscina({
    filename: fileURLToPath(import.meta.url),
    maxThreads: THREADS,
    minThreads: THREADS,
    workerData: pool.share(),
  })
  const expected = Array.from({ length: 4 }, (_, value) => hashOf(Buffer.alloc(BLOCK_BYTES, value)))
  const results = []
  const start = performance.now()
  for (let task = 0; task < tasks; task++) {
    // Waits while all eight blocks are with workers.
    const block = (await pool.acquireAsync()).fill(task % 4)
    results.push(workers.run({ block: pool.pass(block) }))
  }
  const hashes = await Promise.all(results)
  const seconds = (performance.now() - start) / 1000
  if (hashes.some((hash, task) => hash !== expected[task % 4])) throw new Error('a worker saw other bytes')
  await workers.destroy()
  const { buffers, idle } = pool.stats()
  console.log(
    `${tasks} blocks of 1 MiB hashed by ${THREADS} workers, ${Math.round(tasks / seconds)} a second; ` +
      `there were ${buffers} blocks, and ${idle} are idle`
  )
  pool.close()
}

if (isMainThread) await main()
