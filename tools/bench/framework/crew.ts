import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import type { Heap, HeapOptions, HeapToken } from 'spanheap'
import { Word } from '../patterns/words.ts'

/** What a thread of a crew is started with. */
export interface ThreadData {
  thread: number
  words: SharedArrayBuffer
  /** Where the heap is another thread's. */
  token: HeapToken | undefined
  options: HeapOptions
}

/** What a thread is told to do: for so many seconds, or so many calls of the pattern that came to something. */
export interface Order {
  pattern: string
  parties: number
  seconds?: number
  chunks?: number
  /** For handover: how many blocks. */
  blocks?: number
}

/** What a thread did. */
export interface Report {
  operations: number
  /** By the clock that all threads have in common, in milliseconds. */
  start: number
  end: number
  mappedAtHalf?: number
  mappedAtEnd?: number
  peakBlocks?: number
  peakBytes?: number
}

/** What several threads did together. */
export interface Timed {
  readonly operations: number
  readonly nanoseconds: number
}

/** Threads that one process runs, and what they are told. */
export class Crew {
  private readonly words = new SharedArrayBuffer(4 * Word.Count)
  private readonly workers: Worker[]

  /** @param heap attached to by all; undefined: each makes its own */
  private constructor(workers: number, heap: Heap | undefined, options: HeapOptions) {
    this.workers = Array.from({ length: workers }, (_, thread) => {
      const workerData: ThreadData = { thread, words: this.words, token: heap?.share(), options }
      return new Worker(new URL('crew-worker.js', import.meta.url), { workerData })
    })
  }

  static async of(workers: number, heap: Heap | undefined, options: HeapOptions = {}): Promise<Crew> {
    const crew = new Crew(workers, heap, options)
    await Promise.all(crew.workers.map((worker) => once(worker, 'online')))
    return crew
  }

  /** Ends all threads. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.terminate()))
  }

  /** The threads of these numbers do it at the same time, the others wait for messages. */
  async run(threads: readonly number[], order: Omit<Order, 'parties'>): Promise<Report[]> {
    new Int32Array(this.words).fill(0, 0, Word.Stop + 1)
    new Int32Array(this.words).fill(0, Word.Rounds, Word.Transfer)
    const reports = threads.map((thread) => once(this.workers[thread]!, 'message'))
    for (const thread of threads) this.workers[thread]!.postMessage({ ...order, parties: threads.length })
    return (await Promise.all(reports)).map(([report]) => report as Report)
  }

  /** What all threads did together, from the first one's start to the last one's end. */
  async time(threads: readonly number[], order: Omit<Order, 'parties'>): Promise<Timed> {
    const reports = await this.run(threads, order)
    const operations = reports.reduce((sum, report) => sum + report.operations, 0)
    const start = Math.min(...reports.map((report) => report.start))
    return { operations, nanoseconds: 1e6 * (Math.max(...reports.map(({ end }) => end)) - start) }
  }

  /** Operations a second. */
  async speed(threads: readonly number[], order: Omit<Order, 'parties'>): Promise<number> {
    const { operations, nanoseconds } = await this.time(threads, order)
    return (1e9 * operations) / nanoseconds
  }
}
