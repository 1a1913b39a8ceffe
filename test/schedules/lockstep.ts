import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from 'node:worker_threads'
import type { HeapToken } from '../../lib/index.ts'
import { isAddon, loadAddon } from '../../lib/os/addon.ts'
import { Control as TableWord } from '../../lib/tcmalloc/control.ts'
import { SlotState, Tag } from '../../lib/threads/thread-slots.ts'
import type { Heap, Lib, Scenario } from './scenario.ts'
import {
  type Claim,
  Control,
  Flush,
  type Memory,
  MOST_STEPS,
  MOST_THREADS,
  makeShared,
  OfThread,
  runner,
  type Shared,
  Status,
} from './steps.ts'
import type { Report, Task } from './thread.ts'

/** Whether a thread that is struck dies of it, or lives on, as after a timeout of `vm`. */
export type Strike = 'dies' | 'lives'

/** A part of a plan: a thread's turn, and how it ends. */
export interface Segment {
  /** From 0. */
  thread: number
  /** Steps of this turn; without it, the thread runs to its end. */
  steps?: number
  /** After these steps the thread is struck, at its next strike point. */
  strike?: Strike
  /** Which stores leave its buffer as the turn ends. */
  flush?: number
}

/** A schedule: turns in order. After the last one all threads run to their ends, the first one first. */
export interface Plan {
  segments: Segment[]
  memory: Memory
  seed: number
  /** The thread and its step whose load gives the oldest value it may; `'random'`: half of all do. */
  stale?: { thread: number; step: number } | 'random'
}

/** The steps of a thread: of each, the word that it touched, and how. */
export interface Trace {
  keys: Float64Array
  kinds: Uint8Array
}

export interface Outcome {
  /** Nobody could go on. The threads are still in the middle of it, so nothing more can be run. */
  isDeadlock: boolean
  /** What went wrong; empty if all holds. */
  problems: string[]
  /** Of each thread, all its steps. */
  traces: Trace[]
  /** Of each segment that ended with the thread preempted: how many words its buffer held. */
  buffered: number[]
  /** Of each thread, the words that its death has written. */
  deaths: number[][]
}

const FOREVER = 2 ** 30
/** How often threads are asked in turn, with none of them taking a step but to look at a lock, before it is a deadlock. */
const MOST_IDLE_ROUNDS = 400

/** More than there are addresses, and a few times as many are less than the keys of memory that has none. */
const MAPPING_KEYS = 2 ** 48

interface Member {
  report: Report | undefined
  isDone: boolean
  isStruck: boolean
  death: number[]
}

/** Runs plans: a few threads in lockstep, and then the look at what they left. */
export class Lockstep {
  private readonly lib: Lib
  private readonly shared: Shared = makeShared()
  private readonly workers: Worker[] = []
  private readonly ports: MessagePort[] = []
  private readonly addon = loadAddon()

  private readonly isFallback: boolean

  private constructor(lib: Lib, isFallback: boolean) {
    this.lib = lib
    this.isFallback = isFallback
    runner.isOn = false
  }

  /**
   * @param folder of the library that buildWithSteps has made
   * @param isFallback whether heaps are over growable buffers. Nobody hears of deaths there
   */
  static async start(lib: Lib, folder: string, isFallback = false): Promise<Lockstep> {
    const lockstep = new Lockstep(lib, isFallback)
    const { control } = lockstep.shared
    for (let me = 1; me <= MOST_THREADS; me++) {
      const { port1, port2 } = new MessageChannel()
      lockstep.ports.push(port1)
      Atomics.store(control, Control.Turn, me)
      const workerData = { shared: lockstep.shared, me, port: port2, folder }
      const worker = new Worker(new URL('./thread.js', import.meta.url), { workerData, transferList: [port2] })
      lockstep.workers.push(worker)
      const failure = new Promise<never>((_, reject) => worker.once('error', reject))
      const ready = async () => {
        while (Atomics.load(control, Control.Turn) !== 0) await new Promise((resolve) => setTimeout(resolve, 5))
      }
      await Promise.race([ready(), failure])
      worker.unref()
    }
    return lockstep
  }

  async stop(): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.terminate()))
  }

  run(scenario: Scenario, plan: Plan): Outcome {
    const { lib } = this
    const system = this.isFallback ? { shared: true, mapper: new lib.GrowableMapper() } : {}
    const heap = new lib.Heap({ limitBytes: 64 * 2 ** 20, leaks: 'off', ...system, ...scenario.options })
    const setup = scenario.setup?.(lib, heap)
    const members = this.prepare(scenario, plan, heap.share(), scenario.tell?.(setup))
    const problems: string[] = []
    const buffered: number[] = []
    // Before the scenario's own preparations: what they leave to be cleared up is for the threads.
    const live = heap.stats().liveBytes - members.reduce((sum, { report }) => sum + report!.heldBytes!, 0)
    scenario.prepared?.(lib, heap, setup)
    const heaps = [heap, ...(scenario.others?.(setup) ?? [])]
    // Before the heaps are closed, after which nothing is known of their memory.
    const placed = this.placement(heaps)
    const isDeadlock = !this.schedule(plan, heaps, members, buffered)
    if (isDeadlock) problems.push(`deadlock: ${this.waits(heap, members).join('; ')}`)
    else {
      this.look(scenario, heap, setup, members, live, problems)
      // Each puts its heaps away; a dead one only comes back.
      for (const thread of members.keys()) {
        this.give(thread, {})
        const error = this.receive(thread)?.error
        if (error !== undefined) problems.push(`thread ${thread} closes: ${error.stack}`)
      }
      this.attempt(problems, 'clean up', () => {
        scenario.cleanUp?.(lib, heap, setup)
        const left = heap.stats()
        if (!this.possible(members).has(left.liveBytes)) throw new Error(`${left.liveBytes} bytes are lost`)
        const most = scenario.mayKeepSlots && plan.segments.some(({ strike }) => strike === 'lives') ? 2 : 1
        if (left.threads > most) throw new Error(`${left.threads} threads are counted`)
        heap.audit()
      })
      this.attempt(problems, 'close', () => heap.close())
    }
    const traces = members.map((_, thread) => this.traceOf(thread, placed))
    const deaths = members.map(({ death }) => death.map(placed))
    return { problems, traces, buffered, isDeadlock, deaths }
  }

  private prepare(scenario: Scenario, plan: Plan, token: HeapToken, told: unknown): Member[] {
    const { memory, seed, segments } = plan
    this.shared.control[Control.Logged] = 0
    return Array.from({ length: scenario.threads }, (_, thread) => {
      const livesOn = segments.some((segment) => segment.thread === thread && segment.strike === 'lives')
      const task: Task = { scenario: scenario.name, token, told, memory, seed: seed + thread, livesOn }
      this.ports[thread]!.postMessage(task)
      this.give(thread, {})
      const report = this.receive(thread)
      if (report?.error !== undefined) throw new Error(`thread ${thread} can't prepare: ${report.error.stack}`)
      return { report, isDone: false, isStruck: false, death: [] }
    })
  }

  /** Gives a thread the turn, and waits for its end. */
  private give(thread: number, { steps = FOREVER, strikeAt = FOREVER, flush = 0, stale = 0 }): Status {
    const { control } = this.shared
    const at = (thread + 1) * Control.Thread
    control[at + OfThread.Budget] = Math.min(steps, FOREVER)
    control[at + OfThread.StrikeAt] = Math.min(strikeAt, FOREVER)
    control[at + OfThread.Flush] = flush
    control[at + OfThread.StaleAt] = stale
    Atomics.store(control, Control.Turn, thread + 1)
    Atomics.notify(control, Control.Turn)
    for (let turn = thread + 1; turn !== 0; turn = Atomics.load(control, Control.Turn)) {
      if (Atomics.wait(control, Control.Turn, turn, 30_000) === 'timed-out')
        throw new Error(`thread ${turn - 1} doesn't come back`)
    }
    return control[at + OfThread.Status]!
  }

  private addressOf(buffer: SharedArrayBuffer): number {
    return isAddon(this.addon) ? this.addon.adopt(buffer)!.address : 0
  }

  private receive(thread: number): Report | undefined {
    return (receiveMessageOnPort(this.ports[thread]!) as { message: Report } | undefined)?.message
  }

  private stepsOf(thread: number): number {
    return this.shared.control[(thread + 1) * Control.Thread + OfThread.Steps]!
  }

  /** False if it ends in a deadlock. */
  private schedule(plan: Plan, heaps: readonly Heap[], members: Member[], buffered: number[]): boolean {
    const stale = (thread: number) =>
      plan.stale === 'random' ? -1 : plan.stale?.thread === thread ? plan.stale.step : 0
    /** One turn of a thread, and the account of its end if it comes to that. */
    const turn = (thread: number, segment: Segment): Status => {
      const { steps, strike, flush = Flush.None } = segment
      const strikeAt = strike !== undefined && steps !== undefined ? this.stepsOf(thread) + steps : FOREVER
      const limit = { stale: stale(thread), flush }
      const status = this.give(
        thread,
        strike !== undefined ? { strikeAt, ...limit } : { ...limit, ...(steps !== undefined && { steps }) }
      )
      const member = members[thread]!
      if (status === Status.Struck) {
        member.isStruck = true
        if (strike === 'lives') return status
      }
      if (status === Status.Done || status === Status.Struck) {
        member.isDone = true
        member.report = this.receive(thread)
      }
      if (status === Status.Struck) member.death = this.die(heaps, member.report!.claims!)
      return status
    }
    for (const segment of plan.segments) {
      if (members[segment.thread]?.isDone !== false) continue
      const status = turn(segment.thread, segment)
      if (status === Status.Preempted)
        buffered.push(this.shared.control[(segment.thread + 1) * Control.Thread + OfThread.Buffered]!)
      // A thread that was to be struck sleeps first: the strike waits until it wakes up.
      if (status === Status.Blocked && segment.strike !== undefined) {
        const others = members.map((_, thread) => thread).filter((thread) => thread !== segment.thread)
        for (let round = 0; round < 50 && !members[segment.thread]!.isDone; round++) {
          for (const other of others) if (!members[other]!.isDone) turn(other, { thread: other, steps: 50 })
          if (turn(segment.thread, { ...segment, steps: 0 }) === Status.Struck) break
        }
      }
    }
    for (let idle = 0; members.some(({ isDone }) => !isDone); idle++) {
      if (idle > MOST_IDLE_ROUNDS) return false
      members.forEach(({ isDone }, thread) => {
        if (!isDone && turn(thread, { thread }) === Status.Done) idle = 0
      })
    }
    return true
  }

  /** What the hook does as the thread ends: all its slots in all heaps are a dead one's. Returns the words that it wrote. */
  private die(heaps: readonly Heap[], claims: readonly Claim[]): number[] {
    const written: number[] = []
    for (const heap of heaps) {
      const { tables } = heap[this.lib.HOST].tiers
      const address = this.addressOf(tables.mapping.buffer as SharedArrayBuffer)
      for (const claim of claims) {
        if (claim.tables !== address || tables.slots.state(claim.slot) !== SlotState.Live) continue
        tables.slots.markDead(claim.slot)
        const { words } = tables.slots as unknown as { words: Int32Array }
        const key = address + words.byteOffset
        written.push(key, key + 4 * (claim.slot + 1))
      }
    }
    return written
  }

  /** Looks at all that the threads have left. */
  private look(
    scenario: Scenario,
    heap: Heap,
    setup: unknown,
    members: Member[],
    live: number,
    problems: string[]
  ): void {
    const { lib } = this
    members.forEach(({ report }, thread) => {
      const { error } = report!
      if (error !== undefined && !scenario.refusals?.includes(error.code!))
        problems.push(`thread ${thread}: ${error.stack}`)
    })
    this.attempt(problems, 'audit', () => {
      heap.stats()
      heap.audit()
      const { member, classes } = heap[lib.HOST].tiers as unknown as {
        member: { locks: { owner(lock: number): number } }
        classes: { count: number }
      }
      for (let lock = 0; lock < classes.count + 3; lock++)
        if (member.locks.owner(lock) !== 0) problems.push(`lock ${lock} is held`)
    })
    const held = members.flatMap(({ report }) => report!.held ?? [])
    this.attempt(problems, 'blocks', () => {
      const bytes = distinctBytes(heap, held)
      const lost = heap.stats().liveBytes - live - bytes
      if (scenario.check === undefined && !this.possible(members).has(lost)) throw new Error(`${lost} bytes are lost`)
    })
    const results = members.map(({ report }) => report!.result)
    this.attempt(problems, 'check', () =>
      scenario.check?.({ lib, heap, setup, results, held, isStruck: members.some(({ isStruck }) => isStruck) })
    )
    this.attempt(problems, 'free', () => {
      for (const address of held) heap.free(address)
    })
  }

  /** By how many bytes the calls that were cut short may have raised the live bytes together. */
  private possible(members: Member[]): Set<number> {
    let sums = new Set([0])
    for (const raises of members.flatMap(({ report }) => report?.maybes ?? []))
      sums = new Set([...sums].flatMap((sum) => raises.map((raise) => sum + raise)))
    return sums
  }

  private attempt(problems: string[], name: string, work: () => void): void {
    try {
      work()
    } catch (error) {
      problems.push(`${name}: ${(error as Error).stack}`)
    }
  }

  /** Which lock of the heap each thread waits for that isn't done, and whose it is. */
  private waits(heap: Heap, members: Member[]): string[] {
    const { tables } = heap[this.lib.HOST].tiers
    const first = this.addressOf(tables.mapping.buffer as SharedArrayBuffer) + 4 * TableWord.Locks
    return members.flatMap(({ isDone }, thread) => {
      const lock = (this.traceOf(thread, (key) => key).keys.at(-1)! - first) / 128
      const word = tables.control[TableWord.Locks + 32 * lock]!
      return isDone ? [] : [`thread ${thread} waits for lock ${lock}, which slot ${(word & Tag.SlotMask) - 1} has`]
    })
  }

  /** Each run has its heaps elsewhere. For words of a mapping, a number that is the same in every run. */
  private placement(heaps: readonly Heap[]): (key: number) => number {
    const mappings = heaps.flatMap((heap) => {
      const { mapping, tables } = heap[this.lib.HOST].tiers
      return [mapping, tables.mapping].map(({ buffer }) => ({
        start: this.addressOf(buffer as SharedArrayBuffer),
        length: buffer.byteLength,
      }))
    })
    return (key) => {
      const at = mappings.findIndex(({ start, length }) => start !== 0 && key >= start && key < start + length)
      return at < 0 ? key : (at + 1) * MAPPING_KEYS + key - mappings[at]!.start
    }
  }

  private traceOf(thread: number, placed: (key: number) => number): Trace {
    const first = (thread + 1) * MOST_STEPS
    const end = first + this.stepsOf(thread)
    return { keys: this.shared.keys.slice(first, end).map(placed), kinds: this.shared.kinds.slice(first, end) }
  }
}

/** The bytes of blocks, none of which may overlap another. */
function distinctBytes(heap: Heap, held: readonly number[]): number {
  let end = 0
  let bytes = 0
  for (const address of held.toSorted((a, b) => a - b)) {
    if (address < end) throw new Error(`two blocks overlap at ${address}`)
    const usable = heap.usableSize(address)
    end = address + usable
    bytes += usable
  }
  return bytes
}
