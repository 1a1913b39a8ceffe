import { type Chunk, Of, type Player } from './pattern.ts'

/** One block after the other. */
export function pair({ heap }: Player): Chunk {
  return () => {
    for (let i = 0; i < Of.Chunk; i++) heap.free(heap.malloc(64))
    return Of.Chunk
  }
}

/** Random blocks of a set are replaced. */
export function replace(player: Player): Chunk {
  const { heap } = player
  const live = new Int32Array(Of.Live)
  for (let i = 0; i < Of.Live; i++) live[i] = heap.malloc(16 + (player.random() % 4081))
  return () => {
    for (let i = 0; i < Of.Chunk; i++) {
      const at = player.random() % Of.Live
      heap.free(live[at]!)
      live[at] = heap.malloc(16 + (player.random() % 4081))
    }
    return Of.Chunk
  }
}

/** Shares nothing: what several cores can do at best. About as much memory as the blocks and tables of `replace`. */
export function control(player: Player): Chunk {
  const own = new Int32Array(2 ** 17)
  return () => {
    for (let i = 0; i < Of.Chunk; i++) {
      const at = player.random() % own.length
      own[at] = (own[at]! + player.random()) | 0
    }
    return Of.Chunk
  }
}
