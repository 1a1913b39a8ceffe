import test from 'ava'
import { Heap } from '../../lib/index.ts'
import {
  be,
  bits,
  bool,
  enumeration,
  f32,
  f64,
  i8,
  i32,
  i64,
  safe,
  struct,
  text,
  u8,
  u32,
  u64,
} from '../../lib/struct/index.ts'
import { Random } from '../support/random.ts'

const FIELDS = {
  place: u32,
  double: f64,
  float: f32,
  int: i32,
  byte: i8,
  big: i64,
  natural: u64,
  whole: safe(i64),
  other: be(f64),
  otherBig: be(i64),
  few: bits(i32, 5),
  wide: bits(i64, 40),
  yes: bool,
  name: text(3),
  side: enumeration(u8, ['buy', 'sell']),
} as const

const SPECIAL = [
  0,
  -0,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  Number.MIN_VALUE,
  -Number.MIN_VALUE,
]

/** As docs/structs.md has it: NaN last, equal ones where they were. */
function compare(a: number | bigint | string | boolean, b: typeof a): number {
  if (a < b) return -1
  if (a > b) return 1
  return 0
}

for (const packed of [false, true]) {
  for (const length of [0, 1, 2, 255, 256, 3000]) {
    test(`arrays of ${length} are sorted by any field, equal records keep their order (packed: ${packed})`, (t) => {
      using heap = new Heap()
      const Row = struct(FIELDS, { name: 'Row', packed })
      using all = Row.array(heap, length + 1)
      // One record before it, which must stay as it is, and an array that starts inside of a block.
      const rows = all.subarray(1)
      const random = new Random(length + 1)
      const int = () => random.below(2 ** 31) - 2 ** 30
      all.at(0).name = 'abc'
      for (let i = 0; i < length; i++) {
        const double = random.below(8) === 0 ? random.pick(SPECIAL) : (int() / 7) * 10 ** random.below(20)
        const big = BigInt(int()) * BigInt(int())
        rows.at(i).assign({
          double,
          float: double,
          int: int(),
          byte: random.below(256) - 128,
          big,
          natural: BigInt.asUintN(64, big),
          whole: int() * 2 ** 20,
          other: double,
          otherBig: big,
          few: random.below(32) - 16,
          wide: BigInt.asIntN(40, big),
          yes: random.below(2) === 1,
          name: 'abcdefgh'.slice(random.below(5), 6).slice(0, 3),
          side: random.pick(['buy', 'sell'] as const),
        })
      }
      for (const field of Object.keys(FIELDS).slice(1) as Exclude<keyof typeof FIELDS, 'place'>[]) {
        for (const order of ['ascending', 'descending'] as const) {
          const sign = order === 'ascending' ? 1 : -1
          for (let i = 0; i < length; i++) rows.at(i).place = i
          const before = rows.toJSON()
          const keys = [...rows.column(field)]
          const isLast = (i: number) => Number(Number.isNaN(keys[i]))
          const expected = [...keys.keys()].sort((a, b) => isLast(a) - isLast(b) || sign * compare(keys[a]!, keys[b]!))
          rows.sort(field, order)
          t.deepEqual([...rows.column('place')], expected, `${field} ${order}`)
          const sorted = rows.toJSON()
          t.true(expected.every((from, i) => JSON.stringify(sorted[i]) === JSON.stringify(before[from])))
        }
      }
      t.is(all.at(0).name, 'abc')
    })
  }
}
