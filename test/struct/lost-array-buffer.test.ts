import { inspect } from 'node:util'
import test from 'ava'
import { Heap } from '../../lib/index.ts'
import {
  array,
  be,
  bits,
  bool,
  bytes,
  type Column,
  type Fields,
  f32,
  f64,
  i16,
  i64,
  type Struct,
  struct,
  u64,
} from '../../lib/struct/index.ts'
import { Order, Point } from '../support/order.ts'

/** Types of fields that `Order` has none of, of which some aren't aligned. */
const Rest = struct(
  { yes: bool, raw: bytes(5), ratio: f32, turned: be(i16), id: i64, wide: bits(u64, 40), places: array(Point, 2) },
  { name: 'Rest', packed: true }
)

/** Node 24 and 26 take nothing that is marked untransferable: there the same programs go on as if nothing had been tried. */
const TAKES = Number(process.versions.node.split('.', 1)[0]) < 24
const STALE = { code: 'ERR_HEAP_STALE_HANDLE', message: /Struct\.at\(heap, address\)/ }

/** Gives a buffer of the heap to a byte stream, and with it, if that takes it, the ArrayBuffer that all buffers and records are over. */
function lose(heap: Heap): void {
  const buffer = heap.allocBuffer(64)
  const address = heap.addressOf(buffer)
  try {
    new ReadableStream({ type: 'bytes', start: (controller) => controller.enqueue(buffer) })
  } catch {
    // It refused.
  }
  if ((buffer.length === 0) !== TAKES) throw new Error('this version of Node does something else with marked buffers')
  heap.free(address)
}

type Holder = Record<string, unknown>

/** All ways to the fields of a record. */
function waysOf(heap: Heap, type: Struct<Fields, string>) {
  const record = type.alloc(heap)
  const records = type.array(heap, 3)
  const columns = type.columns(heap, 3)
  const cursor = records.cursor()
  const across = columns.cursor()
  return { record, records, columns, cursor, across, element: records.at(1) }
}

type Ways = ReturnType<typeof waysOf>

function freeAll({ record, records, columns }: Ways): void {
  for (const owner of [record, records, columns]) owner.free()
}

for (const type of [Order, Rest] as unknown as Struct<Fields, string>[]) {
  const fields = type.layout().fields.map(({ name }) => name)
  for (const way of ['record', 'element', 'cursor', 'across'] as const) {
    test(`each field of ${type.name} says that the ArrayBuffer was lost: ${way}`, (t) => {
      using heap = new Heap()
      for (const name of fields) {
        const uses: ((holder: Holder, value: unknown) => unknown)[] = [
          (holder) => String((holder[name] as { toJSON?(): unknown })?.toJSON?.() ?? holder[name]),
          (holder, value) => {
            holder[name] = value
          },
          (holder, value) => (holder as unknown as Ways['record']).assign({ [name]: value }),
        ]
        for (const use of uses) {
          const ways = waysOf(heap, type)
          const holder = ways[way] as unknown as Holder
          const isPart = typeof holder[name] === 'object'
          const given = name === 'raw' ? new Uint8Array(2) : isPart ? ways.record.toJSON()[name] : holder[name]
          use(holder, given)
          lose(heap)
          for (let round = 0; round < 2; round++) {
            if (TAKES) t.throws(() => use(holder, given), STALE, `${name}: ${use}`)
            else t.notThrows(() => use(holder, given))
          }
          freeAll(ways)
        }
      }
    })
  }
}

const uses: Record<string, (ways: Ways, heap: Heap) => unknown> = {
  'a move': ({ cursor }) => cursor.move(1),
  'an index': ({ cursor }) => {
    cursor.index = 1
  },
  'a move across columns': ({ across }) => across.move(1),
  at: ({ records }) => records.at(1),
  iteration: ({ records }) => [...records],
  'a cursor': ({ records }) => records.cursor(),
  'a cursor across columns': ({ columns }) => columns.cursor(),
  'a column': ({ records }) => records.column('price'),
  'one of columns': ({ columns }) => columns.column('price'),
  'a part of an array': ({ records }) => records.subarray(1, 2),
  'a copy': ({ records }) => records.slice(1, 2).free(),
  'a sort': ({ records }) => records.sort('price'),
  'data of an array': ({ records }) => records.toJSON(),
  'data of a record': ({ record }) => record.toJSON(),
  'data of columns': ({ across }) => across.toJSON(),
  'a pointer': ({ record }) => record.deref('next' as never),
}

for (const [name, use] of Object.entries(uses)) {
  test(`what is no field says that the ArrayBuffer was lost: ${name}`, (t) => {
    using heap = new Heap()
    const ways = waysOf(heap, Order as unknown as Struct<Fields, string>)
    lose(heap)
    for (let round = 0; round < 2; round++) {
      if (TAKES) t.throws(() => use(ways, heap), STALE)
      else t.notThrows(() => use(ways, heap))
    }
    freeAll(ways)
  })
}

test('parts and columns that were read before say that the ArrayBuffer was lost', (t) => {
  using heap = new Heap()
  const parts = () => {
    const { place, legs } = Order.alloc(heap)
    const prices = Order.array(heap, 2).column('price')
    const symbols = Order.columns(heap, 2).column('symbol') as Column<string, string>
    return { place, legs, prices, symbols }
  }
  const uses: ((had: ReturnType<typeof parts>) => unknown)[] = [
    ({ place }) => place.x,
    ({ legs }) => legs.get(0),
    ({ legs }) => legs.set(0, 1),
    ({ legs }) => [...legs],
    ({ prices }) => prices.get(0),
    ({ prices }) => prices.set(0, 1),
    ({ symbols }) => symbols.get(0),
    ({ symbols }) => symbols.set(0, 'ABC'),
  ]
  for (const use of uses) {
    const had = parts()
    lose(heap)
    if (TAKES) t.throws(() => use(had), STALE, String(use))
    else t.notThrows(() => use(had))
  }
})

test('the heap goes on, and lost records still free their blocks', (t) => {
  using heap = new Heap()
  for (let i = 0; i < 2; i++) lose(heap)
  const { liveBytes } = heap.stats()
  const order = Order.alloc(heap, { price: 1.5, symbol: 'ABC' })
  const orders = Order.array(heap, 3)
  orders.at(2).assign({ qty: 7, symbol: 'DEF' })
  const columns = Order.columns(heap, 3)
  lose(heap)
  {
    using scoped = Order.alloc(heap)
    using scopedArray = Order.array(heap, 2)
    t.is(scoped.price + scopedArray.at(1).qty, 0)
    lose(heap)
  }
  const same = Order.at(heap, order.address)
  t.deepEqual([same.price, same.symbol], [1.5, 'ABC'])
  const sameArray = Order.arrayAt(heap, orders.address, 3)
  t.deepEqual([sameArray.at(2).qty, sameArray.cursor().move(2).symbol], [7, 'DEF'])
  same.symbol = 'GHI'
  t.is(Order.at(heap, order.address).symbol, 'GHI')
  if (TAKES) {
    t.is(inspect(order), 'Order (gone)')
    t.is(inspect(orders), 'Order[3] (gone)')
  }
  for (const owner of [order, orders, columns]) owner.free()
  for (const use of [() => order.qty, () => orders.at(0).qty, () => columns.cursor(), () => order.free()])
    t.throws(use, { code: 'ERR_HEAP_STALE_HANDLE' }, String(use))
  heap.audit()
  t.is(heap.stats().liveBytes, liveBytes)
})

test('after close, what was lost before says that the heap is closed', (t) => {
  const heap = new Heap()
  const [seen, unseen] = [Order.alloc(heap), Order.array(heap, 2)]
  lose(heap)
  if (TAKES) t.throws(() => seen.price, STALE)
  const cursor = Order.array(heap, 2).cursor()
  lose(heap)
  heap.close()
  for (const use of [() => seen.price, () => unseen.at(0).price, () => cursor.price, () => seen.free()])
    t.throws(use, { code: 'ERR_HEAP_CLOSED' }, String(use))
})

/** Each with a struct of its own, so that V8 knows of no loss before. */
function pairs(heap: Heap) {
  const Pair = struct({ x: f64, y: f64 }, { name: 'Pair' })
  const points = Pair.array(heap, 1000)
  return { one: Pair.alloc(heap), points, cursor: points.cursor(), across: Pair.columns(heap, 1000).cursor() }
}

const loops: Record<string, (had: ReturnType<typeof pairs>, i: number) => unknown> = {
  'a record read': ({ one }) => one.x,
  'a record written': ({ one }, i) => {
    one.x = i
  },
  'a cursor read': ({ cursor }) => cursor.x,
  'a cursor written': ({ cursor }, i) => {
    cursor.x = i
  },
  'a cursor moved': ({ cursor }, i) => {
    cursor.index = i
  },
  'a cursor across columns': ({ across }, i) => {
    across.x = i
  },
  'elements of an array': ({ points }, i) => points.at(i).y,
}

for (const [name, use] of Object.entries(loops)) {
  test(`a loop that V8 has compiled says that the ArrayBuffer was lost: ${name}`, (t) => {
    using heap = new Heap()
    const run = (had: ReturnType<typeof pairs>) => {
      for (let i = 0; i < 1000; i++) use(had, i)
    }
    const had = pairs(heap)
    for (let round = 0; round < 3000; round++) run(had)
    lose(heap)
    if (TAKES) t.throws(() => run(had), STALE)
    else t.notThrows(() => run(had))
    const next = pairs(heap)
    t.notThrows(() => run(next))
    t.is(next.one.y, 0)
  })
}
