import test from 'ava'
import { Page } from '../../lib/memory/page.ts'
import { Lock } from '../../lib/tcmalloc/control.ts'
import { PagePast } from '../../lib/tcmalloc/page-past.ts'
import { Span } from '../../lib/tcmalloc/span.ts'
import { freeSpan, freeSpans, openTiers, spanWord, type Tiers } from '../support/simulated-tiers.ts'

const RELEASED_PER_WAIT = 1000
const IDLE_WAIT = 2 ** 18
const FORCED_RELEASE_PAGES = (128 * 2 ** 20) / Page.Bytes

const lengthsOf = (tiers: Tiers, starts: number[]): number[] =>
  starts.map((start) => spanWord(tiers, start, Span.Length))

/** Free spans of these lengths, oldest first, with pages in use between them. */
function freeApart(tiers: Tiers, lengths: number[]): number[] {
  const starts = lengths.map((pages) => {
    const start = tiers.pageHeap.allocate(pages)
    tiers.pageHeap.allocate(1)
    return start
  })
  // What is left of the last growth would be one more free span.
  while (tiers.pageHeap.normalPages > 0) tiers.pageHeap.allocate(1)
  for (const start of starts) freeSpan(tiers, start)
  return starts
}

test('a release goes from list to list, and takes the oldest span of each', (t) => {
  const tiers = openTiers()
  const [two, twoLater, seven, large] = freeApart(tiers, [2, 2, 7, 300])
  const { pageHeap } = tiers
  const order: string[] = []
  for (let i = 0; i < 4; i++) {
    pageHeap.release(1)
    order.push(freeSpans(tiers).filter((text) => text.startsWith('released') && !order.includes(text))[0]!)
  }
  t.deepEqual(order, [`released ${two}+2`, `released ${seven}+7`, `released ${large}+300`, `released ${twoLater}+2`])
  t.is(pageHeap.release(1), 0)
})

test('a release gives whole spans until it has given enough', (t) => {
  const tiers = openTiers()
  freeApart(tiers, [2, 3, 4])
  t.is(tiers.pageHeap.release(4), 5)
  t.is(tiers.pageHeap.releasedPages, 5)
  t.is(tiers.pageHeap.release(100), 4)
  t.is(tiers.pageHeap.normalPages, 0)
})

test('each released span is one call to the system, over its own pages', (t) => {
  const tiers = openTiers()
  const [a, b] = freeApart(tiers, [2, 3])
  const before = tiers.mapper.ring().length
  tiers.pageHeap.release(5)
  t.deepEqual(
    tiers.mapper
      .ring()
      .slice(before)
      .map(({ call, address, length }) => ({ call, address, length })),
    [
      { call: 'madvise', address: a! * Page.Bytes, length: 2 * Page.Bytes },
      { call: 'madvise', address: b! * Page.Bytes, length: 3 * Page.Bytes },
    ]
  )
  t.is(tiers.mapper.pagesReleased * tiers.mapper.systemPageSize, 5 * Page.Bytes)
})

test('the lock is let go while the system takes pages', (t) => {
  const tiers = openTiers()
  freeApart(tiers, [2, 3])
  const { mapping, pageHeap, locks } = tiers
  const owners: number[] = []
  const release = mapping.release.bind(mapping)
  mapping.release = (offset, length) => {
    const left = owners.length === 0 ? 3 : 0
    owners.push(locks.owner(Lock.PageHeap))
    t.is(pageHeap.release(1), left) // as another thread may meanwhile
    return release(offset, length)
  }
  t.is(pageHeap.release(2), 2)
  t.deepEqual(owners, [0, 0])
})

test('a span that the system refuses to take stays backed', (t) => {
  const tiers = openTiers()
  const [a] = freeApart(tiers, [2])
  tiers.mapper.refuseCall = tiers.mapper.ring().length + 1
  t.is(tiers.pageHeap.release(2), 0)
  t.deepEqual(freeSpans(tiers), [`normal ${a}+2`])
  t.is(tiers.pageHeap.release(2), 2)
})

test('released pages count as clean only where they read as zeros', (t) => {
  for (const releaseZeroes of [true, false]) {
    const tiers = openTiers({ system: { releaseZeroes } })
    const [a] = freeApart(tiers, [2])
    tiers.tables.pagePast.fill(PagePast.Dirty | 5, a!, a! + 2)
    tiers.pageHeap.release(2)
    const past = releaseZeroes ? 5 : PagePast.Dirty | 5
    t.deepEqual([...tiers.tables.pagePast.subarray(a!, a! + 2)], [past, past])
  }
})

test('pages that were never handed out are not clean any more once a system that does not clear has had them', (t) => {
  const tiers = openTiers({ system: { releaseZeroes: false } })
  const [a] = freeApart(tiers, [2])
  t.deepEqual([...tiers.tables.pagePast.subarray(a!, a! + 2)], [0, 0])
  tiers.pageHeap.release(2)
  t.deepEqual([...tiers.tables.pagePast.subarray(a!, a! + 2)], [PagePast.Dirty, PagePast.Dirty])
})

test('freeing releases a span now and then: once per thousand pages for every page released', (t) => {
  const tiers = openTiers({ releaseRate: 1 })
  const { pageHeap } = tiers
  const [first, second] = [pageHeap.allocate(40), pageHeap.allocate(40)]
  pageHeap.allocate(48)
  freeSpan({ pageHeap }, first)
  t.is(pageHeap.releasedPages, 40, 'the first free releases')
  // The next release is due when more than 40 * 1000 pages have been freed.
  const rounds = (RELEASED_PER_WAIT * 40) / 40
  for (let i = 0; i < rounds; i++) {
    freeSpan({ pageHeap }, second)
    t.is(pageHeap.releasedPages, 40)
    pageHeap.allocate(40)
  }
  freeSpan({ pageHeap }, second)
  t.is(pageHeap.releasedPages, 80)
})

test('ten times the rate waits for a tenth of the pages', (t) => {
  const tiers = openTiers({ releaseRate: 10 })
  const { pageHeap } = tiers
  const [first, second] = [pageHeap.allocate(40), pageHeap.allocate(40)]
  pageHeap.allocate(48)
  freeSpan({ pageHeap }, first)
  let rounds = 0
  for (;;) {
    freeSpan({ pageHeap }, second)
    if (pageHeap.releasedPages > 40) break
    rounds++
    pageHeap.allocate(40)
  }
  t.is(rounds, RELEASED_PER_WAIT / 10)
})

test('with a rate of 0 nothing is released by itself', (t) => {
  const tiers = openTiers({ releaseRate: 0 })
  for (let i = 0; i < 3000; i++) freeSpan(tiers, tiers.pageHeap.allocate(1000))
  t.is(tiers.mapper.syscalls().madvise, 0)
  t.is(tiers.pageHeap.releasedPages, 0)
})

test('where a due release finds nothing that the system takes, it waits for long', (t) => {
  const tiers = openTiers({ releaseRate: 1 })
  const { pageHeap, mapper } = tiers
  const start = pageHeap.allocate(128)
  mapper.refuseCall = mapper.ring().length + 1
  freeSpan({ pageHeap }, start)
  t.is(pageHeap.releasedPages, 0)
  let freed = 0
  while (pageHeap.releasedPages === 0) {
    freeSpan({ pageHeap }, pageHeap.allocate(128))
    freed += 128
  }
  t.is(freed, IDLE_WAIT + 128)
})

test('crossing a multiple of 128 MiB with a quarter free releases everything first', (t) => {
  const tiers = openTiers({ limitPages: 3 * FORCED_RELEASE_PAGES, releaseRate: 1 })
  const { pageHeap } = tiers
  // The first free of all releases; from then on the wait is long.
  freeSpan({ pageHeap }, pageHeap.allocate(128))
  pageHeap.allocate(128)
  const used = pageHeap.allocate(10_000)
  const free = [pageHeap.allocate(2000), pageHeap.allocate(1000), pageHeap.allocate(1000)]
  freeSpan({ pageHeap }, free[0]!)
  freeSpan({ pageHeap }, free[2]!)
  t.is(pageHeap.normalPages, 3000)
  t.is(pageHeap.releasedPages, 0)
  t.deepEqual(lengthsOf(tiers, [used]), [10_000])

  pageHeap.allocate(2300)
  t.true(pageHeap.mappedPages > FORCED_RELEASE_PAGES)
  t.is(pageHeap.releasedPages, 0, 'less than a quarter is free')
  freeSpan({ pageHeap }, free[1]!)
  freeSpan({ pageHeap }, used)
  pageHeap.allocate(FORCED_RELEASE_PAGES + 1)
  t.is(pageHeap.normalPages, 0)
  t.is(pageHeap.releasedPages, 14_000)
})

test('a forced release may make room for what was asked for, so that nothing grows', (t) => {
  const tiers = openTiers({ limitPages: 3 * FORCED_RELEASE_PAGES, releaseRate: 1 })
  const { pageHeap } = tiers
  const a = pageHeap.allocate(6000)
  const b = pageHeap.allocate(8000)
  pageHeap.allocate(2000)
  freeSpan({ pageHeap }, a) // released: it is the first free of all
  freeSpan({ pageHeap }, b)
  t.deepEqual(freeSpans(tiers), [`released ${a}+6000`, `normal ${b}+8000`])
  t.is(pageHeap.allocate(12_000), a)
  t.is(pageHeap.mappedPages, 16_000)
})

test('with a rate of 0 not even a multiple of 128 MiB releases', (t) => {
  const tiers = openTiers({ limitPages: 3 * FORCED_RELEASE_PAGES, releaseRate: 0 })
  freeSpan(tiers, tiers.pageHeap.allocate(FORCED_RELEASE_PAGES - 128))
  tiers.pageHeap.allocate(FORCED_RELEASE_PAGES)
  t.is(tiers.mapper.syscalls().madvise, 0)
})

for (const systemPageSize of [16384, 65536]) {
  const unit = systemPageSize / Page.Bytes

  test(`system pages of ${systemPageSize} bytes: every span is made of whole ones`, (t) => {
    // The simulated system throws where a call isn't about whole pages of its own.
    const tiers = openTiers({ system: { systemPageSize } })
    const { pageHeap } = tiers
    const starts = [1, unit + 1, 3, 200, 5].map((pages) => pageHeap.allocate(pages))
    t.deepEqual(
      lengthsOf(tiers, starts).map((pages) => pages % unit),
      [0, 0, 0, 0, 0]
    )
    t.deepEqual(
      starts.map((start) => start % unit),
      [0, 0, 0, 0, 0]
    )
    pageHeap.shrink(starts[3]!, 100 + 1)
    t.is(spanWord(tiers, starts[3]!, Span.Length) % unit, 0)
    freeSpan({ pageHeap }, starts[4]!)
    t.true(pageHeap.extend(starts[3]!, 102))
    t.is(spanWord(tiers, starts[3]!, Span.Length) % unit, 0)
    const aligned = pageHeap.allocate(3, 32)
    t.is(aligned % 32, 0)
    for (const start of [...starts.slice(0, 4), aligned]) freeSpan({ pageHeap }, start)
    t.is(pageHeap.release(pageHeap.normalPages), pageHeap.mappedPages)
    t.deepEqual(freeSpans(tiers), [`released ${Page.First}+${pageHeap.mappedPages}`])
  })
}
