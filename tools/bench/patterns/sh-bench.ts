import type { Chunk, Player } from './pattern.ts'
import { Word } from './words.ts'

const enum Blocks {
  All = 4000,
  Half = All / 2,
}

/** sh6bench: of many blocks the newest half goes, last one first, and is allocated anew; then all go in the order that they came in. */
export function sh6bench(player: Player): Chunk {
  return shBench(player, undefined)
}

/** sh8bench: as sh6bench, but the older half is first exchanged with what a thread, this or another, has left in an array of all. */
export function sh8bench(player: Player): Chunk {
  const { words } = player
  return shBench(player, (blocks) => {
    for (let at = 0; at < Blocks.Half; at++) blocks[at] = Atomics.exchange(words, Word.Arrays + at, blocks[at]!)
  })
}

function shBench(player: Player, exchange: ((blocks: Int32Array) => void) | undefined): Chunk {
  const { heap, bytes } = player
  const blocks = new Int32Array(Blocks.All)
  const fill = (from: number) => {
    for (let at = from; at < Blocks.All; at++) {
      // From 1 to 1000 bytes, small ones more often.
      const size = 1 + ((((player.random() % 1000) * (player.random() % 1000)) / 1000) | 0)
      const block = heap.malloc(size)
      bytes[block] = bytes[block + size - 1] = 1
      blocks[at] = block
    }
  }
  const freeLastFirst = () => {
    for (let at = Blocks.All - 1; at >= Blocks.Half; at--) heap.free(blocks[at]!)
  }
  const freeFirstFirst = () => {
    for (let at = 0; at < Blocks.All; at++) if (blocks[at] !== 0) heap.free(blocks[at]!)
  }
  return () => {
    fill(0)
    freeLastFirst()
    fill(Blocks.Half)
    exchange?.(blocks)
    freeFirstFirst()
    return Blocks.All + Blocks.Half
  }
}
