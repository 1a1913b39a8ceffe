import { constants } from 'node:os'
import test from 'ava'
import { PageEntry, PageWord, Span } from '../../lib/go/span.ts'
import type { GoTiers } from '../../lib/go/tiers.ts'
import { openGoTiers, spanWord } from '../support/go-tiers.ts'

const GROWTH = 512
const FIRST = 8
const PAGE_BYTES = 8192

/** A large span of so many pages. */
function take({ mheap, manual }: GoTiers, pages: number, alignment = 1): number {
  const start = mheap.allocate({ pages, spanClass: 1, manual: true }, alignment)
  if (start !== 0) manual.largeBytes += pages * PAGE_BYTES
  return start
}

function give({ mheap, manual, tables }: GoTiers, start: number): void {
  manual.largeBytes -= spanWord({ tables }, start, Span.Pages) * PAGE_BYTES
  mheap.free(start)
}

const wordOf = ({ tables }: GoTiers, page: number) => tables.pages[page << PageEntry.Shift]!

test('the heap grows by 4 MiB at least, and by more only where more is asked for', (t) => {
  const { tiers } = openGoTiers({ limitPages: 65_536 })
  const { mheap } = tiers
  t.is(take(tiers, 1), FIRST)
  t.is(mheap.mappedPages, GROWTH)
  t.is(take(tiers, GROWTH - 1), FIRST + 1)
  t.is(mheap.mappedPages, GROWTH)
  t.is(take(tiers, 700), FIRST + GROWTH)
  t.is(mheap.mappedPages, 3 * GROWTH)
  t.is(take(tiers, 1000), FIRST + GROWTH + 700, 'what was free at the end is joined with what is new')
  t.is(mheap.mappedPages, 5 * GROWTH)
})

test('at the limit what is left is taken, and then nothing', (t) => {
  const { tiers } = openGoTiers({ limitPages: 700 })
  const { mheap } = tiers
  t.is(take(tiers, 10), FIRST)
  t.is(take(tiers, 690), FIRST + 10)
  t.is(mheap.mappedPages, 700)
  t.is(take(tiers, 1), 0)
  t.is(mheap.lastErrno, 0)
  give(tiers, FIRST)
  t.is(take(tiers, 11), 0)
  t.is(take(tiers, 10), FIRST)
})

test('where the system refuses a large step, a small one is tried', (t) => {
  const { mapper, tiers } = openGoTiers({ limitPages: 65_536 })
  take(tiers, GROWTH)
  mapper.limitBytes = mapper.pagesGrown * mapper.systemPageSize + 20 * PAGE_BYTES
  t.is(take(tiers, 20), FIRST + GROWTH)
  t.is(take(tiers, 1), 0)
  t.is(tiers.mheap.lastErrno, constants.errno.ENOMEM)
  tiers.audit()
})

test('the lowest pages that fit are taken', (t) => {
  const { tiers } = openGoTiers()
  const spans = [5, 1, 20, 1, 10, 1].map((pages) => take(tiers, pages))
  for (const i of [4, 2, 0]) give(tiers, spans[i]!)
  t.is(take(tiers, 6), spans[2])
  t.is(take(tiers, 5), spans[0])
  t.is(take(tiers, 10), spans[2]! + 6)
  t.is(take(tiers, 10), spans[4])
})

test('aligned spans start where they should, and keep nothing of what lay before', (t) => {
  const { tiers } = openGoTiers({ limitPages: 65_536 })
  take(tiers, 1)
  for (const alignment of [2, 16, 512, 8192]) {
    const start = take(tiers, 3, alignment)
    t.is(start % alignment, 0)
    t.true(tiers.mheap.mappedPages <= start + 3 + GROWTH + alignment)
  }
  t.is(tiers.mheap.usedPages, 13)
  tiers.audit()
})

test('every page of a span knows it, and of a free one nothing', (t) => {
  const { tiers } = openGoTiers()
  const start = take(tiers, 5)
  for (let page = start; page < start + 5; page++) {
    t.is(wordOf(tiers, page), (start << PageWord.StartShift) | PageWord.Manual | 1)
  }
  t.is(spanWord(tiers, start, Span.Pages), 5)
  t.is(spanWord(tiers, start, Span.Objects), 1)
  give(tiers, start)
  for (let page = start; page < start + 5; page++) t.is(wordOf(tiers, page), 0)
  t.is(tiers.mheap.usedPages, 0)
})

test('a span is cut short, and made longer again where what is behind it is free', (t) => {
  const { tiers } = openGoTiers()
  const { mheap } = tiers
  const start = take(tiers, 20)
  take(tiers, 1)
  mheap.shrink(start, 5)
  t.is(mheap.usedPages, 6)
  t.is(wordOf(tiers, start + 5), 0)
  t.false(mheap.extend(start, 21), 'a page is another’s')
  t.is(mheap.usedPages, 6)
  t.true(mheap.extend(start, 20))
  t.is(wordOf(tiers, start + 19), wordOf(tiers, start))
  t.is(mheap.usedPages, 21)
  give(tiers, start)
  t.is(mheap.usedPages, 1)
  const last = take(tiers, GROWTH - 21)
  t.false(mheap.extend(last, GROWTH), 'it would have to grow')
})

test('new memory needs no zeroing, and used memory does', (t) => {
  const { tiers } = openGoTiers()
  const { mheap } = tiers
  const start = take(tiers, 5)
  t.false(mheap.needsZero(start))
  give(tiers, start)
  t.is(take(tiers, 3), start)
  t.true(mheap.needsZero(start))
  const next = take(tiers, 4)
  t.is(next, start + 3)
  t.true(mheap.needsZero(next), 'two of its pages were used')
  t.false(mheap.needsZero(take(tiers, 1)))
})

for (const releaseZeroes of [true, false]) {
  test(`what came back from the system ${releaseZeroes ? 'is zero' : 'is anything'}`, (t) => {
    const { tiers } = openGoTiers({ system: { releaseZeroes } })
    const { mheap } = tiers
    const start = take(tiers, GROWTH)
    give(tiers, start)
    t.is(mheap.release(GROWTH), GROWTH)
    t.is(mheap.releasedPages, GROWTH)
    t.is(mheap.freePages, 0)
    t.is(take(tiers, 10), start)
    t.is(mheap.needsZero(start), !releaseZeroes)
    t.is(mheap.releasedPages, GROWTH - 10)
  })
}

test('so many pages are given back as are asked for, from the highest on', (t) => {
  const { mapper, tiers } = openGoTiers()
  const { mheap } = tiers
  const spans = [100, 10, 100, 302].map((pages) => take(tiers, pages))
  give(tiers, spans[0]!)
  give(tiers, spans[2]!)
  t.is(mheap.release(0), 0)
  t.is(mheap.release(30), 30)
  t.is(mapper.ring().at(-1)?.address, (spans[2]! + 70) * PAGE_BYTES)
  t.is(mheap.release(100), 100)
  t.is(mheap.freePages, 70)
  t.is(mapper.ring().at(-1)?.address, (spans[0]! + 70) * PAGE_BYTES)
  t.is(mheap.release(1000), 70)
  t.is(mheap.release(1000), 0)
  give(tiers, spans[1]!)
  t.is(mheap.release(1000), 10, 'what has become free since')
  tiers.audit()
})

test('what the system doesn’t take back can be given back later', (t) => {
  const { mapper, tiers } = openGoTiers()
  const { mheap } = tiers
  const spans = [100, 10, 100, 302].map((pages) => take(tiers, pages))
  give(tiers, spans[0]!)
  give(tiers, spans[2]!)
  for (let refused = 1; refused <= 2; refused++) {
    mapper.refuseCall = mapper.ring().length + refused
    mheap.release(1000)
    t.is(mheap.releasedPages, refused === 1 ? 0 : 100)
    tiers.audit()
  }
  t.is(mheap.release(1000), 100)
  tiers.audit()
})

test('where nothing can be given back, nothing is', (t) => {
  const { mapper, tiers } = openGoTiers()
  Object.defineProperty(mapper, 'canRelease', { value: false })
  give(tiers, take(tiers, 100))
  t.is(tiers.mheap.release(100), 0)
  t.is(mapper.syscalls().madvise, 0)
})

test('the scavenger gives back a little at a time, and keeps a tenth more than is in use', (t) => {
  const { mapper, tiers } = openGoTiers({ limitPages: 65_536 })
  const { mheap } = tiers
  const spans = Array.from({ length: 100 }, () => take(tiers, 100))
  for (const start of spans.slice(30)) give(tiers, start)
  const turn = () => {
    give(tiers, take(tiers, 1000))
    mheap.scavenge()
  }
  for (let i = 0; i < 40; i++) turn()
  t.is(mheap.releasedPages, 0, 'too little was freed')
  for (let i = 0; i < 100; i++) turn()
  t.true(mheap.releasedPages > 0 && mheap.releasedPages < 1000, `${mheap.releasedPages}`)
  for (let i = 0; i < 10_000; i++) turn()
  const kept = mheap.usedPages + mheap.freePages
  t.true(kept >= 3300 && kept < 4400, `${kept} pages are kept`)
  const { madvise } = mapper.syscalls()
  t.true(madvise < 1000, `${madvise} calls`)
  tiers.audit()
})

test('above the soft limit free pages go back at once', (t) => {
  const { tiers } = openGoTiers({ limitPages: 65_536 })
  const { mheap } = tiers
  mheap.softLimitPages = 600
  const spans = Array.from({ length: 10 }, () => take(tiers, 100))
  for (const start of spans) {
    give(tiers, start)
    mheap.scavenge()
    t.true(mheap.usedPages + mheap.freePages <= 600 || mheap.freePages === 0)
  }
  t.is(mheap.freePages, 600)
  tiers.audit()
})

for (const systemPageSize of [16_384, 65_536]) {
  const unit = systemPageSize / PAGE_BYTES

  test(`with system pages of ${systemPageSize} bytes only whole ones are given back`, (t) => {
    const { tiers } = openGoTiers({ system: { systemPageSize } })
    const { mheap } = tiers
    const spans = Array.from({ length: 64 }, () => take(tiers, 1))
    for (const start of spans) if (start % unit !== 0) give(tiers, start)
    t.is(mheap.release(1000), GROWTH - 64, 'what was never used')
    for (const start of spans) if (start % unit === 0 && start < 40) give(tiers, start)
    // All pages but the first of each are free already.
    t.is(mheap.release(1000), 32)
    tiers.audit()
    for (const start of spans) if (start % unit === 0 && start >= 40) give(tiers, start)
    t.is(mheap.release(1000), 32)
    t.is(mheap.freePages, 0)
    tiers.audit()
  })

  test(`a system page of ${systemPageSize} bytes that was given back comes anew as a whole`, (t) => {
    const { tiers } = openGoTiers({ system: { systemPageSize } })
    const { mheap } = tiers
    give(tiers, take(tiers, GROWTH))
    mheap.release(GROWTH)
    t.is(mheap.releasedPages, GROWTH)
    const start = take(tiers, 1)
    t.is(mheap.releasedPages, GROWTH - unit)
    t.is(mheap.freePages, unit - 1)
    give(tiers, start)
    t.is(mheap.release(GROWTH), unit)
    t.is(mheap.releasedPages, GROWTH)
    tiers.audit()
  })
}
