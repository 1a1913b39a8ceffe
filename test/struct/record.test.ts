import { once } from 'node:events'
import { inspect } from 'node:util'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import { Heap } from '../../lib/index.ts'
import { f32, i8, i32, pointer, struct, text, u8, u32 } from '../../lib/struct/index.ts'
import { childScript, run } from '../support/child.ts'
import { Order, Point } from '../support/order.ts'

const GIB = 2 ** 30

test('what a field can’t hold is refused, and changes nothing', (t) => {
  using heap = new Heap()
  const Small = struct({ a: i8, b: u32, c: f32 })
  const small = Small.alloc(heap) as unknown as Record<string, unknown>
  const order = Order.alloc(heap, { symbol: 'ABC' })
  const cursor = Order.array(heap, 1).cursor()
  const outOfRange = { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' }
  const wrongType = { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' }
  for (const [field, value, expected] of [
    ['a', 128, outOfRange],
    ['a', -129, outOfRange],
    ['a', 1.5, outOfRange],
    ['a', Number.NaN, outOfRange],
    ['a', '1', wrongType],
    ['a', 1n, wrongType],
    ['b', -1, outOfRange],
    ['b', 2 ** 32, outOfRange],
    ['c', 1e39, outOfRange],
    ['c', null, wrongType],
  ] as const) {
    t.throws(() => Object.assign(small, { [field]: value }), expected, `${field} = ${String(value)}`)
    t.is(small[field], 0)
  }
  for (const [field, value, expected] of [
    ['id', 1, wrongType],
    ['id', -1n, outOfRange],
    ['id', 2n ** 64n, outOfRange],
    ['price', 1n, wrongType],
    ['side', 'hold', outOfRange],
    ['side', 1, wrongType],
    ['symbol', 'thirteen byte', outOfRange],
    ['symbol', 'ééééééé', outOfRange],
    ['symbol', 'a\0b', outOfRange],
    ['symbol', '\ud800', outOfRange],
    ['symbol', 7, wrongType],
    ['next', -16, outOfRange],
    ['next', '0', wrongType],
    ['place', 7, wrongType],
    ['legs', [1, 2], outOfRange],
    ['legs', [1, 2, 2 ** 31], outOfRange],
    ['legs', 7, wrongType],
    ['flag', 8, outOfRange],
    ['flag', true, wrongType],
    ['seen', 2 ** 53, outOfRange],
    ['seen', -1, outOfRange],
    ['seen', 1n, wrongType],
  ] as const) {
    for (const target of [order, cursor]) {
      t.throws(() => target.assign({ [field]: value } as never), expected, `${field} = ${String(value)}`)
      t.throws(() => Object.assign(target, { [field]: value }), expected, `${field} = ${String(value)}`)
    }
  }
  t.is(order.symbol, 'ABC')
  t.throws(() => order.assign({ nothing: 1 } as never), outOfRange)
  t.throws(() => order.legs.get(3), outOfRange)
  t.throws(() => cursor.move(1), outOfRange)
  t.throws(() => cursor.move('0' as never), wrongType)
})

test('text of all lengths comes back', (t) => {
  using heap = new Heap()
  for (const length of [1, 63, 64, 65, 200]) {
    const record = struct({ before: u8, text: text(length), after: text(1) }).alloc(heap, { before: 1, after: 'z' })
    for (let size = length; size >= 0; size--) {
      const written = 'añb'.repeat(length).slice(0, size)
      if (Buffer.byteLength(written) > length) continue
      record.text = written
      t.is(record.text, written)
    }
    record.text = 'x'.repeat(length)
    t.deepEqual(record.toJSON(), { before: 1, text: 'x'.repeat(length), after: 'z' })
  }
})

test('declarations that can’t be are refused', (t) => {
  for (const fields of [{}, { free: u8 }, { 'a b': u8 }, { $v: u8 }, { toString: u8 }])
    t.throws(() => struct(fields), { code: 'ERR_OUT_OF_RANGE' }, JSON.stringify(Object.keys(fields)))
  t.throws(() => struct({ a: 7 as never }), { code: 'ERR_INVALID_ARG_TYPE' })
  t.throws(() => struct({ a: u8 }, { endian: 'middle' as never }), { code: 'ERR_OUT_OF_RANGE' })
})

test('what was freed or closed throws at every use', (t) => {
  const heap = new Heap()
  const order = Order.alloc(heap, { place: { x: 1 } })
  const { place, legs } = order
  order.free()
  const stale = { code: 'ERR_HEAP_STALE_HANDLE' }
  for (const use of [
    () => order.qty,
    () => Object.assign(order, { qty: 1 }),
    () => order.symbol,
    () => order.address,
    () => order.free(),
    () => order.toJSON(),
    () => place.x,
    () => legs.get(0),
  ])
    t.throws(use, stale, String(use))
  order[Symbol.dispose]()
  t.is(inspect(order), 'Order (gone)')
  const orders = Order.array(heap, 3)
  const columns = Order.columns(heap, 3)
  const [cursor, first, across] = [orders.cursor(), orders.at(0), columns.cursor()]
  t.throws(() => first.free(), { code: 'ERR_HEAP_INVALID_ADDRESS' })
  orders.free()
  columns.free()
  for (const use of [() => cursor.qty, () => first.qty, () => orders.at(0).qty, () => across.qty, () => orders.free()])
    t.throws(use, stale, String(use))
  const left = Order.alloc(heap)
  const leftArray = Order.array(heap, 3)
  heap.close()
  for (const use of [
    () => left.qty,
    () => Object.assign(left, { qty: 1 }),
    () => leftArray.at(0).price,
    () => left.free(),
  ])
    t.throws(use, { code: 'ERR_HEAP_CLOSED' }, String(use))
})

test('what was written through typed arrays of a heap that is closed harms nothing', async (t) => {
  const code = `
    import { Heap } from 'spanheap'
    import { bytes, f64, struct } from 'spanheap/struct'
    const heap = new Heap()
    const Order = struct({ price: f64, raw: bytes(8) })
    const { raw } = Order.alloc(heap)
    const { values } = Order.array(heap, 10).column('price')
    const prices = Order.columns(heap, 10).column('price')
    const cursor = Order.array(heap, 10).cursor()
    heap.close()
    for (const array of [raw, values, prices]) array.fill(1)
    let said
    try { cursor.price = 1 } catch ({ code }) { said = code }
    console.log(said)
  `
  const ended = await run(process.execPath, ['--input-type=module', '-e', code])
  t.is(ended.status, 0, ended.stderr)
  t.is(ended.stdout, 'ERR_HEAP_CLOSED\n')
})

for (const end of ['free', 'close'] as const) {
  test(`loops that V8 has compiled notice bad indices and values, and ${end}`, (t) => {
    const heap = new Heap()
    const Pair = struct({ x: i32, y: i32 }, { name: 'Pair' })
    const points = Pair.array(heap, 1000)
    const cursor = points.cursor()
    const across = Pair.columns(heap, 1000).cursor()
    const fill = (from: number, to: number, x: number) => {
      for (let i = from; i < to; i++) {
        cursor.index = i
        cursor.x = x
        points.at(i).y = cursor.x
        across.move(i).x = x
      }
    }
    for (let i = 0; i < 3000; i++) fill(0, 1000, i)
    const refused = { code: 'ERR_OUT_OF_RANGE' }
    for (let i = 0; i < 3; i++) {
      for (const [from, x] of [
        [-1, 0],
        [1000, 0],
        [0.5, 0],
        [2 ** 32, 0],
        [0, 2 ** 31],
      ] as const)
        t.throws(() => fill(from, from + 1, x), refused, `${from} ${x}`)
      fill(0, 1000, i)
    }
    t.is(points.at(999).y, 2)
    if (end === 'free') points.free()
    else heap.close()
    const code = end === 'free' ? 'ERR_HEAP_STALE_HANDLE' : 'ERR_HEAP_CLOSED'
    for (let i = 0; i < 3; i++) t.throws(() => fill(0, 1000, 1), { code })
    heap.close()
  })
}

test('pointers lead to records, also of other structs', (t) => {
  using heap = new Heap()
  const Leg = struct({ order: pointer(() => Order), own: pointer('Leg') }, { name: 'Leg' })
  const order = Order.alloc(heap, { symbol: 'ABC' })
  const leg = Leg.alloc(heap, { order: order.address })
  t.is(leg.deref('order')?.symbol, 'ABC')
  t.is(leg.deref('own'), null)
  order.free()
  t.throws(() => leg.deref('order'), { code: 'ERR_HEAP_DOUBLE_FREE' })
  t.throws(() => Order.at(heap, leg.address), { code: 'ERR_OUT_OF_RANGE' })
  t.throws(() => Order.at(heap, 24), { code: 'ERR_HEAP_INVALID_ADDRESS' })
})

test('arrays are sliced, sorted and iterated', (t) => {
  using heap = new Heap()
  using points = Point.array(heap, 6)
  for (const [i, point] of [...points].entries()) point.assign({ x: i % 3, y: i })
  points.sort('x', 'descending')
  t.deepEqual([...points.column('y')], [2, 5, 1, 4, 0, 3])
  using copy = points.slice(1, 3)
  const part = points.subarray(1, 3)
  part.at(0).y = 77
  t.deepEqual([points.at(1).y, copy.at(0).y, part.length], [77, 5, 2])
  t.throws(() => part.free(), { code: 'ERR_HEAP_INVALID_ADDRESS' })
  const { values, first, step } = points.column('y')
  t.is(values![first + step], 77)
  t.deepEqual(JSON.parse(JSON.stringify(copy)), [
    { x: 2, y: 5 },
    { x: 1, y: 1 },
  ])
  t.throws(() => Point.array(heap, 2 ** 27 + 1), { code: 'ERR_OUT_OF_RANGE', message: /2 GiB/ })
})

test('records above 2 GiB, and at the border of windows', (t) => {
  using heap = new Heap({ limitBytes: 8 * GIB })
  for (let i = 0; i < 4; i++) {
    heap.malloc(GIB - 2 ** 20)
    using order = Order.alloc(heap, { price: 1.5, symbol: 'high' })
    using orders = Order.array(heap, 40_000)
    orders.at(39_999).qty = i
    t.deepEqual([order.price, order.symbol, orders.cursor().move(39_999).qty], [1.5, 'high', i])
    t.is(new DataView(heap.buffer, order.address + 8, 8).getFloat64(0, true), 1.5)
  }
  t.true(heap.malloc(16) > 0)
})

test('a worker reads, writes and frees what it is sent the address of', async (t) => {
  const heap = new Heap()
  const order = Order.alloc(heap, { id: 7n, symbol: 'ABC' })
  const orders = Order.array(heap, 4)
  for (let i = 0; i < 4; i++) orders.at(i).qty = i
  const worker = new Worker(childScript('struct-worker'), { workerData: { token: heap.share() } })
  worker.postMessage({ record: order.address, array: orders.address, length: 4 })
  const [answer] = await once(worker, 'message')
  t.deepEqual(answer, { symbol: 'ABC', id: 7n })
  t.is(order.qty, 6)
  t.throws(() => heap.usableSize(orders.address), { code: 'ERR_HEAP_DOUBLE_FREE' })
  await worker.terminate()
})
