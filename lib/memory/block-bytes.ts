import { Granule } from './page.ts'

/** Below this, every address indexes a typed array as a small integer; above, Node 24 and 26 take 15 to 19 ns for a load. */
const LOW_BYTES = 2 ** 31 - Granule.Bytes

/** More bytes than a loop goes beyond its block's start. */
const LOOP_MARGIN = 4096

/** The lengths up to which a loop beats a call of the engine, which takes 30 to 40 ns to start. */
export const enum Loop {
  MostCleared = 512,
  MostCopied = 256,
}

/**
 * Copies and clears the bytes of blocks. Contents move in 32-bit words: a double's bits may change on the way if they are a NaN. The loops
 * compute with 32-bit integers alone: a single division or `Math.max` before them made V8 compute with doubles, which took as long as the
 * copy.
 */
export class BlockBytes {
  private readonly buffer: SharedArrayBuffer | ArrayBuffer
  private readonly bytes: Uint8Array
  private readonly words: Int32Array
  private readonly doubles: Float64Array
  /** V8 compiles element copies to 64-bit loads and stores, and the language guarantees that they are exact. */
  private readonly halves: BigInt64Array

  /** @param buffer the heap's memory, unshared if possible: V8 then fills and copies it by memset and memmove */
  constructor(buffer: SharedArrayBuffer | ArrayBuffer) {
    const length = Math.min(buffer.byteLength, LOW_BYTES)
    this.buffer = buffer
    this.bytes = new Uint8Array(buffer, 0, length)
    // Word indices stay small integers well above 2 GiB, so a short loop may end there if its block starts below.
    const loopLength = Math.min(buffer.byteLength, LOW_BYTES + LOOP_MARGIN)
    this.words = new Int32Array(buffer, 0, loopLength / 4)
    this.doubles = new Float64Array(buffer, 0, loopLength / 8)
    this.halves = new BigInt64Array(buffer, 0, loopLength / 8)
  }

  /** Clears exactly `length` bytes from a block's address on. */
  zero(address: number, length: number): void {
    const end = address + length
    if (end > LOW_BYTES) new Uint8Array(this.buffer, address, length).fill(0)
    else this.bytes.fill(0, address, end)
  }

  /** The same for a short block: at most `Loop.MostCleared` bytes. */
  zeroShort(address: number, length: number): void {
    if ((address | 0) !== address) {
      this.zero(address, length)
      return
    }
    const { doubles } = this
    const granules = (length + (Granule.Bytes - 1)) >>> Granule.Shift
    let i = address >>> 3
    const end = (i + (granules << 1)) | 0
    if ((granules & 1) !== 0) {
      doubles[i] = 0
      doubles[i + 1] = 0
      i = (i + 2) | 0
    }
    while (i < end) {
      doubles[i] = 0
      doubles[i + 1] = 0
      doubles[i + 2] = 0
      doubles[i + 3] = 0
      i = (i + 4) | 0
    }
  }

  /** Copies `length` bytes, one or more whole granules, from granule to granule; all below 2 GiB. */
  copyGranules(to: number, from: number, length: number): void {
    const { halves } = this
    let target = to << 1
    let source = from << 1
    const end = source + (length >> 3)
    do {
      halves[target] = halves[source]!
      halves[target + 1] = halves[source + 1]!
      source = (source + 2) | 0
      target = (target + 2) | 0
    } while (source < end)
  }

  /** Copies `length` bytes from one block to another, plus up to 15 more within both. */
  copy(to: number, from: number, length: number): void {
    if ((to | 0) !== to || (from | 0) !== from || length > Loop.MostCopied) {
      this.copyLong(to, from, length)
      return
    }
    const { words } = this
    let target = to >>> 2
    let source = from >>> 2
    const end = (from + length + 3) >>> 2
    while (source < end) {
      words[target] = words[source]!
      words[target + 1] = words[source + 1]!
      words[target + 2] = words[source + 2]!
      words[target + 3] = words[source + 3]!
      source = (source + 4) | 0
      target = (target + 4) | 0
    }
  }

  private copyLong(to: number, from: number, length: number): void {
    if (Math.max(to, from) + length > LOW_BYTES) {
      new Uint8Array(this.buffer, to, length).set(new Uint8Array(this.buffer, from, length))
    } else {
      this.bytes.copyWithin(to, from, from + length)
    }
  }
}
