import type { Heap } from '../../lib/index.ts'

const MIB = 2 ** 20

/** Leaves long free spans of many lengths, a used one behind each: normal ones, and ones that were given back. */
export function leaveLongSpans(heap: Heap): number[] {
  const blocks: number[] = []
  for (let i = 0; i < 8; i++) {
    blocks.push(heap.malloc(MIB + 131_072 * ((i * 3) % 8)))
    heap.malloc(300_000)
  }
  for (const address of blocks.slice(4)) heap.free(address)
  heap.releaseFreeMemory()
  for (const address of blocks.slice(0, 4)) heap.free(address)
  return []
}
