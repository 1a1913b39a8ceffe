import test from 'ava'
import { ObjectState } from '../../lib/tcmalloc/object-state.ts'
import { classOf, flushTransfers, openTiers, type Tiers } from '../support/simulated-tiers.ts'

const [SLOT_A, SLOT_B] = [ObjectState.FirstSlot, ObjectState.FirstSlot + 1]
const MOST_BATCHES = 64
const MOST_BYTES = 2 ** 20

const statesOf = (tiers: Tiers, granules: readonly number[]): Set<number> =>
  new Set(granules.map((granule) => tiers.tables.states[granule]!))

function fetch(tiers: Tiers, sizeClass: number, want: number, state: number): number[] {
  const area = new Int32Array(want)
  return [...area.subarray(0, tiers.transfer.fetch(sizeClass, want, area, 0, state))]
}

/** As many objects as asked for, over as many fetches as it takes. */
function fetchAll(tiers: Tiers, sizeClass: number, want: number): number[] {
  const granules: number[] = []
  while (granules.length < want) granules.push(...fetch(tiers, sizeClass, want - granules.length, SLOT_A))
  return granules
}

function giveBack(tiers: Tiers, sizeClass: number, granules: readonly number[]): void {
  const { [granules[0]!]: state } = tiers.tables.states
  tiers.transfer.giveBack(sizeClass, Int32Array.from(granules), 0, granules.length, state!)
}

test('an empty transfer cache gets objects from the central cache', (t) => {
  const tiers = openTiers()
  const sizeClass = classOf(tiers, 64)
  const granules = fetch(tiers, sizeClass, 10, SLOT_A)
  t.is(granules.length, 10)
  t.deepEqual(statesOf(tiers, granules), new Set([SLOT_A]))
  t.is(tiers.transfer.bytes(), 0)
})

test('what one thread gives back waits here for the next, whose state it then has', (t) => {
  const tiers = openTiers()
  const sizeClass = classOf(tiers, 64)
  const granules = fetch(tiers, sizeClass, 10, SLOT_A)
  const central = tiers.central.bytes()
  giveBack(tiers, sizeClass, granules)
  t.deepEqual(statesOf(tiers, granules), new Set([ObjectState.Transfer]))
  t.deepEqual([...tiers.transfer.entries(sizeClass)], granules)
  t.is(tiers.transfer.bytes(), 640)
  t.is(tiers.central.bytes(), central, 'the central cache has seen nothing of it')

  const fetched = fetch(tiers, sizeClass, 10, SLOT_B)
  t.deepEqual(fetched, granules)
  t.deepEqual(statesOf(tiers, granules), new Set([SLOT_B]))
  t.is(tiers.transfer.bytes(), 0)
})

test('the newest objects go first, and fewer are given where fewer wait', (t) => {
  const tiers = openTiers()
  const sizeClass = classOf(tiers, 64)
  const granules = fetch(tiers, sizeClass, 6, SLOT_A)
  giveBack(tiers, sizeClass, granules.slice(0, 3))
  giveBack(tiers, sizeClass, granules.slice(3))
  t.deepEqual(fetch(tiers, sizeClass, 2, SLOT_B), granules.slice(4))
  t.deepEqual(fetch(tiers, sizeClass, 10, SLOT_B), granules.slice(0, 4))
})

test('only the asked part of the area is read and written', (t) => {
  const tiers = openTiers()
  const sizeClass = classOf(tiers, 64)
  const [a, b] = fetch(tiers, sizeClass, 2, SLOT_A)
  tiers.transfer.giveBack(sizeClass, Int32Array.of(-1, a!, b!, -1), 1, 2, SLOT_A)
  const area = new Int32Array(4).fill(-1)
  t.is(tiers.transfer.fetch(sizeClass, 2, area, 1, SLOT_B), 2)
  t.deepEqual([...area], [-1, a!, b!, -1])
})

for (const [size, capacity] of [
  [16, MOST_BATCHES * 32],
  [2304, MOST_BYTES / 2304],
  [262144, MOST_BYTES / 262144],
] as const) {
  test(`${size} bytes: what is more than 64 batches or 1 MiB goes to the spans`, (t) => {
    const tiers = openTiers()
    const sizeClass = classOf(tiers, size)
    const held = Math.floor(capacity)
    const granules = fetchAll(tiers, sizeClass, held + 1)
    giveBack(tiers, sizeClass, granules.slice(0, held))
    t.is(tiers.transfer.entries(sizeClass).length, held)
    t.true(tiers.transfer.bytes() <= MOST_BYTES)
    giveBack(tiers, sizeClass, granules.slice(held))
    t.is(tiers.transfer.entries(sizeClass).length, held)
    t.not(tiers.tables.states[granules[held]!], ObjectState.Transfer)
  })
}

test('a flush gives everything to the spans, which go back when they are empty', (t) => {
  const tiers = openTiers()
  for (const size of [16, 1024, 6656, 65536]) {
    const sizeClass = classOf(tiers, size)
    giveBack(tiers, sizeClass, fetchAll(tiers, sizeClass, 6))
  }
  t.true(tiers.transfer.bytes() > 0)
  flushTransfers(tiers)
  t.is(tiers.transfer.bytes(), 0)
  t.is(tiers.central.bytes(), 0)
  t.is(tiers.pageHeap.normalPages, tiers.pageHeap.mappedPages)
})

test('stacks of different classes do not touch', (t) => {
  const tiers = openTiers({ limitPages: 16_384 })
  const held = new Map<number, number[]>()
  for (let sizeClass = 1; sizeClass < tiers.classes.count; sizeClass++) {
    const size = tiers.classes.size[sizeClass]!
    const most = Math.min(MOST_BATCHES * tiers.classes.batch[sizeClass]!, Math.floor(MOST_BYTES / size))
    held.set(sizeClass, fetchAll(tiers, sizeClass, most))
  }
  for (const [sizeClass, granules] of held) giveBack(tiers, sizeClass, granules)
  for (const [sizeClass, granules] of held) {
    t.deepEqual([...tiers.transfer.entries(sizeClass)], granules)
  }
})
