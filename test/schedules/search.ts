import { setImmediate } from 'node:timers/promises'
import { Random } from '../support/random.ts'
import type { Lockstep, Outcome, Plan, Segment, Strike, Trace } from './lockstep.ts'
import type { Scenario } from './scenario.ts'
import { Flush, Kind, type Memory } from './steps.ts'

/** A fault: what went wrong first in this way, the plan that shows it, and how often it was seen. */
export interface Fault {
  problem: string
  plan: Plan
  count: number
}

export interface Found {
  runs: number
  /** Whether all schedules of the kind were tried. */
  isComplete: boolean
  faults: Fault[]
  /** Nothing more can be run with this lockstep. */
  isStuck: boolean
}

export interface SearchOptions {
  memory: Memory
  /** Milliseconds after which it stops. */
  within: number
  /** Strikes that are tried beside preemptions. */
  strikes?: readonly Strike[]
  /** 2 for all schedules with two preemptions, too. */
  preemptions?: 1 | 2
  /** Of random plans: the most segments for each thread, and the first seed. */
  depth?: number
  seed?: number
  /** Of random plans: how many threads are struck, each once (1). */
  struck?: number
  /** Stops at the first fault. */
  stopsAtFault?: boolean
}

/** However little time there is, and however busy the machine. */
const LEAST_RUNS = 3
/** Runs between turns of the event loop, in which V8 lets go of the heaps of earlier runs. */
const RUNS_BETWEEN_TURNS = 150

/**
 * Looks for schedules of a scenario that end badly.
 *
 * A preemption matters only in front of a step that another thread's steps don't commute with: one that touches a word which both use, and
 * at least one writes. If a thread were preempted in front of any other step, the others could as well have run in front of its next step
 * of that kind. Likewise, two strike points with no store between them leave the same memory. So the exhaustive search tries all schedules
 * of its kind, up to those equivalences. Which words are shared isn't known before: each run may add some, and then the search goes over its
 * list again.
 */
export class Search {
  private readonly lockstep: Lockstep
  private readonly scenario: Scenario
  private readonly options: SearchOptions
  private readonly end: number
  private runs = 0
  private isComplete = true
  /** A run ended in a deadlock, and its threads are in it. */
  private isStuck = false
  private readonly faults = new Map<string, Fault>()
  /** Of each word, which threads read and which wrote it, as bits. */
  private readonly readers = new Map<number, number>()
  private readonly writers = new Map<number, number>()
  private readonly tried = new Set<string>()

  constructor(lockstep: Lockstep, scenario: Scenario, options: SearchOptions) {
    this.lockstep = lockstep
    this.scenario = scenario
    this.options = scenario.breaksRules ? { ...options, strikes: [] } : options
    this.end = performance.now() + options.within
  }

  /** All schedules with one preemption and, if `strikes` has any, all with one strike, and all with one of each. */
  async exhaustive(): Promise<Found> {
    const { threads } = this.scenario
    const { strikes = [] } = this.options
    const firsts = Array.from({ length: threads }, (_, thread) => thread)
    // Twice, since the first pass may find words to be shared that it took for a thread's own.
    for (let before = -1; before !== this.readers.size + this.writers.size && !this.isOver; ) {
      before = this.readers.size + this.writers.size
      for (const first of firsts) await this.exhaust(first, strikes)
      // Two orders of the others, if there are two.
      if (threads === 2) continue
      for (const first of firsts) await this.exhaust(first, strikes, true)
    }
    return this.found()
  }

  /** Random schedules until the time is over. */
  async random(): Promise<Found> {
    const { depth = 2, strikes = [], struck: mostStruck = 1, memory } = this.options
    const base = await this.try([])
    const steps = base?.traces.map(({ keys }) => keys.length) ?? []
    const random = new Random(this.options.seed ?? 1)
    while (!this.isOver) {
      const count = 2 + random.below(depth * this.scenario.threads)
      const struck = new Set<number>()
      const segments = Array.from({ length: count }, (_, at): Segment => {
        const thread = random.below(this.scenario.threads)
        const most = random.below(3) === 0 ? 30 : Math.max(2, steps[thread] ?? 2)
        const segment: Segment = { thread, steps: random.below(most), flush: Flush.Random }
        const missing = (strikes.length === 0 ? 0 : mostStruck) - struck.size
        // One plan in count + 1 strikes one thread fewer.
        if (struck.has(thread) || random.below(count - at + 1) >= missing) return segment
        struck.add(thread)
        return { ...segment, strike: strikes[random.below(strikes.length)]! }
      })
      await this.try(
        segments,
        random.below(2 ** 31),
        memory === 'stale' && random.below(2) === 1 ? 'random' : undefined
      )
    }
    this.isComplete = false
    return this.found()
  }

  private found(): Found {
    return { runs: this.runs, isComplete: this.isComplete, isStuck: this.isStuck, faults: [...this.faults.values()] }
  }

  private get isOver(): boolean {
    const stops = this.isStuck || (this.options.stopsAtFault === true && this.faults.size > 0)
    if (!stops && (this.runs < LEAST_RUNS || performance.now() < this.end)) return false
    this.isComplete = false
    return true
  }

  private async exhaust(first: number, strikes: readonly Strike[], reversed = false): Promise<void> {
    const others = Array.from({ length: this.scenario.threads }, (_, thread) => thread).filter((one) => one !== first)
    if (reversed) others.reverse()
    const rest: Segment[] = others.map((thread) => ({ thread }))
    const base = await this.try([{ thread: first }, ...rest])
    if (base === undefined) return
    for (const strike of strikes) {
      for (const steps of strikePoints(base.traces[first]!)) {
        if (this.isOver) return
        await this.try([{ thread: first, steps, strike }, ...rest])
      }
    }
    const trace = base.traces[first]!
    for (let steps = 0; steps < trace.keys.length; steps++) {
      if (this.isOver) return
      if (!this.isContended(trace, steps, first)) continue
      const outcome = await this.preempt(first, steps, rest)
      if (outcome === undefined) continue
      if (this.options.preemptions === 2) await this.preemptAnother(first, steps, others, outcome)
      for (const strike of strikes) {
        // The thread itself is struck later, or one of the others is while it waits.
        for (const later of strikePoints(outcome.traces[first]!)) {
          if (this.isOver) return
          if (later > steps)
            await this.try([{ thread: first, steps }, ...rest, { thread: first, steps: later - steps, strike }])
        }
        for (const [at, other] of others.entries()) {
          for (const point of strikePoints(outcome.traces[other]!)) {
            if (this.isOver) return
            const segments = rest.map(
              (segment, n): Segment => (n === at ? { ...segment, steps: point, strike } : segment)
            )
            await this.try([{ thread: first, steps }, ...segments])
          }
        }
      }
    }
  }

  /** While the first thread waits, another is preempted too: the first goes on, or a third one does. */
  private async preemptAnother(first: number, steps: number, others: number[], { traces }: Outcome): Promise<void> {
    for (const [at, other] of others.entries()) {
      const before = others.slice(0, at).map((thread): Segment => ({ thread }))
      const behind = others.slice(at + 1).map((thread): Segment => ({ thread }))
      for (let point = 0; point < traces[other]!.keys.length; point++) {
        if (!this.isContended(traces[other]!, point, other)) continue
        const start: Segment[] = [{ thread: first, steps }, ...before, { thread: other, steps: point }]
        for (const next of behind.length === 0 ? [first] : [first, behind[0]!.thread]) {
          if (this.isOver) return
          await this.try([...start, { thread: next }, { thread: other }, ...behind])
        }
      }
    }
  }

  /** One preemption, in each way that the memory allows. */
  private async preempt(first: number, steps: number, rest: Segment[]): Promise<Outcome | undefined> {
    const { memory } = this.options
    const outcome = await this.try([{ thread: first, steps, flush: Flush.All }, ...rest])
    if (outcome === undefined) return undefined
    if (memory === 'stale') {
      for (const [thread, trace] of outcome.traces.entries()) {
        for (const [step, kind] of trace.kinds.entries()) {
          if (this.isOver) return outcome
          if ((kind & Kind.HasOlder) !== 0)
            await this.try([{ thread: first, steps }, ...rest], 1, { thread, step: step + 1 })
        }
      }
    }
    const words = outcome.buffered[0] ?? 0
    if (words === 0) return outcome
    const kept = memory === 'pso' ? 2 * words : words
    for (const flush of [Flush.None, ...Array.from({ length: words > 1 ? kept : 0 }, (_, n) => Flush.First + n)]) {
      if (this.isOver) return outcome
      await this.try([{ thread: first, steps, flush }, ...rest])
    }
    return outcome
  }

  /** Runs a plan unless it was run before, and keeps what it shows. */
  private async try(segments: Segment[], seed = 1, stale?: Plan['stale']): Promise<Outcome | undefined> {
    if (this.isStuck) return undefined
    const plan: Plan = { segments, memory: this.options.memory, seed, ...(stale !== undefined && { stale }) }
    const key = JSON.stringify(plan)
    if (this.tried.has(key)) return segments.some(({ steps }) => steps !== undefined) ? undefined : this.runPlan(plan)
    this.tried.add(key)
    return this.runPlan(plan)
  }

  private async runPlan(plan: Plan): Promise<Outcome> {
    if (++this.runs % RUNS_BETWEEN_TURNS === 0) {
      globalThis.gc?.()
      await setImmediate()
      await setImmediate()
    }
    const outcome = this.lockstep.run(this.scenario, plan)
    this.isStuck = outcome.isDeadlock
    for (const [thread, trace] of outcome.traces.entries()) this.note(thread, trace)
    // A thread's death is a store too: whoever reads whether it lives may do so before or after.
    for (const [thread, keys] of outcome.deaths.entries())
      for (const key of keys) this.writers.set(key, (this.writers.get(key) ?? 0) | (1 << thread))
    for (const problem of outcome.problems) {
      // Numbers differ from run to run.
      const kind = problem.replace(/\d+/g, 'N').slice(0, 160)
      const known = this.faults.get(kind)
      if (known !== undefined) known.count++
      else this.faults.set(kind, { problem, plan, count: 1 })
    }
    return outcome
  }

  private note(thread: number, { keys, kinds }: Trace): void {
    for (let at = 0; at < keys.length; at++) {
      const map = isWrite(kinds[at]!) ? this.writers : this.readers
      map.set(keys[at]!, (map.get(keys[at]!) ?? 0) | (1 << thread))
    }
  }

  private isContended({ keys, kinds }: Trace, step: number, thread: number): boolean {
    if (kinds[step] === Kind.Bulk) return true
    const key = keys[step]!
    const others = ~(1 << thread)
    if (((this.writers.get(key) ?? 0) & others) !== 0) return true
    return isWrite(kinds[step]!) && ((this.readers.get(key) ?? 0) & others) !== 0
  }
}

const isWrite = (kind: number): boolean => (kind & Kind.Mask) === Kind.Store || (kind & Kind.Mask) === Kind.Update

/** After how many steps a strike differs from an earlier one: at the start, and behind each store. */
function strikePoints({ kinds }: Trace): number[] {
  const points = [0]
  kinds.forEach((kind, at) => {
    if (isWrite(kind) || kind === Kind.Bulk) points.push(at + 1)
  })
  return points
}
