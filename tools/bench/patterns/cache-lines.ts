import type { Chunk, Player } from './pattern.ts'
import { Line, Word, waitWhile } from './words.ts'

const enum Write {
  Times = 100,
  /** Blocks of one call. */
  Blocks = 256,
}

/** cache-thrash: blocks of 8 bytes that are written many times. Slow where two threads are given blocks in one line of the cache. */
export function cacheThrash({ heap, bytes }: Player): Chunk {
  return () => {
    for (let i = 0; i < Write.Blocks; i++) {
      const block = heap.malloc(8)
      for (let write = 0; write < Write.Times; write++) bytes[block + (write & 7)]!++
      heap.free(block)
    }
    return Write.Blocks
  }
}

/**
 * cache-scratch: the same, but one thread has first allocated a block for each, in one line as they come. Slow where a thread that
 * frees such a block is given it again.
 */
export function cacheScratch(player: Player): Chunk {
  const { heap, words, thread, parties } = player
  if (thread === 0)
    for (let to = 0; to < parties; to++) Atomics.store(words, Word.Given + Line.Words * to, heap.malloc(8))
  const given = Word.Given + Line.Words * thread
  while (Atomics.load(words, given) === 0) waitWhile(words, given, 0)
  heap.free(words[given]!)
  return cacheThrash(player)
}
