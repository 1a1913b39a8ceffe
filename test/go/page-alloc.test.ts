import test, { type ExecutionContext } from 'ava'
import { PageAlloc } from '../../lib/go/page-alloc.ts'

/** Everything here is about numbers: no page has memory behind it. */
const CHUNK = 512
const MOST_PAGES = 2 ** 22

/** First page and length. */
type Run = [page: number, count: number]

function make(pages: number, free: readonly Run[]): PageAlloc {
  const alloc = new PageAlloc(new Int32Array(PageAlloc.wordsFor(pages)), pages)
  for (const [page, count] of free) alloc.add(page, count)
  return alloc
}

function freeRuns(alloc: PageAlloc, pages: number): Run[] {
  const runs: Run[] = []
  for (let page = 0; page < pages; page++) {
    if (!alloc.isFree(page)) continue
    const count = alloc.freeRunAt(page)
    runs.push([page, count])
    page += count
  }
  return runs
}

type Call =
  | ['allocate', count: number, page: number]
  | ['allocateAligned', count: number, alignment: number, page: number]
  | ['allocateAt', page: number, count: number, taken: boolean]
  | ['free', page: number, count: number]
  | ['add', page: number, count: number]

interface Case {
  name: string
  pages: number
  before: Run[]
  calls: Call[]
  after: Run[]
}

function run(t: ExecutionContext, alloc: PageAlloc, call: Call): void {
  switch (call[0]) {
    case 'allocate':
      t.is(alloc.allocate(call[1]), call[2], `${call}`)
      return
    case 'allocateAligned':
      t.is(alloc.allocateAligned(call[1], call[2]), call[3], `${call}`)
      return
    case 'allocateAt':
      t.is(alloc.allocateAt(call[1], call[2]), call[3], `${call}`)
      return
    default:
      alloc[call[0]](call[1], call[2])
  }
}

const cases: Case[] = [
  { name: 'nothing was added', pages: 4096, before: [], calls: [['allocate', 1, 0]], after: [] },
  {
    name: 'one page',
    pages: 4096,
    before: [[8, 1]],
    calls: [
      ['allocate', 2, 0],
      ['allocate', 1, 8],
      ['allocate', 1, 0],
    ],
    after: [],
  },
  {
    name: 'the first fit by address, not the best one',
    pages: 4096,
    before: [
      [10, 2],
      [20, 8],
      [40, 3],
    ],
    calls: [
      ['allocate', 3, 20],
      ['allocate', 1, 10],
      ['allocate', 2, 23],
      ['allocate', 4, 0],
    ],
    after: [
      [11, 1],
      [25, 3],
      [40, 3],
    ],
  },
  {
    name: 'runs within a word, to its end, from its start and over it',
    pages: 4096,
    before: [
      [33, 30],
      [90, 6],
      [128, 5],
      [180, 40],
    ],
    calls: [
      ['allocate', 30, 33],
      ['allocate', 40, 180],
      ['allocate', 6, 90],
      ['allocate', 5, 128],
    ],
    after: [],
  },
  {
    name: 'words that are all free',
    pages: 4096,
    before: [[32, 96]],
    calls: [
      ['allocate', 32, 32],
      ['allocate', 64, 64],
      ['free', 32, 96],
      ['allocate', 96, 32],
    ],
    after: [],
  },
  {
    name: 'the last word of a chunk',
    pages: 4096,
    before: [
      [CHUNK - 31, 31],
      [2 * CHUNK - 40, 40],
    ],
    calls: [
      ['allocate', 32, 2 * CHUNK - 40],
      ['allocate', 31, CHUNK - 31],
      ['free', CHUNK - 31, 31],
      ['allocate', 30, CHUNK - 31],
    ],
    after: [
      [CHUNK - 1, 1],
      [2 * CHUNK - 8, 8],
    ],
  },
  {
    name: 'over the boundary of two chunks',
    pages: 4096,
    before: [
      [100, 3],
      [CHUNK - 2, 5],
    ],
    calls: [
      ['allocate', 5, CHUNK - 2],
      ['free', CHUNK - 1, 2],
      ['allocate', 4, 0],
      ['allocate', 2, 100],
      ['allocate', 2, CHUNK - 1],
    ],
    after: [[102, 1]],
  },
  {
    name: 'over whole chunks, with used ones on both sides',
    pages: 16 * CHUNK,
    before: [[CHUNK - 1, 3 * CHUNK + 2]],
    calls: [
      ['allocate', 3 * CHUNK + 3, 0],
      ['allocate', 3 * CHUNK + 2, CHUNK - 1],
      ['free', CHUNK, 3 * CHUNK],
      ['allocate', 3 * CHUNK, CHUNK],
      ['free', 2 * CHUNK, CHUNK],
      ['allocate', CHUNK, 2 * CHUNK],
    ],
    after: [],
  },
  {
    name: 'over the boundary of two summaries of the second level',
    pages: 64 * CHUNK,
    before: [[8 * CHUNK - 300, 700]],
    calls: [
      ['allocate', 701, 0],
      ['allocate', 700, 8 * CHUNK - 300],
      ['free', 8 * CHUNK - 1, 2],
      ['allocate', 2, 8 * CHUNK - 1],
    ],
    after: [],
  },
  {
    name: 'a heap that grows joins what was free at its end',
    pages: 4096,
    before: [[8, CHUNK - 8]],
    calls: [
      ['allocate', 400, 8],
      ['allocate', 200, 0],
      ['add', CHUNK, CHUNK],
      ['allocate', 200, 408],
    ],
    after: [[608, 2 * CHUNK - 608]],
  },
  {
    name: 'a heap that does not grow in one piece',
    pages: 16 * CHUNK,
    before: [
      [8, 8],
      [9 * CHUNK + 3, 8],
    ],
    calls: [
      ['allocate', 8, 8],
      ['allocate', 8, 9 * CHUNK + 3],
      ['add', 15 * CHUNK, CHUNK],
      ['allocate', CHUNK, 15 * CHUNK],
    ],
    after: [],
  },
  {
    name: 'freed pages join from both sides',
    pages: 4096,
    before: [[8, 24]],
    calls: [
      ['allocate', 24, 8],
      ['free', 8, 8],
      ['free', 24, 8],
      ['allocate', 9, 0],
      ['free', 16, 8],
      ['allocate', 24, 8],
    ],
    after: [],
  },
  {
    name: 'exactly there, if all of it is free',
    pages: 4096,
    before: [[500, 600]],
    calls: [
      ['allocateAt', 499, 2, false],
      ['allocateAt', 1099, 2, false],
      ['allocateAt', 1100, 1, false],
      ['allocateAt', 510, 10, true],
      ['allocateAt', 519, 1, false],
      ['allocateAt', 520, 580, true],
      ['allocateAt', 4096, 1, false],
    ],
    after: [[500, 10]],
  },
  {
    name: 'aligned: the first run that has such a start wherever it begins',
    pages: 16 * CHUNK,
    before: [
      [16, 4],
      [33, 7],
      [67, 30],
    ],
    calls: [
      ['allocateAligned', 4, 4, 36],
      ['allocateAligned', 1, 1, 16],
      ['allocateAligned', 16, 16, 80],
    ],
    after: [
      [17, 3],
      [33, 3],
      [67, 13],
      [96, 1],
    ],
  },
  {
    name: 'aligned: where there is no such run, the first place that fits',
    pages: 64 * CHUNK,
    before: [
      [130, 62],
      [256, 64],
      [400, 64],
      [4 * CHUNK, CHUNK],
      [12 * CHUNK, 4 * CHUNK],
    ],
    calls: [
      ['allocateAligned', CHUNK, CHUNK, 12 * CHUNK],
      ['free', 12 * CHUNK, CHUNK],
      ['allocateAligned', CHUNK, 4 * CHUNK, 4 * CHUNK],
      ['allocateAligned', CHUNK, 8 * CHUNK, 0],
      ['allocateAligned', 4 * CHUNK, 4 * CHUNK, 12 * CHUNK],
      ['allocateAligned', 64, 64, 256],
      ['allocateAligned', 64, 64, 0],
    ],
    after: [
      [130, 62],
      [400, 64],
    ],
  },
  {
    name: 'a heap that is no whole number of chunks',
    pages: 1000,
    before: [[8, 992]],
    calls: [
      ['allocate', 993, 0],
      ['allocate', 992, 8],
      ['free', 999, 1],
      ['allocate', 1, 999],
      ['allocateAt', 999, 1, false],
    ],
    after: [],
  },
  {
    name: 'the largest heap, in one run',
    pages: MOST_PAGES,
    before: [[8, MOST_PAGES - 8]],
    calls: [
      ['allocate', MOST_PAGES - 7, 0],
      ['allocate', MOST_PAGES - 8, 8],
      ['allocate', 1, 0],
      ['free', 8, MOST_PAGES - 8],
      ['allocate', 1, 8],
      ['allocate', 2 ** 21, 9],
      ['allocateAligned', 2 ** 20, 2 ** 20, 3 * 2 ** 20],
      ['allocateAt', MOST_PAGES - 1, 1, false],
      ['free', 3 * 2 ** 20, 2 ** 20],
      ['allocateAt', MOST_PAGES - 1, 1, true],
    ],
    after: [[2 ** 21 + 9, 2 ** 21 - 10]],
  },
  {
    name: 'the ends of the largest heap',
    pages: MOST_PAGES,
    before: [
      [8, 1],
      [2 ** 21 - 1, 2],
      [MOST_PAGES - 1, 1],
    ],
    calls: [
      ['allocate', 2, 2 ** 21 - 1],
      ['allocate', 1, 8],
      ['allocate', 1, MOST_PAGES - 1],
      ['allocate', 1, 0],
      ['free', 2 ** 21, 1],
      ['allocate', 1, 2 ** 21],
    ],
    after: [],
  },
]

for (const { name, pages, before, calls, after } of cases) {
  test(name, (t) => {
    const alloc = make(pages, before)
    const isLarge = pages === MOST_PAGES
    for (const call of calls) {
      run(t, alloc, call)
      if (!isLarge) t.is(alloc.verify(pages), undefined, `${call}`)
    }
    t.deepEqual(freeRuns(alloc, pages), after)
    t.is(alloc.verify(pages), undefined)
    t.is(
      alloc.freePages,
      after.reduce((sum, [, count]) => sum + count, 0)
    )
  })
}

test('runs are told from both ends', (t) => {
  const alloc = make(16 * CHUNK, [
    [8, 100],
    [CHUNK - 12, 12],
    [CHUNK, 2 * CHUNK],
    [3 * CHUNK, 33],
  ])
  t.is(alloc.freeRunAt(8), 100)
  t.is(alloc.freeRunAt(7), 0)
  t.is(alloc.freeRunAt(107), 1)
  t.is(alloc.freeRunAt(CHUNK - 12), 2 * CHUNK + 45)
  t.true(alloc.freeRunAt(CHUNK - 12, 13) >= 13)
  t.is(alloc.freeRunAt(16 * CHUNK), 0)
  t.is(alloc.endRun(108), 100)
  t.is(alloc.endRun(109), 0)
  t.is(alloc.endRun(3 * CHUNK + 33), 2 * CHUNK + 45)
  t.is(alloc.endRun(3 * CHUNK), 2 * CHUNK + 12)
  t.is(alloc.endRun(CHUNK), 12)
  t.is(alloc.endRun(16 * CHUNK), 0)
  t.is(alloc.endRun(8), 0)
})

test('another one on the same words goes on', (t) => {
  const words = new Int32Array(PageAlloc.wordsFor(64 * CHUNK))
  const first = new PageAlloc(words, 64 * CHUNK)
  first.add(8, 20 * CHUNK)
  t.is(first.allocate(3), 8)
  const second = new PageAlloc(words, 64 * CHUNK)
  t.is(second.allocate(3), 11)
  t.is(first.freePages, 20 * CHUNK - 6)
  t.is(second.verify(64 * CHUNK), undefined)
})

test('words that no page needs stay as they are', (t) => {
  const words = new Int32Array(PageAlloc.wordsFor(MOST_PAGES))
  const alloc = new PageAlloc(words, MOST_PAGES)
  alloc.add(8, 8 * CHUNK - 8)
  for (let i = 0; i < 3000; i++) alloc.allocate(1)
  alloc.verify(8 * CHUNK)
  // The bitmap of eight chunks, their summaries, and the words in front.
  t.true(words.filter((word) => word !== 0).length <= 8 * 16 + 8 * 3 + 4)
})

test('an audit tells what is wrong', (t) => {
  const broken = (at: number, value: number) => {
    const words = new Int32Array(PageAlloc.wordsFor(4096))
    const alloc = new PageAlloc(words, 4096)
    alloc.add(8, 1000)
    t.is(alloc.allocate(10), 8)
    t.is(alloc.verify(4096), undefined)
    words[at] = value
    return alloc.verify(4096)
  }
  t.regex(broken(0, 100) ?? '', /below the search page/)
  t.regex(broken(1, 7) ?? '', /counted as free/)
  t.regex(broken(16 + 1, 0) ?? '', /counted as free/)
  t.regex(broken(16 + 8 * 16, 5) ?? '', /level 0, page 0: the summary is 5/)
})
