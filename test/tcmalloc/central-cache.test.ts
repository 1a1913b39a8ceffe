import test from 'ava'
import { Page } from '../../lib/memory/page.ts'
import { ownedBy } from '../../lib/tcmalloc/central-cache.ts'
import { HeapWord } from '../../lib/tcmalloc/control.ts'
import { ObjectState, slotState } from '../../lib/tcmalloc/object-state.ts'
import { AreaWord } from '../../lib/tcmalloc/slot-area.ts'
import { Location, Span } from '../../lib/tcmalloc/span.ts'
import { classOf, openTiers, spanWord, type Tiers } from '../support/simulated-tiers.ts'

const SLOT = ObjectState.FirstSlot

const pageOf = (granule: number): number => granule >>> Page.GranuleShift
const statesOf = (tiers: Tiers, granules: Iterable<number>): number[] =>
  [...granules].map((granule) => tiers.tables.states[granule]!)

/** Up to `want` objects, in the order in which they lie in the area: the last one is the next to be handed out. */
function fetch(tiers: Tiers, sizeClass: number, want: number, slot = 0): number[] {
  const area = tiers.tables.slotArea(slot)
  const got = tiers.central.fetch(sizeClass, want, area, AreaWord.Stacks, slotState(slot))
  return [...area.subarray(AreaWord.Stacks, AreaWord.Stacks + got)]
}

function giveBack(tiers: Tiers, sizeClass: number, granules: readonly number[]): void {
  tiers.central.giveBack(sizeClass, Int32Array.from(granules), 0, granules.length, SLOT)
}

/** All objects of as many fresh spans, by span; none is free in the central cache. */
function fetchSpans(tiers: Tiers, sizeClass: number, spans: number): number[][] {
  const objects = tiers.classes.objects[sizeClass]!
  return Array.from({ length: spans }, () => {
    const granules = fetch(tiers, sizeClass, objects)
    if (new Set(granules.map(pageOf)).size > tiers.classes.pages[sizeClass]!) throw new Error('not one span')
    return granules
  })
}

/** Spans that are in lists, and so anybody's. */
function listed(tiers: Tiers, sizeClass: number): number {
  return tiers.central.describe(sizeClass).lists.flat().length
}

/** Tiers that two threads have. */
function openTwo(limitPages = 4096): Tiers {
  const tiers = openTiers({ limitPages })
  tiers.openCache()
  tiers.tables.control[HeapWord.SlotsUsed] = 2
  return tiers
}

test('threads take small objects from spans of their own', (t) => {
  const tiers = openTwo()
  const sizeClass = classOf(tiers, 64)
  const taken = Array.from({ length: 60 }, (_, i) => pageOf(fetch(tiers, sizeClass, 2, i & 1)[0]!))
  t.deepEqual([...new Set(taken)], [taken[0]!, taken[1]!])
  t.deepEqual(new Set(taken.filter((_, i) => (i & 1) === 0)).size, 1)
  t.is(spanWord(tiers, taken[1]!, Span.Occupancy), ownedBy(1))
  t.is(listed(tiers, sizeClass), 0)
})

test('objects of more than a pair of cache lines of states come from one span for all', (t) => {
  const tiers = openTwo()
  const sizeClass = classOf(tiers, 4096)
  t.is(pageOf(fetch(tiers, sizeClass, 1, 0)[0]!) & ~1, pageOf(fetch(tiers, sizeClass, 1, 1)[0]!) & ~1)
  t.is(tiers.central.describe(sizeClass).spans, 1)
})

test('a span that was its own is listed when the thread lets go of it, and then is another’s', (t) => {
  const tiers = openTwo()
  const sizeClass = classOf(tiers, 64)
  const [granule] = fetch(tiers, sizeClass, 1, 0)
  tiers.central.disown(sizeClass, tiers.tables.slotArea(0), slotState(0))
  t.is(listed(tiers, sizeClass), 1)
  t.is(pageOf(fetch(tiers, sizeClass, 1, 1)[0]!), pageOf(granule!))
  // Whose it was takes another.
  t.not(pageOf(fetch(tiers, sizeClass, 1, 0)[0]!), pageOf(granule!))
})

test('letting go of a span that is another’s by now changes nothing', (t) => {
  const tiers = openTwo()
  const sizeClass = classOf(tiers, 64)
  fetch(tiers, sizeClass, 1, 0)
  tiers.central.rebuild(sizeClass, () => false)
  const [granule] = fetch(tiers, sizeClass, 1, 1)
  tiers.central.disown(sizeClass, tiers.tables.slotArea(0), slotState(0))
  t.is(spanWord(tiers, pageOf(granule!), Span.Occupancy), ownedBy(1))
  t.is(listed(tiers, sizeClass), 0)
})

test('where there is no memory a thread takes what is another’s own', (t) => {
  const tiers = openTwo(1)
  const sizeClass = classOf(tiers, 64)
  t.is(fetch(tiers, sizeClass, 8, 0).length, 8)
  t.is(fetch(tiers, sizeClass, 200, 1).length, 120)
  t.is(fetch(tiers, sizeClass, 1, 0).length, 0)
})

test('a span of its own goes back to the page heap when its objects are all free', (t) => {
  const tiers = openTwo()
  const sizeClass = classOf(tiers, 64)
  giveBack(tiers, sizeClass, fetch(tiers, sizeClass, 3, 0))
  t.is(tiers.central.describe(sizeClass).spans, 0)
  t.is(fetch(tiers, classOf(tiers, 128), 1, 0).length, 1)
  t.is(fetch(tiers, sizeClass, 1, 0).length, 1)
  t.is(tiers.central.describe(sizeClass).freeObjects, 127)
})

test('the first fetch carves a span: its pages, its objects, its states', (t) => {
  const tiers = openTiers()
  const sizeClass = classOf(tiers, 6656)
  const [pages, objects, stride] = [5, 6, 6656 / 16]
  const granules = fetch(tiers, sizeClass, 2)
  const first = Page.First * Page.Granules
  t.deepEqual(granules, [first + stride, first])
  t.deepEqual([...tiers.tables.pageClass.subarray(8, 14)], [...Array(pages).fill(sizeClass), 0])
  t.deepEqual(
    [...tiers.tables.pagePast.subarray(8, 14)].map((past) => past < 0),
    [true, true, true, true, true, false]
  )
  for (let page = 8; page < 13; page++) t.is(spanWord(tiers, page, Span.Start), 8)
  t.is(spanWord(tiers, 8, Span.Location), Location.Central)
  t.is(spanWord(tiers, 8, Span.FreeObjects), objects - 2)

  const expected = new Int8Array(pages * Page.Granules)
  for (let i = 0; i < objects; i++) expected[i * stride] = i < 2 ? SLOT : ObjectState.Free
  t.deepEqual(tiers.tables.states.slice(first, first + pages * Page.Granules), expected)
})

test('objects come in the order of their addresses, the lowest last', (t) => {
  const tiers = openTiers()
  const sizeClass = classOf(tiers, 64)
  const granules = [...fetch(tiers, sizeClass, 10).reverse(), ...fetch(tiers, sizeClass, 10).reverse()]
  const first = Page.First * Page.Granules
  t.deepEqual(
    granules,
    Array.from({ length: 20 }, (_, i) => first + i * 4)
  )
})

test('a fetch takes what is free rather than carve another span', (t) => {
  const tiers = openTiers()
  const sizeClass = classOf(tiers, 1024)
  t.is(fetch(tiers, sizeClass, 5).length, 5)
  t.is(fetch(tiers, sizeClass, 32).length, 3, 'a span has 8')
  t.is(tiers.central.describe(sizeClass).spans, 1)
  t.is(fetch(tiers, sizeClass, 32).length, 8)
  t.is(tiers.central.describe(sizeClass).spans, 2)
})

test('a fetch fills its part of the area from the start, and nothing else', (t) => {
  const tiers = openTiers()
  const sizeClass = classOf(tiers, 1024)
  const area = tiers.tables.slotArea(0).subarray(0, AreaWord.Stacks + 20)
  area.fill(-1, AreaWord.Stacks)
  t.is(tiers.central.fetch(sizeClass, 12, area, AreaWord.Stacks + 4, SLOT), 8)
  t.deepEqual([...area.subarray(AreaWord.Stacks, AreaWord.Stacks + 4)], [-1, -1, -1, -1])
  t.deepEqual(statesOf(tiers, area.subarray(AreaWord.Stacks + 4, AreaWord.Stacks + 12)), Array(8).fill(SLOT))
  t.deepEqual([...area.subarray(AreaWord.Stacks + 16)], [-1, -1, -1, -1])
})

test('where there is no memory a fetch gives nothing', (t) => {
  const tiers = openTiers({ limitPages: 1 })
  t.is(fetch(tiers, classOf(tiers, 64), 10).length, 10)
  t.is(fetch(tiers, classOf(tiers, 48), 10).length, 0)
  t.is(tiers.central.describe(classOf(tiers, 48)).spans, 0)
})

test('objects that come back are free in their span, and are handed out again', (t) => {
  const tiers = openTiers()
  const sizeClass = classOf(tiers, 1024)
  const granules = fetch(tiers, sizeClass, 8)
  giveBack(tiers, sizeClass, granules.slice(2, 5))
  t.deepEqual(statesOf(tiers, granules.slice(2, 5)), Array(3).fill(ObjectState.Free))
  t.is(spanWord(tiers, pageOf(granules[0]!), Span.FreeObjects), 3)
  t.deepEqual(fetch(tiers, sizeClass, 3).sort(), granules.slice(2, 5).sort())
})

test('the fullest span is used first', (t) => {
  const tiers = openTiers()
  const sizeClass = classOf(tiers, 1024)
  const [a, b, c] = fetchSpans(tiers, sizeClass, 3)
  giveBack(tiers, sizeClass, a!.slice(0, 4))
  giveBack(tiers, sizeClass, b!.slice(0, 6))
  giveBack(tiers, sizeClass, c!.slice(0, 1))
  t.is(listed(tiers, sizeClass), 3)
  const order = Array.from({ length: 11 }, () => pageOf(fetch(tiers, sizeClass, 1)[0]!))
  t.deepEqual(order, [
    ...Array(1).fill(pageOf(c![0]!)),
    ...Array(4).fill(pageOf(a![0]!)),
    ...Array(6).fill(pageOf(b![0]!)),
  ])
})

test('a span that has become fuller since it was listed goes before one that is emptier', (t) => {
  const tiers = openTiers()
  const sizeClass = classOf(tiers, 16)
  const [a, b] = fetchSpans(tiers, sizeClass, 2)
  giveBack(tiers, sizeClass, a!.slice(0, 400))
  giveBack(tiers, sizeClass, b!.slice(0, 300))
  giveBack(tiers, sizeClass, b!.slice(300, 500))
  // b had 300 free objects and would come first; with 500 it is the emptier one.
  const granules = fetch(tiers, sizeClass, 400)
  t.deepEqual([...new Set(granules.map(pageOf))], [pageOf(a![0]!)])
})

test('spans with free objects are listed by occupancy, full ones are not', (t) => {
  const tiers = openTiers()
  const sizeClass = classOf(tiers, 1024)
  const spans = fetchSpans(tiers, sizeClass, 8)
  for (const [free, granules] of spans.entries()) giveBack(tiers, sizeClass, granules.slice(0, free))
  const { lists, freeObjects, spans: count } = tiers.central.describe(sizeClass)
  t.is(count, 8)
  t.is(freeObjects, 0 + 1 + 2 + 3 + 4 + 5 + 6 + 7)
  t.deepEqual(
    lists,
    spans.map((granules, free) => (free === 0 ? [] : [pageOf(granules[0]!)]))
  )
})

test('a span whose objects are all free goes back to the page heap at once, and leaves no state', (t) => {
  const tiers = openTiers()
  const sizeClass = classOf(tiers, 6656)
  const granules = fetch(tiers, sizeClass, 6)
  giveBack(tiers, sizeClass, granules.slice(1))
  t.is(tiers.central.describe(sizeClass).spans, 1)
  giveBack(tiers, sizeClass, granules.slice(0, 1))
  t.deepEqual(tiers.central.describe(sizeClass), { spans: 0, freeObjects: 0, lists: Array(8).fill([]) })
  t.is(tiers.pageHeap.normalPages, tiers.pageHeap.mappedPages)
  const first = Page.First * Page.Granules
  t.true(tiers.tables.states.subarray(first, first + 5 * Page.Granules).every((state) => state === ObjectState.None))
  t.deepEqual([...tiers.tables.pageClass.subarray(8, 13)], [0, 0, 0, 0, 0])
})

test('objects of many spans come back in one call, in any order', (t) => {
  const tiers = openTiers()
  const sizeClass = classOf(tiers, 1024)
  const [a, b, c] = fetchSpans(tiers, sizeClass, 3)
  const mixed = a!.flatMap((granule, i) => [granule, b![i]!, c![i]!])
  giveBack(tiers, sizeClass, mixed.slice(0, -1))
  t.is(tiers.central.describe(sizeClass).spans, 1)
  giveBack(tiers, sizeClass, mixed.slice(-1))
  t.is(tiers.pageHeap.normalPages, tiers.pageHeap.mappedPages)
})

test('a span of one object is carved, emptied and given back', (t) => {
  const tiers = openTiers()
  const sizeClass = classOf(tiers, 262144)
  const [granule] = fetch(tiers, sizeClass, 2)
  t.is(spanWord(tiers, pageOf(granule!), Span.FreeObjects), 0)
  giveBack(tiers, sizeClass, [granule!])
  t.is(tiers.pageHeap.normalPages, 128)
})

test('bytes are those of free objects, and what every span loses at its end', (t) => {
  const tiers = openTiers()
  const { central } = tiers
  const sizeClass = classOf(tiers, 6656)
  const tail = 5 * Page.Bytes - 6 * 6656
  t.is(central.bytes(), 0)
  const granules = fetch(tiers, sizeClass, 4)
  t.is(central.bytes(), 2 * 6656 + tail)
  fetch(tiers, sizeClass, 2)
  t.is(central.bytes(), tail)
  giveBack(tiers, sizeClass, granules)
  t.is(central.bytes(), 4 * 6656 + tail)
})

test('classes keep apart', (t) => {
  const tiers = openTiers()
  const [small, large] = [classOf(tiers, 48), classOf(tiers, 1024)]
  const granules = fetch(tiers, small, 3)
  fetch(tiers, large, 3)
  giveBack(tiers, small, granules)
  t.is(tiers.central.describe(small).spans, 0)
  t.is(tiers.central.describe(large).freeObjects, 5)
})
