// Uses heaps where the addon can't be loaded, and reports how they behave.

import { DirectHeap } from '../../lib/direct/index.ts'
import { AllocatorError, Heap, type HeapStats } from '../../lib/index.ts'

export interface FallbackReport {
  shared: { buffer: string; growable: boolean; stats: HeapStats; released: number; closed: HeapStats }
  private: { buffer: string; viewLengthAfterClose: number }
  /** Of an alignment beyond what is known of the memory's real address. */
  alignment: string
  direct: string
}

function codeOf(call: () => unknown): string {
  try {
    call()
    return 'no error'
  } catch (error) {
    if (error instanceof AllocatorError) return error.code
    throw error
  }
}

const heap = new Heap({ limitBytes: 2 ** 28 })
const kept = heap.malloc(1000)
heap.view(kept).fill(3)
const large = heap.malloc(5 * 2 ** 20)
heap.view(large).fill(4)
heap.free(large)
if (!heap.view(heap.calloc(1, 5 * 2 ** 20)).every((byte) => byte === 0)) throw new Error('calloc left bytes')
heap.free(heap.realloc(heap.malloc(100), 300_000))
const released = heap.releaseFreeMemory()
heap.audit()
if (!heap.view(kept).every((byte) => byte === 3)) throw new Error('a block has changed')
const stats = heap.stats()
const alignment = codeOf(() => heap.alignedAlloc(2 ** 20, 100))
const { buffer } = heap
heap.close()

const second = new Heap({ memory: 'private', limitBytes: 2 ** 28 })
const view = second.view(second.malloc(100))
view.fill(1)
second.close()

const report: FallbackReport = {
  shared: {
    buffer: buffer.constructor.name,
    growable: buffer.growable,
    stats,
    released,
    closed: heap.stats(),
  },
  private: { buffer: second.buffer.constructor.name, viewLengthAfterClose: view.length },
  alignment,
  direct: codeOf(() => new DirectHeap()),
}
process.stdout.write(`${JSON.stringify(report)}\n`)
