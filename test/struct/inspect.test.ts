import { inspect } from 'node:util'
import test from 'ava'
import { Heap } from '../../lib/index.ts'
import { array, i32, struct, u8 } from '../../lib/struct/index.ts'

const Pair = struct({ key: u8, values: array(i32, 2) }, { name: 'Pair' })

test('records and arrays show their fields, and long arrays the first twenty of them', (t) => {
  using heap = new Heap()
  const pair = Pair.alloc(heap, { key: 3, values: [1, -2] })
  t.is(inspect(pair), 'Pair { key: 3, values: [ 1, -2 ] }')
  t.is(inspect(pair.values), '[ 1, -2 ]')
  const pairs = Pair.array(heap, 2)
  pairs.at(1).key = 9
  t.is(inspect(pairs), 'Pair[2] [ { key: 0, values: [ 0, 0 ] }, { key: 9, values: [ 0, 0 ] } ]')
  const text = inspect(Pair.array(heap, 23))
  t.is(text.match(/key/g)!.length, 20)
  t.true(text.endsWith(' and 3 more'))
  pairs.free()
  t.is(inspect(pairs), 'Pair[2] (gone)')
})

test('an array in a record is iterable, and assigned from anything that is', (t) => {
  using heap = new Heap()
  const { values } = Pair.alloc(heap, { values: [1, 2] })
  t.deepEqual([...values], [1, 2])
  values.assign(new Set([7, 8]))
  t.deepEqual([...values], [7, 8])
  t.throws(() => values.assign([1, 2, 3]), { instanceOf: RangeError })
  t.deepEqual(values.toJSON(), [7, 8])
})
