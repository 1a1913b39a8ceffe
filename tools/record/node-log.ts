import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Operation } from '../trace/trace.ts'
import { NodeRecord, NodeRecordKind, RecorderFile } from './node-record.ts'
import type { Recording } from './recording.ts'

const RECORD_BYTES = NodeRecord.Words * 4

/** What the logs say beside the events. */
export interface NodeLogEnd {
  /** True where a process has loaded the recorder. */
  hasRun: boolean
  /** Workers that were started without the recorder. */
  unrecordedWorkers: number
}

/** One thread's records, as they lie in its file. */
interface ThreadRecords {
  words: DataView
  records: number
}

/** Makes events of the logs of a process's threads, in the order that all share. The process has ended. */
export function readNodeLogs(folder: string, recording: Recording): NodeLogEnd {
  const threads = readdirSync(folder)
    .filter((name) => name.startsWith(RecorderFile.Thread))
    .map((name) => threadRecords(join(folder, name)))
  const { events, workers } = survey(threads)
  new Merge(threads, recording).play(events)
  return {
    hasRun: existsSync(join(folder, RecorderFile.Owner)),
    unrecordedWorkers: workers - Math.max(0, threads.length - 1),
  }
}

function threadRecords(path: string): ThreadRecords {
  const bytes = readFileSync(path)
  const words = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return { words, records: Math.floor(bytes.length / RECORD_BYTES) }
}

/** How many places there are in the order of all events, and how many workers were started. */
function survey(threads: ThreadRecords[]): { events: number; workers: number } {
  let [events, workers] = [0, 0]
  for (const { words, records } of threads) {
    for (let record = 0; record < records; record++) {
      if (kindOf(words, record) === NodeRecordKind.Worker) workers++
      else events = Math.max(events, sequenceOf(words, record) + 1)
    }
  }
  return { events, workers }
}

function sequenceOf(words: DataView, record: number): number {
  return words.getUint32(record * RECORD_BYTES + NodeRecord.Sequence * 4, true)
}

function kindOf(words: DataView, record: number): NodeRecordKind {
  return words.getUint32(record * RECORD_BYTES + NodeRecord.Kind * 4, true) & 0xff
}

/** Plays the records of several threads, each of which has its own in order. */
class Merge {
  private readonly recording: Recording
  private readonly threads: readonly ThreadRecords[]
  /** The threads' numbers in the trace, in the order of their first event. */
  private readonly numbers: number[]
  private numbered = 0

  constructor(threads: readonly ThreadRecords[], recording: Recording) {
    this.threads = threads
    this.recording = recording
    this.numbers = threads.map(() => -1)
  }

  play(events: number): void {
    /** The thread whose event is at each place, and where it is there; a thread of -1 for what was lost. */
    const threadAt = new Int32Array(events).fill(-1)
    const recordAt = new Int32Array(events)
    this.threads.forEach(({ words, records }, thread) => {
      for (let record = 0; record < records; record++) {
        if (kindOf(words, record) === NodeRecordKind.Worker) continue
        threadAt[sequenceOf(words, record)] = thread
        recordAt[sequenceOf(words, record)] = record
      }
    })
    for (let event = 0; event < events; event++) {
      if (threadAt[event] === -1) this.recording.lose()
      else this.event(threadAt[event]!, recordAt[event]!)
    }
  }

  private event(thread: number, record: number): void {
    if (this.numbers[thread] === -1) this.numbers[thread] = this.numbered++
    const { words } = this.threads[thread]!
    const number = this.numbers[thread]!
    const at = record * RECORD_BYTES
    const block = words.getUint32(at + NodeRecord.Block * 4, true)
    const sizeAbove = words.getUint32(at + NodeRecord.Kind * 4, true) >>> 8
    const size = words.getUint32(at + NodeRecord.Size * 4, true) + sizeAbove * 2 ** 32
    this.apply(kindOf(words, record), number, thread * 2 ** 32 + block, size)
  }

  private apply(kind: NodeRecordKind, thread: number, block: number, size: number): void {
    const { recording } = this
    if (kind === NodeRecordKind.Malloc) recording.allocate(Operation.Malloc, thread, block, size)
    else if (kind === NodeRecordKind.Calloc) recording.allocate(Operation.Calloc, thread, block, size)
    else if (kind === NodeRecordKind.Free) recording.free(thread, block)
    else {
      const slot = recording.detach(block)
      // The record of its allocation was lost.
      if (slot === undefined) recording.allocate(Operation.Malloc, thread, block, size)
      else recording.reallocate(thread, slot, block, size)
    }
  }
}
