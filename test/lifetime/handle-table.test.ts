import test from 'ava'
import { HandleTable, type HandleTableToken, Heap } from '../../lib/index.ts'
import { Handle, Word } from '../../lib/lifetime/handle-words.ts'
import { Granule } from '../../lib/memory/page.ts'
import { SharedWord } from '../../lib/threads/shared-block.ts'

const STALE = { code: 'ERR_HEAP_STALE_HANDLE' }
const NEVER_GIVEN = { code: 'ERR_HEAP_INVALID_ADDRESS' }
const CLOSED = { code: 'ERR_HEAP_CLOSED' }
const WRONG_TYPE = { code: 'ERR_INVALID_ARG_TYPE' }
const OUT_OF_RANGE = { code: 'ERR_OUT_OF_RANGE' }

test('a handle leads to its block, and is stale when that was freed', (t) => {
  const heap = new Heap({ limitBytes: 64 * 2 ** 20 })
  const table = heap.handles()
  const handle = table.alloc(100)
  t.true(Number.isSafeInteger(handle) && handle > 0)
  t.is(table.view(handle).length, 100)
  t.is(table.view(handle).byteOffset, table.address(handle))
  t.true(table.isLive(handle))
  t.is(table.count(), 1)
  const address = table.address(handle)
  table.free(handle)
  const other = table.alloc(100)
  t.is(table.address(other), address)
  t.not(other, handle)
  for (const call of [() => table.address(handle), () => table.view(handle), () => table.free(handle)])
    t.throws(call, STALE)
  t.false(table.isLive(handle))
  t.is(table.view(table.alloc(0)).length, 0)
  t.is(table.count(), 2)
  table.close()
  t.is(heap.stats().liveBytes, 0)
  heap.audit()
})

test('only the table frees its blocks', (t) => {
  using heap = new Heap()
  using table = heap.handles()
  const address = table.address(table.alloc(100))
  t.throws(() => heap.free(address), NEVER_GIVEN)
  t.throws(() => heap.realloc(address, 1000), NEVER_GIVEN)
  t.throws(() => heap.free(table.share().handles), NEVER_GIVEN)
})

test('it grows, and each handle is another', (t) => {
  const heap = new Heap({ limitBytes: 256 * 2 ** 20 })
  const table = new HandleTable(heap)
  const handles = Array.from({ length: 20_000 }, (_, i) => {
    const handle = table.alloc(8)
    new Int32Array(heap.buffer, table.address(handle), 1)[0] = i
    return handle
  })
  t.is(new Set(handles).size, 20_000)
  t.true(handles.every((handle, i) => new Int32Array(heap.buffer, table.address(handle), 1)[0] === i))
  for (const handle of handles) table.free(handle)
  t.is(table.count(), 0)
  t.true(handles.every((handle) => !table.isLive(handle)))
  table.close()
  t.is(heap.stats().liveBytes, 0)
})

test('at its most', (t) => {
  using heap = new Heap()
  for (const max of [1, 7, 300, 1000]) {
    using table = heap.handles({ max })
    const handles = Array.from({ length: max }, () => table.alloc(1))
    const { liveBytes } = heap.stats()
    t.throws(() => table.alloc(1), { code: 'ERR_HEAP_OUT_OF_MEMORY' })
    t.is(heap.stats().liveBytes, liveBytes)
    table.free(handles[0]!)
    table.alloc(1)
  }
  heap.audit()
})

test('a block of more than 2 GiB has the length that was asked for', (t) => {
  using heap = new Heap({ limitBytes: 6 * 2 ** 30 })
  using table = heap.handles()
  heap.malloc(2 ** 31)
  const handle = table.alloc(2 ** 31 + 5)
  t.true(table.address(handle) > 2 ** 31)
  t.is(table.view(handle).length, 2 ** 31 + 5)
  table.free(handle)
})

test('a slot whose generations are used up is out of use', (t) => {
  using heap = new Heap()
  using table = heap.handles({ max: 1 })
  const first = table.alloc(1)
  table.free(first)
  const words = new Int32Array(heap.buffer, table.share().handles, SharedWord.Count)
  const slots = new Int32Array(heap.buffer, words[Word.Chunks]! * Granule.Bytes, 4)
  // The last generation, free and kept by this thread.
  slots[0] = (0x1fffffff << 2) | 2
  const last = table.alloc(1)
  t.is(last, 0x1fffffff * 2 ** 24)
  t.true(Number.isSafeInteger(last + Handle.IndexMask))
  t.true(table.isLive(last))
  table.free(last)
  t.throws(() => table.free(last), STALE)
  t.throws(() => table.address(first), STALE)
  t.throws(() => table.alloc(1), { code: 'ERR_HEAP_OUT_OF_MEMORY' })
})

test('two attachments share blocks, and of two that free one the second is told', (t) => {
  const heap = new Heap()
  const there = Heap.attach(heap.share())
  const table = heap.handles()
  const other = HandleTable.attach(structuredClone(table.share()), { heap: there })
  const handles = Array.from({ length: 1000 }, (_, i) => (i % 2 === 0 ? table : other).alloc(16))
  for (const [i, handle] of handles.entries()) {
    t.is(table.address(handle), other.address(handle))
    ;(i % 3 === 0 ? table : other).free(handle)
    t.throws(() => table.free(handle), STALE)
    t.throws(() => other.free(handle), STALE)
  }
  const kept = other.alloc(10)
  other.close()
  there.close()
  t.is(table.view(kept).length, 10)
  table.close()
  t.is(heap.stats().liveBytes, 0)
  heap.audit()
})

test('slots of a thread that is gone are used again', (t) => {
  const heap = new Heap()
  const table = heap.handles({ max: 1024 })
  const there = Heap.attach(heap.share())
  const other = HandleTable.attach(table.share(), { heap: there })
  const kept = other.alloc(10)
  // It ends without having closed the table, and had kept some slots.
  there.close()
  for (let i = 0; i < 1023; i++) table.alloc(1)
  t.throws(() => table.alloc(1), { code: 'ERR_HEAP_OUT_OF_MEMORY' })
  t.true(table.isLive(kept))
  t.is(table.count(), 1024)
  table.close()
  t.is(heap.stats().liveBytes, 0)
})

test('handles that are none', (t) => {
  using heap = new Heap()
  using table = heap.handles()
  using second = heap.handles()
  const handle = table.alloc(10)
  for (const call of [table.address, table.view, table.free, table.isLive] as ((handle: number) => unknown)[]) {
    for (const wrong of [-1, handle + 0.5, Number.NaN, 2 ** 53, handle + 2 ** 54, Number.POSITIVE_INFINITY])
      t.throws(() => call.call(table, wrong), OUT_OF_RANGE, String(wrong))
    for (const wrong of [String(handle), undefined, null, BigInt(handle)])
      t.throws(() => call.call(table, wrong as never), WRONG_TYPE)
  }
  for (const wrong of [
    0,
    1,
    5 * 2 ** 24,
    handle + 1,
    handle + 2 ** 24,
    handle - 2 ** 24,
    2 ** 53 - 1,
    second.alloc(1),
  ]) {
    for (const call of [() => table.address(wrong), () => table.view(wrong), () => table.free(wrong)])
      t.throws(call, NEVER_GIVEN, String(wrong))
    t.false(table.isLive(wrong))
  }
  t.true(table.isLive(handle))
})

test('wrong arguments', (t) => {
  using heap = new Heap()
  using table = heap.handles()
  for (const max of [0, 1.5, 2 ** 24 + 1]) t.throws(() => heap.handles({ max }), OUT_OF_RANGE)
  t.throws(() => heap.handles({ max: '1' as never }), WRONG_TYPE)
  t.throws(() => heap.handles(null as never), WRONG_TYPE)
  t.throws(() => new HandleTable({} as Heap), WRONG_TYPE)
  for (const size of [-1, 0.5, Number.NaN]) t.throws(() => table.alloc(size), OUT_OF_RANGE)
  t.throws(() => table.alloc('1' as never), WRONG_TYPE)
  t.throws(() => table.alloc(2 ** 40), { code: 'ERR_HEAP_OUT_OF_MEMORY' })
  t.is(table.count(), 0)
  const INVALID = { code: 'ERR_HEAP_INVALID_TOKEN' }
  const token = table.share()
  const block = heap.calloc(1, 2000)
  for (const wrong of [
    undefined,
    {},
    { ...token, handles: 'x' },
    { ...token, heap: undefined },
    { ...token, handles: 16 },
    { ...token, handles: block },
    { ...token, generation: 0 },
  ])
    t.throws(() => HandleTable.attach(wrong as HandleTableToken, { heap }), INVALID)
  table.close()
  t.throws(() => HandleTable.attach(token, { heap }), INVALID)
  t.throws(() => HandleTable.attach(token, { heap: {} as never }), WRONG_TYPE)
})

test('after it was closed, and after the heap was', (t) => {
  const heap = new Heap()
  const table = heap.handles()
  const closed = heap.handles()
  const handle = table.alloc(10)
  const gone = closed.alloc(10)
  closed.close()
  closed.close()
  heap.audit()
  for (const call of [() => closed.alloc(1), () => closed.address(gone), () => closed.free(gone), () => closed.count()])
    t.throws(call, CLOSED)
  t.throws(() => closed.isLive(gone), CLOSED)
  t.throws(() => closed.share(), CLOSED)
  heap.close()
  for (const call of [() => table.alloc(1), () => table.address(handle), () => table.view(handle)])
    t.throws(call, CLOSED)
  for (const call of [() => table.free(handle), () => table.isLive(handle), () => table.share(), () => heap.handles()])
    t.throws(call, CLOSED)
  table.close()
})
