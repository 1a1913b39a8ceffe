import { type Chunk, Of, type Player } from './pattern.ts'
import { Word } from './words.ts'

const enum Mstress {
  /** Chunks that a thread lives for. */
  Life = 16,
  /** Written into each block, together with its address. */
  Cookie = 0x5bd1e995,
}

/**
 * mstress: each thread allocates and frees in a set of its own, and every fourth time exchanges a block with an array of all; what
 * was written into a block must still be there when it is freed. Threads die between phases: here a thread gives its cache back,
 * since a worker takes 30 ms to start.
 */
export function mstress(player: Player): Chunk {
  const { heap, words, memory } = player
  const live = new Int32Array(Of.Live)
  const make = () => {
    const size = player.random() % 100 === 0 ? 16 + (player.random() % 16369) : 16 + (player.random() % 1009)
    const block = heap.malloc(size)
    memory[block >>> 2] = block ^ Mstress.Cookie
    return block
  }
  const end = (block: number) => {
    if (memory[block >>> 2] !== (block ^ Mstress.Cookie)) throw new Error(`the block at ${block} was written over`)
    heap.free(block)
  }
  const part = () => {
    for (let i = 0; i < Of.Chunk; i++) {
      const at = player.random() % Of.Live
      if (live[at] !== 0) {
        end(live[at]!)
        live[at] = 0
      } else {
        live[at] = make()
      }
      if ((i & 3) === 0) {
        const other = player.random() % Of.Live
        live[other] = Atomics.exchange(words, Word.Transfer + (player.random() % Of.Live), live[other]!)
      }
    }
  }
  return () => {
    for (let lived = 0; lived < Mstress.Life; lived++) part()
    for (let at = 0; at < Of.Live; at++) {
      if (live[at] !== 0) end(live[at]!)
      live[at] = 0
    }
    heap.threadIdle()
    return (Mstress.Life * Of.Chunk) / 2
  }
}
