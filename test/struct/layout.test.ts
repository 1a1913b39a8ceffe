import test from 'ava'
import { bits, f64, i32, struct, u8, u32 } from '../../lib/index.ts'
import { Order } from '../support/order.ts'

test('a layout as data, as a table and as a header of C', (t) => {
  const layout = struct({ side: u8, price: f64, qty: i32, class: bits(u32, 3) }, { name: 'My order' }).layout()
  t.like(layout, { name: 'My order', size: 24, alignment: 8, packed: false })
  t.deepEqual(
    layout.fields.map(({ name, offset, size }) => [name, offset, size]),
    [
      ['side', 0, 1],
      ['price', 8, 8],
      ['qty', 16, 4],
      ['class', 20, 1],
    ]
  )
  t.deepEqual(layout.padding, [
    { offset: 1, size: 7 },
    { offset: 21, size: 3 },
  ])
  t.is(String(layout), layout.table())
  t.deepEqual(layout.table().split('\n').slice(0, 4), [
    'My order: 24 bytes, aligned to 8',
    'offset  size  field',
    '     0     1  side: u8',
    '     1     7  (padding)',
  ])
  t.regex(layout.toC(), /typedef struct My_order \{/)
  t.regex(layout.toC(), / {2}uint32_t class : 3;/)
  t.regex(layout.toC(), /_Static_assert\(offsetof\(My_order, price\) == 8/)
})

test('a header declares what a struct contains before it', (t) => {
  const header = Order.layout().toC()
  t.true(header.indexOf('} Point;') < header.indexOf('Point place;'))
  t.regex(header, /uint8_t side; \/\* buy = 0, sell = 1 \*\//)
})
