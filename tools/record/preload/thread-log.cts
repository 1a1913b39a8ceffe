import { openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { NodeRecord, NodeRecordKind, RecorderFile } from '../node-record.ts'

/**
 * Records that are kept back before they are written: a call of the system costs about as much as a record for each of 64.
 * They are written at the end of the running job at the latest. So a process that is killed loses nothing unless it is
 * killed within a job, and then at most so many.
 */
const KEPT_RECORDS = 64

/** A program may put others in their places. */
const { nextTick } = process
const { add } = Atomics
const writeToFile = writeSync

/** The records of one thread, in a file of its own. */
class ThreadLog {
  private readonly file: number
  /** One word that all threads share: the events of all so far. */
  private readonly sequence: Int32Array
  private readonly events: number
  private readonly words = new Int32Array(KEPT_RECORDS * NodeRecord.Words)
  private filled = 0
  private isFull = false
  private isEnding = false
  private readonly flush = () => this.write()

  constructor(folder: string, thread: number, sequence: Int32Array, events: number) {
    this.file = openSync(join(folder, `${RecorderFile.Thread}${thread}`), 'wx', 0o600)
    this.sequence = sequence
    this.events = events
    process.on('exit', () => {
      this.isEnding = true // listeners that come after this one may allocate
      this.write()
    })
  }

  /** Adds an event; false once there are as many as were asked for. */
  append(kind: NodeRecordKind, block: number, size: number): boolean {
    if (this.isFull) return false
    const sequence = add(this.sequence, 0, 1) >>> 0
    if (sequence >= this.events) {
      this.isFull = true
      return false
    }
    this.put(sequence, kind, block, size)
    return true
  }

  /** The thread has started a worker. */
  workerStarted(): void {
    this.put(0, NodeRecordKind.Worker, 0, 0)
  }

  private put(sequence: number, kind: NodeRecordKind, block: number, size: number): void {
    const { words, filled } = this
    words[filled + NodeRecord.Sequence] = sequence
    words[filled + NodeRecord.Kind] = kind | (Math.floor(size / 2 ** 32) << 8)
    words[filled + NodeRecord.Block] = block
    words[filled + NodeRecord.Size] = size | 0
    this.filled = filled + NodeRecord.Words
    if (this.isEnding || this.filled === words.length) this.write()
    else if (filled === 0) nextTick(this.flush)
  }

  private write(): void {
    const bytes = this.filled * Int32Array.BYTES_PER_ELEMENT
    this.filled = 0
    for (let written = 0; written < bytes; ) {
      written += writeToFile(this.file, this.words, written, bytes - written)
    }
  }
}

export { ThreadLog }
