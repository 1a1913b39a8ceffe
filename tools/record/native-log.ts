import { closeSync, openSync, readSync, writeSync } from 'node:fs'
import { Operation } from '../trace/trace.ts'
import type { Recording } from './recording.ts'

/** The log of tools/record/recorder/recorder.c. INVARIANT: the offsets, the numbers and the version are those there. */
const VERSION = 1
const HEADER_BYTES = 4096
const RECORD_BYTES = 16
const READ_BYTES = 2 ** 20

const enum Header {
  Version = 0,
  Owner = 4,
  Error = 12,
  Limit = 16,
  Next = 24,
}

const enum Kind {
  Unwritten = 0,
  Malloc = 1,
  Free = 2,
  ReallocBegins = 3,
  ReallocEnds = 4,
  Calloc = 5,
  Exec = 6,
}

/** What the header of a log says. */
export interface NativeLogEnd {
  /** The process that was recorded; 0 where none has loaded the recorder. */
  owner: number
  /** The number of the system's error that stopped the recorder; 0 for none. */
  errno: number
}

/** Makes an empty log that the recorder can fill. A realloc takes two records, so there may be twice as many as events. */
export function createNativeLog(path: string, events: number): void {
  const header = new DataView(new ArrayBuffer(HEADER_BYTES))
  header.setUint32(Header.Version, VERSION, true)
  header.setBigUint64(Header.Limit, BigInt(events) * 2n, true)
  const file = openSync(path, 'wx', 0o600)
  writeSync(file, header)
  closeSync(file)
}

/** Makes events of a log's records. Its program has ended, in whatever way. */
export function readNativeLog(path: string, recording: Recording): NativeLogEnd {
  const file = openSync(path, 'r')
  try {
    const header = new DataView(new ArrayBuffer(HEADER_BYTES))
    readSync(file, header, 0, HEADER_BYTES, 0)
    const claimed = header.getBigUint64(Header.Next, true)
    const limit = header.getBigUint64(Header.Limit, true)
    readRecords(file, Number(claimed < limit ? claimed : limit), recording)
    return { owner: header.getUint32(Header.Owner, true), errno: header.getUint32(Header.Error, true) }
  } finally {
    closeSync(file)
  }
}

function readRecords(file: number, records: number, recording: Recording): void {
  const reader = new RecordReader(recording)
  const bytes = new DataView(new ArrayBuffer(READ_BYTES))
  const end = HEADER_BYTES + records * RECORD_BYTES
  for (let position = HEADER_BYTES; position < end && !recording.isFull; ) {
    const got = readSync(file, bytes, 0, Math.min(READ_BYTES, end - position), position)
    if (got < RECORD_BYTES) break
    for (let at = 0; at + RECORD_BYTES <= got; at += RECORD_BYTES) reader.take(bytes, at)
    position += got - (got % RECORD_BYTES)
  }
  reader.finish()
}

/** A block that a thread is about to reallocate. */
interface Moving {
  block: number
  /** Undefined: nobody has seen it. */
  slot: number | undefined
}

/** Reads records in their order. */
class RecordReader {
  private readonly recording: Recording
  private readonly moving = new Map<number, Moving>() // by thread

  constructor(recording: Recording) {
    this.recording = recording
  }

  take(bytes: DataView, at: number): void {
    const { recording } = this
    const low = bytes.getUint32(at, true)
    const block = bytes.getUint32(at + 4, true) * 2 ** 16 + (low >>> 16)
    const size = bytes.getUint32(at + 8, true)
    const thread = bytes.getUint32(at + 12, true)
    const kind: Kind = low & 0xff
    if (kind === Kind.Malloc) recording.allocate(Operation.Malloc, thread, block, size, (low >>> 8) & 0xff)
    else if (kind === Kind.Free) recording.free(thread, block)
    else if (kind === Kind.Calloc) recording.allocate(Operation.Calloc, thread, block, size)
    else if (kind === Kind.ReallocBegins) this.begin(thread, block)
    else if (kind === Kind.ReallocEnds) this.moved(thread, block, size)
    else if (kind === Kind.Exec) this.exec(thread)
    else recording.lose()
  }

  /** What was on its way when the program ended stays where it was. */
  finish(): void {
    for (const thread of [...this.moving.keys()]) this.keep(thread)
  }

  private begin(thread: number, block: number): void {
    this.keep(thread) // of a call whose end was lost
    this.moving.set(thread, { block, slot: this.recording.detach(block) })
  }

  /** The block that a thread was about to reallocate stays where it was. */
  private keep(thread: number): void {
    const from = this.moving.get(thread)
    this.moving.delete(thread)
    if (from?.slot !== undefined) this.recording.keep(thread, from.block, from.slot)
  }

  private moved(thread: number, block: number, size: number): void {
    const { recording } = this
    if (block === 0 && size > 0) {
      this.keep(thread)
      return
    }
    const slot = this.moving.get(thread)?.slot
    this.moving.delete(thread)
    if (block === 0) {
      if (slot !== undefined) recording.freeSlot(thread, slot)
    } else if (slot === undefined) {
      recording.allocate(Operation.Malloc, thread, block, size) // to the trace, a block that nobody has seen begins here
    } else {
      recording.reallocate(thread, slot, block, size)
    }
  }

  private exec(thread: number): void {
    this.finish()
    this.recording.endAll(thread)
  }
}
