import type { Chunk, Player } from './pattern.ts'
import { Line, Word, waitWhile } from './words.ts'

const enum Larson {
  /** The blocks of a thread. */
  Blocks = 5000,
  /** Blocks that are replaced before the threads pass their arrays on. */
  Round = 8192,
}

/**
 * larson: a server whose memory bleeds. Random blocks of an array are replaced; after each round the array goes to the next thread,
 * which frees what this one allocated.
 */
export function larson(player: Player): Chunk {
  const { heap, words, bytes, thread, parties } = player
  const rounds = Word.Rounds + Line.Words * thread
  const others = Word.Rounds + Line.Words * ((thread + 1) % parties)
  return () => {
    const round = words[rounds]!
    const array = Word.Arrays + Larson.Blocks * ((thread + round) % parties)
    for (let i = 0; i < Larson.Round; i++) {
      const at = array + (player.random() % Larson.Blocks)
      if (words[at] !== 0) heap.free(words[at]!)
      const size = 8 + (player.random() % 993)
      const block = heap.malloc(size)
      bytes[block] = bytes[block + size - 1] = 1
      words[at] = block
    }
    Atomics.store(words, rounds, round + 1)
    while (Atomics.load(words, others) === round && Atomics.load(words, Word.Stop) === 0)
      waitWhile(words, others, round)
    return Larson.Round
  }
}
