import { pathToFileURL } from 'node:url'
import type { Heap } from '../../lib/index.ts'
import type { HOST } from '../../lib/lifetime/host.ts'
import type { TCMalloc } from '../../lib/tcmalloc/tcmalloc.ts'
import type { SimulatedMapper } from '../../lib/testing/index.ts'
import type { Locks } from '../../lib/threads/locks.ts'
import { SlotState } from '../../lib/threads/thread-slots.ts'
import type { SharedClasses } from './shared-kinds.ts'
import { strikeBuild } from './strike-build.ts'

/** Of each operation the first so many points are all struck, and so many of the rest; a long run by hand strikes all. */
const FIRST_POINTS = Number(process.env.SPANHEAP_STRIKES ?? 12)
const OTHER_POINTS = Number(process.env.SPANHEAP_STRIKES ?? 10)

/** What is tested of a build that can be struck. */
export interface Library extends SharedClasses {
  HOST: typeof HOST
  Heap: typeof Heap
  SimulatedMapper: typeof SimulatedMapper
}

let library: Library

/** Makes a build that can be struck in a folder of `dist/`, and loads it. */
export async function loadStrikable(folder: string): Promise<Library> {
  const built = strikeBuild(folder)
  const load = (name: string) => import(pathToFileURL(`${built}${name}`).href)
  const files = ['index.js', 'testing/index.js', 'lifetime/host.js']
  library = Object.assign({}, ...(await Promise.all(files.map(load)))) as Library
  return library
}

/** What stands for the end of a thread: every further step throws it too, so that no `finally` gets anything done. */
const STRUCK = Symbol('struck')
const world = globalThis as unknown as { strike: () => void }
let countdown = Number.POSITIVE_INFINITY
let points = 0
let over = false
world.strike = () => {
  points++
  if (over || --countdown < 0) {
    over = true
    throw STRUCK
  }
}

/** Runs a step that is struck at its n-th point, from 0; false where it came to its end before. */
export function strikeAt(n: number, step: () => unknown): boolean {
  countdown = n
  over = false
  points = 0
  try {
    step()
    return false
  } catch (error) {
    if (error !== STRUCK) throw error
    return true
  } finally {
    countdown = Number.POSITIVE_INFINITY
    over = false
  }
}

/** How many points there are in a step at which it may be struck. */
export function countPoints(step: () => unknown): number {
  strikeAt(Number.POSITIVE_INFINITY, step)
  return points
}

/** The points of `total` that are struck. */
export function* chosenPoints(total: number, random: () => number): Generator<number> {
  for (let n = 0; n < total; n += n < FIRST_POINTS ? 1 : 1 + (random() % Math.ceil((2 * total) / OTHER_POINTS))) yield n
}

/** A heap's insides, for what a thread's end does and for what must be left behind it. */
interface Insides {
  classes: { count: number }
  quarantine?: { mostBytes: number; locks: Locks }
}
export const insidesOf = (heap: Heap) => heap[library.HOST].tiers as unknown as Insides & Omit<TCMalloc, keyof Insides>

/** What the hook of a thread does when it ends. */
export const die = (heap: Heap) => insidesOf(heap).tables.slots.markDead(insidesOf(heap).member.slot)

/** What the hooks of all threads but one do. */
export function dieAllBut(heap: Heap): void {
  const { member, tables } = insidesOf(heap)
  for (let other = 0; other < 8; other++) {
    if (other !== member.slot && tables.slots.state(other) === SlotState.Live) tables.slots.markDead(other)
  }
}

/** @throws Error with what doesn't hold */
export const expect = (holds: boolean, what: string) => {
  if (!holds) throw new Error(what)
}
