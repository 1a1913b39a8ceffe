import { type Chunk, Of, type Player } from './pattern.ts'
import { Line, Word } from './words.ts'

const enum Rptest {
  /** Blocks that go to the next thread each time. */
  Passed = 100,
  BoxWords = 256,
  /** Coprime to the number of blocks: all are replaced, but not in their order. */
  Stride = 389,
}

/**
 * rptest: blocks of 8 to 16000 bytes are replaced in another order than they were allocated in. Each time the last hundred of the
 * old ones go to the next thread, which frees them; if that one hasn't emptied its box yet, they are freed here.
 */
export function rptest(player: Player): Chunk {
  const { heap, words, bytes, thread, parties } = player
  const live = new Int32Array(Of.Live)
  const inbox = Word.Boxes + Rptest.BoxWords * thread
  const outbox = Word.Boxes + Rptest.BoxWords * ((thread + 1) % parties)
  const empty = () => {
    if (Atomics.load(words, inbox) === 0) return
    for (let at = inbox + Line.Words; at < inbox + Line.Words + Rptest.Passed; at++)
      if (words[at] !== 0) heap.free(words[at]!)
    Atomics.store(words, inbox, 0)
  }
  return () => {
    empty()
    const isPassing = Atomics.load(words, outbox) === 0
    for (let i = 0; i < Of.Live; i++) {
      const at = (i * Rptest.Stride) % Of.Live
      const passed = i - (Of.Live - Rptest.Passed)
      if (isPassing && passed >= 0) words[outbox + Line.Words + passed] = live[at]!
      else if (live[at] !== 0) heap.free(live[at]!)
      const size = 8 + (player.random() % 15993)
      const block = heap.malloc(size)
      bytes[block] = bytes[block + size - 1] = 1
      live[at] = block
    }
    if (isPassing) Atomics.store(words, outbox, 1)
    return Of.Live
  }
}
