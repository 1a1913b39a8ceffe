import test from 'ava'
import { PageEntry, PageField, Span, SpanEntry } from '../../lib/go/span.ts'
import type { GoTiers } from '../../lib/go/tiers.ts'
import { classOf, openGoTiers, spanWord } from '../support/go-tiers.ts'

/** Tiers with blocks and objects of all kinds, some of which were freed; and a cycle that has begun. */
function open(): { tiers: GoTiers; blocks: number[]; objects: number[]; large: number } {
  const { tiers } = openGoTiers()
  const blocks = [16, 64, 1024, 20_000, 50_000].flatMap((size) => Array.from({ length: 40 }, () => tiers.malloc(size)))
  const layouts = [
    { size: 64, pointers: [0] },
    { size: 24, pointers: [] },
    { size: 5, pointers: [] },
    { size: 3000, pointers: [0] },
    { size: 70_000, pointers: [0] },
  ]
  const types = layouts.map((layout) => tiers.types.define(layout))
  // The scope stays open.
  tiers.roots.open()
  const objects = types.flatMap((type) => Array.from({ length: 300 }, () => tiers.allocate(type, 1)))
  for (let i = 0; i < blocks.length; i += 3) tiers.free(blocks[i]!)
  tiers.mheap.release(50)
  tiers.collector.step(0)
  tiers.audit()
  return { tiers, blocks, objects, large: blocks.at(-1)! }
}

const pageOf = (address: number) => Math.floor(address / 8192)
const spanOf = ({ tables }: GoTiers, address: number) => tables.pages[pageOf(address) << PageEntry.Shift]! >>> 9

/** Ways to spoil the tables. Each is noticed. */
const DAMAGES: Record<string, (opened: ReturnType<typeof open>) => void> = {
  'a page of a span doesn’t know it': ({ tiers, large }) => {
    tiers.tables.pages[(pageOf(large) + 1) << PageEntry.Shift] = 0
  },
  'a page of a span names another': ({ tiers, large }) => {
    tiers.tables.pages[(pageOf(large) + 1) << PageEntry.Shift]! += 1 << 9
  },
  'a span is longer than its pages': ({ tiers, large }) => {
    tiers.tables.spans[(pageOf(large) << SpanEntry.Shift) + Span.Pages]!++
  },
  'a span has another class than its pages say': ({ tiers, objects }) => {
    tiers.tables.spans[(spanOf(tiers, objects[0]!) << SpanEntry.Shift) + Span.SpanClass]! += 2
  },
  'a page of a span is free': ({ tiers, large }) => {
    tiers.tables.pageAlloc.free(pageOf(large), 1)
  },
  'a free page is used': ({ tiers }) => {
    tiers.tables.pageAlloc.allocate(1)
  },
  'used pages are counted wrongly': ({ tiers }) => {
    tiers.mheap.usedPages++
  },
  'released pages are counted wrongly': ({ tiers }) => {
    tiers.mheap.releasedPages++
  },
  'new pages are counted wrongly': ({ tiers }) => {
    tiers.mheap.newPages--
  },
  'a page was released that isn’t': ({ tiers }) => {
    tiers.tables.pageState[tiers.mheap.endPage - 60] = 2
  },
  'a block is live that isn’t allocated': ({ tiers, blocks }) => {
    tiers.tables.unitBits[blocks[1]! >>> 8]! |= 1 << (((blocks[1]! >>> 3) & 31) + 1)
  },
  'a live block isn’t allocated': ({ tiers, blocks }) => {
    const start = spanOf(tiers, blocks[1]!)
    tiers.tables.bits[start * 32]! &= ~2
  },
  'a live block has no bit': ({ tiers, blocks }) => {
    tiers.tables.unitBits[blocks[1]! >>> 8]! &= ~(1 << ((blocks[1]! >>> 3) & 31))
  },
  'a manual span expects another number of frees': ({ tiers }) => {
    const start = fullSpan(tiers)
    tiers.tables.pages[(start << PageEntry.Shift) + PageField.FreesLeft]!++
  },
  'an object isn’t allocated': ({ tiers, objects }) => {
    const start = spanOf(tiers, objects[0]!)
    const slot = (objects[0]! - start * 8192) / 64
    tiers.bits.words[tiers.bits.allocated + start * 32 + (slot >>> 5)]! &= ~(1 << (slot & 31))
  },
  'a mark is left from an earlier cycle': ({ tiers, objects }) => {
    tiers.collector.collect()
    tiers.audit()
    tiers.bits.words[tiers.bits.marked + spanOf(tiers, objects[0]!) * 32]! |= 1
  },
  'an object is grey, and nothing marks': ({ tiers, objects }) => {
    tiers.collector.collect()
    tiers.audit()
    tiers.tables.greyBits[spanOf(tiers, objects[0]!) * 32]! |= 1
  },
  'a span was swept in another cycle': ({ tiers, objects }) => {
    tiers.tables.spans[(spanOf(tiers, objects[0]!) << SpanEntry.Shift) + Span.SweepGen]! += 2
  },
  'pages in lists are counted wrongly': ({ tiers }) => {
    tiers.central.pages++
  },
  'pages that wait to be swept are counted wrongly': ({ tiers }) => {
    tiers.central.unsweptPages++
  },
  'objects are counted wrongly': ({ tiers }) => {
    tiers.tally.add(classOf(tiers, 64), 1, 0)
  },
  'large blocks are counted wrongly': ({ tiers }) => {
    tiers.manual.largeBytes += 8192
  },
  'large objects are counted wrongly': ({ tiers }) => {
    tiers.tally.addLarge(8192)
  },
  'a span is in two lists': ({ tiers }) => {
    const sizeClass = classOf(tiers, 64)
    const start = tiers.cache.spanOf(2 * sizeClass) || tiers.central.describe(2 * sizeClass)[0]!.start
    tiers.central.uncacheSpan(start, spanWord(tiers, start, Span.Allocated))
  },
}

/** A manual span that is in no list. */
function fullSpan({ tables, mheap, manual, classes }: GoTiers): number {
  for (let page = 8; page < mheap.endPage; page++) {
    const word = tables.pages[page << PageEntry.Shift]!
    const sizeClass = (word & 0xff) >>> 1
    if ((word & 0x100) === 0 || sizeClass === 0 || word >>> 9 !== page) continue
    const { cached, listed } = manual.describe(sizeClass)
    if (page !== cached && !listed.includes(page) && classes.pages[sizeClass]! > 0) return page
  }
  throw new Error('there is none')
}

for (const [damage, spoil] of Object.entries(DAMAGES)) {
  test(`an audit notices where ${damage}`, (t) => {
    const opened = open()
    spoil(opened)
    t.throws(() => opened.tiers.audit(), { code: 'ERR_HEAP_CORRUPT' })
  })
}

test('an audit finds nothing in between steps of a cycle', (t) => {
  const { tiers } = open()
  for (let i = 0; i < 1000 && !tiers.collector.step(0); i++) tiers.audit()
  tiers.collector.collect()
  tiers.audit()
  t.pass()
})
