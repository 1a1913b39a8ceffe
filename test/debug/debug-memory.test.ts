import { markAsUntransferable } from 'node:worker_threads'
import test from 'ava'
import { open } from '../support/debug-heaps.ts'
import { told } from '../support/told.ts'

test.serial('a stale view has length 0, of whatever class, and was the block and no more before', (t) => {
  const heap = open()
  const buffer = heap.allocBuffer(100)
  t.is(buffer.byteOffset, 0)
  t.is(buffer.buffer.byteLength, 100)
  const address = heap.addressOf(buffer)
  const array = heap.bufferAt(address, 10)
  const view = heap.view(address, 50)
  const data = new DataView(buffer.buffer, 10)
  t.throws(() => heap.freeBuffer(data), {
    code: 'ERR_HEAP_INVALID_ADDRESS',
    message: `no block starts at ${address + 10}`,
  })
  heap.freeBuffer(buffer)
  for (const stale of [buffer, array, view]) t.is(stale.length, 0)
  t.throws(() => data.getInt8(0), { instanceOf: TypeError })
  for (const stale of [buffer, array, view, data]) {
    const { error, reports } = told(() => heap.freeBuffer(stale))
    t.is(error?.code, 'ERR_HEAP_DOUBLE_FREE')
    t.like(reports, [{ kind: 'wrong-free', address, bytes: 100 }])
    t.throws(() => heap.addressOf(stale), { code: 'ERR_HEAP_DOUBLE_FREE' })
  }
  heap.close()
})

test.serial('a buffer that was freed by its address is stale, also when the block is another’s by then', (t) => {
  const heap = open()
  const buffer = heap.allocBuffer(100)
  const address = heap.addressOf(buffer)
  heap.free(address)
  heap.releaseFreeMemory()
  const next: number[] = []
  do next.push(heap.malloc(100))
  while (next.at(-1) !== address && next.length < 10_000)
  t.is(next.at(-1), address)
  t.is(told(() => heap.freeBuffer(buffer)).error?.code, 'ERR_HEAP_DOUBLE_FREE')
  t.is(heap.usableSize(address), 100)
  heap.close()
})

test.serial('a buffer that was transferred, or marked untransferable, can be freed', (t) => {
  const heap = open()
  const buffer = heap.allocBuffer(10)
  const address = heap.addressOf(buffer)
  structuredClone(buffer.buffer, { transfer: [buffer.buffer] })
  t.is(buffer.length, 0)
  t.is(heap.bufferAt(address).length, 10)
  heap.freeBuffer(buffer)
  const marked = heap.allocBuffer(10)
  markAsUntransferable(marked.buffer)
  heap.freeBuffer(marked)
  t.throws(() => heap.freeBuffer(marked), { code: 'ERR_HEAP_DOUBLE_FREE' })
  t.is(heap.stats().liveBytes, 0)
  heap.audit()
  heap.close()
})
