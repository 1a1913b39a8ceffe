import test from 'ava'
import {
  assistRatio,
  nextConsMark,
  type PacerInputs,
  pace,
  scanWorkLeft,
  sweepPagesPerByte,
} from '../../lib/go/pacer.ts'

const KIB = 1024
const MIB = 2 ** 20
const NEVER = Number.POSITIVE_INFINITY

const inputs = (given: Partial<PacerInputs>): PacerInputs => ({
  gcPercent: 100,
  memoryLimit: NEVER,
  liveBytes: 64 * MIB,
  rootBytes: 0,
  nonHeapBytes: 0,
  consMark: 0.01,
  ...given,
})

test('the goal is what is live, and a part of it and of the roots', (t) => {
  t.is(pace(inputs({})).goal, 128 * MIB)
  t.is(pace(inputs({ rootBytes: 10 * MIB })).goal, 138 * MIB)
  t.is(pace(inputs({ gcPercent: 50, rootBytes: 10 * MIB })).goal, 101 * MIB)
  t.is(pace(inputs({ gcPercent: 400 })).goal, 320 * MIB)
})

test('a small heap grows to 4 MiB first, or to as much as the percentage makes of it', (t) => {
  t.is(pace(inputs({ liveBytes: 0 })).goal, 4 * MIB)
  t.is(pace(inputs({ liveBytes: MIB, gcPercent: 200 })).goal, 8 * MIB)
  t.is(pace(inputs({ liveBytes: 3 * MIB })).goal, 6 * MIB)
  t.is(pace(inputs({ liveBytes: 0, gcPercent: 0 })).goal, 64 * KIB)
})

test('a memory limit brings the goal down, by its headroom more', (t) => {
  // 3 percent of what is left for the heap; 1 MiB, where that is more.
  t.is(pace(inputs({ memoryLimit: 120 * MIB, nonHeapBytes: 20 * MIB })).goal, 97 * MIB)
  t.is(pace(inputs({ memoryLimit: 20 * MIB, liveBytes: 12 * MIB })).goal, 19 * MIB)
  t.deepEqual(pace(inputs({ memoryLimit: 200 * MIB })), { ...pace(inputs({})), isLimited: false })
  t.true(pace(inputs({ memoryLimit: 100 * MIB })).isLimited)
  t.is(pace(inputs({ gcPercent: -1, memoryLimit: 1000 * MIB })).goal, 970 * MIB)
})

test('without a percentage and without a limit there is no goal', (t) => {
  const { goal, trigger } = pace(inputs({ gcPercent: -1 }))
  t.is(goal, NEVER)
  t.is(trigger, NEVER)
  t.is(assistRatio(10 * MIB, 5 * MIB, goal), 0)
  t.is(sweepPagesPerByte(100, 5 * MIB, trigger), 0)
})

test('a limit below what is live leaves the program as much as it allocates during a scan', (t) => {
  for (const memoryLimit of [0, MIB, 64 * MIB, 65 * MIB]) {
    t.is(pace(inputs({ memoryLimit, consMark: 0.25 })).goal, 80 * MIB)
    t.is(pace(inputs({ memoryLimit, gcPercent: -1, consMark: 0.25 })).goal, 80 * MIB)
    t.is(pace(inputs({ memoryLimit, consMark: 0 })).goal, 64 * MIB + 64 * KIB)
    // No more than without a limit.
    t.is(pace(inputs({ memoryLimit, consMark: 10 })).goal, 128 * MIB)
  }
})

test('the trigger is a runway before the goal, from 70 to 95 percent of the way there', (t) => {
  const percentOfWay = (consMark: number) => {
    const { goal, trigger } = pace(inputs({ consMark }))
    return Math.round(((trigger - 64 * MIB) / (goal - 64 * MIB)) * 100)
  }
  t.is(percentOfWay(0), 95)
  t.is(percentOfWay(0.01), 95)
  t.is(percentOfWay(0.05), 85)
  t.is(percentOfWay(0.1), 70)
  t.is(percentOfWay(100), 70)
})

test('whatever the inputs, the trigger lies between what is live and the goal', (t) => {
  for (const gcPercent of [-1, 0, 1, 50, 100, 10_000]) {
    for (const memoryLimit of [0, MIB, 100 * MIB, 2 ** 40, NEVER]) {
      for (const liveBytes of [0, 1, 4 * MIB, 2 ** 35]) {
        for (const consMark of [0, 0.001, 1, 1e9]) {
          const { goal, trigger } = pace(inputs({ gcPercent, memoryLimit, liveBytes, consMark, rootBytes: 1000 }))
          if (goal === NEVER) t.is(trigger, NEVER)
          else t.true(liveBytes < trigger && trigger < goal, `${[gcPercent, memoryLimit, liveBytes, consMark]}`)
        }
      }
    }
  }
})

test('an assist is finite, and owes all work at the goal', (t) => {
  t.is(assistRatio(10 * MIB, 10 * MIB, 30 * MIB), 0.5)
  t.is(assistRatio(10 * MIB, 30 * MIB, 30 * MIB), 10 * MIB)
  t.is(assistRatio(10 * MIB, 40 * MIB, 30 * MIB), 10 * MIB)
  t.true(assistRatio(0, 10 * MIB, 30 * MIB) > 0)
  t.true(assistRatio(-5, 10 * MIB, 30 * MIB) > 0)
})

test('work that is left is what was expected, then all that could be', (t) => {
  t.is(scanWorkLeft(10 * MIB, 30 * MIB, 4 * MIB), 6 * MIB)
  t.is(scanWorkLeft(10 * MIB, 30 * MIB, 10 * MIB), 20 * MIB)
  t.is(scanWorkLeft(10 * MIB, 30 * MIB, 30 * MIB), 1000)
})

test('sweeping ends before the next cycle begins', (t) => {
  const ratio = sweepPagesPerByte(1000, 10 * MIB, 20 * MIB)
  t.true(ratio * 10 * MIB > 1000)
  t.true(ratio * 9 * MIB < 1000)
  t.is(sweepPagesPerByte(1000, 20 * MIB, 20 * MIB), 1000 / 8192)
  t.is(sweepPagesPerByte(0, 10 * MIB, 20 * MIB), 0)
})

test('what was measured counts at once where it is more, and half where it is less', (t) => {
  t.is(nextConsMark(0.25, 100, 1, 200, 1), 0.5)
  t.is(nextConsMark(1, 100, 1, 200, 1), 0.75)
  t.is(nextConsMark(0.25, 100, 2, 200, 4), 1)
  t.is(nextConsMark(0.25, 0, 0, 0, 0), 0.25)
  t.is(nextConsMark(0.25, 100, 0, 100, 1), 0.25)
})

/** A program and its collector, one thread: rates in bytes by second, of their own time. */
interface Program {
  gcPercent: number
  memoryLimit?: number
  nonHeapBytes?: number
  /** What is live once so many bytes were allocated: all that is new, until there is as much. */
  live: (allocated: number) => number
  /** Bytes it allocates at a time: what a span holds, or a large object. */
  lump?: number
  allocatesPerSecond: number
  scansPerSecond: number
  /** Bytes of roots. */
  rootBytes?: number
  /** In all. */
  allocates: number
}

interface Cycle {
  goal: number
  /** Bytes of the heap when it ended. */
  peak: number
  live: number
  /** Work that was left when the heap reached the goal. */
  rest: number
  scanned: number
  /** Allocated since the cycle before ended. */
  allocated: number
  /** Collector's part of the time since then. */
  part: number
  isLimited: boolean
}

/** Runs a program and tells of every cycle. Work is bytes scanned: those live at the start, as a snapshot has it. */
function simulate(program: Program): Cycle[] {
  const { gcPercent, memoryLimit = NEVER, nonHeapBytes = 0, rootBytes = 0, lump = 8 * KIB } = program
  const cycles: Cycle[] = []
  let consMark = 0.25
  let expected = rootBytes
  let heapLive = 0
  let live = 0
  let allocated = 0
  const next = (liveBytes: number) =>
    pace({ gcPercent, memoryLimit, nonHeapBytes, rootBytes, liveBytes, consMark, scanBytes: expected })
  let current = next(0)
  let marking = false
  let work = 0
  let done = 0
  let owed = 0
  let liveAtStart = 0
  let heapAtStart = 0
  let allocatedAtStart = 0
  let allocatedAtEnd = 0
  while (allocated < program.allocates) {
    allocated += lump
    heapLive += lump
    live = Math.min(live + lump, program.live(allocated))
    const owes = marking
    if (!marking && heapLive >= current.trigger) {
      marking = true
      liveAtStart = live
      heapAtStart = heapLive
      allocatedAtStart = allocated
      work = live + rootBytes
      done = 0
      owed = 0
    }
    if (!marking) continue
    const left = scanWorkLeft(expected, heapAtStart + rootBytes, done)
    if (owes) owed += lump * assistRatio(left, heapLive, current.goal)
    const step = Math.min(Math.floor(owed), work - done)
    const rest = heapLive >= current.goal ? work - done - step : 0
    owed -= step
    done += step + rest
    if (done < work) continue
    const programTime = (allocated - allocatedAtEnd) / program.allocatesPerSecond
    const collectorTime = work / program.scansPerSecond
    cycles.push({
      goal: current.goal,
      peak: heapLive,
      live: liveAtStart,
      rest,
      scanned: work,
      allocated: allocated - allocatedAtEnd,
      part: collectorTime / (programTime + collectorTime),
      isLimited: current.isLimited,
    })
    const meanwhile = allocated - allocatedAtStart
    consMark = nextConsMark(consMark, meanwhile, meanwhile / program.allocatesPerSecond, work, collectorTime)
    expected = work
    heapLive = liveAtStart + meanwhile
    allocatedAtEnd = allocated
    marking = false
    current = next(heapLive)
  }
  return cycles
}

const most = (cycles: readonly Cycle[], value: (cycle: Cycle) => number) => Math.max(...cycles.map(value))
const sum = (cycles: readonly Cycle[], value: (cycle: Cycle) => number) =>
  cycles.reduce((total, cycle) => total + value(cycle), 0)
const overshoot = (cycles: readonly Cycle[]) => most(cycles, ({ peak, goal }) => peak - goal)
/** The collector's part of all the time that whole cycles took. */
function partOf(cycles: readonly Cycle[], program: Program): number {
  const collector = sum(cycles, ({ scanned }) => scanned) / program.scansPerSecond
  return collector / (collector + sum(cycles, ({ allocated }) => allocated) / program.allocatesPerSecond)
}

const STEADY: Program = {
  gcPercent: 100,
  live: () => 64 * MIB,
  allocatesPerSecond: 100 * MIB,
  scansPerSecond: 1000 * MIB,
  allocates: 4000 * MIB,
}

test('steady: the heap stays below twice what is live and was allocated meanwhile, and no cycle has a rest', (t) => {
  const cycles = simulate(STEADY)
  t.true(cycles.length > 30)
  t.true(overshoot(cycles) <= 8 * KIB)
  const steady = cycles.slice(8)
  t.is(
    most(steady, ({ rest }) => rest),
    0
  )
  // What is allocated during a cycle is kept: at most 0.3 of the way to the goal.
  t.true(most(steady, ({ peak }) => peak) <= (2 * 64 * MIB) / 0.7)
  t.true(most(steady, ({ peak, goal }) => goal - peak) <= MIB)
  // It scans 64 MiB for at least as much that is allocated, at a tenth of the cost.
  t.true(partOf(steady, STEADY) <= 0.1)
})

test('the percentage buys time with memory', (t) => {
  const runs = [25, 50, 100, 200, 400].map((gcPercent) => {
    const cycles = simulate({ ...STEADY, gcPercent }).slice(8)
    return { peak: most(cycles, ({ peak }) => peak), part: partOf(cycles, STEADY) }
  })
  for (let i = 1; i < runs.length; i++) {
    t.true(runs[i]!.peak > runs[i - 1]!.peak)
    t.true(runs[i]!.part < runs[i - 1]!.part)
  }
})

test('a heap that grows is collected at each goal, without passing it', (t) => {
  const program = { ...STEADY, live: (allocated: number) => allocated / 2 }
  const cycles = simulate(program)
  t.true(cycles.length >= 8)
  t.true(overshoot(cycles) <= 8 * KIB)
  // Each cycle has more to scan than was expected, and yet no rest.
  t.is(
    most(cycles, ({ rest }) => rest),
    0
  )
  for (let i = 2; i < cycles.length; i++) t.true(cycles[i]!.goal > cycles[i - 1]!.goal)
})

test('a heap that shrinks gets a low goal again, cycle by cycle', (t) => {
  const cycles = simulate({ ...STEADY, live: (allocated) => (allocated < 1000 * MIB ? 256 * MIB : 8 * MIB) })
  t.true(overshoot(cycles) <= 8 * KIB)
  t.true(most(cycles, ({ goal }) => goal) >= 512 * MIB)
  t.true(cycles.at(-1)!.goal <= (2 * 8 * MIB) / 0.7)
})

test('what is live doubles and halves at once', (t) => {
  const live = (allocated: number) => (Math.floor(allocated / (500 * MIB)) % 2 === 0 ? 32 : 128) * MIB
  const cycles = simulate({ ...STEADY, live })
  t.true(cycles.length > 15)
  t.true(overshoot(cycles) <= 8 * KIB)
  t.true(most(cycles, ({ peak }) => peak) <= (2 * 128 * MIB) / 0.7)
})

test('a program that allocates faster than the collector scans is held to the goal by its assists', (t) => {
  const program = { ...STEADY, allocatesPerSecond: 50_000 * MIB }
  const cycles = simulate(program)
  t.true(overshoot(cycles) <= 8 * KIB)
  t.true(most(cycles.slice(8), ({ peak }) => peak) <= (2 * 64 * MIB) / 0.7)
  t.is(
    most(cycles.slice(8), ({ rest }) => rest),
    0
  )
  // By bytes it is no more work than for a slow one.
  const steady = cycles.slice(8)
  t.true(sum(steady, ({ scanned }) => scanned) <= sum(steady, ({ allocated }) => allocated))
})

test('an object that is larger than the runway passes the goal by its own size at most', (t) => {
  const cycles = simulate({ ...STEADY, lump: 40 * MIB })
  t.true(cycles.length > 10)
  t.true(overshoot(cycles) <= 40 * MIB)
})

test('many roots are worth a larger heap', (t) => {
  const few = simulate(STEADY).slice(8)
  const many = simulate({ ...STEADY, rootBytes: 64 * MIB }).slice(8)
  t.true(most(many, ({ goal }) => goal) > most(few, ({ goal }) => goal) + 60 * MIB)
  t.true(overshoot(many) <= 8 * KIB)
  t.true(partOf(many, STEADY) <= 0.1)
})

test('a limit above what is live is kept', (t) => {
  for (const gcPercent of [100, 400, -1]) {
    const cycles = simulate({ ...STEADY, gcPercent, memoryLimit: 100 * MIB, nonHeapBytes: 4 * MIB })
    t.true(cycles.length > 30)
    t.true(most(cycles, ({ peak }) => peak) + 4 * MIB <= 100 * MIB)
    t.true(cycles.at(-1)!.isLimited)
    t.true(partOf(cycles, STEADY) <= 0.5)
  }
})

test('a limit below what is live is passed, and half of the time is left to the program', (t) => {
  for (const gcPercent of [100, -1]) {
    for (const memoryLimit of [MIB, 32 * MIB, 64 * MIB, 66 * MIB]) {
      for (const allocatesPerSecond of [MIB, 30 * MIB, 300 * MIB]) {
        const program = { ...STEADY, gcPercent, memoryLimit, allocatesPerSecond, allocates: 1000 * MIB }
        const cycles = simulate(program).slice(8)
        const name = `${[gcPercent, memoryLimit, allocatesPerSecond]}`
        t.true(cycles.length > 5, name)
        t.true(partOf(cycles, program) <= 0.55, `${name}: ${partOf(cycles, program)}`)
        t.true(overshoot(cycles) <= 8 * KIB, name)
        // No further than without a limit.
        t.true(most(cycles, ({ peak }) => peak) <= (2 * 64 * MIB) / 0.7, name)
      }
    }
  }
})

test('a limit that comes near holds a growing heap for as long as it can', (t) => {
  const live = (allocated: number) => Math.min(200 * MIB, allocated / 10)
  const program = { ...STEADY, memoryLimit: 128 * MIB, live }
  const cycles = simulate(program)
  for (const { peak, live } of cycles) if (live < 90 * MIB) t.true(peak <= 128 * MIB)
  t.true(partOf(cycles, program) <= 0.5)
  t.true(most(cycles, ({ part }) => part) <= 0.6)
})

test('without a percentage and without a limit nothing is collected', (t) => {
  t.is(simulate({ ...STEADY, gcPercent: -1 }).length, 0)
})
