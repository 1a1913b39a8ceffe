import type { Chunk, Player } from './pattern.ts'

const enum Large {
  Live = 20,
  /** Blocks of one call. */
  Chunk = 10,
  Least = 2 ** 20,
  Range = 7 * 2 ** 20,
  Page = 4096,
}

/** malloc-large: of twenty blocks of 1 to 8 MiB one at a time is replaced, and a byte written in each page of the new one. */
export function mallocLarge(player: Player): Chunk {
  const { heap, bytes } = player
  const live = new Int32Array(Large.Live)
  const touch = (block: number, size: number) => {
    for (let at = 0; at < size; at += Large.Page) bytes[block + at] = 1
  }
  return () => {
    for (let i = 0; i < Large.Chunk; i++) {
      const at = player.random() % Large.Live
      if (live[at] !== 0) heap.free(live[at]!)
      const size = Large.Least + (player.random() % Large.Range)
      live[at] = heap.malloc(size)
      touch(live[at]!, size)
    }
    return Large.Chunk
  }
}
