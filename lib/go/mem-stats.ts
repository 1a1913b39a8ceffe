import { performance } from 'node:perf_hooks'

/** How many pauses are kept, those of the newest cycles, as in Go's MemStats. */
const KEPT_PAUSES = 256

/**
 * One cycle of the collector.
 * @example
 * ```ts
 * import { GoHeap } from 'spanheap/go'
 *
 * const cycles: number[] = []
 * using heap = new GoHeap({ onCycle: (record) => cycles.push(record.cycle) })
 * heap.collect()
 * heap.collect()
 * console.log(cycles) // [ 1, 2 ]
 * ```
 */
export class CycleRecord {
  /** Its number, from 1 on. */
  readonly cycle: number
  /** Milliseconds from the heap's construction to the cycle's start. */
  startMs = 0
  /** Milliseconds to the end of its marking. */
  markedMs = 0
  /** Milliseconds to its end. */
  endMs = 0
  /** Whether a program asked for it. */
  forced = false
  /** Bytes that counted as live at its start. */
  startBytes = 0
  /** Bytes of the objects that it marked. */
  markedBytes = 0
  /** The heap's intended size at its end, in bytes. */
  goalBytes = 0
  /** The number of its slices. */
  slices = 0
  /** The time of all its slices, in milliseconds. */
  totalMs = 0
  /** The time of the longest slice, in milliseconds. */
  longestMs = 0
  readonly #epoch: number

  /** @internal */
  constructor(cycle: number, epoch: number) {
    this.cycle = cycle
    this.#epoch = epoch
  }

  /** @internal */
  begin(startBytes: number, goalBytes: number): void {
    this.startMs = performance.now() - this.#epoch
    this.startBytes = startBytes
    this.goalBytes = goalBytes
  }

  /** @internal Notes a slice of work of this length. */
  note(milliseconds: number): void {
    this.slices++
    this.totalMs += milliseconds
    if (milliseconds > this.longestMs) this.longestMs = milliseconds
  }

  /** @internal */
  marked(bytes: number): void {
    this.markedBytes = bytes
    this.markedMs = performance.now() - this.#epoch
  }

  /** A line as Go's gctrace=1 writes it, with the figures that exist here too. */
  toString(): string {
    const mebibytes = (bytes: number) => (Number.isFinite(bytes) ? `${Math.round(bytes / 2 ** 20)}` : 'no')
    const milliseconds = (time: number) => time.toFixed(time < 10 ? 3 : 1)
    return (
      `gc ${this.cycle} @${(this.startMs / 1000).toFixed(3)}s ${milliseconds(this.markedMs - this.startMs)} ms to mark, ` +
      `${milliseconds(this.endMs - this.markedMs)} ms to sweep, ${this.slices} slices of ${milliseconds(this.longestMs)} ms ` +
      `at most, ${milliseconds(this.totalMs)} ms in all, ${mebibytes(this.startBytes)}->${mebibytes(this.markedBytes)} MB, ` +
      `${mebibytes(this.goalBytes)} MB goal${this.forced ? ' (forced)' : ''}`
    )
  }
}

/**
 * A heap's figures under the names of Go's runtime.MemStats; bytes and nanoseconds, as there. Figures of things that a heap doesn't have
 * are left out: stacks, profiles, and tables of a runtime (`GCSys` is all tables).
 */
export interface GoMemStats {
  /** Bytes of objects that are live, or not yet found dead. */
  Alloc: number
  /** Bytes of all objects ever allocated. */
  TotalAlloc: number
  /** Bytes mapped for objects, and bytes of tables. */
  Sys: number
  /** Objects ever allocated, including each tiny one. */
  Mallocs: number
  /**
   * Objects freed by the collector or by `free`. As in Go, a tiny object that shares another's block counts as freed at once, so that
   * `Mallocs - Frees` is `HeapObjects`.
   */
  Frees: number
  /** The same as `Alloc`. */
  HeapAlloc: number
  /** Bytes mapped for objects, in use or not. */
  HeapSys: number
  /** Bytes of pages that are in no span, whether given back or not. */
  HeapIdle: number
  /** Bytes of spans. */
  HeapInuse: number
  /** Bytes of idle pages that take no memory: they were given back to the system or, as in Go, never used. */
  HeapReleased: number
  /** Objects that are live, or not yet found dead. Tiny ones are counted by their blocks. */
  HeapObjects: number
  /** Bytes of tables. */
  GCSys: number
  /** The heap's size in bytes at which the next cycle is to end. */
  NextGC: number
  /** When the last cycle ended, in nanoseconds since 1970; 0 before the first. */
  LastGC: number
  /** The time of all slices of all cycles. */
  PauseTotalNs: number
  /** The time of all slices of each of the newest 256 cycles; cycle n is at `(n + 255) % 256`. (`onCycle` reports the longest slice.) */
  PauseNs: number[]
  /** When each of the newest 256 cycles ended, as in `LastGC`; cycle n is at `(n + 255) % 256`. */
  PauseEnd: number[]
  /** The number of completed cycles. */
  NumGC: number
  /** How many of those the program asked for. */
  NumForcedGC: number
  /** By size class, the smallest first; without large objects. Go's own table ends with the 61st class, this one has all 68. */
  BySize: GoSizeStats[]
}

/** The counts of one size class. */
export interface GoSizeStats {
  /** Bytes of an object. */
  Size: number
  /** Objects allocated so far. */
  Mallocs: number
  /** Objects freed so far. */
  Frees: number
}

/** The figures of completed cycles; the names are those of Go's runtime.MemStats. */
export class MemStats {
  numGC = 0
  numForcedGC = 0
  /** Nanoseconds that all slices took. */
  pauseTotalNs = 0
  /** When the last cycle ended, in nanoseconds since 1970. */
  lastGC = 0
  /** Bytes that the last cycle marked. */
  markedBytes = 0
  /** The time of all slices of each of the newest cycles, in nanoseconds; cycle n is at `(n + 255) % 256`. */
  private readonly pauseNs = new Float64Array(KEPT_PAUSES)
  private readonly pauseEnd = new Float64Array(KEPT_PAUSES)
  private readonly epoch = performance.now()

  newCycle(): CycleRecord {
    return new CycleRecord(this.numGC + 1, this.epoch)
  }

  endCycle(record: CycleRecord, forced: boolean): void {
    const kept = (record.cycle + KEPT_PAUSES - 1) % KEPT_PAUSES
    const ns = Math.round(record.totalMs * 1e6)
    record.forced = forced
    record.endMs = performance.now() - this.epoch
    this.numGC++
    if (forced) this.numForcedGC++
    this.lastGC = Date.now() * 1e6
    this.pauseTotalNs += ns
    this.pauseNs[kept] = ns
    this.pauseEnd[kept] = this.lastGC
  }

  /** The figures that have Go's names. */
  go(): Pick<GoMemStats, 'LastGC' | 'PauseTotalNs' | 'PauseNs' | 'PauseEnd' | 'NumGC' | 'NumForcedGC'> {
    return {
      LastGC: this.lastGC,
      PauseTotalNs: this.pauseTotalNs,
      PauseNs: [...this.pauseNs],
      PauseEnd: [...this.pauseEnd],
      NumGC: this.numGC,
      NumForcedGC: this.numForcedGC,
    }
  }
}
