// A worker that is sent views, as what they are over and where, and has a heap, a pool and a set of pools of its own, or of the thread that sends them, or closed ones.
import { parentPort, workerData } from 'node:worker_threads'
import { BufferPool, Heap, type HeapToken, PoolSet, type PoolToken } from '../../lib/index.ts'

/** What the worker opens: what there is no token for, it makes itself. */
export interface StrangerData {
  heap?: HeapToken
  pool?: PoolToken
  isClosed?: boolean
}

/** A call: of a method, with a view: V8 posts none of a heap's ArrayBuffer, but the SharedArrayBuffer. */
export interface StrangerCall {
  of: 'heap' | 'pool' | 'set'
  name: string
  view: { buffer: ArrayBufferLike; byteOffset: number; byteLength: number }
}

const { heap: heapToken, pool: poolToken, isClosed } = workerData as StrangerData
const heap = heapToken === undefined ? new Heap({ limitBytes: 2 ** 24 }) : Heap.attach(heapToken)
const pool = poolToken === undefined ? new BufferPool({ heap, size: 100 }) : BufferPool.attach(poolToken, { heap })
const set = new PoolSet({ heap, sizes: [100] })
if (isClosed === true) {
  pool.close()
  set.close()
  heap.close()
}
const port = parentPort!
port.on('message', ({ of, name, view }: StrangerCall) => {
  const called = { heap, pool, set }[of] as unknown as Record<string, (view: ArrayBufferView) => unknown>
  try {
    const result = called[name]!(new Uint8Array(view.buffer, view.byteOffset, view.byteLength))
    port.postMessage(ArrayBuffer.isView(result) ? result.byteOffset : result)
  } catch (error) {
    const { name: type, code, message } = error as Error & { code?: string }
    port.postMessage(code ?? `${type}: ${message}`)
  }
})
