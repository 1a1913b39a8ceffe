import test from 'ava'
import { Page } from '../../lib/memory/page.ts'
import { ObjectState } from '../../lib/tcmalloc/object-state.ts'
import type { ThreadCache } from '../../lib/tcmalloc/thread-cache.ts'
import { classOf, flushTransfers, openTiers, type Tiers } from '../support/simulated-tiers.ts'

const KIB = 1024
const MOST_BATCHES = 64

const allocate = (cache: ThreadCache, sizeClass: number): number => cache.pop(sizeClass) || cache.refill(sizeClass)

function free(cache: ThreadCache, sizeClass: number, granule: number): void {
  if (!cache.push(granule)) cache.overflow(granule, sizeClass)
}

const allocateMany = (cache: ThreadCache, sizeClass: number, count: number): number[] =>
  Array.from({ length: count }, () => allocate(cache, sizeClass))

/** What the stacks of all classes may hold: that of the only class in use, where there is one. */
const limitOf = (cache: ThreadCache, { classes }: Tiers, sizeClass: number): number =>
  cache.claims().limits / classes.size[sizeClass]!

/** Live objects that some other thread has allocated. */
const allocateElsewhere = (tiers: Tiers, sizeClass: number, count: number): number[] =>
  allocateMany(tiers.openCache(), sizeClass, count)

/** Takes objects until the stack is empty and one more trip has been made. Returns them. */
function miss(cache: ThreadCache, sizeClass: number): number[] {
  const taken: number[] = []
  for (let granule = cache.pop(sizeClass); granule !== 0; granule = cache.pop(sizeClass)) taken.push(granule)
  return [...taken, cache.refill(sizeClass)]
}

/** Frees objects until the stack was full once. Returns how many that took. */
function overflowOnce(cache: ThreadCache, sizeClass: number, live: number[]): number {
  for (let freed = 1; ; freed++) {
    const granule = live.pop()!
    if (cache.push(granule)) continue
    cache.overflow(granule, sizeClass)
    return freed
  }
}

test('an empty cache has nothing to give', (t) => {
  const cache = openTiers().openCache()
  for (let sizeClass = 1; sizeClass < 85; sizeClass++) t.is(cache.pop(sizeClass), 0)
  t.is(cache.bytes(), 0)
})

test('an object that is freed is the next that is handed out', (t) => {
  const tiers = openTiers()
  const sizeClass = classOf(tiers, 64)
  const [a, b, ...others] = allocateElsewhere(tiers, sizeClass, 12)
  const cache = tiers.openCache()
  for (const granule of others) free(cache, sizeClass, granule)
  cache.flush()
  t.is(tiers.tables.states[a!], ObjectState.Live)
  t.true(cache.push(a!))
  t.true(cache.push(b!))
  t.deepEqual([tiers.tables.states[a!], tiers.tables.states[b!]], [cache.state, cache.state])
  t.is(cache.bytes(), 2 * 64)
  t.deepEqual([cache.pop(sizeClass), cache.pop(sizeClass), cache.pop(sizeClass)], [b, a, 0])
  t.is(tiers.tables.states[a!], ObjectState.Live)
})

test('what is not live, or not small, is not taken', (t) => {
  const tiers = openTiers()
  const sizeClass = classOf(tiers, 64)
  const cache = tiers.openCache()
  while (limitOf(cache, tiers, sizeClass) < 4) miss(cache, sizeClass)
  cache.flush()
  const [a] = allocateElsewhere(tiers, sizeClass, 1)
  t.true(cache.push(a!))
  t.false(cache.push(a!), 'it is on the stack already')
  t.false(cache.push(a! + 1), 'it is inside an object')
  const large = tiers.pageHeap.allocate(64) * Page.Granules
  tiers.tables.states[large] = ObjectState.Live
  t.false(cache.push(large))
  t.is(cache.bytes(), 64)
})

test('slow start: with every miss a stack may hold one object more, then a batch more', (t) => {
  const tiers = openTiers()
  const sizeClass = classOf(tiers, 64)
  const cache = tiers.openCache()
  const limits: number[] = []
  const fetched: number[] = []
  for (let i = 0; i < 36; i++) {
    miss(cache, sizeClass)
    limits.push(limitOf(cache, tiers, sizeClass))
    fetched.push(1 + cache.entries(sizeClass).length)
  }
  t.deepEqual(limits, [...Array.from({ length: 32 }, (_, i) => i + 1), 64, 96, 128, 160])
  t.is(fetched[0], 1)
  for (let i = 1; i < fetched.length; i++) t.true(fetched[i]! <= limits[i - 1]!, `miss ${i} brought too many`)
})

test('a stack of a large class starts as slowly, and has room for 4 MiB at most', (t) => {
  const tiers = openTiers({ limitPages: 16_384 })
  const sizeClass = classOf(tiers, 262144)
  const cache = tiers.openCache()
  for (let i = 0; i < 40; i++) miss(cache, sizeClass)
  t.is(limitOf(cache, tiers, sizeClass), 16)
})

test('no stack grows beyond 64 batches', (t) => {
  const tiers = openTiers({ limitPages: 16_384 })
  const sizeClass = classOf(tiers, 64)
  const cache = tiers.openCache()
  for (let i = 0; i < 120; i++) miss(cache, sizeClass)
  t.is(limitOf(cache, tiers, sizeClass), MOST_BATCHES * 32)
})

test('slow start holds for a thread that only frees, too', (t) => {
  const tiers = openTiers()
  const sizeClass = classOf(tiers, 64)
  const live = allocateElsewhere(tiers, sizeClass, 2000)
  const cache = tiers.openCache()
  const limits: number[] = []
  for (let i = 0; i < 34; i++) {
    overflowOnce(cache, sizeClass, live)
    limits.push(limitOf(cache, tiers, sizeClass))
  }
  t.deepEqual(limits, [...Array.from({ length: 32 }, (_, i) => i + 1), 32, 32])
})

test('a full stack gives a batch back, and keeps what it was given last', (t) => {
  const tiers = openTiers()
  const sizeClass = classOf(tiers, 64)
  const cache = tiers.openCache()
  while (limitOf(cache, tiers, sizeClass) < 64) miss(cache, sizeClass)
  cache.flush()
  flushTransfers(tiers)
  const live = allocateElsewhere(tiers, sizeClass, 100)
  const last = live.at(-65)!
  t.is(overflowOnce(cache, sizeClass, live), 65)
  t.is(cache.entries(sizeClass).length, 64 - 32 + 1)
  t.is(tiers.transfer.entries(sizeClass).length, 32)
  t.is(cache.pop(sizeClass), last)
})

test('a stack that has overflowed more than three times must hold a batch less', (t) => {
  const tiers = openTiers()
  const sizeClass = classOf(tiers, 64)
  const cache = tiers.openCache()
  while (limitOf(cache, tiers, sizeClass) < 96) miss(cache, sizeClass)
  const live = allocateElsewhere(tiers, sizeClass, 1000)
  const before = limitOf(cache, tiers, sizeClass)
  const limits = Array.from({ length: 8 }, () => {
    overflowOnce(cache, sizeClass, live)
    return limitOf(cache, tiers, sizeClass)
  })
  t.deepEqual(limits, [before, before, before, ...Array(4).fill(before - 32), before - 64])
})

test('a stack whose entry was handed to somebody else drops it and goes on', (t) => {
  const tiers = openTiers()
  const sizeClass = classOf(tiers, 64)
  const cache = tiers.openCache()
  while (limitOf(cache, tiers, sizeClass) < 4) miss(cache, sizeClass)
  cache.flush()
  const [a, b] = allocateMany(cache, sizeClass, 2)
  free(cache, sizeClass, a!)
  free(cache, sizeClass, b!)
  tiers.tables.states[b!] = ObjectState.Live
  t.is(cache.pop(sizeClass), 0)
  t.is(cache.refill(sizeClass), a)
  t.is(tiers.tables.states[b!], ObjectState.Live)
})

test('where there is no memory a miss gives nothing and changes nothing', (t) => {
  const tiers = openTiers({ limitPages: 1 })
  const cache = tiers.openCache()
  allocate(cache, classOf(tiers, 64))
  const before = cache.claims()
  t.is(cache.refill(classOf(tiers, 48)), 0)
  t.deepEqual(cache.claims(), before)
})

test('a flush empties every stack', (t) => {
  const tiers = openTiers()
  const cache = tiers.openCache()
  for (const size of [16, 1024, 6656, 65536]) {
    const sizeClass = classOf(tiers, size)
    for (const granule of allocateMany(cache, sizeClass, 20)) free(cache, sizeClass, granule)
  }
  t.true(cache.bytes() > 0)
  cache.flush()
  t.is(cache.bytes(), 0)
  flushTransfers(tiers)
  t.is(tiers.pageHeap.normalPages, tiers.pageHeap.mappedPages)
})

test('a closed cache gives nothing and takes nothing', (t) => {
  const tiers = openTiers()
  const sizeClass = classOf(tiers, 64)
  const cache = tiers.openCache()
  const [a] = allocateMany(cache, sizeClass, 20)
  cache.close()
  for (let i = 1; i < tiers.classes.count; i++) t.is(cache.pop(i), 0)
  t.false(cache.push(a!))
})

test('two threads share no object and no stack', (t) => {
  const tiers = openTiers()
  const sizeClass = classOf(tiers, 64)
  const [one, two] = [tiers.openCache(), tiers.openCache()]
  t.not(one.state, two.state)
  const ofOne = allocateMany(one, sizeClass, 100)
  const ofTwo = allocateMany(two, sizeClass, 100)
  t.is(new Set([...ofOne, ...ofTwo]).size, 200)
  for (const granule of ofOne) free(two, sizeClass, granule)
  t.deepEqual(new Set([...two.entries(sizeClass)].map((granule) => tiers.tables.states[granule])), new Set([two.state]))
  t.true(one.entries(sizeClass).every((granule) => !ofOne.includes(granule)))
})

test('touched bytes are whole pages, and grow with what the stacks may hold', (t) => {
  const tiers = openTiers({ limitPages: 16_384 })
  const cache = tiers.openCache()
  const before = cache.touchedBytes()
  t.is(before % 4096, 0)
  for (let i = 0; i < 120; i++) miss(cache, classOf(tiers, 16))
  t.true(cache.touchedBytes() >= before + 4 * KIB)
})

test('a block of nobody’s is freed beside a full stack, behind which the next class’s begins', (t) => {
  const tiers = openTiers({ limitPages: 65_536, budgetBytes: 2 ** 30 })
  const cache = tiers.openCache()
  const sizeClass = classOf(tiers, 65_536)
  const [unowned, ...live] = allocateElsewhere(tiers, sizeClass, 200)
  const isFull = () => cache.bytes() === 64 * 65_536
  for (let i = 0; i < 100 && !isFull(); i++) {
    while (live.length > 0) free(cache, sizeClass, live.pop()!)
    live.push(...allocateMany(cache, sizeClass, 199))
    while (!isFull() && cache.push(live.at(-1)!)) live.pop()
  }
  t.true(isFull(), 'as many as a stack has room for')
  cache.freeUnowned(unowned!, ObjectState.Live)
  t.is(tiers.tables.states[unowned!], ObjectState.Transfer)
  // Were it in the place behind the top, it would be an object of the next class once it is this slot's again.
  tiers.tables.states[unowned!] = cache.state
  t.is(cache.pop(sizeClass + 1), 0)
})
