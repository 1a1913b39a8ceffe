/** Blocks up to this are written and read in full, longer ones at both ends and at some words between. */
const FULL_BYTES = 512
const END_WORDS = 8
const MIDDLE_WORDS = 8
const ZEROS = Buffer.alloc(2 ** 20)

/**
 * Contents that tell blocks apart: each block has a seed, and each of its words depends on the seed and on the word's place
 * in the block. Bytes behind the last whole word are written too.
 */
export class Pattern {
  private readonly buffer: SharedArrayBuffer | ArrayBuffer
  private readonly words: Int32Array
  private readonly bytes: Uint8Array

  constructor(buffer: SharedArrayBuffer | ArrayBuffer) {
    this.buffer = buffer
    this.words = new Int32Array(buffer)
    this.bytes = new Uint8Array(buffer)
  }

  write(address: number, size: number, seed: number): void {
    const { words } = this
    const first = address / 4
    const count = Math.floor(size / 4)
    const step = stepOf(count)
    for (let i = 0; i < count; i = next(i, count, step)) words[first + i] = wordAt(seed, i)
    for (let at = count * 4; at < size; at++) this.bytes[address + at] = wordAt(seed, at) & 0xff
  }

  /** The first byte at which what `write` wrote for `size` isn't there any more, of the first `kept` ones; -1 where all is. */
  difference(address: number, size: number, seed: number, kept = size): number {
    const { words } = this
    const first = address / 4
    const count = Math.floor(size / 4)
    const keptWords = Math.floor(kept / 4)
    const step = stepOf(count)
    for (let i = 0; i < count && i < keptWords; i = next(i, count, step)) {
      if (words[first + i] !== wordAt(seed, i)) return i * 4
    }
    for (let at = count * 4; at < kept; at++) {
      if (this.bytes[address + at] !== (wordAt(seed, at) & 0xff)) return at
    }
    return -1
  }

  /** Whether `size` bytes are all zero. */
  isZero(address: number, size: number): boolean {
    if (size <= FULL_BYTES) {
      for (let at = address; at < address + size; at++) if (this.bytes[at] !== 0) return false
      return true
    }
    for (let at = 0; at < size; at += ZEROS.length) {
      const length = Math.min(ZEROS.length, size - at)
      if (ZEROS.compare(Buffer.from(this.buffer as ArrayBuffer, address + at, length), 0, length, 0, length) !== 0) {
        return false
      }
    }
    return true
  }
}

/** How far apart words are between the ends of a block of `count` words. */
function stepOf(count: number): number {
  return count * 4 <= FULL_BYTES ? 1 : Math.max(1, Math.floor((count - 2 * END_WORDS) / (MIDDLE_WORDS + 1)))
}

/** The word behind word `i`: the next one near the ends. */
function next(i: number, count: number, step: number): number {
  if (i < END_WORDS - 1 || i >= count - END_WORDS) return i + 1
  return Math.min(i + step, count - END_WORDS)
}

function wordAt(seed: number, place: number): number {
  return (Math.imul(seed, 0x9e3779b1) ^ Math.imul(place + 1, 0x85ebca6b)) | 0
}
