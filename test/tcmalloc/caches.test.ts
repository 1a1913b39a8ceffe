import test from 'ava'
import { openTiers } from '../support/tiers.ts'

/** The class of 64 bytes: 128 objects in a span of one page, 32 in a batch. */
const CLASS = 4
const BATCH = 32

function objects(count: number, pop: () => number): number[] {
  return Array.from({ length: count }, pop)
}

test('a span is handed out in address order, and is not left before it is full', (t) => {
  const { central, tables } = openTiers()
  const area = new Int32Array(300)
  t.is(central.fetch(CLASS, 100, area, 0, 2), 100)
  const first = area.slice(0, 100)
  t.deepEqual(
    [...first].sort((a, b) => b - a),
    [...first],
    'the lowest address comes last, on top of a stack'
  )
  t.is(central.fetch(CLASS, 100, area, 100, 2), 28, 'what is left, rather than a new span')
  t.is(central.describe(CLASS).spans, 1)
  t.true(first.every((granule) => tables.states[granule] === 2))
})

test('fuller spans are used first, and an empty one goes back to the page heap at once', (t) => {
  const { central, pageHeap } = openTiers()
  const area = new Int32Array(512)
  for (let span = 0; span < 4; span++) central.fetch(CLASS, 128, area, span * 128, 2)
  // Of the first span one object comes back, of the second a half, of the third nearly all.
  central.giveBack(CLASS, area, 128 + 20, 64)
  central.giveBack(CLASS, area, 256, 127)
  central.giveBack(CLASS, area, 5, 1)
  const got = new Int32Array(1)
  central.fetch(CLASS, 1, got, 0, 2)
  t.is(got[0], area[5], 'the only free object of the fullest')
  const free = pageHeap.normalPages
  central.giveBack(CLASS, area, 256 + 127, 1)
  t.is(central.describe(CLASS).spans, 3)
  t.is(pageHeap.normalPages, free + 1)
})

test('bytes of the central cache are what is free and what is left over at the ends of spans', (t) => {
  const { central, classes } = openTiers()
  const area = new Int32Array(10)
  const sizeClass = 7 // 112 bytes: 73 objects in a page, 16 bytes over
  t.is(classes.size[sizeClass], 112)
  central.fetch(sizeClass, 10, area, 0, 2)
  t.is(central.bytes(), 63 * 112 + 16)
})

test('a batch that comes back waits for the next thread, and only what doesn’t fit goes to the spans', (t) => {
  const { central, transfer, tables, classes } = openTiers()
  const area = new Int32Array(4096)
  const count = central.fetch(CLASS, 128, area, 0, 2)
  transfer.giveBack(CLASS, area, 0, count)
  t.is(transfer.bytes(), count * 64)
  t.true(area.slice(0, count).every((granule) => tables.states[granule] === 253))
  const again = new Int32Array(128)
  t.is(transfer.fetch(CLASS, 40, again, 0, 3), 40)
  t.deepEqual([...again.slice(0, 40)], [...area.slice(88, 128)], 'those that came last')
  const most = 64 * classes.batch[CLASS]!
  let given = 0
  while (given < most + 500) {
    const got = central.fetch(CLASS, 128, area, 0, 2)
    transfer.giveBack(CLASS, area, 0, got)
    given += got
  }
  t.true(transfer.bytes() <= most * 64)
  transfer.flush()
  t.is(transfer.bytes(), 0)
})

test('a stack starts slowly: room for one object, then two, three and so on, up to a batch, then by the batch', (t) => {
  const { cache } = openTiers()
  const held = new Set<number>()
  for (let trip = 1; trip <= BATCH + 3; trip++) {
    while (cache.entries(CLASS).length > 0) held.add(cache.pop(CLASS))
    held.add(cache.refill(CLASS))
    const room = trip <= BATCH ? trip : BATCH + (trip - BATCH) * BATCH
    t.is(cache.claims().limits, room * 64, `trip ${trip}`)
    t.true(cache.entries(CLASS).length < room)
  }
  t.false(held.has(0))
})

test('what overflows goes back by the batch, and a stack that overflows often becomes shorter', (t) => {
  const { cache, transfer } = openTiers()
  const held = objects(3000, () => cache.pop(CLASS) || cache.refill(CLASS))
  const limits = new Set<number>()
  for (const granule of held) {
    if (!cache.push(granule)) cache.overflow(granule, CLASS)
    limits.add(cache.claims().limits)
  }
  t.true(transfer.bytes() > 0)
  const sizes = [...limits]
  t.true(Math.min(...sizes) < sizes[0]!, 'a limit came down')
  t.is(cache.bytes() + transfer.bytes() <= held.length * 64, true)
})

test('no push takes what isn’t live, or isn’t small', (t) => {
  const { cache, pageHeap } = openTiers()
  const granule = cache.refill(CLASS)
  t.true(cache.push(granule))
  t.false(cache.push(granule))
  t.false(cache.push(granule + 1))
  t.false(cache.push(pageHeap.allocate(40) << 9))
})

for (const budget of [0, 4096, 100_000, 2 ** 20]) {
  test(`the limits of all stacks never come to more than a budget of ${budget} bytes`, (t) => {
    const { cache, classes } = openTiers({ budget })
    const held: { granule: number; sizeClass: number }[] = []
    for (let i = 0; i < 20_000; i++) {
      const sizeClass = 1 + ((i * 7919) % 40)
      if (i % 3 === 2) {
        const block = held.splice((i * 31) % held.length, 1)[0]!
        if (!cache.push(block.granule)) cache.overflow(block.granule, block.sizeClass)
      } else {
        held.push({ granule: cache.pop(sizeClass) || cache.refill(sizeClass), sizeClass })
      }
      const { limits, claimed, budget: most } = cache.claims()
      if (limits !== claimed || claimed > most || most > budget) t.fail(`${limits} of ${claimed} of ${most}`)
      if (cache.bytes() > budget) t.fail(`${cache.bytes()} bytes are cached`)
    }
    t.is(cache.bytes() === 0, budget === 0)
    t.true(held.every(({ granule, sizeClass }) => granule !== 0 && classes.size[sizeClass]! > 0))
  })
}

test('with the budget used up, a stack that lies idle gives room to one that doesn’t', (t) => {
  const { cache } = openTiers({ budget: 2 ** 16 })
  const idle = objects(1500, () => cache.pop(CLASS) || cache.refill(CLASS))
  for (const granule of idle) if (!cache.push(granule)) cache.overflow(granule, CLASS)
  const before = cache.entries(CLASS).length
  const other = 20
  for (let round = 0; round < 60; round++) {
    const held = objects(200, () => cache.pop(other) || cache.refill(other))
    for (const granule of held) if (!cache.push(granule)) cache.overflow(granule, other)
  }
  t.true(cache.entries(CLASS).length < before, `${cache.entries(CLASS).length} of ${before}`)
  t.true(cache.entries(other).length > 0)
})

test('flushed and closed, a cache holds and gives nothing', (t) => {
  const { cache } = openTiers()
  for (const granule of objects(100, () => cache.pop(CLASS) || cache.refill(CLASS))) cache.push(granule)
  cache.flush()
  t.is(cache.bytes(), 0)
  const granule = cache.refill(CLASS)
  t.true(cache.open)
  cache.close()
  t.false(cache.open)
  t.is(cache.pop(CLASS), 0)
  t.false(cache.push(granule))
})
