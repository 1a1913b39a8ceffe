import test from 'ava'
import { SpanClass, spanClassOf } from '../../lib/go/size-class.ts'
import { Span } from '../../lib/go/span.ts'
import type { GoTiers } from '../../lib/go/tiers.ts'
import { classOf, mark, openGoTiers, spanWord } from '../support/go-tiers.ts'

const OBJECTS = 8192 / 1024

function open() {
  const { tiers } = openGoTiers()
  const spanClass = spanClassOf(classOf(tiers, 1024), 0)
  return { ...tiers, tiers, spanClass }
}

/** Allocates so many slots of a span that a cache would have, from the first on, and gives it back. */
function fill({ bits, central, tally }: GoTiers, start: number, objects: number): void {
  const before = bits.count(bits.allocated, start)
  bits.words[bits.allocated + start * 32]! |= (1 << objects) - 1
  tally.add(spanWordClass, bits.count(bits.allocated, start) - before, 0)
  central.uncacheSpan(start, bits.count(bits.allocated, start))
}

/** The size class of 1024 bytes. */
const spanWordClass = classOf(openGoTiers().tiers, 1024)

/** The collector has marked what it could reach. */
function endMarking({ bits, central }: GoTiers): void {
  bits.swap()
  central.nextGeneration()
}

test('spans with free slots are handed out again, full ones aren’t, and empty ones are pages again', (t) => {
  const { tiers, central, mheap, spanClass } = open()
  const [one, two, three] = [0, 0, 0].map(() => central.cacheSpan(spanClass)) as [number, number, number]
  t.deepEqual([one, two, three], [8, 9, 10])
  fill(tiers, one, OBJECTS)
  fill(tiers, two, 3)
  fill(tiers, three, 0)
  t.is(mheap.usedPages, 2)
  t.is(central.pages, 2)
  t.deepEqual(central.describe(spanClass), [
    { start: two, full: false, swept: true },
    { start: one, full: true, swept: true },
  ])
  t.is(central.cacheSpan(spanClass), two)
  t.is(central.cacheSpan(spanClass), three, 'a new one')
  t.is(central.pages, 1)
})

test('classes don’t share spans', (t) => {
  const { tiers, central, spanClass } = open()
  fill(tiers, central.cacheSpan(spanClass), 3)
  t.is(central.cacheSpan(spanClass + 1), 9)
})

test('a cycle later all spans wait to be swept, and a cache gets one that is', (t) => {
  const { tiers, central, spanClass } = open()
  const [one, two] = [central.cacheSpan(spanClass), central.cacheSpan(spanClass)]
  fill(tiers, one, OBJECTS)
  fill(tiers, two, OBJECTS)
  mark(tiers, one, [1, 2])
  mark(tiers, two, [7])
  endMarking(tiers)
  t.is(central.unsweptPages, 2)
  t.deepEqual(
    central.describe(spanClass).map(({ swept }) => swept),
    [false, false]
  )
  tiers.audit()
  t.is(central.cacheSpan(spanClass), one, 'it was full')
  t.is(spanWord(tiers, one, Span.Allocated), 2)
  t.is(spanWord(tiers, one, Span.SweepGen), central.generation)
  t.is(central.unsweptPages, 1)
  t.deepEqual(tiers.tally.of(classOf(tiers, 1024)), { mallocs: 16, frees: 6 })
})

test('a span whose objects are all reached is swept in vain, one with none is pages again', (t) => {
  const { tiers, central, mheap, spanClass } = open()
  const spans = Array.from({ length: 4 }, () => central.cacheSpan(spanClass))
  for (const start of spans) fill(tiers, start, OBJECTS)
  mark(
    tiers,
    spans[0]!,
    Array.from({ length: OBJECTS }, (_, slot) => slot)
  )
  mark(tiers, spans[2]!, [0])
  endMarking(tiers)
  t.is(central.cacheSpan(spanClass), spans[2])
  t.deepEqual(
    central.describe(spanClass),
    [
      { start: spans[3]!, full: true, swept: false },
      { start: spans[0]!, full: true, swept: true },
    ].sort((a, b) => Number(b.swept) - Number(a.swept))
  )
  t.is(mheap.usedPages, 3, 'the second has gone')
  t.is(central.cacheSpan(spanClass), spans[1], 'a new one in its place, after the fourth has gone too')
  t.is(mheap.usedPages, 3)
  t.is(central.unsweptPages, 0)
})

test('after a hundred spans in vain a new one is made', (t) => {
  const { tiers, central, spanClass } = open()
  const spans = Array.from({ length: 150 }, () => central.cacheSpan(spanClass))
  for (const start of spans) {
    fill(tiers, start, OBJECTS)
    mark(
      tiers,
      start,
      Array.from({ length: OBJECTS }, (_, slot) => slot)
    )
  }
  endMarking(tiers)
  t.is(central.cacheSpan(spanClass), spans.at(-1)! + 1)
  t.is(central.unsweptPages, 50)
})

test('sweeping goes on until nothing waits, whatever the class', (t) => {
  const { tiers, central, mheap } = open()
  const spanClasses = [16, 48, 1024, 32_768].map((size) => spanClassOf(classOf(tiers, size), size % 3 === 0 ? 1 : 0))
  const spans = spanClasses.flatMap((spanClass) =>
    [1, 2, 3].map(() => {
      const start = central.cacheSpan(spanClass)
      tiers.bits.words[tiers.bits.allocated + start * 32]! |= 1
      tiers.tally.add(spanClass >>> 1, 1, 0)
      return start
    })
  )
  for (const start of spans) central.uncacheSpan(start, 1)
  for (const start of spans.filter((_, i) => i % 3 === 0)) mark(tiers, start, [0])
  endMarking(tiers)
  let swept = 0
  while (central.sweepOne()) {
    swept++
    tiers.audit()
  }
  t.is(swept, spans.length)
  t.is(central.unsweptPages, 0)
  t.false(central.sweepOne())
  t.is(
    spanClasses.reduce((sum, spanClass) => sum + central.describe(spanClass).length, 0),
    4
  )
  t.is(mheap.usedPages, central.pages)
})

test('slots that have become free need zeroing', (t) => {
  const { tiers, central, spanClass } = open()
  const [one, two] = [central.cacheSpan(spanClass), central.cacheSpan(spanClass)]
  for (const start of [one, two]) {
    fill(tiers, start, 2)
    mark(tiers, start, start === one ? [0, 1] : [0])
    t.is(spanWord(tiers, start, Span.NeedsZero), 0)
  }
  endMarking(tiers)
  while (central.sweepOne());
  t.is(spanWord(tiers, one, Span.NeedsZero), 0, 'what is free was never used')
  t.is(spanWord(tiers, two, Span.NeedsZero), 1)
})

test('large objects have spans of their own, and go when they aren’t marked', (t) => {
  const { tiers, bits, central, mheap, tally } = open()
  const spans = [5, 7].map((pages) => {
    const start = central.largeSpan(pages, SpanClass.LargeScan)
    bits.words[bits.allocated + start * 32]! |= 1
    tally.addLarge(pages * 8192)
    return start
  })
  t.deepEqual(spans, [8, 13])
  t.is(central.pages, 12)
  mark(tiers, spans[1]!, [0])
  endMarking(tiers)
  while (central.sweepOne());
  t.is(mheap.usedPages, 7)
  t.deepEqual(tally.of(0), { mallocs: 2, frees: 1 })
  t.is(tally.largeBytes, 7 * 8192)
  tiers.audit()
})

test('where there is no memory there is no span', (t) => {
  const { tiers } = openGoTiers({ limitPages: 4 })
  const spanClass = spanClassOf(classOf(tiers, 1024), 0)
  for (let i = 0; i < 4; i++) t.not(tiers.central.cacheSpan(spanClass), 0)
  t.is(tiers.central.cacheSpan(spanClass), 0)
  t.is(tiers.central.largeSpan(1, SpanClass.LargeScan), 0)
})

test('the generation may wrap around', (t) => {
  const { tiers, central, spanClass } = open()
  central.generation = 2 ** 31 - 4
  const start = central.cacheSpan(spanClass)
  fill(tiers, start, 3)
  for (let cycle = 0; cycle < 4; cycle++) {
    mark(tiers, start, [0, 1, 2])
    endMarking(tiers)
    tiers.audit()
    while (central.sweepOne());
    tiers.audit()
  }
  t.is(spanWord(tiers, start, Span.Allocated), 3)
  t.true(central.generation < 0)
})
