import test from 'ava'
import { Heap } from '../../lib/index.ts'
import { HOST } from '../../lib/lifetime/host.ts'
import { Page } from '../../lib/memory/page.ts'
import { ObjectState } from '../../lib/tcmalloc/object-state.ts'
import { AreaWord } from '../../lib/tcmalloc/slot-area.ts'
import { Location, Span, SpanEntry } from '../../lib/tcmalloc/span.ts'
import type { ThreadCache } from '../../lib/tcmalloc/thread-cache.ts'
import { SimulatedMapper } from '../../lib/testing/index.ts'
import { openTiers, type Tiers } from '../support/simulated-tiers.ts'

const KIB = 1024
const MIB = 2 ** 20

/** A large block as a page heap's span, handed out. */
function allocate({ pageHeap, tables }: Tiers, pages: number): number {
  const start = pageHeap.allocate(pages)
  tables.spans[(start << SpanEntry.Shift) + Span.Location] = Location.Large
  tables.states[start << Page.GranuleShift] = ObjectState.Live
  return start
}

/** A free as TCMalloc does it; whether the span is kept. */
function free({ pageHeap }: Tiers, cache: ThreadCache, start: number): boolean {
  if (cache.spans.push(start) || cache.keepSpan(start)) return true
  pageHeap.freeLarge(start, ObjectState.Live)
  return false
}

/** Lets a cache know lengths: the first span that is freed of one isn't kept. */
function learn(tiers: Tiers, cache: ThreadCache, lengths: readonly number[]): void {
  for (const pages of lengths) free(tiers, cache, allocate(tiers, pages))
}

const stateOf = ({ tables }: Tiers, start: number): number => tables.states[start << Page.GranuleShift]!

test('the first span of a length goes to the page heap, the next is kept and handed out again', (t) => {
  const tiers = openTiers()
  const cache = tiers.openCache()
  t.false(free(tiers, cache, allocate(tiers, 40)))
  const start = allocate(tiers, 40)
  t.true(free(tiers, cache, start))
  t.is(stateOf(tiers, start), cache.state)
  t.is(cache.bytes(), 40 * Page.Bytes)
  t.is(cache.spans.take(40), start)
  t.is(stateOf(tiers, start), ObjectState.Live)
  t.is(cache.bytes(), 0)
  t.is(cache.spans.take(40), 0)
})

test('only a span of exactly as many pages is handed out', (t) => {
  const tiers = openTiers()
  const cache = tiers.openCache()
  learn(tiers, cache, [40])
  free(tiers, cache, allocate(tiers, 40))
  for (const pages of [1, 39, 41, 80]) t.is(cache.spans.take(pages), 0)
  t.not(cache.spans.take(40), 0)
})

test('spans of up to 128 pages are kept, longer ones are not', (t) => {
  const tiers = openTiers()
  const cache = tiers.openCache()
  learn(tiers, cache, [128, 129])
  t.true(free(tiers, cache, allocate(tiers, 128)))
  t.false(free(tiers, cache, allocate(tiers, 129)))
  t.false(free(tiers, cache, allocate(tiers, 129)))
})

test('what is not live, or was not handed out whole, is not taken', (t) => {
  const tiers = openTiers()
  const cache = tiers.openCache()
  learn(tiers, cache, [40])
  const start = allocate(tiers, 40)
  t.true(free(tiers, cache, start))
  t.false(cache.spans.push(start), 'it is kept already')
  t.false(cache.spans.push(start + 1), 'it is inside a span')
  t.is(cache.spans.take(40), start)
  tiers.tables.spans[(start << SpanEntry.Shift) + Span.Location] = Location.Transit
  t.false(cache.spans.push(start))
  t.is(stateOf(tiers, start), ObjectState.Live)
})

test('four spans at most; then one in turn makes place for another', (t) => {
  const tiers = openTiers()
  const cache = tiers.openCache()
  learn(tiers, cache, [40])
  const starts = Array.from({ length: 9 }, () => allocate(tiers, 40))
  for (const start of starts) t.true(free(tiers, cache, start))
  t.is(cache.spans.entries().length, 4)
  t.is(cache.bytes(), 4 * 40 * Page.Bytes)
  // In whichever order they went, all of the first four are gone, and the newest is there.
  const kept = new Set(cache.spans.entries())
  t.true(starts.slice(0, 4).every((start) => !kept.has(start)))
  t.true(kept.has(starts[8]!))
})

test('room is claimed for what is kept, and no more', (t) => {
  const tiers = openTiers()
  const cache = tiers.openCache()
  learn(tiers, cache, [40, 128])
  const starts = [128, 40, 40, 128].map((pages) => allocate(tiers, pages))
  for (const start of starts) {
    free(tiers, cache, start)
    const { limits, claimed, budget } = cache.claims()
    t.is(limits, cache.bytes())
    t.is(limits, claimed)
    t.true(claimed <= budget)
  }
  cache.flush()
  t.is(cache.claims().limits, 336 * Page.Bytes, 'a flush leaves the room')
  t.is(cache.bytes(), 0)
  cache.idle()
  t.deepEqual(cache.claims(), { limits: 0, claimed: 0, budget: 0 })
})

test('with a budget of 0 nothing is kept', (t) => {
  const tiers = openTiers({ budgetBytes: 0 })
  const cache = tiers.openCache()
  for (let i = 0; i < 200; i++) if (free(tiers, cache, allocate(tiers, 40))) t.fail('it was kept')
  t.deepEqual(cache.claims(), { limits: 0, claimed: 0, budget: 0 })
})

test('where the budget allows no more, what is kept makes room for what comes', (t) => {
  const tiers = openTiers({ budgetBytes: 1024 * KIB })
  const cache = tiers.openCache()
  learn(tiers, cache, [60, 100])
  t.true(free(tiers, cache, allocate(tiers, 100)))
  const start = allocate(tiers, 60)
  t.true(free(tiers, cache, start))
  t.deepEqual(cache.spans.entries(), [start])
  t.is(cache.claims().limits, 100 * Page.Bytes)
})

test('entries of spans that are live, another’s, or carved since count for nothing, and their places are free', (t) => {
  const tiers = openTiers()
  const cache = tiers.openCache()
  learn(tiers, cache, [40])
  const starts = Array.from({ length: 4 }, () => allocate(tiers, 40))
  for (const start of starts) free(tiers, cache, start)
  // As after a strike between two stores, a race of two frees, and a span that came back in pieces.
  const [live, other, carved, left] = starts as [number, number, number, number]
  tiers.tables.states[live << Page.GranuleShift] = ObjectState.Live
  tiers.tables.states[other << Page.GranuleShift] = cache.state + 1
  tiers.tables.pageClass[carved] = 7
  t.deepEqual(cache.spans.entries(), [left])
  t.is(cache.bytes(), 40 * Page.Bytes)
  t.true(cache.spans.push(live), 'a place is free, and it has one entry only')
  t.is(cache.bytes(), 80 * Page.Bytes)
  t.deepEqual(new Set([cache.spans.take(40), cache.spans.take(40)]), new Set([live, left]))
  t.is(cache.spans.take(40), 0)
  t.is(stateOf(tiers, other), cache.state + 1)
  t.is(stateOf(tiers, carved), cache.state)
})

test('an entry that is there twice is handed out once', (t) => {
  const tiers = openTiers()
  const cache = tiers.openCache()
  learn(tiers, cache, [40])
  const start = allocate(tiers, 40)
  free(tiers, cache, start)
  const area = tiers.tables.slotArea(1)
  for (let at = AreaWord.Spans; at < AreaWord.Spans + 4; at++) area[at] = start
  t.is(cache.spans.take(40), start)
  t.is(cache.spans.take(40), 0)
  t.true(cache.spans.push(start))
  t.is(cache.bytes(), 40 * Page.Bytes, 'those that didn’t count are gone')
  cache.flush()
  t.is(stateOf(tiers, start), ObjectState.None)
})

test('a kept span is nobody’s to free, to shrink or to extend', (t) => {
  const tiers = openTiers()
  const cache = tiers.openCache()
  learn(tiers, cache, [40])
  const start = allocate(tiers, 40)
  free(tiers, cache, start)
  t.false(tiers.pageHeap.freeLarge(start, ObjectState.Live))
  t.false(tiers.pageHeap.extend(start, 41))
  tiers.pageHeap.shrink(start, 20)
  t.is(cache.bytes(), 40 * Page.Bytes)
})

const open = (options: { cacheBytes?: number } = {}) => {
  const mapper = new SimulatedMapper()
  return { mapper, heap: new Heap({ limitBytes: 64 * MIB, mapper, ...options }) }
}

/** Pairs until the last freed block is kept. */
function keep(heap: Heap, size: number): number {
  heap.free(heap.malloc(size))
  const address = heap.malloc(size)
  heap.free(address)
  return address
}

test('pairs of a large malloc and free take no lock', (t) => {
  const { heap } = open()
  const address = keep(heap, MIB)
  const { compareExchange } = Atomics
  let atomics = 0
  Atomics.compareExchange = ((...args: Parameters<typeof compareExchange>) => {
    atomics++
    return compareExchange(...args)
  }) as typeof compareExchange
  try {
    for (let i = 0; i < 100; i++) {
      if (heap.malloc(MIB) !== address) t.fail('another block')
      heap.free(address)
    }
  } finally {
    Atomics.compareExchange = compareExchange
  }
  t.is(atomics, 0)
  heap.audit()
})

test('kept blocks are in the figures as what is in thread caches', (t) => {
  const { heap } = open()
  keep(heap, MIB)
  const stats = heap.stats()
  t.is(stats.liveBytes, 0)
  t.is(stats.threadCacheBytes, MIB)
  t.is(stats.threadCacheBytes + stats.centralCacheBytes + stats.pageHeapFreeBytes, stats.mappedBytes)
  heap.audit()
  const address = heap.malloc(MIB)
  t.like(heap.stats(), { liveBytes: MIB, threadCacheBytes: 0, mappedBytes: stats.mappedBytes })
  heap.audit()
  heap.free(address)
  heap.releaseFreeMemory()
  t.like(heap.stats(), { liveBytes: 0, threadCacheBytes: 0, pageHeapReleasedBytes: stats.mappedBytes })
  keep(heap, MIB)
  heap.threadIdle()
  t.like(heap.stats(), { liveBytes: 0, threadCacheBytes: 0 })
  heap.audit()
})

test('cacheBytes: 0 keeps no large block either', (t) => {
  const { heap } = open({ cacheBytes: 0 })
  keep(heap, MIB)
  t.is(heap.stats().threadCacheBytes, 0)
})

test('a kept block that is freed again is a double free', (t) => {
  const { heap } = open()
  const address = keep(heap, 600_000)
  for (const call of [() => heap.free(address), () => heap.realloc(address, 700_000), () => heap.view(address)])
    t.throws(call, { code: 'ERR_HEAP_DOUBLE_FREE' })
  t.is(heap.malloc(600_000), address)
  heap.audit()
})

test('calloc clears a kept block', (t) => {
  const { heap } = open()
  const size = 600_000
  const address = keep(heap, size)
  new Uint8Array(heap.buffer, address, size).fill(0x2e)
  t.is(heap.calloc(1, size), address)
  t.true(heap.view(address, size).every((byte) => byte === 0))
})

test('a block grows over a kept one behind it', (t) => {
  const { heap } = open()
  heap.free(heap.malloc(300_000))
  const [block, next] = [heap.malloc(300_000), heap.malloc(300_000)]
  heap.free(next)
  t.is(heap.stats().threadCacheBytes, 303_104)
  t.is(heap.realloc(block, 600_000), block)
  t.is(heap.stats().threadCacheBytes, 0)
  heap.audit()
})

test('what is kept is given up before memory is said to be out', (t) => {
  const mapper = new SimulatedMapper()
  const heap = new Heap({ limitBytes: 4 * MIB, mapper })
  const blocks = Array.from({ length: 8 }, () => heap.malloc(500_000))
  for (const address of blocks) heap.free(address)
  t.true(heap.stats().threadCacheBytes > 0)
  heap.malloc(4 * MIB - 65_536)
  heap.audit()
  t.is(heap.stats().threadCacheBytes, 0)
})

test('a dead thread’s spans go back; only what it held stays', (t) => {
  const { heap, mapper } = open()
  const other = Heap.attach(heap.share(), { mapper })
  keep(other, MIB)
  other.malloc(500_000)
  other.free(heap.malloc(MIB)) // not kept by any thread that lives, and not its own
  const { member, tables } = other[HOST].tiers
  t.is(heap.stats().threadCacheBytes, 2 * MIB)
  heap.audit()
  tables.slots.markDead(member.slot)
  t.like(heap.stats(), { threads: 1, threadCacheBytes: 0, liveBytes: 507_904 })
  heap.audit()
})

test('a block that another thread allocated is kept by the one that frees it', (t) => {
  const { heap, mapper } = open()
  const other = Heap.attach(heap.share(), { mapper })
  heap.free(heap.malloc(MIB))
  const address = other.malloc(MIB)
  heap.free(address)
  t.is(heap.malloc(MIB), address)
  heap.audit()
  other.audit()
})
