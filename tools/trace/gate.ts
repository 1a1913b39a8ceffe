const enum Word {
  /** How often the gate was opened. */
  Opened = 0,
  /** The event of the trace to stop before. */
  To = 1,
  Words = 2,
}

/** Tells the threads to stop for good. */
const END = -1

/** Where all threads of a replay wait to be let off together, in memory that they share; and the times at which they arrived. */
export class Gate {
  readonly memory: SharedArrayBuffer
  private readonly words: Int32Array
  private readonly arrivals: BigInt64Array

  constructor(threads: number, memory?: SharedArrayBuffer) {
    const arrivalsAt = Word.Words * Int32Array.BYTES_PER_ELEMENT
    this.memory = memory ?? new SharedArrayBuffer(arrivalsAt + threads * BigInt64Array.BYTES_PER_ELEMENT)
    this.words = new Int32Array(this.memory, 0, Word.Words)
    this.arrivals = new BigInt64Array(this.memory, arrivalsAt, threads)
  }

  /** Lets all threads off, to stop before an event. Returns the time in nanoseconds. REQUIRES: all wait, or are about to. */
  open(to: number): bigint {
    const { words } = this
    Atomics.store(words, Word.To, to)
    const start = process.hrtime.bigint()
    Atomics.add(words, Word.Opened, 1)
    Atomics.notify(words, Word.Opened)
    return start
  }

  /** Lets all threads off to end. */
  end(): void {
    this.open(END)
  }

  /** Waits until the gate opens for the `time`th time, from 1: the event to stop before, or undefined at the end. */
  pass(time: number): number | undefined {
    const { words } = this
    while (Atomics.load(words, Word.Opened) < time) Atomics.wait(words, Word.Opened, time - 1)
    const to = Atomics.load(words, Word.To)
    return to === END ? undefined : to
  }

  /** A thread has played what it was let off for. */
  arrive(thread: number): void {
    this.arrivals[thread] = process.hrtime.bigint()
  }

  /** When the last thread arrived. REQUIRES: all have said so. */
  lastArrival(): bigint {
    return this.arrivals.reduce((last, time) => (time > last ? time : last))
  }
}
