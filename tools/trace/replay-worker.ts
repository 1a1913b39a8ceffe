// A worker of a replay with threads: plays one thread's events on the heap that all share, leg by leg.
import { parentPort, workerData } from 'node:worker_threads'
import { AllocatorError, Heap, type HeapToken } from 'spanheap'
import { Gate } from './gate.ts'
import { eventsBefore, type ThreadPlan, Turn, TurnWord } from './plan.ts'
import { type Slots, slotPlayer, touchThrough } from './player.ts'
import { Turns } from './turns.ts'

/** What a worker is given. */
export interface WorkerTask {
  token: HeapToken
  thread: number
  threads: number
  /** Of the whole trace: where a round ends. */
  events: number
  plan: ThreadPlan
  slots: Slots
  turns: SharedArrayBuffer
  gate: SharedArrayBuffer
  touch: boolean
}

const { token, thread, threads, events, plan, slots, touch, ...shared } = workerData as WorkerTask
const heap = Heap.attach(token)
const turns = new Turns(shared.turns)
const gate = new Gate(threads, shared.gate)
const player = slotPlayer(plan, heap, touch ? touchThrough(heap, heap.buffer) : undefined, slots)

/** The next event and the next turn of this round, and how often this thread has told or waited in each pair. */
let played = 0
let turn = 0
const counts = new Int32Array(threads * threads)

function play(to: number): void {
  const stop = player.play(played, to)
  played = to
  if (stop === null) return
  throw new AllocatorError(
    'ERR_HEAP_OUT_OF_MEMORY',
    `the system refused memory for event ${plan.event[stop.event]} (${stop.errno})`,
    { requested: plan.size[stop.event]! }
  )
}

/** Plays up to an event of this thread, and takes the turns that come before it or at it. */
function playLeg(to: number): void {
  const words = plan.turns
  for (; turn < words.length; turn += TurnWord.Words) {
    const before = words[turn + TurnWord.Before]!
    // Waiting is for the leg that the event is in. Telling isn't: others may need it to end this one.
    if (before > to || (before === to && words[turn + TurnWord.Kind] === Turn.Wait)) break
    if (before > played) play(before)
    const pair = words[turn + TurnWord.Pair]!
    const count = ++counts[pair]!
    if (words[turn + TurnWord.Kind] === Turn.Tell) turns.tell(pair, count)
    else turns.wait(pair, count)
  }
  if (to > played) play(to)
}

for (let time = 1; ; time++) {
  parentPort!.postMessage('waiting')
  const to = gate.pass(time)
  if (to === undefined) break
  playLeg(eventsBefore(plan, to))
  gate.arrive(thread)
  if (to < events) continue
  played = 0
  turn = 0
  counts.fill(0)
}
heap.close()
