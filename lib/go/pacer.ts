import { Page } from '../memory/page.ts'

/**
 * When to collect, and how fast: Go's pacing (src/runtime/mgcpacer.go) as functions of numbers, so that it can be tested
 * without a heap.
 *
 * The goal is the largest size of the heap when a cycle ends; the trigger is its size when the cycle begins. The runway lies between them:
 * the cycle has to finish while the program allocates it. Go chooses the runway so that marking in the background takes a quarter of the
 * processors. Here one thread does both in turn, and the program's own allocations spread the work of a cycle over the runway: so the
 * runway is what makes marking a quarter of the *time* that a cycle lasts. It is `consMark * 3 * scanBytes`: the bytes that the program
 * allocates in three times as long as the scanning takes. A longer one would mean more cycles, and more garbage that is kept since it was
 * allocated while a cycle ran; a shorter one, longer waits at allocations.
 *
 * Work is counted in the caller's units: bytes, or words, but the same in all calls.
 */

/** The parts of the way from live bytes to the goal at which a cycle begins, at the earliest and at the latest (Go: 45/64 and 61/64). */
const EARLIEST_TRIGGER = 0.7
const LATEST_TRIGGER = 0.95
/** The part of a cycle's time that the collector should take (Go's gcBackgroundUtilization). */
const MARKING_PART = 0.25
/** With 100 percent the heap grows to 4 MiB before it is first collected (Go's heapminimum). */
const HEAP_MINIMUM = 4 * 2 ** 20
/** A goal is always this far above the live bytes: a few spans, so that even with 0 percent the program makes progress. */
const LEAST_DISTANCE = 64 * 1024
/** The room left below a memory limit, at least; or a part of the heap's share of the limit (Go since 1.21: 1 MiB and 3 percent). */
const LEAST_HEADROOM = 2 ** 20
const HEADROOM_PART = 0.03
/** Until it is measured, a program is assumed to allocate a quarter of what the collector scans in the same time. */
const FIRST_CONS_MARK = 0.25
/** No program allocates more than this many bytes for each that could be scanned: a higher measurement is noise. */
const MOST_CONS_MARK = 100
/** An assist is never for less work than this, since the expected work may be too little (Go has the same 1000). */
const LEAST_WORK = 1000
/** The part of the way to the next trigger that is left when sweeping ends. */
const SWEEP_MARGIN = 1 / 16

/** The inputs of the pace, all known when a cycle has ended. */
export interface PacerInputs {
  /** How much the heap may grow, in percent of live bytes and roots; negative: only the limit counts. */
  gcPercent: number
  /** Bytes that heap and tables should stay below; Infinity if there is no limit. */
  memoryLimit: number
  /** Bytes that the last cycle marked, plus those allocated while it ran. */
  liveBytes: number
  /** Bytes of roots. */
  rootBytes: number
  /** Bytes that count for the limit but aren't in the heap. */
  nonHeapBytes: number
  /** Bytes that the program allocates while the collector could scan one: see {@link nextConsMark}. */
  consMark?: number
  /** Bytes that the next cycle is expected to scan; by default the live bytes and the roots. */
  scanBytes?: number
}

/** How to proceed until the next cycle has ended. */
export interface Pace {
  /** Bytes of the heap at which the cycle should be done; Infinity if none is wanted. */
  goal: number
  /** Bytes of the heap at which it begins; Infinity if it doesn't. */
  trigger: number
  /** Whether the memory limit has brought the goal down. */
  isLimited: boolean
}

/** The goal by the percentage alone. */
function percentGoal(inputs: PacerInputs): number {
  const { gcPercent, liveBytes, rootBytes } = inputs
  if (gcPercent < 0) return Number.POSITIVE_INFINITY
  const grown = liveBytes + ((liveBytes + rootBytes) * gcPercent) / 100
  return Math.max(grown, (HEAP_MINIMUM * gcPercent) / 100, liveBytes + LEAST_DISTANCE)
}

/** The goal by the memory limit alone. */
function limitGoal(inputs: PacerInputs): number {
  const { memoryLimit, nonHeapBytes } = inputs
  if (memoryLimit === Number.POSITIVE_INFINITY) return memoryLimit
  const share = memoryLimit - nonHeapBytes
  return share - Math.max(LEAST_HEADROOM, share * HEADROOM_PART)
}

/**
 * The goal and the trigger of the next cycle.
 *
 * If the limit is near the live bytes, or below them, a goal by the limit would mean to collect all the time. Go then stops helping the
 * collector once it takes half of the processors, and lets the heap pass the limit. The same here without a clock: the limit can't bring
 * the goal below what the program allocates in the time that a cycle's scanning takes. So a cycle's work is at most half of the time, if it
 * is about as much as expected. The percentage has no such bound: a caller that asks for a heap that hardly grows gets it.
 */
export function pace(inputs: PacerInputs): Pace {
  const { liveBytes, rootBytes } = inputs
  const scanBytes = inputs.scanBytes ?? liveBytes + rootBytes
  const allocatedMeanwhile = (inputs.consMark ?? FIRST_CONS_MARK) * scanBytes
  const byPercent = percentGoal(inputs)
  const byLimit = limitGoal(inputs)
  const lowest = liveBytes + Math.max(LEAST_DISTANCE, allocatedMeanwhile)
  const goal = Math.min(byPercent, Math.max(byLimit, lowest))
  const isLimited = goal < byPercent
  if (goal === Number.POSITIVE_INFINITY) return { goal, trigger: goal, isLimited }
  const runway = allocatedMeanwhile * (1 / MARKING_PART - 1)
  const earliest = liveBytes + (goal - liveBytes) * EARLIEST_TRIGGER
  const latest = liveBytes + (goal - liveBytes) * LATEST_TRIGGER
  const trigger = Math.min(latest, Math.max(earliest, goal - runway))
  return { goal: Math.floor(goal), trigger: Math.floor(trigger), isLimited }
}

/**
 * Work that may be left of a cycle: the expected work or, once that is done and there is more, everything that could be scanned. So a cycle
 * of a heap that has grown gets faster on its way, and has little left when the heap reaches the goal.
 */
export function scanWorkLeft(expected: number, scannable: number, done: number): number {
  return Math.max(LEAST_WORK, done < expected ? expected - done : scannable - done)
}

/**
 * Units of work that the program owes for each byte it allocates, so that the cycle is done when the heap reaches the goal.
 * It is finite: at the goal or above it, one byte owes all of the work. Without a goal nothing is owed.
 */
export function assistRatio(scanWorkRemaining: number, heapLive: number, goal: number): number {
  return Math.max(LEAST_WORK, scanWorkRemaining) / Math.max(1, goal - heapLive)
}

/** Pages to sweep for each allocated byte, so that none is left a little before the next cycle begins. */
export function sweepPagesPerByte(pagesUnswept: number, heapLive: number, trigger: number): number {
  return pagesUnswept / Math.max(Page.Bytes, (trigger - heapLive) * (1 - SWEEP_MARGIN))
}

/**
 * How many bytes the program allocates while the collector could scan one, as measured in a cycle; each rate is by its own time. The value
 * rises at once and falls by halves: beginning a cycle too early costs less than beginning it too late.
 */
export function nextConsMark(
  previous: number,
  allocatedBytes: number,
  programTime: number,
  scannedBytes: number,
  collectorTime: number
): number {
  const measured = (allocatedBytes * collectorTime) / (programTime * scannedBytes)
  // A cycle that was too short to measure.
  if (!Number.isFinite(measured) || programTime <= 0) return previous
  return Math.min(MOST_CONS_MARK, Math.max(measured, (previous + measured) / 2))
}
