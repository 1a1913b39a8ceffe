import test from 'ava'
import { Span, SpanEntry } from '../../lib/tcmalloc/span.ts'
import { Child, SpanTree } from '../../lib/tcmalloc/span-tree.ts'
import { Random } from '../support/random.ts'

const ROOT = Child.Left

/** A tree, and beside it what is in it as a plain list of lengths by first page. */
class Fixture {
  readonly spans: Int32Array
  readonly tree: SpanTree
  readonly lengths = new Map<number, number>()
  /** Entries that were looked at: each step of a search reads one span's length. */
  steps = 0

  constructor(pages: number) {
    this.spans = new Int32Array(pages * SpanEntry.Words)
    this.tree = new SpanTree(this.counting(), ROOT)
  }

  insert(start: number, length: number): void {
    this.spans[(start << SpanEntry.Shift) + Span.Length] = length
    this.lengths.set(start, length)
    this.tree.insert(start)
  }

  remove(start: number): void {
    this.tree.remove(start)
    this.lengths.delete(start)
  }

  private counting(): Int32Array {
    return new Proxy(this.spans, {
      get: (spans, name) => {
        if (typeof name === 'string' && Number(name) % SpanEntry.Words === Span.Length) this.steps++
        return Reflect.get(spans, name)
      },
      set: (spans, name, value) => Reflect.set(spans, name, value),
    })
  }
}

const MOST_PAGES = 2 ** 16

/** The shortest span that fits, and of those the lowest, by a look at each. A key is a length and, below it, a first page. */
function bruteForce(keys: Float64Array, count: number, pages: number): number {
  const least = pages * MOST_PAGES
  let best = Number.POSITIVE_INFINITY
  for (let i = 0; i < count; i++) {
    const key = keys[i]!
    if (key >= least && key < best) best = key
  }
  return best === Number.POSITIVE_INFINITY ? 0 : best % MOST_PAGES
}

test('40 000 random operations with up to 12 000 spans: each fit is the one that a search of all of them finds', (t) => {
  const random = new Random(5)
  const spans = new Int32Array(MOST_PAGES * SpanEntry.Words)
  const tree = new SpanTree(spans, ROOT)
  // What is in the tree, in any order, and where in it each span is.
  const keys = new Float64Array(MOST_PAGES)
  const places = new Int32Array(MOST_PAGES).fill(-1)
  let count = 0
  let most = 0
  let wrong = 0
  const insert = (start: number) => {
    // Many of one length, and many of all lengths that there are.
    const length = 129 + random.below(random.pick([1, 50, 4000, 2 ** 22 - 129]))
    spans[(start << SpanEntry.Shift) + Span.Length] = length
    keys[count] = length * MOST_PAGES + start
    places[start] = count++
    tree.insert(start)
  }
  const remove = (start: number) => {
    tree.remove(start)
    const place = places[start]!
    const last = keys[--count]!
    keys[place] = last
    places[last % MOST_PAGES] = place
    places[start] = -1
  }
  for (let step = 0; step < 40_000; step++) {
    // First it fills up, then it goes up and down, and last it empties.
    const isFilling = random.below(8) < (step < 24_000 ? 7 : step < 32_000 ? 4 : 1)
    if (isFilling && count < 12_000) {
      let start = 0
      while (start === 0 || places[start]! >= 0) start = random.below(MOST_PAGES)
      insert(start)
    } else if (count > 0) remove(keys[random.below(count)]! % MOST_PAGES)
    most = Math.max(most, count)
    const pages = 129 + random.below(random.pick([60, 5000, 2 ** 22]))
    if (tree.bestFit(pages) !== bruteForce(keys, count, pages)) wrong++
  }
  t.is(wrong, 0)
  t.is(most, 12_000)
  const inOrder = keys
    .subarray(0, count)
    .sort()
    .map((key) => key % MOST_PAGES)
  t.deepEqual([...tree.from(0)], [...inOrder])
})

// In a search tree without balance each of these orders makes a list, and in a heap whose priorities are multiples of the address some do.
const orders: Record<string, (i: number) => [start: number, length: number]> = {
  'rising lengths': (i) => [i, 129 + i],
  'falling lengths': (i) => [i, 200_000 - i],
  'one length': (i) => [i, 129],
  'every 144th page': (i) => [(i * 144) & 0x3ffff, 129 + (i >> 4)],
  'every 233rd page, two lengths': (i) => [(i * 233) & 0x3ffff, 129 + (i & 1)],
}

for (const [name, spanAt] of Object.entries(orders)) {
  test(`a search takes steps by the logarithm of the number of spans: ${name}`, (t) => {
    for (const count of [300, 3000, 30_000]) {
      const fixture = new Fixture(2 ** 18)
      for (let i = 1; i <= count; i++) {
        const [start, length] = spanAt(i)
        if (!fixture.lengths.has(start)) fixture.insert(start, length)
      }
      fixture.steps = 0
      const searches = 200
      for (let i = 0; i < searches; i++) fixture.tree.bestFit(129 + Math.floor((i * 200_000) / searches))
      // On average a treap is 1.39 log2 n deep.
      t.true(fixture.steps / searches < 2 * Math.log2(count), `${fixture.steps / searches} steps among ${count}`)
    }
  })
}

test('a walk begins with the first span that is long enough', (t) => {
  const { tree, insert } = bound(new Fixture(64))
  for (const [start, length] of [
    [10, 300],
    [20, 200],
    [30, 200],
    [40, 129],
  ] as const)
    insert(start, length)
  t.deepEqual([...tree.from(0)], [40, 20, 30, 10])
  t.deepEqual([...tree.from(130)], [20, 30, 10])
  t.deepEqual([...tree.from(300)], [10])
  t.deepEqual([...tree.from(301)], [])
})

test('an empty tree is not written to, and one that was left half done is emptied', (t) => {
  const fixture = new Fixture(64)
  const frozen = new SpanTree(Object.freeze(Array.from(fixture.spans)) as unknown as Int32Array, ROOT)
  t.notThrows(() => frozen.clear())
  fixture.insert(10, 300)
  fixture.insert(20, 200)
  fixture.spans.fill(77, 16 << SpanEntry.Shift, (20 << SpanEntry.Shift) + Span.Length)
  fixture.tree.clear()
  t.is(fixture.tree.bestFit(1), 0)
  fixture.insert(20, 200)
  t.deepEqual([...fixture.tree.from(0)], [20])
})

function bound(fixture: Fixture): { tree: SpanTree; insert: (start: number, length: number) => void } {
  return { tree: fixture.tree, insert: (start, length) => fixture.insert(start, length) }
}
