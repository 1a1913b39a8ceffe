import test from 'ava'
import { Heap } from '../../lib/index.ts'
import type { Column, FieldArray, StructRecord } from '../../lib/struct/index.ts'
import { Order } from '../support/order.ts'

/** That this compiles is the test; it runs, too. */
test('reads and writes have the types of the fields', (t) => {
  using heap = new Heap()
  const order = Order.alloc(heap, { legs: [1, 2, 3], place: { x: 1 } })
  const id: bigint = order.id
  const price: number = order.price
  const side: 'buy' | 'sell' = order.side
  const symbol: string = order.symbol
  const x: number = order.place.x
  const legs: FieldArray<number, number> = order.legs
  const seen: number = order.seen
  const next: StructRecord<typeof Order.fields, 'Order'> | null = order.deref('next')
  const column: Column<bigint, bigint, BigUint64Array> = Order.array(heap, 1).column('id')
  order.side = 'sell'
  order.place.x = 7
  // @ts-expect-error a bigint
  const wrongRead: number = order.id
  const wrong = [
    // @ts-expect-error a bigint
    () => (order.id = 1),
    // @ts-expect-error no such name
    () => (order.side = 'hold'),
    // @ts-expect-error no such field
    () => order.nothing,
    // @ts-expect-error parts are assigned
    () => (order.legs = [1, 2, 3]),
    // @ts-expect-error not a pointer
    () => order.deref('price'),
    // @ts-expect-error not a number
    () => order.assign({ price: '1' }),
    // @ts-expect-error no such field
    () => Order.array(heap, 1).column('nothing'),
  ]
  t.is(wrong.length, 7)
  t.deepEqual(
    [id, wrongRead as unknown, price, side, symbol, x, [...legs], seen, next, column.length],
    [0n, 0n, 0, 'buy', '', 1, [1, 2, 3], 0, null, 1]
  )
})
