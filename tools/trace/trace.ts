import { constants as buffers } from 'node:buffer'
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { constants, gunzipSync } from 'node:zlib'
import { AllocatorError } from 'spanheap'
import { Mtrc } from './format.ts'

/**
 * Allocation traces: what a real program asked of malloc, in order. docs/traces.md describes the format (MTRC, version 1)
 * and how the ones in traces/ were recorded.
 */

/** A slot that is used takes an event. So many may be unused before the header counts as wrong: they take memory here. */
const MOST_IDLE_SLOTS = 2 ** 20

/** So much of a packed file is unpacked to see its header. */
const PEEKED_BYTES = 4096
/** A packed file may go on behind its last event by this much. A megabyte can unpack to a gigabyte: it is refused before. */
const MOST_TRAILING_BYTES = 2 ** 20

/** What an event asks for. */
export const enum Operation {
  Malloc = 0,
  Free = 1,
  Realloc = 2,
  Calloc = 3,
  /** In memory only: a malloc of the file that asks for an alignment. */
  AlignedMalloc = 4,
}

/** A trace, event by event, in columns. */
export interface Trace {
  name: string
  threads: number
  /** Blocks that can be live at once; each event names one. */
  slots: number
  events: number
  operation: Uint8Array
  /** The thread that made the call, from 0. */
  thread: Uint8Array
  /** log2 of the alignment asked for; 0 is the allocator's default. */
  alignmentLog2: Uint8Array
  slot: Int32Array
  /** Bytes asked for; 0 for a free. In 32 signed bits where all fit: to V8 a small integer, as a program's sizes are. */
  size: Int32Array | Float64Array
  /** The highest sum of the live blocks' sizes, and the event that reached it. */
  peakLiveBytes: number
  peakEvent: number
}

/**
 * Reads and checks a trace.
 * @param most read only this many events
 * @throws AllocatorError `ERR_TRACE_INVALID` with the offset in the unpacked file of what is wrong
 */
export function readTrace(path: string, most = Number.POSITIVE_INFINITY): Trace {
  const bytes = unpack(path)
  const words = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const word = (index: number): number => words.getUint32(index * 4, true)
  if (bytes.length < Mtrc.HeaderWords * 4) throw invalid(path, bytes.length, 'the header is cut short')
  if (word(0) !== Mtrc.Magic) throw invalid(path, 0, 'it is no trace: the magic number is wrong')
  if (word(1) !== Mtrc.Version) throw invalid(path, 4, `its version is ${word(1)}, not ${Mtrc.Version}`)
  const [threads, slots, recorded] = [word(2), word(3), word(4)]
  if (bytes.length < (Mtrc.HeaderWords + recorded * Mtrc.RecordWords) * 4) {
    throw invalid(path, bytes.length, `it is cut short: the header promises ${recorded} events`)
  }
  if (slots > recorded + MOST_IDLE_SLOTS) throw invalid(path, 12, `it promises ${slots} slots for ${recorded} events`)
  const events = Math.min(recorded, most)
  const trace: Trace = {
    name: basename(path).replace(/\.mtrc(\.gz)?$/, ''),
    threads,
    slots,
    events,
    operation: new Uint8Array(events),
    thread: new Uint8Array(events),
    alignmentLog2: new Uint8Array(events),
    slot: new Int32Array(events),
    size: new Float64Array(events),
    peakLiveBytes: 0,
    peakEvent: 0,
  }
  const live = new LiveBlocks(trace)
  for (let event = 0; event < events; event++) {
    const at = Mtrc.HeaderWords + event * Mtrc.RecordWords
    const first = word(at)
    trace.operation[event] = first & 0xff
    trace.thread[event] = (first >>> 8) & 0xff
    trace.alignmentLog2[event] = (first >>> 16) & 0xff
    trace.slot[event] = word(at + 1)
    trace.size[event] = word(at + 2)
    const fault = faultOf(trace, event, word(at + 1)) ?? live.apply(event)
    if (fault !== undefined) throw invalid(path, at * 4, `event ${event} ${fault}`)
    if (trace.alignmentLog2[event] !== 0 && trace.operation[event] === Operation.Malloc) {
      trace.operation[event] = Operation.AlignedMalloc
    }
  }
  if (trace.size.every((size) => size < 2 ** 31)) trace.size = Int32Array.from(trace.size)
  return trace
}

/** Keeps count of what is live, and says what an event may not do. */
class LiveBlocks {
  private readonly trace: Trace
  private readonly sizes: Float64Array // of the block in each slot; -1 where it is empty
  private bytes = 0

  constructor(trace: Trace) {
    this.trace = trace
    this.sizes = new Float64Array(trace.slots).fill(-1)
  }

  apply(event: number): string | undefined {
    const { trace, sizes } = this
    const slot = trace.slot[event]!
    const operation = trace.operation[event]!
    const before = sizes[slot]!
    const takes = operation !== Operation.Free && operation !== Operation.Realloc
    if (takes && before >= 0) return `allocates into slot ${slot}, which is full`
    if (!takes && before < 0)
      return `${operation === Operation.Free ? 'frees' : 'reallocates'} slot ${slot}, which is empty`
    const after = operation === Operation.Free ? -1 : trace.size[event]!
    this.bytes += Math.max(0, after) - Math.max(0, before)
    sizes[slot] = after
    if (this.bytes > trace.peakLiveBytes) {
      trace.peakLiveBytes = this.bytes
      trace.peakEvent = event
    }
    return undefined
  }
}

function faultOf(trace: Trace, event: number, slot: number): string | undefined {
  if (trace.operation[event]! > Operation.Calloc) return `has the unknown operation ${trace.operation[event]}`
  if (trace.thread[event]! >= trace.threads) return `is of thread ${trace.thread[event]}, of ${trace.threads}`
  if (slot >= trace.slots) return `names slot ${slot}, of ${trace.slots}`
  if (trace.alignmentLog2[event]! > Mtrc.MostAlignmentLog2)
    return `asks for an alignment of 2^${trace.alignmentLog2[event]}`
  return undefined
}

function read(path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (cause) {
    throw new AllocatorError('ERR_TRACE_INVALID', `${path}: it can't be read (${(cause as Error).message})`, { cause })
  }
}

function unpack(path: string): Buffer {
  const packed = read(path)
  const gzipped = packed[0] === 0x1f && packed[1] === 0x8b
  if (!gzipped) return packed
  let maxOutputLength = MOST_TRAILING_BYTES
  try {
    const head = gunzipSync(packed.subarray(0, PEEKED_BYTES), { finishFlush: constants.Z_SYNC_FLUSH })
    maxOutputLength = Math.min(endOfEvents(head) + MOST_TRAILING_BYTES, buffers.MAX_LENGTH)
    return gunzipSync(packed, { maxOutputLength })
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    if (code === 'ERR_BUFFER_TOO_LARGE') throw invalid(path, maxOutputLength, 'it goes on far behind its last event')
    if (code === 'Z_BUF_ERROR') {
      const whole = gunzipSync(packed, { finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength }).length
      throw invalid(path, whole, 'the packed file is cut short')
    }
    throw new AllocatorError('ERR_TRACE_INVALID', `${path}: it can't be unpacked (${message})`, { cause })
  }
}

/** Where a trace that begins like this ends, by its header; 0 where it is none. */
function endOfEvents(head: Buffer): number {
  const hasHeader = head.length >= Mtrc.HeaderWords * 4 && head.readUInt32LE(0) === Mtrc.Magic
  return hasHeader ? (Mtrc.HeaderWords + head.readUInt32LE(16) * Mtrc.RecordWords) * 4 : 0
}

function invalid(path: string, offset: number, message: string): AllocatorError {
  return new AllocatorError('ERR_TRACE_INVALID', `${path}: at offset ${offset}: ${message}`)
}
