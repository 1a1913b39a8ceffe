import { type Chunk, Of, type Player } from './pattern.ts'

const SLOTS_SHIFT = 15

/**
 * alloc-test: sizes up to 1 KiB as Pareto has them, half as many of each doubling; slots are taken more often the lower they are. A
 * slot that is full is emptied, an empty one filled.
 */
export function allocTest(player: Player): Chunk {
  const { heap, bytes } = player
  const slots = new Int32Array(1 << SLOTS_SHIFT)
  return () => {
    for (let i = 0; i < Of.Chunk; i++) {
      const random = player.random()
      const at = Math.imul(random >>> (32 - SLOTS_SHIFT), random & ((1 << SLOTS_SHIFT) - 1)) >>> SLOTS_SHIFT
      if (slots[at] !== 0) {
        heap.free(slots[at]!)
        slots[at] = 0
      } else {
        const doubling = 8 << Math.min(Math.clz32(player.random()), 6)
        const size = doubling + (player.random() & (doubling - 1))
        const block = heap.malloc(size)
        bytes[block] = bytes[block + size - 1] = 1
        slots[at] = block
      }
    }
    return Of.Chunk / 2
  }
}
