import test from 'ava'
import { Span, SpanEntry } from '../../lib/tcmalloc/span.ts'
import { MOST_EXACT_PAGES, SPAN_LISTS_WORDS, SpanLists } from '../../lib/tcmalloc/span-lists.ts'
import { Child } from '../../lib/tcmalloc/span-tree.ts'

/** Words before the lists, to see that they keep to their own. */
const LISTS_AT = 5
const MOST_PAGES = 2 ** 22

interface Fixture {
  control: Int32Array
  lists: SpanLists
  /** Lists a span of `pages` that starts at page `start`. */
  insert(start: number, pages: number): void
}

function openLists(): Fixture {
  const control = new Int32Array(LISTS_AT + SPAN_LISTS_WORDS + 1)
  const spans = new Int32Array(4096 * SpanEntry.Words)
  const lists = new SpanLists(control, LISTS_AT, spans, Child.Left)
  const insert = (start: number, pages: number): void => {
    spans[(start << SpanEntry.Shift) + Span.Length] = pages
    lists.insert(start)
  }
  return { control, lists, insert }
}

const startsOf = (lists: SpanLists): number[] => [...lists].map(({ start }) => start)

test('empty lists fit nothing', (t) => {
  const { lists } = openLists()
  t.deepEqual(startsOf(lists), [])
  t.is(lists.oldestFrom(0), 0)
  for (const pages of [1, 128, 129, MOST_PAGES]) t.is(lists.bestFit(pages), 0)
})

test('up to 128 pages each length has a list of its own, and the newest span comes first', (t) => {
  const { lists, insert } = openLists()
  for (let pages = 1; pages <= MOST_EXACT_PAGES; pages++) {
    insert(pages * 2, pages)
    insert(pages * 2 + 1, pages)
  }
  for (let pages = 1; pages <= MOST_EXACT_PAGES; pages++) t.is(lists.bestFit(pages), pages * 2 + 1)
  for (const { start, list } of lists) t.is(list, (start >> 1) - 1)
})

test('where there is no span of a length, the next longer one fits best', (t) => {
  const { lists, insert } = openLists()
  insert(10, 3)
  insert(20, 7)
  insert(30, 90)
  insert(40, 500)
  t.deepEqual(
    [1, 3, 4, 7, 8, 90, 91, 128, 129, 500].map((pages) => lists.bestFit(pages)),
    [10, 10, 20, 20, 30, 30, 40, 40, 40, 40]
  )
  t.is(lists.bestFit(501), 0)
})

test('above 128 pages the shortest span that is long enough fits best, and among equals the lowest', (t) => {
  const { lists, insert } = openLists()
  insert(300, 135)
  insert(100, 131)
  insert(400, 134)
  insert(200, 134)
  t.is(lists.bestFit(129), 100)
  t.is(lists.bestFit(132), 200)
  t.is(lists.bestFit(135), 300)
})

test('the longest span that a heap can have is listed and found', (t) => {
  const { lists, insert } = openLists()
  insert(8, MOST_PAGES)
  t.is(lists.bestFit(1), 8)
  t.is(lists.bestFit(MOST_PAGES), 8)
  t.is(lists.oldestFrom(0), 8)
})

test('all spans above 128 pages are in one list', (t) => {
  const { lists, insert } = openLists()
  insert(1, 129)
  insert(2, MOST_PAGES)
  insert(3, 128)
  t.deepEqual(
    [...lists],
    [
      { start: 3, list: 127 },
      { start: 2, list: 128 },
      { start: 1, list: 128 },
    ]
  )
  t.true(SpanLists.holds(128, 129) && SpanLists.holds(128, MOST_PAGES) && SpanLists.holds(127, 128))
  t.false(SpanLists.holds(128, 128) || SpanLists.holds(127, 129))
  t.deepEqual([...lists.longSpans()], [1, 2])
})

test('a span that is taken out is found no more, its neighbours are', (t) => {
  const { lists, insert } = openLists()
  for (const start of [10, 20, 30]) insert(start, 4)
  lists.remove(20)
  t.deepEqual(startsOf(lists), [30, 10])
  lists.remove(30)
  t.is(lists.bestFit(4), 10)
  lists.remove(10)
  t.is(lists.bestFit(1), 0)
  insert(20, 4)
  t.is(lists.bestFit(2), 20)
})

test('the oldest span of a list is the one that was put in first', (t) => {
  const { lists, insert } = openLists()
  for (const start of [10, 20, 30]) insert(start, 4)
  t.is(lists.oldestFrom(0), 10)
  lists.remove(10)
  t.is(lists.oldestFrom(0), 20)
})

test('the search for the oldest goes on from list to list, and around', (t) => {
  const { lists, insert } = openLists()
  insert(10, 2)
  insert(20, 5)
  insert(30, 1000)
  t.is(lists.oldestFrom(lists.listBehind(2)), 20)
  t.is(lists.oldestFrom(lists.listBehind(5)), 30)
  t.is(lists.oldestFrom(lists.listBehind(1000)), 10)
  t.is(lists.oldestFrom(lists.listBehind(MOST_PAGES)), 10)
})

test('lists keep to their own words of the control section', (t) => {
  const { control, lists, insert } = openLists()
  control.fill(-1, 0, LISTS_AT)
  control[control.length - 1] = -1
  insert(1, 1)
  insert(2, MOST_PAGES)
  lists.remove(1)
  lists.remove(2)
  t.deepEqual([...control.subarray(0, LISTS_AT)], [-1, -1, -1, -1, -1])
  t.is(control[control.length - 1], -1)
  t.true(
    control.subarray(LISTS_AT, -1).every((word) => word === 0),
    'empty lists leave nothing behind'
  )
})

test('a walk shows a list whose bitmap and head disagree', (t) => {
  const { control, lists, insert } = openLists()
  insert(10, 3)
  control[LISTS_AT + 2] = 0
  t.deepEqual([...lists], [{ start: 0, list: 2 }])
})

test('random spans: the best fit is the one that a search of all of them finds', (t) => {
  const { lists, insert } = openLists()
  const lengths = new Map<number, number>()
  let random = 12345
  const below = (limit: number): number => {
    random = (Math.imul(random, 1103515245) + 12345) & 0x7fffffff
    return random % limit
  }
  for (let step = 0; step < 3000; step++) {
    const start = 1 + below(200)
    if (lengths.delete(start)) lists.remove(start)
    else {
      const pages = 1 + below(below(2) === 0 ? 128 : 2000)
      lengths.set(start, pages)
      insert(start, pages)
    }
    const wanted = 1 + below(2200)
    const fitting = [...lengths.values()].filter((pages) => pages >= wanted)
    const found = lists.bestFit(wanted)
    if (fitting.length === 0) t.is(found, 0)
    else t.is(lengths.get(found), Math.min(...fitting))
  }
})
