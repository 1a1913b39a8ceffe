import type { GoTables } from './tables.ts'

/** Tiny objects: less than 16 bytes, without pointers. */
export const enum Tiny {
  /** A block shared by several objects: an object of the smallest span class without pointers that is as long. */
  BlockBytes = 16,
}

/**
 * Go's tiny allocator: objects of less than 16 bytes without pointers share blocks of 16. A block lives as long as any of its objects is
 * reachable. Go's compiler knows where they lie; here a word for each block records it: bit i if an object starts at its byte i, bit 16 + i
 * if one ends before byte i; 0 if the block is one object of 16 bytes.
 */
export class TinyBlocks {
  private readonly words: Int32Array
  /** The granule of the block that is being filled, 0 if there is none, and its first free byte. */
  private granule = 0
  private used = 0

  constructor({ tiny }: GoTables) {
    this.words = tiny
  }

  /** Room for an object in the block that is being filled, as its byte there; -1 if it needs another block. */
  place(size: number): number {
    if (this.granule === 0) return -1
    // Aligned as in Go: by the lowest bits of the size, since nothing else is known.
    const alignment = (size & 7) === 0 ? 8 : (size & 3) === 0 ? 4 : (size & 1) === 0 ? 2 : 1
    const at = (this.used + alignment - 1) & -alignment
    if (at + size > Tiny.BlockBytes) return -1
    this.note(this.granule, at, size)
    this.used = at + size
    return at
  }

  /** Starts a block with an object of so many bytes. The old block stays current if more is left of it. */
  start(granule: number, size: number): void {
    this.words[granule] = 0
    this.note(granule, 0, size)
    if (this.granule !== 0 && this.used <= size) return
    this.granule = granule
    this.used = size
  }

  /** The block that is being filled, as its granule; 0 if there is none. */
  get current(): number {
    return this.granule
  }

  /** Stops filling the current block: the collector is about to decide what lives. */
  flush(): void {
    this.granule = 0
  }

  /** A block that is one object. */
  whole(granule: number): void {
    this.words[granule] = 0
  }

  /** The bytes of the object that starts at a byte of a block; 0 if none does. */
  sizeAt(granule: number, byte: number): number {
    const word = this.words[granule]!
    if (word === 0) return byte === 0 ? Tiny.BlockBytes : 0
    if ((word & (1 << byte)) === 0) return 0
    // The next end after its start; if there is no bit for it, the block's end.
    const ends = (word >>> 16) & (-2 << byte)
    return ends === 0 ? Tiny.BlockBytes - byte : 31 - Math.clz32(ends & -ends) - byte
  }

  private note(granule: number, at: number, size: number): void {
    this.words[granule]! |= 1 << at
    if (at + size < Tiny.BlockBytes) this.words[granule]! |= 1 << (16 + at + size)
  }
}
