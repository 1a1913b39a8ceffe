import { URL } from 'node:url'
import { Worker } from 'node:worker_threads'
import { AllocatorError, type AllocatorErrorCode, type AllocatorErrorDetails, Heap, type HeapToken } from 'spanheap'
import { Gate } from './gate.ts'
import { planThreads } from './plan.ts'
import { freeSlots, type Slots } from './player.ts'
import { heapOptions, larger, type ReplayOptions, type ReplayReport, reportOf, sampleStops } from './replay.ts'
import type { WorkerTask } from './replay-worker.ts'
import type { Trace } from './trace.ts'
import { Turns } from './turns.ts'

/**
 * Replays a trace with a worker for each of its threads, on one heap, each slot's events in the trace's order. A round's time
 * is from the common start to the last worker's end; the first is stopped, for samples, as that of `replay` is. At the end the
 * heap has to be empty, and is audited. REQUIRES: the options name tcmalloc.
 * @throws AllocatorError a worker's error: all have ended by then; `ERR_HEAP_CORRUPT`
 */
export async function replayThreads(trace: Trace, options: ReplayOptions): Promise<ReplayReport> {
  const { options: settings, small } = heapOptions(trace, options.ledger)
  const heap = new Heap(settings)
  const slots = openSlots(trace.slots, small)
  const crew = new Crew(heap.share(), trace, slots, options.touch)
  const times: number[] = []
  let peakResidentBytes: number | null = null
  try {
    await crew.allWait()
    for (let round = 1; round <= options.rounds; round++) {
      let elapsed = 0
      for (const to of round === 1 ? sampleStops(trace) : [trace.events]) {
        elapsed += await crew.playTo(to)
        if (round === 1) peakResidentBytes = larger(peakResidentBytes, heap.residentBytes())
      }
      times.push(elapsed / Math.max(1, trace.events))
      freeSlots(heap, slots)
      crew.startOver()
      options.onRound?.(round)
    }
    await crew.end()
    const { mappedBytes: endMappedBytes, peakMappedBytes } = checkedStats(heap)
    heap.close()
    const { syscalls } = heap.stats()
    const figures = { stopped: null, syscalls, peakMappedBytes, endMappedBytes, peakResidentBytes }
    return reportOf(trace, options, times, { ...figures, threads: crew.size })
  } finally {
    await crew.terminate()
    // An error that there is already is worth more than one of this: the heap may be what was wrong.
    closeQuietly(heap)
  }
}

/** The workers of a replay. */
class Crew {
  private readonly workers: Worker[]
  private readonly turns: Turns
  private readonly gate: Gate
  /** Rejected with the first error of any worker. */
  private readonly failure: Promise<never>
  private readonly ended: Promise<unknown>
  private waiting = 0
  private whenAllWait: () => void = () => {}

  constructor(token: HeapToken, trace: Trace, slots: Slots, touch: boolean) {
    const plans = planThreads(trace)
    const threads = plans.length
    const turns = new SharedArrayBuffer(Turns.bytes(threads))
    this.turns = new Turns(turns)
    this.gate = new Gate(threads)
    const shared = { token, threads, events: trace.events, slots, turns, gate: this.gate.memory, touch }
    this.workers = plans.map((plan, thread) => {
      const workerData: WorkerTask = { ...shared, thread, plan }
      const { operation, alignmentLog2, slot, size, event, turns } = plan
      const transferList = [operation, alignmentLog2, slot, size, event, turns].map(({ buffer }) => buffer)
      return new Worker(new URL('./replay-worker.js', import.meta.url), { workerData, transferList })
    })
    const exits = this.workers.map((worker) => new Promise<number>((resolve) => worker.once('exit', resolve)))
    this.ended = Promise.all(exits)
    this.failure = new Promise((_, reject) => {
      for (const worker of this.workers) {
        worker.once('error', (error) => reject(asThrown(error)))
        worker.once('exit', (status) => {
          if (status !== 0) reject(new Error(`a worker of the replay ended with status ${status}`))
        })
        worker.on('message', () => {
          if (++this.waiting === threads) this.whenAllWait()
        })
      }
    })
    // It may come while nobody waits for it.
    this.failure.catch(() => {})
  }

  get size(): number {
    return this.workers.length
  }

  /** Waits until all workers wait at the gate, or are about to. */
  async allWait(): Promise<void> {
    const arrived = new Promise<void>((resolve) => {
      this.whenAllWait = resolve
      if (this.waiting === this.size) resolve()
    })
    await Promise.race([arrived, this.failure])
  }

  /** Lets all play up to an event of the trace. Returns nanoseconds. */
  async playTo(event: number): Promise<number> {
    this.waiting = 0
    const start = this.gate.open(event)
    await this.allWait()
    return Number(this.gate.lastArrival() - start)
  }

  /** Makes ready for the next round. REQUIRES: all wait. */
  startOver(): void {
    this.turns.reset()
  }

  /** Lets all go, which they do once they have closed the heap. */
  async end(): Promise<void> {
    this.gate.end()
    await Promise.race([this.ended, this.failure])
  }

  /** Ends those that are left, in whatever they do. */
  async terminate(): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.terminate()))
  }
}

function openSlots(slots: number, small: boolean): Slots {
  const bytes = small ? Int32Array.BYTES_PER_ELEMENT : Float64Array.BYTES_PER_ELEMENT
  const memory = new SharedArrayBuffer(slots * bytes)
  return small ? new Int32Array(memory) : new Float64Array(memory)
}

/** @throws AllocatorError `ERR_HEAP_CORRUPT` where a block is left, or the audit finds anything */
function checkedStats(heap: Heap) {
  const stats = heap.stats()
  if (stats.liveBytes !== 0) {
    throw new AllocatorError('ERR_HEAP_CORRUPT', `after the last round's frees ${stats.liveBytes} bytes are live`)
  }
  heap.audit()
  return stats
}

function closeQuietly(heap: Heap): void {
  try {
    heap.close()
  } catch (error) {
    if (!(error instanceof AllocatorError)) throw error
  }
}

/** An error as the worker threw it: on its way here it loses its class. */
function asThrown(error: Error): Error {
  if (error.name !== 'AllocatorError') return error
  const { code, address, requested, syscall, errno } = error as AllocatorError
  const known = Object.entries({ address, requested, syscall, errno }).filter(([, value]) => value !== undefined)
  const details: AllocatorErrorDetails = { ...Object.fromEntries(known), cause: error }
  return new AllocatorError(code as AllocatorErrorCode, error.message, details)
}
