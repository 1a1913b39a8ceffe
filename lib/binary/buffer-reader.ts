import { checkCount } from '../base/arguments.ts'
import { AllocatorError, outOfRange, staleHandle } from '../base/errors.ts'
import { makePrintable, staysHere } from '../base/printed.ts'
import { NodeBuffer } from '../buffers/heap-view.ts'
import { Lease } from '../lifetime/lease.ts'
import { bytesUnder, lengthOfBytes } from './checks.ts'
import { leaseOfPart } from './lease-part.ts'
import { readText } from './text.ts'

const HALF_WORD = 2 ** 32
const NO_BYTES = new Uint8Array(0)

/**
 * Eight bytes, the highest first, to be read as something else. A DataView of the source would read them at once, but making one takes as
 * long as reading twenty doubles in this way.
 */
const wide = new DataView(new ArrayBuffer(8))

/** One symbol for all readers: making one takes 100 ns. */
const STAYS = staysHere('a BufferReader')
/** How many readers this thread has made. */
let made = 0

/**
 * Reads what a {@link BufferWriter} has written, or any other bytes, one behind the other. Nothing is copied: bytes are handed out as views.
 *
 * If the source is a lease, the reader is one of its users until it is closed: by `close` or by `using`. Views from `readBytes` are valid as
 * long as anyone keeps that lease; `readLease` gives a lease that keeps it.
 *
 * What reaches beyond the end is a RangeError `ERR_OUT_OF_RANGE`, and the position is as it was; so is a number that is too large for what
 * it is read as. After `close` every read is an AllocatorError `ERR_HEAP_STALE_HANDLE`.
 * @example
 * ```ts
 * import { BufferReader } from 'spanheap'
 *
 * const reader = new BufferReader(Buffer.from([1, 0, 3, 65, 66, 67]))
 * console.log(reader.readUInt16LE()) // 1
 * console.log(reader.readVarintString()) // ABC
 * console.log(reader.remaining) // 0
 * ```
 */
export class BufferReader implements Disposable {
  /** @internal */
  readonly notCloneable = STAYS
  /** Tells it from other readers of this thread. */
  readonly #number: number
  #bytes: Uint8Array
  /** Their memory, and where in it they begin, once a view of a part was asked for. */
  #memory: ArrayBuffer | undefined
  #offset = 0
  #position = 0
  /** The lease that it keeps. Undefined if the source is none, or the reader was closed. */
  #lease: Lease<ArrayBufferView> | undefined
  #isClosed = false

  static {
    makePrintable(BufferReader, 'BufferReader', (reader) => `${reader.#number}`)
  }

  /** @throws TypeError; AllocatorError `ERR_HEAP_STALE_HANDLE` if the lease has ended */
  constructor(source: Lease<ArrayBufferView> | ArrayBufferView) {
    const isLease = source instanceof Lease
    const view = isLease ? source.buffer : source
    const length = lengthOfBytes(view as Uint8Array)
    this.#bytes =
      length >= 0 && (view as Uint8Array).length === length ? (view as Uint8Array) : bytesUnder('source', view)
    this.#lease = isLease ? source.retain() : undefined
    made = (made + 1) | 0
    this.#number = made
  }

  /** How many bytes it reads. */
  get length(): number {
    return this.#bytes.length
  }

  /** How many bytes lie before the next one to be read. */
  get position(): number {
    return this.#position
  }

  /** How many are left to be read. */
  get remaining(): number {
    return Math.max(0, this.#bytes.length - this.#position)
  }

  /** The summary that `JSON.stringify`, loggers and `console.log` show. */
  toJSON(): object {
    return { position: this.position, length: this.length }
  }

  /** Goes on at another position, from 0 to `length`. */
  seek(position: number): void {
    this.checkUsable()
    if (checkCount('position', position) > this.length) throw outOfRange('position', `at most ${this.length}`, position)
    this.#position = position
  }

  /** Passes over some bytes. */
  skip(bytes: number): void {
    this.#position = this.endOf(bytes)
  }

  /** Reads an integer from 0 to 255. */
  readUInt8(): number {
    const bytes = this.#bytes
    const at = this.#position
    if (bytes[at + 0] === undefined) throw this.beyond(1)
    const value = bytes[at]!
    this.#position = at + 1
    return value
  }

  /** Reads an integer from -128 to 127. */
  readInt8(): number {
    const bytes = this.#bytes
    const at = this.#position
    if (bytes[at + 0] === undefined) throw this.beyond(1)
    const value = (bytes[at]! << 24) >> 24
    this.#position = at + 1
    return value
  }

  /** Reads an integer from 0 to 65535, lowest byte first. */
  readUInt16LE(): number {
    const bytes = this.#bytes
    const at = this.#position
    if (bytes[at + 1] === undefined) throw this.beyond(2)
    const value = bytes[at]! | (bytes[at + 1]! << 8)
    this.#position = at + 2
    return value
  }

  /** Reads an integer from 0 to 65535, highest byte first. */
  readUInt16BE(): number {
    const bytes = this.#bytes
    const at = this.#position
    if (bytes[at + 1] === undefined) throw this.beyond(2)
    const value = (bytes[at]! << 8) | bytes[at + 1]!
    this.#position = at + 2
    return value
  }

  /** Reads an integer from -32768 to 32767, lowest byte first. */
  readInt16LE(): number {
    const bytes = this.#bytes
    const at = this.#position
    if (bytes[at + 1] === undefined) throw this.beyond(2)
    const value = ((bytes[at + 1]! << 24) >> 16) | bytes[at]!
    this.#position = at + 2
    return value
  }

  /** Reads an integer from -32768 to 32767, highest byte first. */
  readInt16BE(): number {
    const bytes = this.#bytes
    const at = this.#position
    if (bytes[at + 1] === undefined) throw this.beyond(2)
    const value = ((bytes[at]! << 24) >> 16) | bytes[at + 1]!
    this.#position = at + 2
    return value
  }

  /** Reads an integer from 0 to 2^32 - 1, lowest byte first. */
  readUInt32LE(): number {
    const bytes = this.#bytes
    const at = this.#position
    if (bytes[at + 3] === undefined) throw this.beyond(4)
    const value = int32LE(bytes, at) >>> 0
    this.#position = at + 4
    return value
  }

  /** Reads an integer from 0 to 2^32 - 1, highest byte first. */
  readUInt32BE(): number {
    const bytes = this.#bytes
    const at = this.#position
    if (bytes[at + 3] === undefined) throw this.beyond(4)
    const value = int32BE(bytes, at) >>> 0
    this.#position = at + 4
    return value
  }

  /** Reads an integer from -2^31 to 2^31 - 1, lowest byte first. */
  readInt32LE(): number {
    const bytes = this.#bytes
    const at = this.#position
    if (bytes[at + 3] === undefined) throw this.beyond(4)
    const value = int32LE(bytes, at)
    this.#position = at + 4
    return value
  }

  /** Reads an integer from -2^31 to 2^31 - 1, highest byte first. */
  readInt32BE(): number {
    const bytes = this.#bytes
    const at = this.#position
    if (bytes[at + 3] === undefined) throw this.beyond(4)
    const value = int32BE(bytes, at)
    this.#position = at + 4
    return value
  }

  /** Reads an integer of 8 bytes, lowest byte first. @throws RangeError also if it is above 2^53 - 1 */
  readUInt64LE(): number {
    const bytes = this.#bytes
    const at = this.#position
    if (bytes[at + 7] === undefined) throw this.beyond(8)
    const value = checkSafe((int32LE(bytes, at + 4) >>> 0) * HALF_WORD + (int32LE(bytes, at) >>> 0))
    this.#position = at + 8
    return value
  }

  /** Reads an integer of 8 bytes, highest byte first. @throws RangeError also if it is above 2^53 - 1 */
  readUInt64BE(): number {
    const bytes = this.#bytes
    const at = this.#position
    if (bytes[at + 7] === undefined) throw this.beyond(8)
    const value = checkSafe((int32BE(bytes, at) >>> 0) * HALF_WORD + (int32BE(bytes, at + 4) >>> 0))
    this.#position = at + 8
    return value
  }

  /** Reads a signed integer of 8 bytes, lowest byte first. @throws RangeError also if it is beyond -2^53 + 1 or 2^53 - 1 */
  readInt64LE(): number {
    const bytes = this.#bytes
    const at = this.#position
    if (bytes[at + 7] === undefined) throw this.beyond(8)
    const value = checkSafe(int32LE(bytes, at + 4) * HALF_WORD + (int32LE(bytes, at) >>> 0))
    this.#position = at + 8
    return value
  }

  /** Reads a signed integer of 8 bytes, highest byte first. @throws RangeError also if it is beyond -2^53 + 1 or 2^53 - 1 */
  readInt64BE(): number {
    const bytes = this.#bytes
    const at = this.#position
    if (bytes[at + 7] === undefined) throw this.beyond(8)
    const value = checkSafe(int32BE(bytes, at) * HALF_WORD + (int32BE(bytes, at + 4) >>> 0))
    this.#position = at + 8
    return value
  }

  /** Reads a BigInt from 0 to 2^64 - 1, lowest byte first. */
  readBigUInt64LE(): bigint {
    const bytes = this.#bytes
    const at = this.#position
    if (bytes[at + 7] === undefined) throw this.beyond(8)
    const value = hold(int32LE(bytes, at + 4), int32LE(bytes, at)).getBigUint64(0)
    this.#position = at + 8
    return value
  }

  /** Reads a BigInt from 0 to 2^64 - 1, highest byte first. */
  readBigUInt64BE(): bigint {
    const bytes = this.#bytes
    const at = this.#position
    if (bytes[at + 7] === undefined) throw this.beyond(8)
    const value = hold(int32BE(bytes, at), int32BE(bytes, at + 4)).getBigUint64(0)
    this.#position = at + 8
    return value
  }

  /** Reads a BigInt from -2^63 to 2^63 - 1, lowest byte first. */
  readBigInt64LE(): bigint {
    const bytes = this.#bytes
    const at = this.#position
    if (bytes[at + 7] === undefined) throw this.beyond(8)
    const value = hold(int32LE(bytes, at + 4), int32LE(bytes, at)).getBigInt64(0)
    this.#position = at + 8
    return value
  }

  /** Reads a BigInt from -2^63 to 2^63 - 1, highest byte first. */
  readBigInt64BE(): bigint {
    const bytes = this.#bytes
    const at = this.#position
    if (bytes[at + 7] === undefined) throw this.beyond(8)
    const value = hold(int32BE(bytes, at), int32BE(bytes, at + 4)).getBigInt64(0)
    this.#position = at + 8
    return value
  }

  /** Reads a float of 4 bytes, lowest byte first. */
  readFloatLE(): number {
    const bytes = this.#bytes
    const at = this.#position
    if (bytes[at + 3] === undefined) throw this.beyond(4)
    const value = hold(int32LE(bytes, at), 0).getFloat32(0)
    this.#position = at + 4
    return value
  }

  /** Reads a float of 4 bytes, highest byte first. */
  readFloatBE(): number {
    const bytes = this.#bytes
    const at = this.#position
    if (bytes[at + 3] === undefined) throw this.beyond(4)
    const value = hold(int32BE(bytes, at), 0).getFloat32(0)
    this.#position = at + 4
    return value
  }

  /** Reads a float of 8 bytes, lowest byte first. */
  readDoubleLE(): number {
    const bytes = this.#bytes
    const at = this.#position
    if (bytes[at + 7] === undefined) throw this.beyond(8)
    const value = hold(int32LE(bytes, at + 4), int32LE(bytes, at)).getFloat64(0)
    this.#position = at + 8
    return value
  }

  /** Reads a float of 8 bytes, highest byte first. */
  readDoubleBE(): number {
    const bytes = this.#bytes
    const at = this.#position
    if (bytes[at + 7] === undefined) throw this.beyond(8)
    const value = hold(int32BE(bytes, at), int32BE(bytes, at + 4)).getFloat64(0)
    this.#position = at + 8
    return value
  }

  /** Reads a varint. @throws RangeError also if it is above 2^53 - 1, or has more than 64 bits */
  readVarint(): number {
    const value = this.shortVarint()
    return value >= 0 ? value : this.readLongVarint()
  }

  /** Reads a varint of a zigzag code. @throws RangeError also if it is beyond -2^53 + 1 or 2^53 - 1, or has more than 64 bits */
  readSignedVarint(): number {
    const code = this.shortVarint()
    if (code >= 0) return (code >>> 1) ^ -(code & 1)
    const end = this.parseVarint()
    const value = checkSafe(Number(unzigzag(wide.getBigUint64(0))))
    this.#position = end
    return value
  }

  /** Reads a varint as a BigInt. @throws RangeError also if it has more than 64 bits */
  readBigVarint(): bigint {
    this.#position = this.parseVarint()
    return wide.getBigUint64(0)
  }

  /** Reads a varint of a zigzag code as a BigInt. @throws RangeError also if it has more than 64 bits */
  readBigSignedVarint(): bigint {
    return unzigzag(this.readBigVarint())
  }

  /** Reads a text from so many bytes of UTF-8. What is no UTF-8 becomes U+FFFD. */
  readString(bytes: number): string {
    const end = this.endOf(bytes)
    const text = readText(this.#bytes, this.#position, end)
    this.#position = end
    return text
  }

  /** Reads a length as a varint, and a text from so many bytes. */
  readVarintString(): string {
    const start = this.#position
    const from = this.passLength()
    const end = this.#position
    this.#position = start
    const text = readText(this.#bytes, from, end)
    this.#position = end
    return text
  }

  /**
   * A Buffer over the next bytes: nothing is copied. If the source is a lease, it is valid as long as the lease is: while this reader is open,
   * or any other user has the lease. Afterwards it shows the memory's next contents.
   */
  readBytes(bytes: number): Buffer {
    const end = this.endOf(bytes)
    const part = this.part(this.#position, bytes)
    this.#position = end
    return part
  }

  /** Reads a length as a varint, and gives a Buffer over so many bytes, as `readBytes` does. */
  readVarintBytes(): Buffer {
    const from = this.passLength()
    return this.part(from, this.#position - from)
  }

  /**
   * A lease of the next bytes, which keeps the source's buffer until it is released. It can be held, retained and written as any other, but not
   * passed to another thread.
   * @throws AllocatorError `ERR_HEAP_UNSUPPORTED` if the source is no lease
   */
  readLease(bytes: number): Lease<Buffer> {
    const end = this.endOf(bytes)
    if (this.#lease === undefined) throw new AllocatorError('ERR_HEAP_UNSUPPORTED', 'the reader’s source is no lease')
    const lease = leaseOfPart(this.#lease, this.part(this.#position, bytes))
    this.#position = end
    return lease
  }

  /** Ends the reader, and its use of a lease. May be called again. */
  close(): void {
    const lease = this.#lease
    this.#lease = undefined
    this.#isClosed = true
    this.#bytes = NO_BYTES
    this.#memory = undefined
    this.#position = 0
    lease?.release()
  }

  /** For `using`: closes the reader. */
  [Symbol.dispose](): void {
    this.close()
  }

  private checkUsable(): void {
    if (this.#isClosed) throw staleHandle('the reader was closed')
  }

  /** The error for a read of so many bytes. */
  private beyond(bytes: number): Error {
    if (this.#isClosed) return staleHandle('the reader was closed')
    return outOfRange('bytes', `at most ${this.remaining}, which are left`, bytes)
  }

  /** Where so many bytes end. @throws TypeError, RangeError */
  private endOf(bytes: number): number {
    const end = this.#position + checkCount('bytes', bytes)
    if (end > this.#bytes.length || this.#isClosed) throw this.beyond(bytes)
    return end
  }

  /** A Buffer over bytes that are there. */
  private part(from: number, length: number): Buffer {
    if (this.#memory === undefined) {
      const { buffer, byteOffset } = this.#bytes
      this.#memory = buffer as ArrayBuffer
      this.#offset = byteOffset
    }
    return new NodeBuffer(this.#memory, this.#offset + from, length)
  }

  /** Passes over a length and what it is of, and returns where that begins. */
  private passLength(): number {
    const start = this.#position
    const length = this.readVarint()
    const from = this.#position
    if (length > this.#bytes.length - from) {
      this.#position = start
      throw this.beyond(from - start + length)
    }
    this.#position = from + length
    return from
  }

  /** Reads a varint of at most four bytes; -1 if it is longer, or cut off: what isn't there is not below 128. */
  private shortVarint(): number {
    const bytes = this.#bytes
    let at = this.#position
    let byte = bytes[at++]!
    let value = byte & 0x7f
    if (byte < 0x80) {
      this.#position = at
      return value
    }
    byte = bytes[at++]!
    value |= (byte & 0x7f) << 7
    if (byte < 0x80) {
      this.#position = at
      return value
    }
    byte = bytes[at++]!
    value |= (byte & 0x7f) << 14
    if (byte < 0x80) {
      this.#position = at
      return value
    }
    byte = bytes[at++]!
    value |= (byte & 0x7f) << 21
    if (byte < 0x80) {
      this.#position = at
      return value
    }
    return -1
  }

  private readLongVarint(): number {
    const end = this.parseVarint()
    const value = checkSafe(wide.getUint32(0) * HALF_WORD + wide.getUint32(4))
    this.#position = end
    return value
  }

  /** Puts a varint of any length into `wide`, and returns where it ends. */
  private parseVarint(): number {
    const bytes = this.#bytes
    let at = this.#position
    let low = 0
    let high = 0
    for (let shift = 0; shift < 70; shift += 7) {
      if (at >= bytes.length) throw this.beyond(at - this.#position + 1)
      const byte = bytes[at++]!
      const bits = byte & 0x7f
      if (shift < 32) low |= bits << shift
      if (shift === 28) high = bits >> 4
      if (shift > 28) high |= bits << (shift - 32)
      if (byte >= 0x80) continue
      if (shift === 63 && bits > 1) break
      hold(high, low)
      return at
    }
    throw outOfRange('the varint', 'one of at most 64 bits', 'a longer one')
  }
}

function int32LE(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
}

function int32BE(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!
}

/** Puts eight bytes, the higher four first, into a view of them. */
function hold(high: number, low: number): DataView {
  wide.setInt32(0, high)
  wide.setInt32(4, low)
  return wide
}

/** The integer of a zigzag code. */
function unzigzag(code: bigint): bigint {
  return code & 1n ? -(code >> 1n) - 1n : code >> 1n
}

/** @throws RangeError if a number that was read isn't exact */
function checkSafe(value: number): number {
  if (!Number.isSafeInteger(value)) throw outOfRange('the integer', 'from -2^53 + 1 to 2^53 - 1', value)
  return value
}
