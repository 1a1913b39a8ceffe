import type { Heap } from 'spanheap'

/** The sizes of the patterns, in blocks and operations; tools/bench/native/patterns.c has the same. */
export const enum Of {
  /** Operations of one call: entered often, so that V8 compiles it whole. */
  Chunk = 4096,
  /** The live blocks of a set, and the places of the transfer array. */
  Live = 1000,
}

/** Part of a pattern: plays some operations, and tells how many. An operation is a malloc and its free. */
export type Chunk = () => number

/** What a thread plays, made by it once: a pattern keeps its blocks from one order to the next. */
export type Pattern = (player: Player) => Chunk

/** A thread that plays. */
export class Player {
  readonly heap: Heap
  /** What all threads share; see {@link Word}. */
  readonly words: Int32Array
  readonly thread: number
  readonly parties: number
  /** The heap's memory, by words and by bytes. Not all of it: a view can't be as long as a heap may be, and blocks lie at its start. */
  readonly memory: Int32Array
  readonly bytes: Int8Array
  private seed: number

  constructor(heap: Heap, words: Int32Array, thread: number, parties: number) {
    this.heap = heap
    this.words = words
    this.thread = thread
    this.parties = parties
    const seen = Math.min(heap.buffer.byteLength, 2 ** 30)
    this.memory = new Int32Array(heap.buffer, 0, seen / 4)
    this.bytes = new Int8Array(heap.buffer, 0, seen)
    this.seed = thread + 1
  }

  /** The next random number, of 32 bits without a sign. */
  random(): number {
    let seed = this.seed
    seed ^= seed << 13
    seed ^= seed >>> 17
    seed ^= seed << 5
    this.seed = seed
    return seed >>> 0
  }
}
