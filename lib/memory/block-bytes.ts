import { Granule } from './page.ts'

/** Below this, every address indexes a typed array as a small integer; above, Node 24 and 26 take 15 to 19 ns for a load. */
const LOW_BYTES = 2 ** 31 - Granule.Bytes
/** Up to this a loop beats a call of the engine, which takes about 40 ns before it starts. */
const LOOP_BYTES = 256

/**
 * Copies and clears the bytes of blocks. In words: bytes of shared memory are filled one by one by V8 (3.6 bytes a
 * nanosecond against 14 for doubles), and 32-bit ones where contents matter, since a double's may change on the way
 * when they happen to be no number.
 */
export class BlockBytes {
  private readonly buffer: SharedArrayBuffer | ArrayBuffer
  private readonly bytes: Uint8Array
  private readonly words: Int32Array
  private readonly doubles: Float64Array

  constructor(buffer: SharedArrayBuffer | ArrayBuffer) {
    const length = Math.min(buffer.byteLength, LOW_BYTES)
    this.buffer = buffer
    this.bytes = new Uint8Array(buffer, 0, length)
    this.words = new Int32Array(buffer, 0, length / 4)
    this.doubles = new Float64Array(buffer, 0, length / 8)
  }

  /** Clears `length` bytes from a block's address on, and up to 15 more that are the block's too. */
  zero(address: number, length: number): void {
    const end = address + Math.ceil(length / Granule.Bytes) * Granule.Bytes
    if (end > LOW_BYTES) {
      new Float64Array(this.buffer, address, (end - address) / 8).fill(0)
    } else if (length > LOOP_BYTES) {
      this.doubles.fill(0, address >>> 3, end >>> 3)
    } else {
      const { doubles } = this
      for (let i = address >>> 3; i < end >>> 3; i++) doubles[i] = 0
    }
  }

  /** Copies `length` bytes from one block to another; both may reach up to the next multiple of 16. */
  copy(to: number, from: number, length: number): void {
    const granuleBytes = Math.ceil(length / Granule.Bytes) * Granule.Bytes
    if (Math.max(to, from) + granuleBytes > LOW_BYTES) {
      new Uint8Array(this.buffer, to, length).set(new Uint8Array(this.buffer, from, length))
    } else if (length > LOOP_BYTES) {
      this.bytes.copyWithin(to, from, from + length)
    } else {
      const { words } = this
      const first = from >>> 2
      const target = to >>> 2
      const count = granuleBytes >>> 2
      for (let i = 0; i < count; i++) words[target + i] = words[first + i]!
    }
  }
}
