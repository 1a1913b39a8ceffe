// Does to a heap's ArrayBuffer what a program may do, and reports what came of it: `view-memory.js WAY`.
import { markAsUntransferable } from 'node:worker_threads'
import { BufferPool, Heap } from '../../lib/index.ts'

export interface TakenReport {
  /** What was thrown; of Node 20 and 22 nothing. */
  refused: string | null
  /** Lengths of views that were made before: a Buffer, one that is watched, a pool's acquired one and its idle one. */
  lengths: number[]
  /** Whether all blocks are there by their addresses, and everything works on. */
  bytes: boolean
  newOnes: number[]
  acquired: number
  liveBytes: number
  warnings: string[]
}

const warnings: string[] = []
process.on('warning', ({ name, message }) => {
  if (name === 'SpanheapWarning') warnings.push(message)
})

function take(view: Uint8Array<ArrayBuffer>, way: string): void {
  if (way === 'transfer') view.buffer.transfer()
  else new ReadableStream({ type: 'bytes', start: (controller) => controller.enqueue(view) })
}

function use(way: string): Omit<TakenReport, 'warnings'> {
  const heap = new Heap({ limitBytes: 2 ** 28 })
  const pool = new BufferPool({ size: 1000, heap })
  const idle = pool.acquire()
  const views = [heap.allocBuffer(100), heap.allocBuffer(100, { tag: 'watched' }), pool.acquire()]
  const addresses = views.map((view) => heap.addressOf(view))
  for (const [i, view] of views.entries()) view.fill(i + 1)
  pool.release(idle)
  const block = heap.malloc(3000)
  heap.view(block).fill(7)
  let refused: string | null = null
  try {
    take(views[0]!, way)
  } catch (error) {
    refused = (error as Error).name
  }
  const lengths = [...views, idle].map((view) => view.length)
  let bytes = addresses.every((address, i) => heap.bufferAt(address, 100).every((byte) => byte === i + 1))
  const acquired = [pool.acquire().fill(8), pool.acquire().fill(9)]
  bytes &&= acquired.every((buffer, i) => buffer.every((byte) => byte === 8 + i))
  const moved = heap.realloc(block, 300_000)
  bytes &&= heap.view(moved, 3000).every((byte) => byte === 7)
  heap.free(moved)
  for (const size of [100, 300_000]) {
    const cleared = heap.calloc(1, size)
    bytes &&= heap.view(cleared, size).every((byte) => byte === 0)
    heap.free(cleared)
  }
  const newOnes = [heap.allocBuffer(100).fill(4), heap.allocArray(Float64Array, 10).fill(4)]
  heap.freeBuffer(views[0]!)
  heap.freeBuffer(views[1]!)
  for (const buffer of [views[2]!, ...acquired]) pool.release(buffer)
  const again = Array.from({ length: 3 }, () => pool.acquire())
  bytes &&= again.every((buffer) => buffer.length === 1000)
  for (const buffer of again) pool.release(buffer)
  heap.audit()
  const report = {
    refused,
    lengths,
    bytes,
    newOnes: newOnes.map((view) => view.length),
    acquired: pool.stats().acquired,
  }
  pool.close()
  for (const view of newOnes) heap.freeBuffer(view)
  return { ...report, liveBytes: heap.stats().liveBytes }
}

const way = process.argv[2]!
if (way === 'marked') {
  for (const bufferOf of [(heap: Heap) => heap.buffer, (heap: Heap) => heap.allocBuffer(1).buffer]) {
    const heap = new Heap()
    markAsUntransferable(bufferOf(heap))
    heap.close()
  }
  process.stdout.write('"closed"\n')
} else {
  const reports = [use(way), use(way)]
  setImmediate(() => process.stdout.write(`${JSON.stringify(reports.map((report) => ({ ...report, warnings })))}\n`))
}
