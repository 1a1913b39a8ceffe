import test from 'ava'
import { classOf, openGoTiers } from '../support/go-tiers.ts'

const GRANULES_PER_PAGE = 512

function open(size: number, limitPages = 4096) {
  const { tiers, mapper } = openGoTiers({ limitPages })
  const { manual, mheap, classes } = tiers
  const sizeClass = classOf(tiers, size)
  const objects = classes.objects[sizeClass]!
  return {
    tiers,
    mapper,
    manual,
    mheap,
    sizeClass,
    objects,
    /** A block, as its granule; 0 where there is no memory. */
    take: () => manual.pop(sizeClass) || manual.refill(sizeClass),
    give: (granule: number) => {
      if (!manual.push(granule)) manual.overflow(granule, sizeClass)
    },
  }
}

/** All spans that there are, cached or in a list. */
function spansOf({ manual, sizeClass }: ReturnType<typeof open>): number[] {
  const { cached, listed } = manual.describe(sizeClass)
  return [...(cached === 0 ? [] : [cached]), ...listed]
}

for (const size of [16, 48, 1024, 9472, 32_768]) {
  test(`blocks of ${size} bytes come in order, and are live`, (t) => {
    const { tiers, manual, sizeClass, objects, take } = open(size)
    t.is(manual.pop(sizeClass), 0, 'nothing is there')
    const blocks = Array.from({ length: 3 * objects + 1 }, take)
    const span = (tiers.classes.pages[sizeClass]! * 8192) / 16
    for (const [i, granule] of blocks.entries()) {
      const expected = 8 * GRANULES_PER_PAGE + Math.floor(i / objects) * span + ((i % objects) * size) / 16
      if (granule !== expected) t.fail(`block ${i} is at ${granule}, not ${expected}`)
      if (!manual.isLive(granule) || manual.smallBytes(granule) !== size) t.fail(`block ${i} isn't live`)
    }
    t.is(manual.liveObjects(sizeClass), blocks.length)
    t.is(manual.mallocs[sizeClass], blocks.length)
    tiers.audit()
  })
}

test('what was freed last is handed out first', (t) => {
  const { manual, take, give } = open(64)
  const blocks = Array.from({ length: 5 }, take)
  for (const i of [1, 3, 0]) give(blocks[i]!)
  t.deepEqual([take(), take(), take()], [blocks[0], blocks[3], blocks[1]])
  t.false(manual.isLive(blocks[4]! + 1))
})

test('what isn’t a live block is not taken', (t) => {
  const { manual, tiers, take } = open(64)
  const [one, two] = [take(), take()]
  t.true(manual.push(one))
  t.false(manual.push(one), 'it is free')
  t.false(manual.isLive(one))
  t.is(manual.smallBytes(one), 0)
  for (const granule of [0, 1, two + 1, two + 4, two + 10_000_000]) {
    t.false(manual.push(granule), `${granule}`)
    t.is(manual.smallBytes(granule), 0)
  }
  t.true(manual.isLive(two))
  tiers.audit()
})

test('a stack that is full gives its older half back to the spans', (t) => {
  const { manual, tiers, sizeClass, take } = open(512)
  const blocks = Array.from({ length: 400 }, take)
  let pushed = 0
  while (manual.push(blocks[pushed]!)) pushed++
  const before = [...manual.stacked(sizeClass)]
  t.is(before.length, 128)
  manual.overflow(blocks[pushed]!, sizeClass)
  t.deepEqual([...manual.stacked(sizeClass)], [...before.slice(64), blocks[pushed]!])
  t.false(manual.isLive(blocks[pushed]!))
  t.is(manual.liveObjects(sizeClass), 400 - pushed - 1)
  tiers.audit()
})

test('of large blocks fewer are kept, but two at least', (t) => {
  for (const [size, kept] of [
    [16, 128],
    [1024, 64],
    [9472, 6],
    [32_768, 2],
  ] as const) {
    const { manual, sizeClass, take } = open(size)
    const blocks = Array.from({ length: 300 }, take)
    for (const granule of blocks) manual.push(granule)
    t.is(manual.stacked(sizeClass).length, kept, `${size}`)
  }
})

test('spans that become empty go back, but for one with room', (t) => {
  const opened = open(1024)
  const { tiers, manual, mheap, sizeClass, take, give } = opened
  const blocks = Array.from({ length: 800 }, take)
  t.is(mheap.usedPages, 100)
  for (const granule of blocks) give(granule)
  t.is(manual.liveObjects(sizeClass), 0)
  t.true(mheap.usedPages <= 10, `${mheap.usedPages} spans, one cached, one listed and those of 64 slots on the stack`)
  tiers.audit()
  manual.flush()
  t.is(mheap.usedPages, 0)
  t.deepEqual(spansOf(opened), [])
  t.is(manual.cachedBytes(), 0)
  tiers.audit()
})

test('a span that was full is used again after something of it was freed', (t) => {
  const { tiers, manual, mheap, take, give } = open(1024)
  const blocks = Array.from({ length: 400 }, take)
  const pages = mheap.usedPages
  const freed = blocks.filter((_, i) => i % 4 === 1)
  for (const granule of freed) give(granule)
  manual.flush()
  t.is(mheap.usedPages, pages, 'none is empty')
  tiers.audit()
  const again = Array.from({ length: freed.length }, take)
  t.deepEqual(
    again.toSorted((a, b) => a - b),
    freed
  )
  t.is(mheap.usedPages, pages)
  tiers.audit()
})

test('every byte of a span is live, on the stack, free in it, or behind its last slot', (t) => {
  const { tiers, manual, mheap, sizeClass, take, give } = open(1152)
  const live: number[] = []
  for (let i = 0; i < 3000; i++) {
    if (i % 3 === 2) give(live.splice((i * 31) % live.length, 1)[0]!)
    else live.push(take())
    if (i % 100 !== 0) continue
    tiers.audit()
    t.is(manual.liveObjects(sizeClass), live.length)
    t.true(manual.cachedBytes() + live.length * 1152 <= mheap.usedPages * 8192)
  }
})

test('where there is no memory, there is no block', (t) => {
  const { tiers, manual, objects, take, give } = open(64, 2)
  const blocks = Array.from({ length: 2 * objects }, take)
  t.true(blocks.every((granule) => granule > 0))
  t.is(take(), 0)
  give(blocks[5]!)
  t.is(take(), blocks[5])
  t.is(manual.allocateLarge(100_000), 0)
  tiers.audit()
})

test('large blocks have spans of their own, and stay where they are as long as there is room', (t) => {
  const { tiers, manual, mheap } = open(64)
  const start = manual.allocateLarge(40_000)
  t.is(mheap.usedPages, 5)
  t.true(manual.isLive(start * GRANULES_PER_PAGE))
  t.is(manual.smallBytes(start * GRANULES_PER_PAGE), 0)
  t.is(manual.largeBytes, 40_960)
  t.true(manual.resizeLarge(start, 100_000))
  t.true(manual.resizeLarge(start, 33_000))
  const next = manual.allocateLarge(50_000)
  t.is(next, start + 5)
  t.false(manual.resizeLarge(start, 50_000))
  tiers.audit()
  manual.freeLarge(next)
  t.true(manual.resizeLarge(start, 50_000))
  manual.freeLarge(start)
  t.false(manual.isLive(start * GRANULES_PER_PAGE))
  t.is(mheap.usedPages, 0)
  t.deepEqual([manual.largeBytes, manual.largeMallocs, manual.largeFrees], [0, 2, 2])
  tiers.audit()
})

test('a large block starts where it should', (t) => {
  const { tiers, manual } = open(64, 65_536)
  for (const alignment of [1, 16, 1024]) {
    const start = manual.allocateLarge(1, alignment)
    t.is(start % alignment, 0)
    manual.freeLarge(start)
  }
  tiers.audit()
})

test('a block may stay where at least half of it is used, or it is the smallest', (t) => {
  const { manual } = open(64)
  t.true(manual.servesWell(64, 64))
  t.true(manual.servesWell(64, 32))
  t.false(manual.servesWell(64, 31))
  t.false(manual.servesWell(64, 65))
  t.true(manual.servesWell(16, 0))
})
