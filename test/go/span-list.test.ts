import test from 'ava'
import { SpanEntry } from '../../lib/go/span.ts'
import { SpanLists } from '../../lib/go/span-list.ts'

function open(count = 3): SpanLists {
  return new SpanLists(new Int32Array(100 << SpanEntry.Shift), count)
}

test('who comes first is taken first', (t) => {
  const lists = open()
  t.is(lists.first(1), 0)
  t.is(lists.pop(1), 0)
  for (const start of [10, 30, 20]) lists.push(1, start)
  t.is(lists.first(1), 10)
  t.deepEqual(lists.members(1, 3), [10, 30, 20])
  t.deepEqual([lists.pop(1), lists.pop(1)], [10, 30])
  lists.push(1, 40)
  t.deepEqual([lists.pop(1), lists.pop(1), lists.pop(1)], [20, 40, 0])
  lists.push(1, 10)
  t.deepEqual(lists.members(1, 1), [10], 'a list that was empty takes spans again')
})

test('spans leave from the front, from the middle and from the end', (t) => {
  for (const order of ['012', '021', '102', '120', '201', '210']) {
    const lists = open()
    const spans = [11, 22, 33]
    for (const start of spans) lists.push(0, start)
    const left = new Set(spans)
    for (const digit of order) {
      const start = spans[Number(digit)]!
      lists.remove(0, start)
      left.delete(start)
      t.deepEqual(lists.members(0, 3), [...left], order)
      t.is(lists.first(0), [...left][0] ?? 0)
    }
    lists.push(0, 44)
    t.is(lists.pop(0), 44)
  }
})

test('lists don’t know each other, and a span may go from one to another', (t) => {
  const lists = open()
  for (let start = 1; start <= 9; start++) lists.push(start % 3, start)
  lists.remove(1, 4)
  lists.push(2, 4)
  t.deepEqual(lists.members(0, 9), [3, 6, 9])
  t.deepEqual(lists.members(1, 9), [1, 7])
  t.deepEqual(lists.members(2, 9), [2, 5, 8, 4])
})

test('a list that is longer than it can be is told', (t) => {
  const lists = open()
  for (const start of [1, 2, 3]) lists.push(0, start)
  t.throws(() => lists.members(0, 2), { instanceOf: RangeError })
})
