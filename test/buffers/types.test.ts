import test from 'ava'
import { Heap } from '../../lib/heap.ts'
import { BufferPool } from '../../lib/pool/buffer-pool.ts'

class Samples extends Float32Array {
  sum(): number {
    return this.reduce((sum, sample) => sum + sample, 0)
  }
}

/** That this compiles is the test; it runs, too. */
test('the types of buffers and arrays follow the memory', (t) => {
  using shared = new Heap()
  using own = new Heap({ memory: 'private' })
  using pool = new BufferPool({ size: 3, memory: 'private' })
  const views: [Buffer<SharedArrayBuffer>, Float64Array<SharedArrayBuffer>, BigInt64Array<SharedArrayBuffer>] = [
    shared.allocBuffer(3),
    shared.allocArray(Float64Array, 3),
    shared.allocArray(BigInt64Array, 3),
  ]
  const ownViews: [Buffer<ArrayBuffer>, Uint8Array<ArrayBuffer>, Buffer<ArrayBuffer>] = [
    own.allocBuffer(3),
    own.allocArray(Uint8Array, 3),
    pool.acquire(),
  ]
  // @ts-expect-error shared memory is no ArrayBuffer
  const wrong: Float64Array<ArrayBuffer> = shared.allocArray(Float64Array, 3)
  const samples: Samples = shared.allocArray(Samples, 3, { zero: true })
  t.is(samples.sum(), 0)
  t.true([...views, wrong].every((view) => view.length === 3 && view.buffer instanceof SharedArrayBuffer))
  t.true(ownViews.every((view) => view.length === 3 && view.buffer instanceof ArrayBuffer))
  pool.release(ownViews[2])
})
