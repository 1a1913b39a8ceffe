import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import { Heap } from '../../lib/index.ts'
import { childScript } from '../support/child.ts'

const LIMIT_BYTES = 2 ** 26

const WRONG = [undefined, null, 7, '7', {}, [], true, 16n, Symbol('view'), () => 7, new ArrayBuffer(8)]

test('a Buffer is freed once, also when its block is another’s by then', (t) => {
  using heap = new Heap({ limitBytes: LIMIT_BYTES })
  for (const options of [undefined, { tag: 'watched' }, { alignment: 64 }]) {
    for (const size of [40, 3_000_000]) {
      const buffer = heap.allocBuffer(size, options)
      const address = heap.addressOf(buffer)
      heap.freeBuffer(buffer)
      t.like(
        t.throws(() => heap.freeBuffer(buffer), { code: 'ERR_HEAP_DOUBLE_FREE' }),
        { address }
      )
      const others = Array.from({ length: 70 }, () => heap.allocBuffer(size > 100 ? 100_000 : size))
      t.throws(() => heap.freeBuffer(buffer), { code: 'ERR_HEAP_DOUBLE_FREE' })
      t.throws(() => heap.freeBuffer(buffer), { code: 'ERR_HEAP_DOUBLE_FREE' })
      for (const other of others) heap.freeBuffer(other)
    }
  }
  heap.audit()
  t.is(heap.stats().liveBytes, 0)
})

test('a block that was freed by its address is free for its Buffer too', (t) => {
  using heap = new Heap({ limitBytes: LIMIT_BYTES })
  const buffer = heap.allocBuffer(100)
  heap.free(heap.addressOf(buffer))
  t.throws(() => heap.freeBuffer(buffer), { code: 'ERR_HEAP_DOUBLE_FREE' })
  t.throws(() => heap.addressOf(buffer), { code: 'ERR_HEAP_DOUBLE_FREE' })
  const moved = heap.allocBuffer(100, { tag: 'moved' })
  const address = heap.realloc(heap.addressOf(moved), 100_000)
  t.throws(() => heap.freeBuffer(moved), { code: 'ERR_HEAP_DOUBLE_FREE' })
  heap.free(address)
  t.is(heap.stats().liveBytes, 0)
})

test('a part that doesn’t start its block, and memory of others, are refused', (t) => {
  using heap = new Heap({ limitBytes: LIMIT_BYTES })
  using other = new Heap({ limitBytes: LIMIT_BYTES })
  const buffer = heap.allocBuffer(100)
  const views = [
    buffer.subarray(1),
    buffer.subarray(16),
    buffer.slice(48, 60),
    new DataView(buffer.buffer, buffer.byteOffset + 8, 8),
    new Uint8Array(heap.buffer, 0, 10),
    Buffer.alloc(8),
    new Uint8Array(new SharedArrayBuffer(100_000), buffer.byteOffset, 10),
    other.allocBuffer(100),
    new Uint8Array(other.buffer, buffer.byteOffset, 10),
  ]
  for (const view of views) {
    for (const call of ['freeBuffer', 'addressOf', 'unwatch'] as const)
      t.throws(() => heap[call](view), { code: 'ERR_HEAP_INVALID_ADDRESS' }, `${call} of ${view.byteOffset}`)
  }
  heap.freeBuffer(buffer.subarray(0, 5))
  t.is(heap.stats().liveBytes, 0, 'a part that starts the block stands for it')
})

test('arguments of the wrong type or out of range are told by code', (t) => {
  using heap = new Heap({ limitBytes: LIMIT_BYTES })
  const loose = heap as unknown as Record<string, (...args: unknown[]) => unknown>
  const buffer = heap.allocBuffer(100)
  const address = heap.addressOf(buffer)
  const isType = (run: () => unknown, what: string) =>
    t.throws(run, { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' }, what)
  const isRange = (run: () => unknown, what: string) =>
    t.throws(run, { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' }, what)
  for (const value of WRONG) {
    for (const call of ['freeBuffer', 'addressOf', 'unwatch'])
      isType(() => loose[call]!(value), `${call} of ${typeof value}`)
    isType(() => loose.allocArray!(value, 4), `allocArray of ${typeof value}`)
    if (typeof value !== 'number') {
      isType(() => loose.allocBuffer!(value), `allocBuffer of ${typeof value}`)
      isType(() => loose.allocArray!(Uint8Array, value), `allocArray of length ${typeof value}`)
      isType(() => loose.bufferAt!(value), `bufferAt ${typeof value}`)
    }
    if (typeof value !== 'number' && value !== undefined) {
      isType(() => loose.bufferAt!(address, value), `bufferAt of length ${typeof value}`)
      isType(() => loose.allocBuffer!(4, { alignment: value }), `alignment ${typeof value}`)
    }
    if (value !== undefined && typeof value !== 'object') {
      isType(() => loose.allocBuffer!(4, value), `options ${typeof value}`)
      isType(() => loose.allocArray!(Uint8Array, 4, value), `options ${typeof value}`)
      isType(() => loose.stats!(value), `stats ${typeof value}`)
    }
    if (value !== undefined && typeof value !== 'string')
      isType(() => loose.allocBuffer!(4, { tag: value }), `tag ${typeof value}`)
    if (value !== undefined && typeof value !== 'boolean') {
      isType(() => loose.allocBuffer!(4, { zero: value }), `zero ${typeof value}`)
      isType(() => loose.stats!({ detail: value }), `detail ${typeof value}`)
    }
  }
  isType(() => loose.allocBuffer!(4, null), 'options null')
  for (const type of [DataView, Array, ArrayBuffer, Object.getPrototypeOf(Uint8Array)])
    isType(() => loose.allocArray!(type, 4), String(type))
  for (const value of [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
    isRange(() => heap.allocBuffer(value), `allocBuffer ${value}`)
    isRange(() => heap.allocArray(Int32Array, value), `allocArray ${value}`)
    isRange(() => heap.bufferAt(value), `bufferAt ${value}`)
    isRange(() => heap.bufferAt(address, value), `bufferAt of length ${value}`)
  }
  for (const alignment of [0, 3, 48, -16, 2 ** 27]) isRange(() => heap.allocBuffer(1, { alignment }), `at ${alignment}`)
  isRange(() => heap.bufferAt(address, heap.usableSize(address) + 1), 'longer than the block')
  for (const leaks of ['none', '']) t.throws(() => new Heap({ leaks: leaks as 'off' }), { code: 'ERR_OUT_OF_RANGE' })
  heap.freeBuffer(buffer)
  t.is(heap.stats().liveBytes, 0)
})

test('after close every call says so', (t) => {
  const heap = new Heap({ limitBytes: LIMIT_BYTES })
  const [buffer, freed, watched] = [heap.allocBuffer(100), heap.allocBuffer(100), heap.allocBuffer(1, { tag: 'x' })]
  const array = heap.allocArray(Int32Array, 4)
  heap.freeBuffer(freed)
  const address = heap.addressOf(buffer)
  heap.close()
  const calls = [
    () => heap.allocBuffer(1),
    () => heap.allocBuffer(1, { tag: 'x' }),
    () => heap.allocArray(Int32Array, 1),
    () => heap.freeBuffer(buffer),
    () => heap.freeBuffer(freed),
    () => heap.freeBuffer(watched),
    () => heap.freeBuffer(array),
    () => heap.addressOf(buffer),
    () => heap.bufferAt(address),
    () => heap.unwatch(watched),
  ]
  for (const call of calls) t.throws(call, { code: 'ERR_HEAP_CLOSED' }, String(call))
  t.deepEqual(heap.stats({ detail: true }).owners, [])
})

test('a Buffer goes to another thread by its address: it is freed there, or one from there is freed here', async (t) => {
  using heap = new Heap({ limitBytes: LIMIT_BYTES })
  const worker = new Worker(childScript('heap-worker'), { workerData: { token: heap.share(), task: 'serve' } })
  const call = async (name: string, ...args: unknown[]) => {
    worker.postMessage({ call: name, args })
    return ((await once(worker, 'message')) as [{ result?: unknown; code?: string }])[0]
  }
  for (const options of [undefined, { tag: 'watched' }]) {
    const sent = heap.allocBuffer(1000, options).fill(5)
    const address = heap.addressOf(sent)
    t.deepEqual(await call('free', address), { result: undefined })
    t.like(await call('free', address), { code: 'ERR_HEAP_DOUBLE_FREE' })
    t.throws(() => heap.freeBuffer(sent), { code: 'ERR_HEAP_DOUBLE_FREE' })
    const { result: theirs } = (await call('allocBuffer', 500, options)) as { result: number }
    const result = heap.bufferAt(theirs, 500)
    t.is(heap.addressOf(result), theirs)
    t.throws(() => heap.freeBuffer(result.subarray(16)), { code: 'ERR_HEAP_INVALID_ADDRESS' })
    heap.freeBuffer(result)
    t.throws(() => heap.freeBuffer(result), { code: 'ERR_HEAP_DOUBLE_FREE' })
    const { result: other } = (await call('allocBuffer', 64)) as { result: number }
    heap.freeBuffer(new DataView(heap.buffer, other, 8))
  }
  t.deepEqual(heap.stats({ detail: true }).owners, [])
  t.is(heap.stats().liveBytes, 0)
  heap.audit()
  await worker.terminate()
})
