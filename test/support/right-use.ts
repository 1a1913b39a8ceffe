import type { BufferPool, Heap } from '../../lib/index.ts'
import type { Random } from './random.ts'

/** Uses a heap and a pool as a program does that does nothing wrong: blocks, buffers, isolated ones, up to their last byte. */
export function rightUse(heap: Heap, pool: BufferPool, random: Random, steps: number): void {
  const ends: (() => void)[] = []
  const size = () => random.pick([0, 1, 16, 100, 1000, 5000, 40_000]) + random.below(30)
  for (let step = 0; step < steps; step++) {
    const length = size()
    const value = 1 + random.below(255)
    switch (random.below(6)) {
      case 0: {
        let address = random.below(2) === 0 ? heap.malloc(length) : heap.calloc(1, length)
        heap.view(address).fill(value)
        if (random.below(3) === 0) address = heap.realloc(address, size())
        ends.push(() => heap.free(address))
        break
      }
      case 1: {
        const buffer = heap.allocBuffer(length, random.below(3) === 0 ? { tag: 'a', alignment: 64 } : {}).fill(value)
        ends.push(() => heap.freeBuffer(buffer))
        break
      }
      case 2: {
        const buffer = heap.allocBuffer(length, { isolated: true }).fill(value)
        ends.push(() => heap.freeBuffer(buffer))
        break
      }
      case 3: {
        const buffer = pool.tryAcquire()?.fill(value)
        if (buffer !== undefined) ends.push(() => pool.release(buffer))
        break
      }
      case 4: {
        const block = heap.block(length)
        block.bytes.fill(value)
        ends.push(() => block.free())
        break
      }
      default:
        ends.splice(random.below(ends.length + 1), 1)[0]?.()
    }
  }
  while (ends.length > 0) ends.splice(random.below(ends.length), 1)[0]!()
  if (random.below(50) === 0) heap.audit()
  if (random.below(50) === 0) pool.trim(random.below(5))
  if (random.below(100) === 0) heap.releaseFreeMemory()
}
