// Uses heaps where the addon can't be loaded, and reports how they behave.

import { DirectHeap } from '../../lib/direct/index.ts'
import { AllocatorError, BufferPool, Heap, type HeapStats } from '../../lib/index.ts'

export interface FallbackReport {
  /** A heap as it is by default. */
  own: { buffer: string; share: string; released: number; stats: HeapStats; closed: HeapStats; keptBytes: number[] }
  /** One made with the option `shared`, and one more attachment. */
  shared: { buffer: string; isSameMemory: boolean; freed: string; liveBytes: number }
  /** What comes of another heap's, or another pool's, buffer: of heaps by default, and of shared ones. */
  strangers: Record<string, string[]>
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

function useOwn(): FallbackReport['own'] & { alignment: string } {
  const heap = new Heap({ limitBytes: 2 ** 28 })
  const kept = heap.allocBuffer(1000).fill(3)
  const large = heap.malloc(5 * 2 ** 20)
  heap.view(large).fill(4)
  heap.free(large)
  if (!heap.view(heap.calloc(1, 5 * 2 ** 20)).every((byte) => byte === 0)) throw new Error('calloc left bytes')
  heap.free(heap.realloc(heap.malloc(100), 300_000))
  const released = heap.releaseFreeMemory()
  heap.audit()
  if (!kept.every((byte) => byte === 3)) throw new Error('a block has changed')
  const [stats, share] = [heap.stats(), codeOf(() => heap.share())]
  const alignment = codeOf(() => heap.alignedAlloc(2 ** 20, 100))
  heap.close()
  const buffer = heap.buffer.constructor.name
  return { buffer, share, released, stats, closed: heap.stats(), alignment, keptBytes: [...new Set(kept)] }
}

function useShared(): FallbackReport['shared'] {
  const heap = new Heap({ shared: true, limitBytes: 2 ** 28 })
  const attached = Heap.attach(heap.share())
  const buffer = heap.allocBuffer(1000).fill(3)
  const isSameMemory = attached.bufferAt(heap.addressOf(buffer), 1000).every((byte) => byte === 3)
  const freed = codeOf(() => attached.freeBuffer(buffer))
  attached.audit()
  return { buffer: heap.buffer.constructor.name, isSameMemory, freed, liveBytes: heap.stats().liveBytes }
}

function useStrangers(shared: boolean): Record<string, string> {
  const [a, b] = [new Heap({ shared }), new Heap({ shared })]
  const [mine, other] = [a.allocBuffer(100).fill(1), b.allocBuffer(100).fill(2)]
  const codes = {
    heap: codeOf(() => a.freeBuffer(other)),
    part: codeOf(() => a.freeBuffer(other.subarray(0, 9))),
    pool: '',
  }
  a.allocBuffer(100).fill(9)
  if (mine[0] !== 1) throw new Error('a block was handed out twice')
  const [p, q] = [new BufferPool({ size: 1000, heap: a }), new BufferPool({ size: 1000, heap: b })]
  const [, theirs] = [p.acquire(), q.acquire()]
  codes.pool = codeOf(() => p.release(theirs))
  if (p.stats().acquired !== 1 || q.stats().acquired !== 1) throw new Error('a buffer was released')
  return codes
}

const { alignment, ...own } = useOwn()
const kinds = [useStrangers(false), useStrangers(true)]
const report: FallbackReport = {
  own,
  shared: useShared(),
  strangers: Object.fromEntries(Object.keys(kinds[0]!).map((what) => [what, kinds.map((codes) => codes[what]!)])),
  alignment,
  direct: codeOf(() => new DirectHeap()),
}
process.stdout.write(`${JSON.stringify(report)}\n`)
