import test from 'ava'
import { freeSpan, openTiers } from '../support/simulated-tiers.ts'

test('the heap grows by 1 MiB at least, and by more only where more is asked for', (t) => {
  const { pageHeap, mapper } = openTiers({ limitPages: 65_536 })
  t.is(pageHeap.allocate(1), 8)
  t.is(pageHeap.mappedPages, 128)
  t.is(pageHeap.allocate(127), 9)
  t.is(pageHeap.mappedPages, 128)
  pageHeap.allocate(300)
  t.is(pageHeap.mappedPages, 428)
  t.is(mapper.syscalls().munmap, 0)
})

test('the best fit is taken, and what is left over can be had', (t) => {
  const { pageHeap } = openTiers({ limitPages: 65_536 })
  const spans = [40, 1, 20, 1, 30, 1].map((pages) => pageHeap.allocate(pages))
  for (const i of [0, 2, 4]) freeSpan({ pageHeap }, spans[i]!)
  t.is(pageHeap.allocate(20), spans[2], 'exactly as long')
  t.is(pageHeap.allocate(25), spans[4], 'the shortest that fits')
  t.is(pageHeap.allocate(5), spans[4]! + 25, 'its rest')
  t.is(pageHeap.allocate(40), spans[0])
})

test('among long spans too the shortest that fits is taken', (t) => {
  const { pageHeap } = openTiers({ limitPages: 65_536 })
  const spans = [700, 1, 400, 1, 390, 1, 2000, 1].map((pages) => pageHeap.allocate(pages))
  for (const i of [0, 2, 4, 6]) freeSpan({ pageHeap }, spans[i]!)
  t.is(pageHeap.allocate(395), spans[2])
  t.is(pageHeap.allocate(390), spans[4])
  t.is(pageHeap.allocate(1500), spans[6])
})

test('neighbours of one state are joined, those of two are not', (t) => {
  const { pageHeap } = openTiers({ limitPages: 65_536 })
  const [a, b, c] = [pageHeap.allocate(10), pageHeap.allocate(10), pageHeap.allocate(108)]
  freeSpan({ pageHeap }, a)
  t.is(pageHeap.release(10), 10)
  t.is(pageHeap.releasedPages, 10)
  freeSpan({ pageHeap }, b)
  freeSpan({ pageHeap }, c)
  t.is(pageHeap.normalPages, 118)
  t.is(pageHeap.allocate(118), b, 'normal ones are one span')
  freeSpan({ pageHeap }, b)
  pageHeap.release(118)
  t.is(pageHeap.allocate(128), a, 'all released ones are one span')
})

test('a released span is taken only where it is strictly shorter', (t) => {
  const { pageHeap } = openTiers({ limitPages: 65_536 })
  const spans = [20, 1, 20, 1, 15, 71].map((pages) => pageHeap.allocate(pages))
  freeSpan({ pageHeap }, spans[0]!)
  freeSpan({ pageHeap }, spans[4]!)
  pageHeap.release(35)
  freeSpan({ pageHeap }, spans[2]!)
  t.is(pageHeap.allocate(20), spans[2], 'as long: the one that is backed')
  t.is(pageHeap.allocate(15), spans[4])
})

test('an aligned span keeps nothing of what lay before and behind it', (t) => {
  const { pageHeap } = openTiers({ limitPages: 65_536 })
  for (const alignment of [2, 16, 512]) {
    const start = pageHeap.allocate(3, alignment)
    t.is(start % alignment, 0)
    const free = pageHeap.normalPages
    freeSpan({ pageHeap }, start)
    t.is(pageHeap.normalPages, free + 3)
  }
  t.is(pageHeap.normalPages, pageHeap.mappedPages)
})

test('a span grows over free ones behind it, of both states, and shrinks', (t) => {
  const { pageHeap } = openTiers({ limitPages: 65_536 })
  const [a, b, c, d] = [10, 10, 10, 98].map((pages) => pageHeap.allocate(pages)) as [number, number, number, number]
  t.false(pageHeap.extend(a, 11))
  freeSpan({ pageHeap }, b)
  pageHeap.release(10)
  freeSpan({ pageHeap }, c)
  t.true(pageHeap.extend(a, 25))
  t.is(pageHeap.releasedPages, 0)
  t.is(pageHeap.normalPages, 5)
  t.false(pageHeap.extend(a, 31), `page ${d} is in use`)
  pageHeap.shrink(a, 4)
  t.is(pageHeap.normalPages, 26)
  freeSpan({ pageHeap }, a)
  t.is(pageHeap.normalPages, 30)
})

test('the last span grows with the heap, unless a span of that length is free elsewhere', (t) => {
  const { pageHeap } = openTiers({ limitPages: 1000 })
  const [hole, between, last] = [100, 10, 18].map((pages) => pageHeap.allocate(pages)) as [number, number, number]
  t.is(pageHeap.mappedPages, 128)
  t.false(pageHeap.extend(between, 11), 'it isn’t the last')
  freeSpan({ pageHeap }, hole)
  t.false(pageHeap.extend(last, 50), 'the hole is long enough')
  t.is(pageHeap.allocate(100), hole)
  t.true(pageHeap.extend(last, 50))
  t.is(pageHeap.mappedPages, 256)
  t.is(pageHeap.normalPages, 96)
  t.true(pageHeap.extend(last, 300), 'the rest of that growth, and no more than it lacks')
  t.is(pageHeap.mappedPages, 410)
  pageHeap.shrink(last, 50)
  freeSpan({ pageHeap }, hole)
  pageHeap.release(1000)
  t.true(pageHeap.extend(last, 330), 'neither the hole nor what is behind is long enough')
  t.is(pageHeap.mappedPages, 538)
  pageHeap.shrink(last, 40)
  t.false(pageHeap.extend(last, 1000), 'the limit')
  t.is(pageHeap.normalPages + pageHeap.releasedPages, 538 - 50)
})

test('after enough frees a little is released, and the oldest of the next list first', (t) => {
  const { pageHeap, mapper } = openTiers({ releaseRate: 1000, limitPages: 65_536 })
  const spans = Array.from({ length: 40 }, () => pageHeap.allocate(2))
  for (let i = 0; i < spans.length; i += 2) freeSpan({ pageHeap }, spans[i]!)
  t.true(mapper.pagesReleased > 0)
  t.true(pageHeap.releasedPages > 0 && pageHeap.normalPages > 0)
})

test('without a rate nothing is released but on demand', (t) => {
  const { pageHeap, mapper } = openTiers({ releaseRate: 0, limitPages: 65_536 })
  const spans = Array.from({ length: 2000 }, () => pageHeap.allocate(2))
  for (const start of spans) freeSpan({ pageHeap }, start)
  t.is(mapper.pagesReleased, 0)
  t.is(pageHeap.release(1), 4096)
})

test('before it crosses 128 MiB with a quarter free, the heap releases all of that', (t) => {
  const { pageHeap } = openTiers({ releaseRate: 1, limitPages: 40_000 })
  const spans = Array.from({ length: 160 }, () => pageHeap.allocate(100))
  for (let i = 0; i < 160; i += 2) freeSpan({ pageHeap }, spans[i]!)
  t.true(pageHeap.mappedPages < 16_384)
  pageHeap.allocate(4000)
  t.is(pageHeap.normalPages, 0)
  t.true(pageHeap.releasedPages >= 8000 - 4000)
})

test('the limit and the system’s refusal are told apart, and nothing is lost', (t) => {
  const { pageHeap, mapper } = openTiers({ limitPages: 512 })
  t.is(pageHeap.allocate(513), 0)
  t.is(pageHeap.lastErrno, 0)
  mapper.limitBytes = 0
  t.is(pageHeap.allocate(100), 0)
  t.true(pageHeap.lastErrno > 0)
  mapper.limitBytes = Number.POSITIVE_INFINITY
  const start = pageHeap.allocate(512)
  t.is(start, 8)
  freeSpan({ pageHeap }, start)
})

test('where the system refuses to take pages back, they stay what they were', (t) => {
  const { pageHeap, mapper } = openTiers({ limitPages: 65_536 })
  freeSpan({ pageHeap }, pageHeap.allocate(100))
  mapper.refuseCall = mapper.ring().length + 1
  t.is(pageHeap.release(100), 0)
  t.is(pageHeap.normalPages, 128)
  t.is(pageHeap.release(100), 128)
})

for (const systemPageSize of [16_384, 65_536]) {
  test(`with system pages of ${systemPageSize} bytes spans are made of them`, (t) => {
    const unit = systemPageSize / 8192
    const { pageHeap, mapper } = openTiers({ system: { systemPageSize } })
    const spans = [1, unit, unit + 1, 100].map((pages) => pageHeap.allocate(pages))
    for (const start of spans) t.is(start % unit, 0)
    for (const start of spans) freeSpan({ pageHeap }, start)
    t.is(pageHeap.release(1_000_000), pageHeap.mappedPages)
    t.is(mapper.pagesReleased * unit, pageHeap.mappedPages)
  })
}

for (const released of [false, true]) {
  test(`a long span is found behind any number of shorter ones${released ? ', all given back' : ''}`, (t) => {
    const { pageHeap } = openTiers({ limitPages: 65_536 })
    const wanted = pageHeap.allocate(135)
    pageHeap.allocate(33)
    const shorter = Array.from({ length: 80 }, () => [pageHeap.allocate(129), pageHeap.allocate(2)][0]!)
    freeSpan({ pageHeap }, wanted)
    for (const start of shorter) freeSpan({ pageHeap }, start)
    if (released) pageHeap.release(65_536)
    const before = pageHeap.mappedPages
    t.is(pageHeap.allocate(135), wanted)
    t.is(pageHeap.mappedPages, before)
  })
}

test('an aligned span is a piece of a free one, which keeps its state on both sides', (t) => {
  const { pageHeap, mapper } = openTiers({ limitPages: 2048 })
  const [first, second] = [pageHeap.allocate(1000), pageHeap.allocate(128)] as [number, number]
  freeSpan({ pageHeap }, first)
  pageHeap.release(1000)
  t.is(pageHeap.allocate(256, 256), 256)
  t.deepEqual([pageHeap.normalPages, pageHeap.releasedPages], [0, 744], 'what was given back isn’t backed')
  freeSpan({ pageHeap }, second)
  t.is(pageHeap.allocate(32, 32), 1024, 'the shortest that has one')
  t.is(pageHeap.allocate(1, 512), 512, 'only a released one has one')
  t.is(pageHeap.allocate(512, 512), 1536, 'the heap grows to where it ends')
  t.is(pageHeap.mappedPages, 2048 - 8)
  t.is(pageHeap.allocate(8, 8), 1008)
  t.is(mapper.syscalls().madvise, 1)
})

test('with some blocks live, an aligned span that takes half of the limit fits', (t) => {
  const { pageHeap } = openTiers({ limitPages: 2048 })
  for (let i = 0; i < 4; i++) pageHeap.allocate(1)
  t.is(pageHeap.allocate(1024, 1024), 1024)
  t.is(pageHeap.allocate(1024, 1024), 0)
  t.is(pageHeap.lastErrno, 0)
  t.is(pageHeap.allocate(900), 12)
})

test('at the limit, what was given back at the end and what the heap may still grow by is one span', (t) => {
  for (const alignment of [1, 128]) {
    const { pageHeap } = openTiers({ limitPages: 1016 })
    const [, tail] = [pageHeap.allocate(120), pageHeap.allocate(640)] as [number, number]
    freeSpan({ pageHeap }, tail)
    pageHeap.release(640)
    t.is(pageHeap.mappedPages, 768)
    t.is(pageHeap.allocate(800, alignment), tail)
  }
})
