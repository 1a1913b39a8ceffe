// A worker that opens and closes what another thread makes and closes, as fast as it can: a table of handles, a channel or a pool.
import { parentPort, workerData } from 'node:worker_threads'
import { type AllocatorError, BufferPool, Channel, HandleTable, Heap, type HeapToken } from '../../lib/index.ts'

const { token, kind, words } = workerData as { token: HeapToken; kind: 'table' | 'channel' | 'pool'; words: Int32Array }
const heap = Heap.attach(token)
const port = parentPort!
const attach = {
  table: (handles: number, generation: number) => HandleTable.attach({ handles, generation, heap: token }, { heap }),
  channel: (channel: number, generation: number) => Channel.attach({ channel, generation, heap: token }, { heap }),
  pool: (pool: number, generation: number) => BufferPool.attach({ pool, generation, heap: token }, { heap }),
}
port.postMessage('running')
let attached = 0
let refused = 0
while (Atomics.load(words, 0) === 0) {
  const [, address, generation] = words as unknown as [number, number, number]
  try {
    const open = attach[kind](address, generation)
    attached++
    open.close()
  } catch (error) {
    if ((error as AllocatorError).code !== 'ERR_HEAP_INVALID_TOKEN') throw error
    refused++
  }
}
heap.close()
port.postMessage({ attached, refused })
