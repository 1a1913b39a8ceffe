// What a process that may not give all kinds of advice does with heaps.
import { GoHeap } from '../../lib/go/index.ts'
import { BufferPool, Heap } from '../../lib/index.ts'

const heap = new Heap({ ledger: { ring: 1000 } })
heap.freeBuffer(heap.allocBuffer(8 << 20).fill(1))
heap.releaseFreeMemory()
const zero = heap.calloc(1, 8 << 20)
const isZero = heap.view(zero).every((byte) => byte === 0)
heap.free(zero)
heap.audit()
const refused = heap.systemCalls().filter(({ errno }) => errno !== undefined)
heap.close()
const pool = new BufferPool({ size: 65536 })
pool.release(pool.acquire())
pool.close()
const go = new GoHeap()
go.free(go.malloc(100))
go.close()
process.stdout.write(
  JSON.stringify({ isZero, refused: [...new Set(refused.map(({ call, errno }) => `${call} ${errno}`))] })
)
