/** Pauses that are kept, of the newest cycles, as Go's MemStats does. */
const KEPT_PAUSES = 256

/** One cycle of the collector. */
export class CycleRecord {
  /** Its number, from 1 on. */
  readonly cycle: number
  /** Milliseconds from the heap's construction to its start, to the end of its marking and to its end. */
  startMs = 0
  markedMs = 0
  endMs = 0
  /** Whether a program asked for it. */
  forced = false
  /** Bytes: that counted as live at its start, that it marked, and that it was to end at. */
  startBytes = 0
  markedBytes = 0
  goalBytes = 0
  /** How often it worked, in milliseconds all together, and the longest. */
  slices = 0
  totalMs = 0
  longestMs = 0
  private readonly epoch: number

  constructor(cycle: number, epoch: number) {
    this.cycle = cycle
    this.epoch = epoch
  }

  begin(startBytes: number, goalBytes: number): void {
    this.startMs = performance.now() - this.epoch
    this.startBytes = startBytes
    this.goalBytes = goalBytes
  }

  /** One slice of work took so long. */
  note(milliseconds: number): void {
    this.slices++
    this.totalMs += milliseconds
    if (milliseconds > this.longestMs) this.longestMs = milliseconds
  }

  marked(bytes: number): void {
    this.markedBytes = bytes
    this.markedMs = performance.now() - this.epoch
  }

  /** A line as Go's gctrace=1 writes it, of what is the same here. */
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

/** What a heap tells under the names of Go's runtime.MemStats; bytes and nanoseconds, as there. */
export interface GoMemStats {
  Alloc: number
  TotalAlloc: number
  /** Mapped for objects, and tables. */
  Sys: number
  /** With tiny objects, which HeapObjects counts by their blocks. */
  Mallocs: number
  Frees: number
  HeapAlloc: number
  HeapSys: number
  HeapIdle: number
  HeapInuse: number
  HeapReleased: number
  HeapObjects: number
  GCSys: number
  NextGC: number
  LastGC: number
  /** All slices of all cycles. */
  PauseTotalNs: number
  /** The longest slice of each of the newest 256 cycles; that of cycle n at `(n + 255) % 256`. */
  PauseNs: number[]
  NumGC: number
  NumForcedGC: number
  BySize: { Size: number; Mallocs: number; Frees: number }[]
}

/** What is known of cycles that are over; the names are those of Go's runtime.MemStats. */
export class MemStats {
  numGC = 0
  numForcedGC = 0
  /** Milliseconds that all slices took. */
  pauseTotalMs = 0
  /** When the last cycle ended, in milliseconds since 1970. */
  lastGC = 0
  /** Bytes that the last cycle marked. */
  markedBytes = 0
  /** The longest slice of each of the newest cycles, in nanoseconds; that of cycle n at `(n + 255) % 256`. */
  readonly pauseNs = new Float64Array(KEPT_PAUSES)
  private readonly epoch = performance.now()

  newCycle(): CycleRecord {
    return new CycleRecord(this.numGC + 1, this.epoch)
  }

  endCycle(record: CycleRecord, forced: boolean): void {
    record.forced = forced
    record.endMs = performance.now() - this.epoch
    this.numGC++
    if (forced) this.numForcedGC++
    this.lastGC = Date.now()
    this.pauseTotalMs += record.totalMs
    this.pauseNs[(record.cycle + KEPT_PAUSES - 1) % KEPT_PAUSES] = record.longestMs * 1e6
  }

  /** What of it Go's names are for. */
  go(): Pick<GoMemStats, 'LastGC' | 'PauseTotalNs' | 'PauseNs' | 'NumGC' | 'NumForcedGC'> {
    return {
      LastGC: this.lastGC * 1e6,
      PauseTotalNs: this.pauseTotalMs * 1e6,
      PauseNs: [...this.pauseNs],
      NumGC: this.numGC,
      NumForcedGC: this.numForcedGC,
    }
  }
}
