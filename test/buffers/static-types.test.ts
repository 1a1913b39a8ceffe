import { isArrayBuffer, isSharedArrayBuffer } from 'node:util/types'
import test from 'ava'
import { Heap } from '../../lib/heap/heap.ts'
import { BufferPool } from '../../lib/pool/buffer-pool.ts'

class Samples extends Float32Array {
  sum(): number {
    return this.reduce((sum, sample) => sum + sample, 0)
  }
}

/** That this compiles is the test; it runs, too. */
test('buffers and arrays are over an ArrayBuffer by their types too', (t) => {
  using heap = new Heap()
  using pool = new BufferPool({ size: 3, heap })
  const whole: SharedArrayBuffer = heap.buffer
  const views: [Buffer<ArrayBuffer>, Float64Array<ArrayBuffer>, BigInt64Array<ArrayBuffer>, Buffer<ArrayBuffer>] = [
    heap.allocBuffer(3),
    heap.allocArray(Float64Array, 3),
    heap.allocArray(BigInt64Array, 3),
    pool.acquire(),
  ]
  // @ts-expect-error an ArrayBuffer is no shared memory
  const wrong: Float64Array<SharedArrayBuffer> = heap.allocArray(Float64Array, 3)
  const samples: Samples = heap.allocArray(Samples, 3, { zero: true })
  t.is(samples.sum(), 0)
  t.true(isSharedArrayBuffer(whole))
  t.true([...views, wrong].every((view) => view.length === 3 && isArrayBuffer(view.buffer)))
  pool.release(views[3])
})
