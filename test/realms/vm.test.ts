// Values of another realm than the library's: a program that runs code in vm contexts has them, and whoever tests with Jest or jsdom.
import { PassThrough, Readable } from 'node:stream'
import vm from 'node:vm'
import test from 'ava'
import { BufferPool, Heap } from '../../lib/index.ts'
import { bytes, struct } from '../../lib/struct/index.ts'

const context = vm.createContext({})
const other = <T>(code: string): T => vm.runInContext(code, context) as T
const { Bytes, Numbers, View } = other<{
  Bytes: typeof Uint8Array
  Numbers: typeof Float64Array
  View: typeof DataView
}>('({ Bytes: Uint8Array, Numbers: Float64Array, View: DataView })')

const WRONG_TYPE = { code: 'ERR_INVALID_ARG_TYPE' }

test("arrays are of another realm's classes, and of classes that extend these", (t) => {
  using heap = new Heap()
  class Samples extends Numbers {}
  for (const type of [Numbers, Samples]) {
    const array = heap.allocArray(type, 4, { zero: true }) as Float64Array
    t.true(array instanceof type)
    t.deepEqual([...array], [0, 0, 0, 0])
    heap.freeBuffer(array)
  }
  using block = heap.block(32)
  t.true(block.as(Numbers) instanceof Numbers)
  using arena = heap.arena()
  t.true(arena.allocArray(Numbers, 4) instanceof Numbers)
})

test('what makes no typed arrays is refused, whatever it says of itself, and the heap is as before', (t) => {
  using heap = new Heap({ leaks: 'off' })
  class Fake {
    static readonly BYTES_PER_ELEMENT = 8
    get [Symbol.toStringTag]() {
      return 'Float64Array'
    }
  }
  const heir = Object.assign(function heir() {}, { BYTES_PER_ELEMENT: 8, prototype: Object.create(Numbers.prototype) })
  for (const type of [View, Fake, heir, other('Array'), Object.getPrototypeOf(Numbers)])
    t.throws(() => heap.allocArray(type as never, 4), WRONG_TYPE)
  t.is(heap.stats().liveBytes, 0)
})

test("another realm's views free what they start with", (t) => {
  using heap = new Heap({ leaks: 'off' })
  using pool = new BufferPool({ heap, size: 100 })
  type ViewClass = new (buffer: ArrayBufferLike, byteOffset: number, length: number) => ArrayBufferView
  for (const type of [Bytes, Numbers, View] as ViewClass[]) {
    const { buffer, byteOffset } = heap.allocBuffer(48)
    const view = new type(buffer, byteOffset, 6)
    const address = heap.addressOf(view)
    heap.freeBuffer(view)
    t.throws(() => heap.free(address), { code: 'ERR_HEAP_DOUBLE_FREE' })
  }
  const { buffer, byteOffset, length } = pool.acquire()
  pool.release(new Bytes(buffer, byteOffset, length))
  t.is(pool.stats().acquired, 0)
})

test("fields of bytes take another realm's, and nothing else of it", (t) => {
  using heap = new Heap()
  using record = struct({ key: bytes(4) }).alloc(heap, { key: new Bytes([1, 2]) })
  t.deepEqual([...record.key], [1, 2, 0, 0])
  for (const wrong of [other('[1, 2]'), new Numbers(1), new View(new ArrayBuffer(4))])
    t.throws(() => record.assign({ key: wrong as never }), WRONG_TYPE)
})

test("pools read and write another realm's bytes", async (t) => {
  using pool = new BufferPool({ size: 100 })
  const through = new PassThrough()
  await pool.write(through, new Bytes([1, 2]))
  t.deepEqual([...(through.read() as Buffer)], [1, 2])
  for await (const chunk of pool.read(Readable.from([new Bytes([3, 4])]))) t.deepEqual([...chunk], [3, 4])
  await t.throwsAsync(pool.read(Readable.from([new Numbers(1)])).next(), WRONG_TYPE)
})

test('signals are known by what they do: other environments have a class of their own', async (t) => {
  using pool = new BufferPool({ size: 100, max: 1 })
  pool.acquire()
  const events = new EventTarget()
  let aborted = false
  const signal = {
    get aborted() {
      return aborted
    },
    reason: new Error('no more'),
    throwIfAborted() {
      if (aborted) throw this.reason
    },
    addEventListener: events.addEventListener.bind(events),
    removeEventListener: events.removeEventListener.bind(events),
  }
  const next = pool.acquireAsync({ signal: signal as never })
  aborted = true
  events.dispatchEvent(new Event('abort'))
  await t.throwsAsync(next, { message: 'no more' })
  await t.throwsAsync(pool.acquireAsync({ signal: signal as never }), { message: 'no more' })
  for (const wrong of [{}, { aborted: false }, events, 1])
    await t.throwsAsync(pool.acquireAsync({ signal: wrong as never }), WRONG_TYPE)
})

test("a source that isn't Node's own stream is destroyed too when its reader is called off", async (t) => {
  using pool = new BufferPool({ size: 100 })
  const controller = new AbortController()
  let destroyed = false
  const source = {
    destroy: () => {
      destroyed = true
    },
    async *[Symbol.asyncIterator]() {
      yield new Uint8Array(1)
      await new Promise(() => {})
    },
  }
  const reading = pool.read(source, { signal: controller.signal })
  await reading.next()
  const next = reading.next()
  controller.abort(new Error('no more'))
  await t.throwsAsync(next, { message: 'no more' })
  t.true(destroyed)
})
