import test from 'ava'
import { Heap } from '../../lib/index.ts'

const STALE = { code: 'ERR_HEAP_STALE_HANDLE' }

test('a block is its address, its length and its bytes, until its scope ends', (t) => {
  const heap = new Heap({ limitBytes: 64 * 2 ** 20 })
  let after: { free(): void; address: number } | undefined
  {
    using block = heap.block(1000)
    after = block
    t.is(block.length, 1000)
    t.is(block.bytes.length, 1000)
    t.is(block.bytes.byteOffset, block.address)
    t.is(block.bytes, block.bytes)
    t.is(block.buffer().toString('latin1', 0, 0), '')
    block.bytes.fill(7)
    t.is(block.buffer().readUInt8(999), 7)
    t.is(block.as(Float64Array).length, 125)
    t.is(heap.addressOf(block.buffer()), block.address)
    t.true(block.isLive)
  }
  t.throws(() => after.address, STALE)
  after.free()
  t.is(heap.stats().liveBytes, 0)
  heap.audit()
})

test('every use after the end is refused, and a second end does nothing, also where the memory is another block’s', (t) => {
  const heap = new Heap()
  const block = heap.block(64)
  const { address } = block
  block.free()
  const other = heap.block(64)
  t.is(other.address, address)
  block.free()
  block[Symbol.dispose]()
  t.false(block.isLive)
  t.true(other.isLive)
  for (const use of [
    () => block.address,
    () => block.length,
    () => block.bytes,
    () => block.buffer(),
    () => block.as(Uint8Array),
  ])
    t.throws(use, STALE)
  other.free()
  heap.audit()
})

test('options are those of buffers', (t) => {
  const heap = new Heap()
  heap.block(4096).bytes.fill(0xff)
  using zeroed = heap.block(300, { zero: true, alignment: 4096, tag: 'rows' })
  t.is(zeroed.address % 4096, 0)
  t.true(zeroed.bytes.every((byte) => byte === 0))
  t.deepEqual(heap.stats({ detail: true }).owners, [{ tag: 'rows', buffers: 1, bytes: 300 }])
  zeroed.free()
  t.deepEqual(heap.stats({ detail: true }).owners, [])
  heap.audit()
})

test('a length that is no multiple of an element’s', (t) => {
  using heap = new Heap()
  using block = heap.block(10)
  t.throws(() => block.as(Float64Array), { code: 'ERR_OUT_OF_RANGE' })
  t.is(block.as(Uint16Array).length, 5)
  using none = heap.block(0)
  t.is(none.bytes.length, 0)
  t.is(none.as(Float64Array).length, 0)
})

test('watched for leaks, it is freed as any other', (t) => {
  using heap = new Heap({ leaks: 'all' })
  const blocks = Array.from({ length: 100 }, (_, i) => heap.block(i))
  for (const block of blocks) t.is(block.buffer().length, block.length)
  t.is(heap.stats({ detail: true }).owners[0]!.buffers, 100)
  for (const block of blocks) block.free()
  t.deepEqual(heap.stats({ detail: true }).owners, [])
  t.is(heap.stats().liveBytes, 0)
  heap.audit()
})

test('wrong arguments', (t) => {
  using heap = new Heap()
  using block = heap.block(16)
  for (const size of [-1, 0.5, Number.NaN, 2 ** 53])
    t.throws(() => heap.block(size), { code: 'ERR_OUT_OF_RANGE' }, String(size))
  for (const size of ['1', undefined, null, 1n])
    t.throws(() => heap.block(size as never), { code: 'ERR_INVALID_ARG_TYPE' }, String(size))
  t.throws(() => heap.block(1, null as never), { code: 'ERR_INVALID_ARG_TYPE' })
  t.throws(() => heap.block(1, { tag: 1 as never }), { code: 'ERR_INVALID_ARG_TYPE' })
  t.throws(() => heap.block(1, { alignment: 3 }), { code: 'ERR_OUT_OF_RANGE' })
  for (const type of [undefined, Object, DataView, () => 0])
    t.throws(() => block.as(type as never), { code: 'ERR_INVALID_ARG_TYPE' })
})

test('after the heap was closed', (t) => {
  const heap = new Heap()
  const block = heap.block(16)
  heap.close()
  t.throws(() => block.bytes, { code: 'ERR_HEAP_CLOSED' })
  t.throws(() => heap.block(1), { code: 'ERR_HEAP_CLOSED' })
  t.throws(() => heap.block(1, { zero: true }), { code: 'ERR_HEAP_CLOSED' })
  t.notThrows(() => block.free())
  t.throws(() => block.bytes, STALE)
})
