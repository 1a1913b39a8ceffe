import { types } from 'node:util'
import { Mtrc } from './format.ts'
import type { Trace } from './trace.ts'

/** What a thread does between two of its events. At one place it tells before it waits, so no two wait for each other. */
export const enum Turn {
  /** It tells the pair's other thread that an event was played. */
  Tell = 0,
  /** It waits until the pair's other thread has told the next time. */
  Wait = 1,
}

/** The columns of a {@link ThreadPlan}'s turns, behind each other. */
export const enum TurnWord {
  /** The event of this thread, counted from 0, that the turn comes before. */
  Before = 0,
  Kind = 1,
  Pair = 2,
  Words = 3,
}

/** A thread's share of a trace: its events in columns as in {@link Trace}, and when it has to mind the others. */
export interface ThreadPlan {
  operation: Uint8Array<ArrayBuffer>
  alignmentLog2: Uint8Array<ArrayBuffer>
  slot: Int32Array<ArrayBuffer>
  size: Int32Array<ArrayBuffer> | Float64Array<ArrayBuffer>
  /** The number of each event in the trace. */
  event: Int32Array<ArrayBuffer>
  /** TurnWord.Words for each turn, in order. */
  turns: Int32Array<ArrayBuffer>
}

/** The workers that a trace takes: one for each thread, at most as many as an event can name, and one where it has none. */
export function threadsOf(trace: Trace): number {
  return Math.max(1, Math.min(trace.threads, Mtrc.MostThreads))
}

/** The number of the pair in which `teller` tells and `waiter` waits. */
export function pairOf(teller: number, waiter: number, threads: number): number {
  return teller * threads + waiter
}

/**
 * Shares a trace out. An event has to wait for the one before it on its slot, where that is another thread's; and only if
 * its thread hasn't waited for that one, or a later one, of the same thread already. So a pair's waits come in the order of
 * what they wait for: the nth time that one waits is for the nth time that the other tells, and each tells no more often
 * than it is waited for.
 */
export function planThreads(trace: Trace): ThreadPlan[] {
  const threads = threadsOf(trace)
  const plans = shareOut(trace, threads)
  const waits = new Waits(threads)
  const played = new Int32Array(threads)
  /** How many events its thread had played with the last event of each slot, and which thread that was. */
  const playedAtSlot = new Int32Array(trace.slots)
  const threadAtSlot = new Int16Array(trace.slots).fill(-1)
  for (let event = 0; event < trace.events; event++) {
    const slot = trace.slot[event]!
    const thread = trace.thread[event]!
    const other = threadAtSlot[slot]!
    const before = played[thread]!
    waits.advance(thread)
    if (other !== -1 && other !== thread) waits.need(other, playedAtSlot[slot]!, before)
    threadAtSlot[slot] = thread
    playedAtSlot[slot] = ++played[thread]!
  }
  const turns = waits.finish()
  plans.forEach((plan, thread) => {
    plan.turns = inOrder(turns[thread]!)
  })
  return plans
}

/**
 * Gathers the waits of events that follow each other in the trace and are of one thread: all waits for one other thread are
 * made one, before the first that needs it, for the last that any needs. All that they wait for came before the first of
 * these events, so that the trace's own order is still one in which nobody waits in vain.
 */
class Waits {
  private readonly threads: number
  private readonly turns: number[][]
  /** How many events of the teller the waiter knows to be played, pair by pair. */
  private readonly known: Int32Array
  private readonly tellers = new Set<number>() // of the waits that are gathered
  private waiter = 0
  private from = 0

  constructor(threads: number) {
    this.threads = threads
    this.turns = Array.from({ length: threads }, () => [])
    this.known = new Int32Array(threads * threads)
  }

  /** The trace's next event is of `thread`. */
  advance(thread: number): void {
    if (this.tellers.size > 0 && thread !== this.waiter) this.settle()
    this.waiter = thread
  }

  /** That event, before which its own thread has played `before`, needs so many events of another thread to be played. */
  need(teller: number, events: number, before: number): void {
    const pair = pairOf(teller, this.waiter, this.threads)
    if (events <= this.known[pair]!) return
    if (this.tellers.size === 0) this.from = before
    this.known[pair] = events
    this.tellers.add(teller)
  }

  /** The turns of each thread, in no order. */
  finish(): number[][] {
    this.settle()
    return this.turns
  }

  private settle(): void {
    for (const teller of this.tellers) {
      const pair = pairOf(teller, this.waiter, this.threads)
      this.turns[teller]!.push(turnKey(this.known[pair]!, Turn.Tell, pair))
      this.turns[this.waiter]!.push(turnKey(this.from, Turn.Wait, pair))
    }
    this.tellers.clear()
  }
}

/** How many of a plan's events come before an event of the trace. */
export function eventsBefore(plan: Pick<ThreadPlan, 'event'>, event: number): number {
  let [low, high] = [0, plan.event.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (plan.event[middle]! < event) low = middle + 1
    else high = middle
  }
  return low
}

function shareOut(trace: Trace, threads: number): ThreadPlan[] {
  const counts = new Int32Array(threads)
  for (let event = 0; event < trace.events; event++) counts[trace.thread[event]!]!++
  const plans = Array.from(
    counts,
    (count): ThreadPlan => ({
      operation: new Uint8Array(count),
      alignmentLog2: new Uint8Array(count),
      slot: new Int32Array(count),
      size: types.isInt32Array(trace.size) ? new Int32Array(count) : new Float64Array(count),
      event: new Int32Array(count),
      turns: new Int32Array(0),
    })
  )
  const filled = new Int32Array(threads)
  for (let event = 0; event < trace.events; event++) {
    const thread = trace.thread[event]!
    const plan = plans[thread]!
    const at = filled[thread]!++
    plan.operation[at] = trace.operation[event]!
    plan.alignmentLog2[at] = trace.alignmentLog2[event]!
    plan.slot[at] = trace.slot[event]!
    plan.size[at] = trace.size[event]!
    plan.event[at] = event
  }
  return plans
}

/** One number for a turn, to sort by: 31 bits of place, one of kind, 16 of pair. */
function turnKey(before: number, kind: Turn, pair: number): number {
  return (before * 2 + kind) * 2 ** 16 + pair
}

function inOrder(keys: number[]): Int32Array<ArrayBuffer> {
  const turns = new Int32Array(keys.length * TurnWord.Words)
  Float64Array.from(keys)
    .sort()
    .forEach((key, index) => {
      const at = index * TurnWord.Words
      const place = Math.floor(key / 2 ** 16)
      turns[at + TurnWord.Before] = Math.floor(place / 2)
      turns[at + TurnWord.Kind] = place % 2
      turns[at + TurnWord.Pair] = key % 2 ** 16
    })
  return turns
}
