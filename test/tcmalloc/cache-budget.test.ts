import test from 'ava'
import { ObjectState } from '../../lib/tcmalloc/object-state.ts'
import type { ThreadCache } from '../../lib/tcmalloc/thread-cache.ts'
import { classOf, openTiers, type Tiers } from '../support/simulated-tiers.ts'

const KIB = 1024

const allocate = (cache: ThreadCache, sizeClass: number): number => cache.pop(sizeClass) || cache.refill(sizeClass)

function free(cache: ThreadCache, sizeClass: number, granule: number): void {
  if (!cache.push(granule)) cache.overflow(granule, sizeClass)
}

/** One trip to the central cache for a class: its stack is used up, what it held is kept in `live`. */
function miss(cache: ThreadCache, sizeClass: number, live: number[]): void {
  for (let granule = cache.pop(sizeClass); granule !== 0; granule = cache.pop(sizeClass)) live.push(granule)
  live.push(cache.refill(sizeClass))
}

/** What is wrong with the accounts of caches that share a budget, if anything. */
function budgetFault(caches: readonly ThreadCache[], totalBytes: number): string | undefined {
  let budgets = 0
  for (const cache of caches) {
    const { limits, claimed, budget } = cache.claims()
    if (limits !== claimed) return `limits come to ${limits}, but ${claimed} is claimed`
    if (claimed > budget) return `${claimed} is claimed of ${budget}`
    if (cache.bytes() > limits) return `${cache.bytes()} bytes are cached, where ${limits} may be`
    budgets += budget
  }
  return budgets > totalBytes ? `budgets come to ${budgets} of ${totalBytes}` : undefined
}

/** A sequence that is the same in every run. */
function randomBelow(seed: number): (limit: number) => number {
  let state = seed
  return (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    return (state >>> 8) % limit
  }
}

/** Random allocations and frees of all classes, by all caches; objects move between them. */
function churn(tiers: Tiers, caches: readonly ThreadCache[], steps: number, afterStep: () => void): void {
  const random = randomBelow(7)
  const live: { granule: number; sizeClass: number }[] = []
  for (let step = 0; step < steps; step++) {
    const cache = caches[random(caches.length)]!
    // Runs of one class, so that stacks fill and overflow.
    const sizeClass = 1 + random(tiers.classes.count - 1)
    for (let i = random(20); i > 0; i--) live.push({ granule: allocate(cache, sizeClass), sizeClass })
    for (let i = random(25); i > 0 && live.length > 0; i--) {
      const [block] = live.splice(random(live.length), 1)
      free(cache, block!.sizeClass, block!.granule)
    }
    afterStep()
  }
}

for (const totalBytes of [100 * KIB, 600 * KIB, 32 * 1024 * KIB]) {
  test(`a budget of ${totalBytes / KIB} KiB is never exceeded, whatever three threads do`, (t) => {
    const tiers = openTiers({ limitPages: 32_768, budgetBytes: totalBytes })
    const caches = [tiers.openCache(), tiers.openCache(), tiers.openCache()]
    churn(tiers, caches, 1500, () => {
      const fault = budgetFault(caches, totalBytes)
      if (fault !== undefined) t.fail(fault)
    })
    t.true(caches.some((cache) => cache.bytes() > 0))
    t.is(budgetFault(caches, totalBytes), undefined)
  })
}

test('with a budget of 0 nothing is ever cached', (t) => {
  const tiers = openTiers({ limitPages: 32_768, budgetBytes: 0 })
  const cache = tiers.openCache()
  churn(tiers, [cache], 500, () => {
    if (cache.bytes() !== 0) t.fail(`${cache.bytes()} bytes are cached`)
  })
  t.deepEqual(cache.claims(), { limits: 0, claimed: 0, budget: 0 })
})

test('with a budget of 0 an object that is freed is at once where another thread finds it', (t) => {
  const tiers = openTiers({ budgetBytes: 0 })
  const sizeClass = classOf(tiers, 64)
  const [one, two] = [tiers.openCache(), tiers.openCache()]
  const granule = allocate(one, sizeClass)
  free(one, sizeClass, granule)
  t.is(tiers.tables.states[granule], ObjectState.Transfer)
  t.is(allocate(two, sizeClass), granule)
})

test('a new cache takes 512 KiB of the common budget, later ones what is left', (t) => {
  const tiers = openTiers({ budgetBytes: 600 * KIB })
  const budgets = [tiers.openCache(), tiers.openCache(), tiers.openCache()].map((cache) => cache.claims().budget)
  t.deepEqual(budgets, [512 * KIB, 88 * KIB, 0])
})

test('a cache that needs more takes 64 KiB at a time', (t) => {
  const tiers = openTiers({ limitPages: 16_384, budgetBytes: 2048 * KIB })
  const sizeClass = classOf(tiers, 8192)
  const cache = tiers.openCache()
  const budgets = new Set<number>()
  const live: number[] = []
  for (let i = 0; i < 30; i++) {
    miss(cache, sizeClass, live)
    budgets.add(cache.claims().budget)
  }
  const inOrder = [...budgets]
  t.is(inOrder[0], 512 * KIB)
  t.true(inOrder.length > 4)
  for (let i = 1; i < inOrder.length; i++) t.is(inOrder[i]! - inOrder[i - 1]!, 64 * KIB)
})

test('the last part of the common budget is taken too', (t) => {
  const tiers = openTiers({ limitPages: 16_384, budgetBytes: (512 + 96) * KIB })
  const cache = tiers.openCache()
  const live: number[] = []
  for (let i = 0; i < 100; i++) miss(cache, classOf(tiers, 1024), live)
  t.is(cache.claims().budget, (512 + 96) * KIB)
})

test('a scavenge takes half of what an idle stack holds, and leaves the one that is short of objects alone', (t) => {
  const tiers = openTiers({ limitPages: 32_768, budgetBytes: 64 * KIB })
  const [idle, busy] = [classOf(tiers, 512), classOf(tiers, 1024)]
  const cache = tiers.openCache()
  const live: number[] = []
  for (let i = 0; i < 33; i++) miss(cache, idle, live)
  for (let i = 0; i < 40; i++) cache.push(live.pop()!)
  const held = cache.entries(idle).length
  t.true(held >= 40)

  const lengths = [held]
  for (let i = 0; i < 400; i++) {
    miss(cache, busy, [])
    const length = cache.entries(idle).length
    if (length !== lengths.at(-1)) lengths.push(length)
    t.is(budgetFault([cache], 64 * KIB), undefined)
  }
  t.true(lengths.length > 2, 'the idle stack has shrunk again and again')
  for (let i = 1; i < lengths.length; i++) t.is(lengths[i], lengths[i - 1]! - Math.ceil(lengths[i - 1]! / 2))
  const busyLimit = (cache.claims().limits - idleLimit(cache, idle, tiers)) / 1024
  t.true(busyLimit >= 32, `the busy stack may hold ${busyLimit} objects`)
})

test('what a stack did not use since the last scavenge is its low-water mark, not its length', (t) => {
  const tiers = openTiers({ limitPages: 32_768, budgetBytes: 64 * KIB })
  const [used, busy] = [classOf(tiers, 512), classOf(tiers, 1024)]
  const cache = tiers.openCache()
  const live: number[] = []
  for (let i = 0; i < 33; i++) miss(cache, used, live)
  for (let i = 0; i < 30; i++) cache.push(live.pop()!)
  for (let i = 0; i < 400; i++) {
    miss(cache, busy, [])
    // The used stack is emptied and filled all the time: a scavenge must not find it idle.
    const taken = [...cache.entries(used)].map(() => cache.pop(used))
    taken.push(cache.refill(used))
    for (const granule of taken) free(cache, used, granule)
  }
  t.true(cache.entries(used).length >= 30)
})

/** What the idle stack may hold: what pushing onto it until it is full shows. */
function idleLimit(cache: ThreadCache, sizeClass: number, tiers: Tiers): number {
  const other = tiers.openCache()
  let objects = cache.entries(sizeClass).length
  while (cache.push(allocate(other, sizeClass))) objects++
  return objects * tiers.classes.size[sizeClass]!
}
