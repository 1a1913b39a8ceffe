import test from 'ava'
import {
  array,
  bits,
  bool,
  bytes,
  enumeration,
  type Fields,
  f64,
  i16,
  i32,
  pointer,
  struct,
  text,
  u8,
  u16,
  u32,
  u64,
} from '../../lib/struct/index.ts'

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
  t.regex(layout.toC(), / {2}uint32_t class_ : 3;/)
  t.regex(layout.toC(), /static_assert\(offsetof\(My_order, price\) == 8/)
})

/** Offset and size of each field (of a bit field its first bit and its bits too), then size and alignment of all. */
function placesOf(fields: Fields, packed = false): string {
  const { fields: placed, size, alignment } = struct(fields, { name: 'S', packed }).layout()
  const places = placed.map((field) => {
    const { first, width } = field.bits ?? {}
    return `${field.offset}+${field.size}${first === undefined ? '' : ` bit ${first}+${width}`}`
  })
  return `${places.join(', ')}; ${size} aligned to ${alignment}`
}

// By the rules of the System V ABI. The comparison with gcc has many more, and takes longer.
const PLACES: [title: string, fields: Fields, usual: string, packed: string][] = [
  [
    'a number is aligned to its size',
    { a: u8, b: u16, c: u8 },
    '0+1, 2+2, 4+1; 6 aligned to 2',
    '0+1, 1+2, 3+1; 4 aligned to 1',
  ],
  ['the largest alignment is the struct’s', { a: f64, b: u8 }, '0+8, 8+1; 16 aligned to 8', '0+8, 8+1; 9 aligned to 1'],
  [
    'booleans, bytes and texts go anywhere',
    { a: u8, b: bool, c: bytes(3), d: text(5) },
    '0+1, 1+1, 2+3, 5+5; 10 aligned to 1',
    '0+1, 1+1, 2+3, 5+5; 10 aligned to 1',
  ],
  ['a boolean alone', { a: bool }, '0+1; 1 aligned to 1', '0+1; 1 aligned to 1'],
  ['a pointer has eight bytes', { a: u8, b: pointer('S') }, '0+1, 8+8; 16 aligned to 8', '0+1, 1+8; 9 aligned to 1'],
  [
    'an enumeration is its number',
    { a: u8, b: enumeration(u16, ['x']) },
    '0+1, 2+2; 4 aligned to 2',
    '0+1, 1+2; 3 aligned to 1',
  ],
  [
    'an array is aligned as its elements',
    { a: u8, b: array(i16, 3) },
    '0+1, 2+6; 8 aligned to 2',
    '0+1, 1+6; 7 aligned to 1',
  ],
  [
    'a struct in a struct keeps its alignment',
    { a: u8, b: struct({ x: u32, y: u8 }, { name: 'T' }) },
    '0+1, 4+8; 12 aligned to 4',
    '0+1, 1+8; 9 aligned to 1',
  ],
  [
    'bit fields share a unit',
    { a: bits(u32, 3), b: bits(u32, 7) },
    '0+1 bit 0+3, 0+2 bit 3+7; 4 aligned to 4',
    '0+1 bit 0+3, 0+2 bit 3+7; 2 aligned to 1',
  ],
  [
    'a bit field begins a unit that it would leave',
    { a: bits(u8, 5), b: bits(u8, 4) },
    '0+1 bit 0+5, 1+1 bit 0+4; 2 aligned to 1',
    '0+1 bit 0+5, 0+2 bit 5+4; 2 aligned to 1',
  ],
  [
    'one that ends with its unit stays',
    { a: bits(u8, 5), b: bits(u8, 3), c: u8 },
    '0+1 bit 0+5, 0+1 bit 5+3, 1+1; 2 aligned to 1',
    '0+1 bit 0+5, 0+1 bit 5+3, 1+1; 2 aligned to 1',
  ],
  [
    'a bit field has bits of the unit that it lies in',
    { a: u8, b: bits(u32, 24), c: bits(u32, 1) },
    '0+1, 1+3 bit 0+24, 4+1 bit 0+1; 8 aligned to 4',
    '0+1, 1+3 bit 0+24, 4+1 bit 0+1; 5 aligned to 1',
  ],
  [
    'a number behind bits begins a byte',
    { a: bits(u64, 33), b: u16 },
    '0+5 bit 0+33, 6+2; 8 aligned to 8',
    '0+5 bit 0+33, 5+2; 7 aligned to 1',
  ],
]

for (const [title, fields, usual, packed] of PLACES) {
  test(`${title}, unless the struct is packed`, (t) => {
    t.is(placesOf(fields), usual)
    t.is(placesOf(fields, true), packed)
  })
}

test('a struct’s order of bytes is that of the fields that have none', (t) => {
  const orderOf = (endian?: 'little' | 'big') => {
    const { shape } = struct({ a: u32 }, endian === undefined ? {} : { endian }).layout().fields[0]!
    return 'endian' in shape ? shape.endian : undefined
  }
  t.not(orderOf('big'), orderOf())
  t.is(orderOf('big'), 'big')
  t.is(orderOf('little'), 'little')
})

test('a struct has a field at least, and 1 GiB at most', (t) => {
  t.throws(() => struct({}).layout(), {
    instanceOf: RangeError,
    code: 'ERR_OUT_OF_RANGE',
    message: /fields.*at least one.*none/s,
  })
  t.is(struct({ a: bytes(2 ** 30) }).layout().size, 2 ** 30)
  t.throws(() => struct({ a: bytes(2 ** 30), b: u8 }).layout(), {
    instanceOf: RangeError,
    code: 'ERR_OUT_OF_RANGE',
    message: /fields.*at most 1 GiB.*1073741825 bytes/s,
  })
})

test('fields have names of C, and none that records have themselves', (t) => {
  for (const name of ['_', 'a1', 'Z_9']) t.is(struct({ [name]: u8 }).layout().fields[0]!.name, name)
  for (const name of ['', '1a', 'a-b', 'é', 'a b', '-a', 'a-']) {
    t.throws(() => struct({ [name]: u8 }), {
      instanceOf: RangeError,
      message: /a field’s name.*letters, digits and _/s,
    })
  }
  const own = [
    'address',
    'assign',
    'constructor',
    'deref',
    'free',
    'index',
    'move',
    'toJSON',
    'toString',
    'hasOwnProperty',
  ]
  for (const name of own) {
    t.throws(() => struct({ [name]: u8 }), {
      instanceOf: RangeError,
      message: /a field’s name.*none that records have/s,
    })
  }
  for (const fields of [null, undefined, 7, 'a']) {
    t.throws(() => struct(fields as unknown as Fields), { instanceOf: TypeError, message: /fields.*an object/s })
  }
})
