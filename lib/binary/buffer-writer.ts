import { Buffer } from 'node:buffer'
import { checkCount, checkOptions, type OptionNames } from '../base/arguments.ts'
import { outOfRange, staleHandle, wrongType } from '../base/errors.ts'
import { makePrintable, staysHere } from '../base/printed.ts'
import { checkHeap, type HostHeap } from '../lifetime/host.ts'
import type { Lease } from '../lifetime/lease.ts'
import { bytesUnder, LEAST_INT64, lengthOfBytes, MOST_INT64, MOST_UINT64, wrongBigInt, wrongInteger } from './checks.ts'
import { MOST_UNIT_BYTES, writeText } from './text.ts'
import { Varint, writeLengthBefore, writeVarint, writeVarint32, writeVarint64 } from './varint.ts'
import { NOTHING, type WriterBlock, WriterBlocks } from './writer-block.ts'

/** How a writer is made. */
export interface WriterOptions {
  /**
   * The heap that its memory is from.
   * @default one of this thread's, for all writers that are made without
   */
  heap?: HostHeap
  /**
   * How many bytes are likely to be written. The first write takes a block of so many. It grows if they were too few, and `finish` cuts it
   * if they were too many.
   * @default 1024
   */
  sizeHint?: number
}

const WRITER_OPTIONS: OptionNames<WriterOptions> = { heap: true, sizeHint: true }
const DEFAULT_HINT = 1024

/** Up to this many units a text is written before its length, which then likely takes one byte. */
const MOST_SHORT_TEXT = 127
const HALF_WORD = 2 ** 32

/** A BigInt, to be written as two halves. */
const wide = new DataView(new ArrayBuffer(8))

/** One symbol for all writers: making one takes 100 ns. */
const STAYS = staysHere('a BufferWriter', ': send what finish().pass() gives')
/** How many writers this thread has made. */
let made = 0

/**
 * Writes numbers, texts and bytes one behind the other into a block of a heap, which grows as needed, and ends in a lease of exactly what
 * was written. The names are those of Node's Buffer: `LE` is the lowest byte first, `BE` the highest.
 *
 * A writer can be used again after `finish`, and then costs least: so keep one for all messages of a kind. What was begun and not finished is
 * freed by `close`, by `using`, or after V8 has collected the writer.
 *
 * Every call checks its arguments, and after any error the writer is as it was: a value of the wrong type is a TypeError
 * `ERR_INVALID_ARG_TYPE`, one out of range, a fraction for an integer too, a RangeError `ERR_OUT_OF_RANGE`. If there is no memory to grow,
 * it is an AllocatorError `ERR_HEAP_OUT_OF_MEMORY`; after the heap was closed `ERR_HEAP_CLOSED`, after the writer was `ERR_HEAP_STALE_HANDLE`.
 * @example
 * ```ts
 * import { BufferReader, BufferWriter } from 'spanheap'
 *
 * using writer = new BufferWriter()
 * writer.writeUInt8(1)
 * writer.writeVarint(300) // 2 bytes
 * writer.writeVarintString('häuser') // its length, then 7 bytes
 * using message = writer.finish()
 * console.log(message.buffer.length) // 11
 *
 * using reader = new BufferReader(message)
 * console.log(reader.readUInt8(), reader.readVarint(), reader.readVarintString()) // 1 300 häuser
 * ```
 */
export class BufferWriter implements Disposable {
  /** @internal */
  readonly notCloneable = STAYS
  /** Tells it from other writers of this thread. */
  readonly #number: number
  readonly #blocks: WriterBlocks
  readonly #sizeHint: number
  #block: WriterBlock = NOTHING
  #isClosed = false

  static {
    makePrintable(BufferWriter, 'BufferWriter', (writer) => `${writer.#number}`)
  }

  /** Nothing is allocated before the first write. @throws TypeError, RangeError, AllocatorError `ERR_HEAP_CLOSED` */
  constructor(options: WriterOptions = {}) {
    checkOptions(options, WRITER_OPTIONS)
    const { heap, sizeHint } = options
    this.#sizeHint = sizeHint === undefined ? DEFAULT_HINT : checkCount('sizeHint', sizeHint)
    this.#blocks = heap === undefined ? WriterBlocks.common() : WriterBlocks.of(checkHeap(heap))
    made = (made + 1) | 0
    this.#number = made
  }

  /** How many bytes were written since the last `finish` or `reset`. */
  get length(): number {
    return this.#block.length
  }

  /** The summary that `JSON.stringify`, loggers and `console.log` show. */
  toJSON(): object {
    return { length: this.length }
  }

  /** Writes an integer from 0 to 255. */
  writeUInt8(value: number): void {
    if (typeof value !== 'number' || (value & 0xff) !== value) throw wrongInteger('value', value, 0, 0xff)
    let block = this.#block
    if (block.length + 1 > block.room) block = this.grown(1)
    const at = block.length
    block.bytes[at] = value
    block.length = at + 1
  }

  /** Writes an integer from -128 to 127. */
  writeInt8(value: number): void {
    if (typeof value !== 'number' || (value << 24) >> 24 !== value) throw wrongInteger('value', value, -0x80, 0x7f)
    let block = this.#block
    if (block.length + 1 > block.room) block = this.grown(1)
    const at = block.length
    block.bytes[at] = value
    block.length = at + 1
  }

  /** Writes an integer from 0 to 65535, lowest byte first. */
  writeUInt16LE(value: number): void {
    if (typeof value !== 'number' || (value & 0xffff) !== value) throw wrongInteger('value', value, 0, 0xffff)
    let block = this.#block
    if (block.length + 2 > block.room) block = this.grown(2)
    const at = block.length
    block.view.setUint16(at, value, true)
    block.length = at + 2
  }

  /** Writes an integer from 0 to 65535, highest byte first. */
  writeUInt16BE(value: number): void {
    if (typeof value !== 'number' || (value & 0xffff) !== value) throw wrongInteger('value', value, 0, 0xffff)
    let block = this.#block
    if (block.length + 2 > block.room) block = this.grown(2)
    const at = block.length
    block.view.setUint16(at, value, false)
    block.length = at + 2
  }

  /** Writes an integer from -32768 to 32767, lowest byte first. */
  writeInt16LE(value: number): void {
    if (typeof value !== 'number' || (value << 16) >> 16 !== value) throw wrongInteger('value', value, -0x8000, 0x7fff)
    let block = this.#block
    if (block.length + 2 > block.room) block = this.grown(2)
    const at = block.length
    block.view.setInt16(at, value, true)
    block.length = at + 2
  }

  /** Writes an integer from -32768 to 32767, highest byte first. */
  writeInt16BE(value: number): void {
    if (typeof value !== 'number' || (value << 16) >> 16 !== value) throw wrongInteger('value', value, -0x8000, 0x7fff)
    let block = this.#block
    if (block.length + 2 > block.room) block = this.grown(2)
    const at = block.length
    block.view.setInt16(at, value, false)
    block.length = at + 2
  }

  /** Writes an integer from 0 to 2^32 - 1, lowest byte first. */
  writeUInt32LE(value: number): void {
    if (typeof value !== 'number' || value >>> 0 !== value) throw wrongInteger('value', value, 0, 0xffff_ffff)
    let block = this.#block
    if (block.length + 4 > block.room) block = this.grown(4)
    const at = block.length
    block.view.setUint32(at, value, true)
    block.length = at + 4
  }

  /** Writes an integer from 0 to 2^32 - 1, highest byte first. */
  writeUInt32BE(value: number): void {
    if (typeof value !== 'number' || value >>> 0 !== value) throw wrongInteger('value', value, 0, 0xffff_ffff)
    let block = this.#block
    if (block.length + 4 > block.room) block = this.grown(4)
    const at = block.length
    block.view.setUint32(at, value, false)
    block.length = at + 4
  }

  /** Writes an integer from -2^31 to 2^31 - 1, lowest byte first. */
  writeInt32LE(value: number): void {
    if (typeof value !== 'number' || (value | 0) !== value)
      throw wrongInteger('value', value, -0x8000_0000, 0x7fff_ffff)
    let block = this.#block
    if (block.length + 4 > block.room) block = this.grown(4)
    const at = block.length
    block.view.setInt32(at, value, true)
    block.length = at + 4
  }

  /** Writes an integer from -2^31 to 2^31 - 1, highest byte first. */
  writeInt32BE(value: number): void {
    if (typeof value !== 'number' || (value | 0) !== value)
      throw wrongInteger('value', value, -0x8000_0000, 0x7fff_ffff)
    let block = this.#block
    if (block.length + 4 > block.room) block = this.grown(4)
    const at = block.length
    block.view.setInt32(at, value, false)
    block.length = at + 4
  }

  /** Writes an integer from 0 to 2^53 - 1 in 8 bytes, lowest byte first. */
  writeUInt64LE(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) throw wrongInteger('value', value, 0, Number.MAX_SAFE_INTEGER)
    let block = this.#block
    if (block.length + 8 > block.room) block = this.grown(8)
    const at = block.length
    const low = value >>> 0
    block.view.setUint32(at, low, true)
    block.view.setUint32(at + 4, (value - low) / HALF_WORD, true)
    block.length = at + 8
  }

  /** Writes an integer from 0 to 2^53 - 1 in 8 bytes, highest byte first. */
  writeUInt64BE(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) throw wrongInteger('value', value, 0, Number.MAX_SAFE_INTEGER)
    let block = this.#block
    if (block.length + 8 > block.room) block = this.grown(8)
    const at = block.length
    const low = value >>> 0
    block.view.setUint32(at + 4, low, false)
    block.view.setUint32(at, (value - low) / HALF_WORD, false)
    block.length = at + 8
  }

  /** Writes an integer from -2^53 + 1 to 2^53 - 1 in 8 bytes, lowest byte first. */
  writeInt64LE(value: number): void {
    if (!Number.isSafeInteger(value))
      throw wrongInteger('value', value, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)
    let block = this.#block
    if (block.length + 8 > block.room) block = this.grown(8)
    const at = block.length
    const low = value >>> 0
    block.view.setUint32(at, low, true)
    block.view.setInt32(at + 4, (value - low) / HALF_WORD, true)
    block.length = at + 8
  }

  /** Writes an integer from -2^53 + 1 to 2^53 - 1 in 8 bytes, highest byte first. */
  writeInt64BE(value: number): void {
    if (!Number.isSafeInteger(value))
      throw wrongInteger('value', value, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)
    let block = this.#block
    if (block.length + 8 > block.room) block = this.grown(8)
    const at = block.length
    const low = value >>> 0
    block.view.setUint32(at + 4, low, false)
    block.view.setInt32(at, (value - low) / HALF_WORD, false)
    block.length = at + 8
  }

  /** Writes a BigInt from 0 to 2^64 - 1, lowest byte first. */
  writeBigUInt64LE(value: bigint): void {
    if (typeof value !== 'bigint' || BigInt.asUintN(64, value) !== value) throw wrongBigInt(value, 0n, MOST_UINT64)
    let block = this.#block
    if (block.length + 8 > block.room) block = this.grown(8)
    const at = block.length
    block.view.setBigUint64(at, value, true)
    block.length = at + 8
  }

  /** Writes a BigInt from 0 to 2^64 - 1, highest byte first. */
  writeBigUInt64BE(value: bigint): void {
    if (typeof value !== 'bigint' || BigInt.asUintN(64, value) !== value) throw wrongBigInt(value, 0n, MOST_UINT64)
    let block = this.#block
    if (block.length + 8 > block.room) block = this.grown(8)
    const at = block.length
    block.view.setBigUint64(at, value, false)
    block.length = at + 8
  }

  /** Writes a BigInt from -2^63 to 2^63 - 1, lowest byte first. */
  writeBigInt64LE(value: bigint): void {
    if (typeof value !== 'bigint' || BigInt.asIntN(64, value) !== value)
      throw wrongBigInt(value, LEAST_INT64, MOST_INT64)
    let block = this.#block
    if (block.length + 8 > block.room) block = this.grown(8)
    const at = block.length
    block.view.setBigInt64(at, value, true)
    block.length = at + 8
  }

  /** Writes a BigInt from -2^63 to 2^63 - 1, highest byte first. */
  writeBigInt64BE(value: bigint): void {
    if (typeof value !== 'bigint' || BigInt.asIntN(64, value) !== value)
      throw wrongBigInt(value, LEAST_INT64, MOST_INT64)
    let block = this.#block
    if (block.length + 8 > block.room) block = this.grown(8)
    const at = block.length
    block.view.setBigInt64(at, value, false)
    block.length = at + 8
  }

  /** Writes a number as a float of 4 bytes, lowest byte first. */
  writeFloatLE(value: number): void {
    if (typeof value !== 'number') throw wrongType('value', 'a number', value)
    let block = this.#block
    if (block.length + 4 > block.room) block = this.grown(4)
    const at = block.length
    block.view.setFloat32(at, value, true)
    block.length = at + 4
  }

  /** Writes a number as a float of 4 bytes, highest byte first. */
  writeFloatBE(value: number): void {
    if (typeof value !== 'number') throw wrongType('value', 'a number', value)
    let block = this.#block
    if (block.length + 4 > block.room) block = this.grown(4)
    const at = block.length
    block.view.setFloat32(at, value, false)
    block.length = at + 4
  }

  /** Writes a number in 8 bytes, as it is, lowest byte first. */
  writeDoubleLE(value: number): void {
    if (typeof value !== 'number') throw wrongType('value', 'a number', value)
    let block = this.#block
    if (block.length + 8 > block.room) block = this.grown(8)
    const at = block.length
    block.view.setFloat64(at, value, true)
    block.length = at + 8
  }

  /** Writes a number in 8 bytes, as it is, highest byte first. */
  writeDoubleBE(value: number): void {
    if (typeof value !== 'number') throw wrongType('value', 'a number', value)
    let block = this.#block
    if (block.length + 8 > block.room) block = this.grown(8)
    const at = block.length
    block.view.setFloat64(at, value, false)
    block.length = at + 8
  }

  /** Writes an integer from 0 to 2^53 - 1 as a varint (unsigned LEB128, as in Protocol Buffers): one byte for each 7 bits. */
  writeVarint(value: number): void {
    const block = this.#block
    const at = block.length
    if (typeof value !== 'number' || (value & 0x7f) !== value || at >= block.room) {
      this.writeLongVarint(value)
      return
    }
    block.bytes[at] = value
    block.length = at + 1
  }

  /**
   * Writes an integer from -2^53 + 1 to 2^53 - 1 as a varint of its zigzag code (0, -1, 1, -2, …), so that what is near 0 is short.
   */
  writeSignedVarint(value: number): void {
    if (typeof value === 'number' && (value | 0) === value) this.writeVarint(((value << 1) ^ (value >> 31)) >>> 0)
    else if (Number.isSafeInteger(value)) this.writeBigSignedVarint(BigInt(value))
    else throw wrongInteger('value', value, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)
  }

  /** Writes a BigInt from 0 to 2^64 - 1 as a varint. */
  writeBigVarint(value: bigint): void {
    if (typeof value !== 'bigint' || BigInt.asUintN(64, value) !== value) throw wrongBigInt(value, 0n, MOST_UINT64)
    let block = this.#block
    if (block.length + Varint.Most64 > block.room) block = this.grown(Varint.Most64)
    wide.setBigUint64(0, value)
    block.length = writeVarint64(block.bytes, block.length, wide.getInt32(4), wide.getInt32(0))
  }

  /** Writes a BigInt from -2^63 to 2^63 - 1 as a varint of its zigzag code. */
  writeBigSignedVarint(value: bigint): void {
    if (typeof value !== 'bigint' || BigInt.asIntN(64, value) !== value)
      throw wrongBigInt(value, LEAST_INT64, MOST_INT64)
    this.writeBigVarint(value < 0n ? -2n * value - 1n : 2n * value)
  }

  /** Writes a text as UTF-8, without its length, and returns how many bytes that took. Half a surrogate pair becomes U+FFFD. */
  writeString(value: string): number {
    if (typeof value !== 'string') throw wrongType('value', 'a string', value)
    let block = this.#block
    if (block.length + value.length * MOST_UNIT_BYTES > block.room) block = this.grownFor(value)
    const at = block.length
    block.length = writeText(block.bytes, at, value)
    return block.length - at
  }

  /** Writes how many bytes a text takes in UTF-8, as a varint, then the text. Returns how many bytes it all took. */
  writeVarintString(value: string): number {
    if (typeof value !== 'string') throw wrongType('value', 'a string', value)
    if (value.length > MOST_SHORT_TEXT) return this.writeLongText(value)
    const most = value.length * MOST_UNIT_BYTES + 2
    let block = this.#block
    if (block.length + most > block.room) block = this.grown(most)
    const at = block.length
    block.length = writeLengthBefore(block.bytes, at, writeText(block.bytes, at + 1, value))
    return block.length - at
  }

  /** Copies bytes: of a typed array or a DataView, as they are in memory. */
  writeBytes(bytes: ArrayBufferView): void {
    const length = lengthOfBytes(bytes as Uint8Array)
    if (length < 0) {
      this.writeBytes(bytesUnder('bytes', bytes))
      return
    }
    let block = this.#block
    if (block.length + length > block.room) block = this.grown(length)
    const at = block.length
    copy(bytes as Uint8Array, length, block.bytes, at)
    block.length = at + length
  }

  /** Writes how many bytes there are, as a varint, then copies them. */
  writeVarintBytes(bytes: ArrayBufferView): void {
    const length = lengthOfBytes(bytes as Uint8Array)
    if (length < 0) {
      this.writeVarintBytes(bytesUnder('bytes', bytes))
      return
    }
    let block = this.#block
    if (block.length + length + Varint.Most53 > block.room) block = this.grown(length + Varint.Most53)
    const at = writeVarint(block.bytes, block.length, length)
    copy(bytes as Uint8Array, length, block.bytes, at)
    block.length = at + length
  }

  /** Writes `bytes` zeros and returns where they begin, for a `patch` call: for a length that isn't known yet, say. */
  reserve(bytes: number): number {
    checkCount('bytes', bytes)
    let block = this.#block
    if (block.length + bytes > block.room) block = this.grown(bytes)
    const at = block.length
    block.bytes.fill(0, at, at + bytes)
    block.length = at + bytes
    return at
  }

  /** Writes zeros until `length` is a multiple of a number. */
  align(multiple: number): void {
    if (checkCount('multiple', multiple) === 0) throw outOfRange('multiple', 'above 0', multiple)
    const over = this.length % multiple
    if (over > 0) this.reserve(multiple - over)
  }

  /** Overwrites one written byte by an integer from 0 to 255. @param at its distance from the first */
  patchUInt8(at: number, value: number): void {
    if (typeof value !== 'number' || (value & 0xff) !== value) throw wrongInteger('value', value, 0, 0xff)
    this.written(at, 1).setUint8(at, value)
  }

  /** Overwrites two written bytes by an integer from 0 to 65535, lowest byte first. */
  patchUInt16LE(at: number, value: number): void {
    if (typeof value !== 'number' || (value & 0xffff) !== value) throw wrongInteger('value', value, 0, 0xffff)
    this.written(at, 2).setUint16(at, value, true)
  }

  /** Overwrites two written bytes by an integer from 0 to 65535, highest byte first. */
  patchUInt16BE(at: number, value: number): void {
    if (typeof value !== 'number' || (value & 0xffff) !== value) throw wrongInteger('value', value, 0, 0xffff)
    this.written(at, 2).setUint16(at, value, false)
  }

  /** Overwrites four written bytes by an integer from 0 to 2^32 - 1, lowest byte first. */
  patchUInt32LE(at: number, value: number): void {
    if (typeof value !== 'number' || value >>> 0 !== value) throw wrongInteger('value', value, 0, 0xffff_ffff)
    this.written(at, 4).setUint32(at, value, true)
  }

  /** Overwrites four written bytes by an integer from 0 to 2^32 - 1, highest byte first. */
  patchUInt32BE(at: number, value: number): void {
    if (typeof value !== 'number' || value >>> 0 !== value) throw wrongInteger('value', value, 0, 0xffff_ffff)
    this.written(at, 4).setUint32(at, value, false)
  }

  /** Overwrites written bytes by others. */
  patchBytes(at: number, bytes: ArrayBufferView): void {
    const length = lengthOfBytes(bytes as Uint8Array)
    if (length < 0) {
      this.patchBytes(at, bytesUnder('bytes', bytes))
      return
    }
    this.written(at, length)
    copy(bytes as Uint8Array, length, this.#block.bytes, at)
  }

  /**
   * Puts the number of bytes behind a reserved byte in its place, as a varint: for a part whose length is known only once it is written. If
   * that takes more than the one byte, what is behind it moves.
   * @param at what `reserve(1)` returned
   */
  patchVarintLength(at: number): void {
    this.written(at, 1)
    let block = this.#block
    if (block.length + Varint.Most53 > block.room) block = this.grown(Varint.Most53)
    block.length = writeLengthBefore(block.bytes, at, block.length)
  }

  /** Drops what was written since the last `finish`, and keeps the block for what comes. */
  reset(): void {
    this.checkUsable()
    if (this.#block !== NOTHING) this.#block.length = 0
  }

  /**
   * A lease of what was written, exactly: the block is the lease's, and the writer is empty, ready for the next. If less than half of a block
   * was used, it is cut or moved to a shorter one, if there is memory for that.
   */
  finish(): Lease<Buffer<ArrayBuffer>> {
    this.checkUsable()
    const block = this.#block === NOTHING ? this.grown(0) : this.#block
    const lease = block.finish()
    this.#block = NOTHING
    this.#blocks.giveBack(block)
    return lease
  }

  /** Frees what was written and not finished, and ends the writer. May be called again. */
  close(): void {
    this.#isClosed = true
    const block = this.#block
    if (block === NOTHING) return
    block.free()
    this.#block = NOTHING
    this.#blocks.giveBack(block)
  }

  /** For `using`: closes the writer. */
  [Symbol.dispose](): void {
    this.close()
  }

  private checkUsable(): void {
    if (this.#isClosed) throw staleHandle('the writer was closed')
  }

  /** The block, with room for `more` bytes. */
  private grown(more: number): WriterBlock {
    this.checkUsable()
    if (this.#block === NOTHING) this.#block = this.#blocks.take(Math.max(this.#sizeHint, more))
    else this.#block.grow(more)
    return this.#block
  }

  /** The block, with room for a text. The length of a long one is worth counting. */
  private grownFor(text: string): WriterBlock {
    const most = text.length * MOST_UNIT_BYTES
    return this.grown(most <= DEFAULT_HINT ? most : Buffer.byteLength(text))
  }

  /** The block's view, of which some bytes were written. @throws TypeError, RangeError if they weren't, AllocatorError */
  private written(at: number, bytes: number): DataView {
    this.checkUsable()
    const block = this.#block
    const most = block.length - bytes
    if (!Number.isInteger(at) || at < 0 || at > most) throw wrongInteger('at', at, 0, Math.max(0, most))
    if (block.room < 0) block.grow(0)
    return block.view
  }

  /** A varint that may take more than one byte. So the usual one is short, and V8 inlines more of them. */
  private writeLongVarint(value: number): void {
    if (typeof value !== 'number' || value >>> 0 !== value) {
      this.writeVarint53(value)
      return
    }
    let block = this.#block
    if (block.length + Varint.Most32 > block.room) block = this.grown(Varint.Most32)
    block.length = writeVarint32(block.bytes, block.length, value >>> 0)
  }

  private writeVarint53(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) throw wrongInteger('value', value, 0, Number.MAX_SAFE_INTEGER)
    let block = this.#block
    if (block.length + Varint.Most53 > block.room) block = this.grown(Varint.Most53)
    block.length = writeVarint(block.bytes, block.length, value)
  }

  private writeLongText(value: string): number {
    const length = Buffer.byteLength(value)
    let block = this.#block
    if (block.length + length + Varint.Most53 > block.room) block = this.grown(length + Varint.Most53)
    const at = block.length
    block.length = writeText(block.bytes, writeVarint(block.bytes, at, length), value)
    return block.length - at
  }
}

/** A loop is faster than a call of the engine for so many bytes. */
const MOST_LOOPED = 12

function copy(from: Uint8Array, length: number, to: Uint8Array, at: number): void {
  if (length > MOST_LOOPED) to.set(from, at)
  else for (let i = 0; i < length; i++) to[at + i] = from[i]!
}
