// Makes a heap with the limit that it is given, of which the system may allow less; reports what it got.
import { AllocatorError, Heap, type HeapStats, type SystemCall } from '../../lib/index.ts'

export interface HalvingReport {
  stats: HeapStats
  /** All calls up to then. */
  calls: SystemCall[]
  /** The largest block, in bytes, of those tried. */
  served: number
  /** What a block of the limit asked for leads to. */
  error: string
}

const limitBytes = Number(process.argv[2])
const heap = new Heap({ limitBytes, ledger: { ring: 100 } })
heap.free(heap.malloc(100))
const stats = heap.stats()
const calls = heap.systemCalls()
const served = 64 * 2 ** 20
heap.free(heap.malloc(served))
let error = ''
try {
  heap.malloc(limitBytes / 2)
} catch (caught) {
  if (!(caught instanceof AllocatorError)) throw caught
  error = caught.code
}
heap.audit()
const report: HalvingReport = { stats, calls, served, error }
process.stdout.write(`${JSON.stringify(report)}\n`)
