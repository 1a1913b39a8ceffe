import test from 'ava'
import { SpanClass, spanClassOf } from '../../lib/go/size-class.ts'
import { classOf, mark, openGoTiers } from '../support/go-tiers.ts'

function open(size: number) {
  const { tiers } = openGoTiers()
  const sizeClass = classOf(tiers, size)
  return {
    ...tiers,
    tiers,
    sizeClass,
    spanClass: spanClassOf(sizeClass, 0),
    objects: tiers.classes.objects[sizeClass]!,
  }
}

/** Takes a slot, from whichever span has one. */
function take({ cache, spanClass }: ReturnType<typeof open>, markOffset = 0): number {
  for (;;) {
    const unit = cache.pop(spanClass, markOffset)
    if (unit !== 0) return unit
    if (!cache.advance(spanClass) && cache.refill(spanClass) === 0) return 0
  }
}

for (const size of [8, 24, 48, 1024, 9472, 32_768]) {
  test(`slots of ${size} bytes come in order, span by span, each once`, (t) => {
    const opened = open(size)
    const { cache, tiers, spanClass, objects } = opened
    t.is(cache.pop(spanClass, 0), 0, 'nothing is cached')
    t.false(cache.advance(spanClass))
    const first = take(opened)
    t.is(cache.spanOf(spanClass), first >>> 10)
    for (let i = 1; i < 2 * objects; i++) {
      const unit = take(opened)
      if (i < objects) t.is(unit, first + (i * size) / 8)
    }
    t.is(cache.pending(opened.sizeClass), objects, 'those of the second span')
    t.is(tiers.tally.of(opened.sizeClass).mallocs, objects, 'those of the first')
    tiers.audit()
  })
}

test('a new span counts as used up when it is cached, and what is left of it is told when it goes', (t) => {
  const opened = open(1024)
  const { cache, central, mheap, tiers, spanClass } = opened
  t.is(cache.refill(spanClass), 8192)
  t.is(cache.cachedBytes(), 8192)
  t.is(cache.flush(), 8192)
  t.is(mheap.usedPages, 0, 'nothing was taken')
  cache.refill(spanClass)
  for (let i = 0; i < 3; i++) take(opened)
  t.is(cache.cachedBytes(), 5 * 1024)
  t.is(cache.flush(), 5 * 1024)
  t.is(cache.spanOf(spanClass), 0)
  t.is(cache.cachedBytes(), 0)
  t.deepEqual(central.describe(spanClass), [{ start: 8, full: false, swept: true }])
  t.deepEqual(tiers.tally.of(opened.sizeClass), { mallocs: 3, frees: 0 })
  t.is(cache.refill(spanClass), 5 * 1024, 'the same again')
  t.is(take(opened), 8 * 1024 + (3 * 1024) / 8)
  tiers.audit()
})

test('only slots that are free are taken', (t) => {
  const opened = open(64)
  const { bits, cache, central, tiers, spanClass } = opened
  for (let i = 0; i < 128; i++) take(opened)
  cache.flush()
  const kept = [0, 1, 31, 32, 63, 64, 100, 127]
  mark(tiers, 8, kept)
  bits.swap()
  central.nextGeneration()
  t.is(cache.refill(spanClass), (128 - kept.length) * 64)
  const taken = Array.from({ length: 128 - kept.length }, () => (take(opened) - 8 * 1024) / 8)
  t.deepEqual(
    [...taken, ...kept].sort((a, b) => a - b),
    Array.from({ length: 128 }, (_, slot) => slot)
  )
  t.deepEqual(
    taken,
    taken.toSorted((a, b) => a - b)
  )
  t.true(cache.needsZero(spanClass))
  tiers.audit()
})

test('while the collector marks, what is taken is marked', (t) => {
  const opened = open(64)
  const { bits, cache, central, tiers } = opened
  for (let i = 0; i < 40; i++) take(opened)
  for (let i = 0; i < 5; i++) take(opened, bits.marked - bits.allocated)
  t.is(bits.count(bits.marked, 8), 5)
  cache.flush()
  bits.swap()
  central.nextGeneration()
  while (central.sweepOne());
  t.is(bits.count(bits.allocated, 8), 5)
  t.deepEqual(tiers.tally.of(opened.sizeClass), { mallocs: 45, frees: 40 })
  tiers.audit()
})

test('each span class has a span of its own', (t) => {
  const { tiers } = openGoTiers()
  const { cache, classes } = tiers
  const spans = new Set<number>()
  for (let spanClass = 2; spanClass < SpanClass.Slots; spanClass++) {
    t.true(cache.refill(spanClass) <= classes.pages[spanClass >>> 1]! * 8192)
    spans.add(cache.spanOf(spanClass))
  }
  t.is(spans.size, SpanClass.Small)
  tiers.audit()
  t.is(cache.flush(), tiers.mheap.mappedPages * 0 + bytesOfAll(tiers.classes))
  t.is(tiers.mheap.usedPages, 0)
})

/** Bytes of the slots of one span of each span class. */
function bytesOfAll({ count, objects, size }: { count: number; objects: Int32Array; size: Int32Array }): number {
  let bytes = 0
  for (let sizeClass = 1; sizeClass < count; sizeClass++) bytes += 2 * objects[sizeClass]! * size[sizeClass]!
  return bytes
}

test('where there is no memory, nothing is cached', (t) => {
  const { tiers } = openGoTiers({ limitPages: 1 })
  const [one, two] = [spanClassOf(classOf(tiers, 64), 0), spanClassOf(classOf(tiers, 64), 1)]
  t.is(tiers.cache.refill(one), 8192)
  t.is(tiers.cache.refill(two), 0)
  t.is(tiers.cache.pop(two, 0), 0)
  tiers.audit()
})
