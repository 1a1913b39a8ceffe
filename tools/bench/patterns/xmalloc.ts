import type { Chunk, Player } from './pattern.ts'
import { Word, waitWhile } from './words.ts'

export const enum Ring {
  /** How many addresses are handed over at once. */
  Batch = 64,
  /** As many batches, so that the one who allocates stops when the other is 4096 blocks behind. */
  Batches = Batch,
}

/** xmalloc-test: one thread only allocates, the other only frees. A thread that is alone does both in turn. */
export function xmalloc(player: Player): Chunk {
  const [put, take] = [produce(player), consume(player)]
  if (player.parties === 1) return () => put() + take()
  return player.thread === 0 ? put : take
}

/** Puts a batch of new blocks into the ring, half of an operation each, as taking them is; 0 if it stays full. */
function produce({ heap, words }: Player): Chunk {
  return () => {
    const tail = words[Word.Tail]!
    if (((tail - Atomics.load(words, Word.Head)) | 0) === Ring.Batches) {
      if (!waitWhile(words, Word.Head, (tail - Ring.Batches) | 0)) return 0
    }
    const start = Word.Ring + (tail % Ring.Batches) * Ring.Batch
    for (let at = start; at < start + Ring.Batch; at++) words[at] = heap.malloc(64)
    Atomics.store(words, Word.Tail, (tail + 1) | 0)
    return Ring.Batch / 2
  }
}

/** Frees a batch of the ring; 0 if it stays empty. */
export function consume({ heap, words }: Player): Chunk {
  return () => {
    const head = words[Word.Head]!
    if (Atomics.load(words, Word.Tail) === head && !waitWhile(words, Word.Tail, head)) return 0
    const start = Word.Ring + (head % Ring.Batches) * Ring.Batch
    for (let at = start; at < start + Ring.Batch; at++) heap.free(words[at]!)
    Atomics.store(words, Word.Head, (head + 1) | 0)
    return Ring.Batch / 2
  }
}
