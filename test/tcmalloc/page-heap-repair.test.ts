import test from 'ava'
import { Page } from '../../lib/memory/page.ts'
import { PageWord } from '../../lib/tcmalloc/control.ts'
import { ObjectState } from '../../lib/tcmalloc/object-state.ts'
import { PAGE_HEAP_BUSY, PageHeap } from '../../lib/tcmalloc/page-heap.ts'
import { PagePast } from '../../lib/tcmalloc/page-past.ts'
import { threadCacheLayout } from '../../lib/tcmalloc/slot-area.ts'
import { Location, locationOf, Span, SpanEntry } from '../../lib/tcmalloc/span.ts'
import { StaleEntries } from '../../lib/tcmalloc/stale-entries.ts'
import type { Locks } from '../../lib/threads/locks.ts'
import { freeSpan, freeSpans, openTiers, spanWord, type Tiers } from '../support/simulated-tiers.ts'

const OTHER_SLOT = 7

function setWord({ tables }: Tiers, start: number, word: Span, value: number): void {
  tables.spans[(start << SpanEntry.Shift) + word] = value
}

/** Spans of these lengths, one behind the other, in the first 128 pages. */
function openSpans(...lengths: number[]): { tiers: Tiers; starts: number[] } {
  const tiers = openTiers()
  return { tiers, starts: lengths.map((pages) => tiers.pageHeap.allocate(pages)) }
}

test('a rebuild makes free what a struck thread was moving, and leaves what others move', (t) => {
  const { tiers, starts } = openSpans(10, 20, 30, 68)
  const { pageHeap, tables } = tiers
  const [mine, struck, releasing] = starts as [number, number, number]
  setWord(tiers, struck, Span.Location, locationOf(Location.Transit, OTHER_SLOT))
  setWord(tiers, releasing, Span.Location, locationOf(Location.Releasing, OTHER_SLOT))
  tables.states.fill(ObjectState.Live, struck * Page.Granules, (releasing + 30) * Page.Granules)
  tables.pageClass.fill(5, struck, releasing + 30)
  pageHeap.rebuild((slot) => slot === OTHER_SLOT)
  t.deepEqual(freeSpans(tiers), [`normal ${struck}+50`])
  t.is(pageHeap.normalPages, 50)
  t.is(spanWord(tiers, mine, Span.Location), locationOf(Location.Transit, 0))
  const walked = tables.states.subarray(struck * Page.Granules, (releasing + 30) * Page.Granules)
  t.true(walked.every((state) => state === ObjectState.None))
  t.deepEqual([...tables.pageClass.subarray(struck, releasing + 30)], Array(50).fill(0))
  t.deepEqual(
    [...tables.pagePast.subarray(mine, releasing + 31)],
    [...Array(10).fill(0), ...Array(50).fill(PagePast.Dirty), 0]
  )
  t.is(pageHeap.allocate(50), struck)
})

test('pages that a live thread is giving back are in no list, and counted', (t) => {
  const { tiers, starts } = openSpans(10, 118)
  const { pageHeap } = tiers
  setWord(tiers, starts[0]!, Span.Location, locationOf(Location.Releasing, OTHER_SLOT))
  for (let i = 0; i < 2; i++) {
    pageHeap.rebuild(() => false)
    t.deepEqual(freeSpans(tiers), [])
    t.is(pageHeap.normalPages, 10)
  }
})

test('a rebuild needs nothing but lengths and locations of first pages', (t) => {
  const { tiers, starts } = openSpans(10, 1, 20, 1, 30, 5, 7, 54)
  const { pageHeap, tables } = tiers
  for (const i of [0, 2]) freeSpan({ pageHeap }, starts[i]!)
  pageHeap.release(30)
  for (const i of [4, 5, 6]) freeSpan({ pageHeap }, starts[i]!)
  const before = freeSpans(tiers)
  t.deepEqual(before, [`released ${starts[0]}+10`, `released ${starts[2]}+20`, `normal ${starts[4]}+42`])
  // As a thread leaves them that is struck while it joins spans: apart, and not linked.
  setWord(tiers, starts[4]!, Span.Length, 30)
  for (const [i, pages] of [
    [5, 5],
    [6, 7],
  ] as const) {
    setWord(tiers, starts[i]!, Span.Length, pages)
    setWord(tiers, starts[i]!, Span.Location, Location.Normal)
  }
  for (const lists of pageHeap.free.lists().values()) lists.clear()
  for (let page = Page.First; page < pageHeap.endPage; page++) {
    for (const word of [Span.Start, Span.Next, Span.Previous]) setWord(tiers, page, word, 3)
  }
  tables.control.fill(77, PageWord.NormalPages, PageWord.ReleaseWait)
  pageHeap.rebuild(() => false)
  t.deepEqual(freeSpans(tiers), before)
  t.is(pageHeap.normalPages, 42)
  t.is(pageHeap.releasedPages, 30)
  for (const [i, pages] of [1, 1, 54].entries()) {
    const start = starts[[1, 3, 7][i]!]!
    t.is(spanWord(tiers, start, Span.Start), start)
    t.is(spanWord(tiers, start + pages - 1, Span.Start), start)
  }
  for (const i of [1, 3, 7]) freeSpan({ pageHeap }, starts[i]!)
  t.is(pageHeap.release(1000), 42 + 56)
  t.deepEqual(freeSpans(tiers), [`released ${Page.First}+128`])
})

test('free spans at both ends of the heap are found again', (t) => {
  const { tiers, starts } = openSpans(10, 20, 98)
  for (const i of [0, 2]) freeSpan(tiers, starts[i]!)
  tiers.pageHeap.rebuild(() => false)
  t.deepEqual(freeSpans(tiers), [`normal ${starts[0]}+10`, `normal ${starts[2]}+98`])
})

test('pages that spans don’t tile can’t be rebuilt', (t) => {
  for (const length of [0, -1, 119]) {
    const { tiers, starts } = openSpans(10, 118)
    setWord(tiers, starts[1]!, Span.Length, length)
    t.throws(() => tiers.pageHeap.rebuild(() => false), {
      code: 'ERR_HEAP_CORRUPT',
      message: `the span at page ${starts[1]} has a length of ${length} pages`,
    })
  }
})

test('tables of released spans are given back once for each release', (t) => {
  const tiers = openTiers({ limitPages: 65_536 })
  const { pageHeap, mapper, tables } = tiers
  const [first, second] = [pageHeap.allocate(2000), pageHeap.allocate(2000)] as [number, number]
  const callsOf = (work: () => void): number => {
    const before = mapper.syscalls().madvise
    work()
    return mapper.syscalls().madvise - before
  }
  freeSpan({ pageHeap }, first)
  t.is(
    callsOf(() => pageHeap.trimTables()),
    0,
    'the span is backed'
  )
  pageHeap.release(2000)
  tables.states[first * Page.Granules + 4096] = 1
  t.is(
    callsOf(() => pageHeap.trimTables()),
    2
  )
  t.is(tables.states[first * Page.Granules + 4096], 0)
  t.is(
    callsOf(() => pageHeap.trimTables()),
    0
  )
  // What is left of a trimmed span is trimmed, a longer one is not.
  t.is(pageHeap.allocate(500), first)
  t.is(
    callsOf(() => pageHeap.trimTables()),
    0
  )
  freeSpan({ pageHeap }, second)
  pageHeap.release(2000)
  t.deepEqual(freeSpans(tiers), [`released ${first + 500}+3500`])
  t.is(
    callsOf(() => pageHeap.trimTables()),
    2
  )
  t.is(pageHeap.allocate(3500), first + 500)
})

test('where the lock can’t be had, nothing is taken and nothing released', (t) => {
  const { tables, classes, mapper, mapping, pageHeap } = openTiers()
  freeSpan({ pageHeap }, pageHeap.allocate(10))
  const locks = { tryAcquire: () => false } as unknown as Locks
  const busy = new PageHeap(
    tables,
    mapper,
    mapping,
    4096,
    1,
    locks,
    new StaleEntries(tables, threadCacheLayout(classes)),
    0
  )
  t.is(busy.allocate(1), 0)
  t.is(busy.lastErrno, PAGE_HEAP_BUSY)
  busy.tooLarge()
  t.is(busy.lastErrno, 0)
  t.is(busy.allocate(1, 16), 0)
  t.is(busy.lastErrno, PAGE_HEAP_BUSY)
  t.is(busy.release(1), 0)
  t.is(busy.normalPages, 128)
})

test('a rebuild touches nothing of the spans beside what it makes free', (t) => {
  const { tiers, starts } = openSpans(10, 20, 98)
  const { pageHeap, tables } = tiers
  const [before, struck, behind] = starts as [number, number, number]
  for (const start of [before, behind]) setWord(tiers, start, Span.Location, Location.Central)
  tables.states.fill(ObjectState.Live, Page.First * Page.Granules, pageHeap.endPage * Page.Granules)
  tables.pageClass.fill(5, Page.First, pageHeap.endPage)
  // The slot of these tiers, which took the span.
  pageHeap.rebuild((slot) => slot === 0)
  t.deepEqual(freeSpans(tiers), [`normal ${struck}+20`])
  for (const page of [before, struck - 1, behind, pageHeap.endPage - 1]) {
    t.is(tables.states[page * Page.Granules], ObjectState.Live)
    t.is(tables.states[page * Page.Granules + Page.Granules - 1], ObjectState.Live)
    t.is(tables.pageClass[page], 5)
  }
})

test('only a live block is made longer or shorter in its place', (t) => {
  const { tiers, starts } = openSpans(10, 20, 98)
  const { pageHeap, tables } = tiers
  const [block, next] = starts as [number, number]
  freeSpan(tiers, next)
  setWord(tiers, block, Span.Location, Location.Large)
  for (const state of [ObjectState.None, ObjectState.Free, ObjectState.Pooled]) {
    tables.states[block * Page.Granules] = state
    t.false(pageHeap.extend(block, 15))
    pageHeap.shrink(block, 5)
    t.deepEqual(freeSpans(tiers), [`normal ${next}+20`])
  }
  tables.states[block * Page.Granules] = ObjectState.Live
  t.true(pageHeap.extend(block, 15))
  pageHeap.shrink(block, 5)
  t.deepEqual(freeSpans(tiers), [`normal ${block + 5}+25`])
  t.is(spanWord(tiers, block, Span.Location), Location.Large)
})
