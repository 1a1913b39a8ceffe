import type { Chunk, Player } from './pattern.ts'

const MOST = 1600
const SIZE = 128

/** glibc-simple: so many blocks of 128 bytes are allocated, then freed in that order; 25, 100, 400 and 1600 of them. */
export function glibcSimple({ heap }: Player): Chunk {
  const blocks = new Int32Array(MOST)
  const series = (count: number) => {
    for (let at = 0; at < count; at++) blocks[at] = heap.malloc(SIZE)
    for (let at = 0; at < count; at++) heap.free(blocks[at]!)
  }
  return () => {
    for (let count = 25; count <= MOST; count *= 4) for (let done = 0; done < MOST; done += count) series(count)
    return 4 * MOST
  }
}
