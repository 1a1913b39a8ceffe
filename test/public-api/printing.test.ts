// What loggers, assertions and clones make of every object of the library. None may take long, be long, or read what it isn't about.
import assert from 'node:assert'
import { Writable } from 'node:stream'
import { inspect } from 'node:util'
import { deserialize, serialize } from 'node:v8'
import { MessageChannel, Worker } from 'node:worker_threads'
import test from 'ava'
import pino from 'pino'
import winston from 'winston'
import { DirectHeap } from '../../lib/direct/index.ts'
import { FreeListHeap } from '../../lib/freelist/index.ts'
import { CycleRecord, GoHeap } from '../../lib/go/index.ts'
import { AllocatorError, BufferPool, BufferReader, BufferWriter, Channel, Heap, PoolSet } from '../../lib/index.ts'
import { array, bytes, f64, i32, struct, text } from '../../lib/struct/index.ts'
import { SimulatedMapper } from '../../lib/testing/index.ts'

const MOST_MS = 20
const MOST_TEXT = 4096
const MOST_TOUCHED = 2 ** 17

const Point = struct({ x: f64, n: i32 }, { name: 'Point' })
const Order = struct({ id: i32, at: Point, tags: array(i32, 3), hash: bytes(4), who: text(8) }, { name: 'Order' })

const heap = new Heap()
const list = new FreeListHeap()
const mutator = list.mutator()
const cell = mutator.defineType({ size: 16, references: [0] })
const leasing = new BufferPool({ size: 64, heap })

/** An object, another of its kind that differs from it, and how it ends; undefined where it has no end. */
interface Kind {
  make(): object
  end?(object: never): void
}

const close = (open: { close(): void }) => open.close()
const free = (block: { free(): void }) => block.free()

const KINDS: Record<string, Kind> = {
  Heap: { make: () => new Heap(), end: close },
  'Heap in debug mode': { make: () => new Heap({ debug: true }), end: close },
  'Heap that was attached': { make: () => Heap.attach(heap.share()), end: close },
  GoHeap: { make: () => new GoHeap(), end: close },
  FreeListHeap: { make: () => new FreeListHeap(), end: close },
  DirectHeap: { make: () => new DirectHeap(), end: close },
  BufferPool: { make: () => new BufferPool({ size: 100 }), end: close },
  'BufferPool that is shared': {
    make: () => {
      const pool = new BufferPool({ size: 100, heap })
      pool.share()
      pool.release(pool.acquire())
      return pool
    },
    end: close,
  },
  PoolSet: { make: () => new PoolSet({ heap }), end: close },
  Channel: { make: () => new Channel(heap, { capacity: 4 }), end: close },
  Arena: { make: () => heap.arena(), end: (arena: { dispose(): void }) => arena.dispose() },
  HandleTable: { make: () => heap.handles(), end: close },
  BufferWriter: { make: counting(writerOf), end: close },
  BufferReader: { make: counting((n) => new BufferReader(Buffer.alloc(n))), end: close },
  Block: { make: () => heap.block(10), end: free },
  Lease: { make: () => leasing.lease(), end: (lease: { release(): void }) => lease.release() },
  Mutator: { make: () => list.mutator(), end: (made: { dispose(): void }) => made.dispose() },
  Handle: { make: () => mutator.allocate(cell), end: (handle: { dispose(): void }) => handle.dispose() },
  SimulatedMapper: { make: () => new SimulatedMapper() },
  record: { make: counting((n) => Order.alloc(heap, { id: n, at: { x: n } })), end: free },
  'part of a record': { make: counting((n) => Order.alloc(heap, { at: { x: n } }).at) },
  'array of a record': { make: counting((n) => Order.alloc(heap, { tags: [n, 2, 3] }).tags) },
  StructArray: { make: () => Point.array(heap, 100_000), end: free },
  StructColumns: { make: () => Point.columns(heap, 1000), end: free },
  Column: { make: () => Point.array(heap, 10).column('x') },
  cursor: { make: counting((n) => Point.array(heap, 3).cursor().assign({ n })) },
  'cursor over columns': { make: counting((n) => Point.columns(heap, 3).cursor().assign({ n })) },
  'buffer of a heap': { make: counting((n) => heap.allocBuffer(50).fill(n)) },
  'token of a heap': { make: () => new Heap().share() },
  'token of a pool': { make: () => new BufferPool({ size: 10 }).share() },
  'passed block': { make: () => heap.pass(heap.allocBuffer(10)) },
  AllocatorError: { make: counting((n) => new AllocatorError('ERR_HEAP_CLOSED', 'closed', { address: n })) },
  CycleRecord: { make: counting((n) => new CycleRecord(n, 0)) },
}

/** A writer of so many bytes. */
function writerOf(length: number): BufferWriter {
  const writer = new BufferWriter({ heap })
  writer.reserve(length)
  return writer
}

function counting(make: (n: number) => object): () => object {
  let n = 0
  return () => make(++n)
}

/** Options that show all there is, each alone and all together. */
const OPTIONS = {
  showHidden: { showHidden: true },
  deep: { depth: Number.POSITIVE_INFINITY },
  getters: { getters: true },
  all: { showHidden: true, depth: Number.POSITIVE_INFINITY, getters: true, maxArrayLength: 1000, colors: true },
  'no customs': { customInspect: false },
  'hidden without customs': { customInspect: false, showHidden: true, depth: Number.POSITIVE_INFINITY },
} as const

/** Each gives what it has written. */
const LOOKS: Record<string, (one: object, other: object) => string> = {
  inspect: (one) => inspect(one),
  'inspect of what has it': (one) => inspect({ nested: [one] }),
  template: (one) => Object.prototype.toString.call(one),
  'JSON.stringify': (one) => JSON.stringify({ one }),
  spread: (one) => JSON.stringify({ ...one }) + inspect({ ...one }),
  'Object.keys': (one) => Object.keys(one).join(),
  'a failing assertion': (one, other) => {
    try {
      assert.deepStrictEqual(one, other)
    } catch (error) {
      return (error as Error).message
    }
    return ''
  },
  'a passing assertion': (one) => {
    assert.deepStrictEqual(one, one)
    assert.deepEqual({ one }, { one })
    return ''
  },
  structuredClone: cloned((one) => inspect(structuredClone(one))),
  'v8.serialize': cloned((one) => inspect(deserialize(serialize(one)))),
  pino: (one) => written((stream) => pino({}, stream).info({ one }, 'seen')),
  winston: (one) =>
    written((stream) =>
      winston.createLogger({ transports: [new winston.transports.Stream({ stream })] }).info('seen', { one })
    ),
  ...Object.fromEntries(
    Object.entries(OPTIONS).map(([name, options]) => [`inspect: ${name}`, (one: object) => inspect(one, options)])
  ),
}
/** Nothing is said of how long these are. */
const LONG = new Set(Object.keys(OPTIONS).map((name) => `inspect: ${name}`))

/** What can't be cloned is refused, for a reason. */
function cloned(clone: (one: object) => string): (one: object) => string {
  return (one) => {
    try {
      return clone(one)
    } catch (error) {
      assert.match((error as Error).message, /could not be cloned|Cannot/)
      return (error as Error).message
    }
  }
}

function written(write: (stream: Writable) => void): string {
  let all = ''
  const stream = new Writable({
    write(chunk, _, done) {
      all += chunk
      done()
    },
  })
  write(stream)
  return all
}

/** How long a look takes at best, in milliseconds: the machine does other things too. */
function timed(look: () => string): { ms: number; text: string } {
  let best = { ms: Number.POSITIVE_INFINITY, text: '' }
  for (let times = 0; times < 5 && best.ms > MOST_MS; times++) {
    const start = performance.now()
    const text = look()
    const ms = performance.now() - start
    if (ms < best.ms) best = { ms, text }
  }
  return best
}

for (const [kind, { make, end }] of Object.entries(KINDS)) {
  for (const state of end === undefined ? ['live'] : ['live', 'ended']) {
    test(`${kind}, ${state}: whatever looks at it is done at once, and says little`, (t) => {
      const one = make()
      const other = make()
      if (state === 'ended') {
        end!(one as never)
        end!(other as never)
      }
      const resident = heap.residentBytes()!
      for (const [name, look] of Object.entries(LOOKS)) {
        const { ms, text } = timed(() => look(one, other))
        t.true(ms <= MOST_MS, `${name} takes ${ms} ms`)
        t.true(
          LONG.has(name) || text.length <= MOST_TEXT,
          `${name} gives ${text.length} characters: ${text.slice(0, 500)}`
        )
      }
      // What a record shows is on a page of its own, and figures are in tables.
      t.true(heap.residentBytes()! - resident < MOST_TOUCHED)
      if (state === 'ended') return
      t.throws(() => assert.deepStrictEqual(one, other), { name: 'AssertionError' })
      end?.(one as never)
      end?.(other as never)
    })
  }
}

test('a record is equal to one of the same fields, and the error for another shows both', (t) => {
  const one = Order.alloc(heap, { id: 1, who: 'me' })
  const same = Order.alloc(heap, { id: 1, who: 'me' })
  const other = Order.alloc(heap, { id: 1, who: 'you' })
  assert.deepStrictEqual(one, same)
  const { message } = t.throws(() => assert.deepStrictEqual(one, other))!
  t.regex(message, /'me'/)
  t.regex(message, /'you'/)
  // Also where the field is far behind.
  const Long = struct({ data: bytes(5000) })
  const [a, b] = [Long.alloc(heap), Long.alloc(heap)]
  assert.deepStrictEqual(a, b)
  a.data[4999] = 1
  t.throws(() => assert.deepStrictEqual(a, b))
})

test('blocks and leases of two heaps are not equal, wherever they are', (t) => {
  const makers = [() => new Heap().block(10), () => new BufferPool({ size: 10 }).lease()]
  for (const make of makers) t.throws(() => assert.deepStrictEqual(make(), make()), { name: 'AssertionError' })
})

test('JSON of an array of many records is of some of them, and says so', (t) => {
  const few = JSON.parse(JSON.stringify(Point.array(heap, 30))) as unknown[]
  t.deepEqual(few, Array(30).fill({ x: 0, n: 0 }))
  const many = JSON.parse(JSON.stringify(Point.array(heap, 100_000))) as unknown[]
  t.regex(String(many.at(-1)), /^and 99\d+ more$/)
})

test('a field that can’t be read says why, in place of it', (t) => {
  const record = Order.alloc(heap)
  heap.view(record.address).fill(0xff)
  t.notThrows(() => JSON.stringify(record))
  t.notThrows(() => inspect(record))
})

test('a record takes no property that is no field of it', (t) => {
  const record = Order.alloc(heap) as unknown as Record<string, unknown>
  const cursor = Order.array(heap, 2).cursor() as unknown as Record<string, unknown>
  const columns = Point.columns(heap, 2).cursor() as unknown as Record<string, unknown>
  for (const object of [record, record.at as typeof record, cursor, columns]) {
    t.throws(() => (object.prise = 3), { instanceOf: TypeError, message: /prise is no field/ })
    t.throws(() => Object.assign(object, { $v: 3 }), { instanceOf: TypeError, message: /\$v is no field/ })
    t.is(object.prise, undefined)
    t.deepEqual(Object.keys(object), [])
  }
})

/** A DOMException isn't an error to everybody. */
function refusal(call: () => unknown): string {
  try {
    call()
  } catch (error) {
    const { name, message } = error as Error
    return `${name}: ${message}`
  }
  return 'nothing was thrown'
}

const SENDABLE: Record<string, () => object> = {
  Heap: () => new Heap(),
  BufferPool: () => new BufferPool({ size: 10 }),
  Channel: () => new Channel(heap),
  Arena: () => heap.arena(),
  HandleTable: () => heap.handles(),
}

for (const [name, make] of Object.entries(SENDABLE)) {
  test(`${name} in a message or in workerData: the error says what to send instead`, (t) => {
    const object = make()
    const { port1 } = new MessageChannel()
    const ways = [
      () => port1.postMessage(object),
      () => port1.postMessage({ inside: [object] }),
      () => new Worker('', { eval: true, workerData: object }),
      () => structuredClone(object),
    ]
    for (const way of ways) t.regex(refusal(way), /^DataCloneError: .* stays in its thread: use share\(\)/)
    port1.close()
  })
}
