import type { ExecutionContext } from 'ava'
import type { Allocator } from '../../lib/index.ts'

export const DOUBLE_FREE = 'ERR_HEAP_DOUBLE_FREE'
export const INVALID = 'ERR_HEAP_INVALID_ADDRESS'

/** Ways for an address to come into a state in which a free of it is wrong, in any heap. */
export const WAYS = {
  freedJustNow: (heap: Allocator, size: number): number => {
    const address = heap.malloc(size)
    heap.free(address)
    return address
  },
  /** Of eight blocks that are all free, one. */
  freedAmongOthers:
    (index: number) =>
    (heap: Allocator, size: number): number => {
      const blocks = Array.from({ length: 8 }, () => heap.malloc(size))
      for (const address of blocks) heap.free(address)
      return blocks[index]!
    },
  /** Of two neighbours one stays, so that their span does. */
  freedBesideLive: (heap: Allocator, size: number): number => {
    const blocks = Array.from({ length: 12 }, () => heap.malloc(size))
    for (let i = 0; i < blocks.length; i += 2) heap.free(blocks[i]!)
    heap.releaseFreeMemory()
    return blocks[4]!
  },
  released: (heap: Allocator, size: number): number => {
    const address = heap.malloc(size)
    heap.free(address)
    heap.releaseFreeMemory()
    return address
  },
  insideLive:
    (offset: number) =>
    (heap: Allocator, size: number): number =>
      heap.malloc(size) + offset,
  insideFree: (heap: Allocator, size: number): number => {
    const address = heap.malloc(size)
    heap.free(address)
    return address + 16
  },
}

/** The calls that need a live block, on an address. */
export function callsOn(heap: Allocator, address: number): (() => unknown)[] {
  return [
    () => heap.free(address),
    () => heap.realloc(address, 10),
    () => heap.usableSize(address),
    () => heap.view(address),
  ]
}

/** Every call is refused with a code, the heap is as it was, and goes on with blocks of a size. */
export function refuses(
  t: ExecutionContext,
  heap: Allocator,
  wrong: { address: number; calls: (() => unknown)[]; code: string; size: number }
): void {
  const { address, calls, code, size } = wrong
  const before = heap.stats()
  for (const call of calls) t.throws(call, { code }, String(call))
  t.like(
    t.throws(() => heap.free(address)),
    { address }
  )
  t.deepEqual(heap.stats(), before, 'the heap is as it was')
  heap.audit()
  heap.free(heap.malloc(size))
  heap.audit()
}

/** An address of one heap is refused by another, which has no block there. */
export function refusesOfAnother(t: ExecutionContext, one: Allocator, other: Allocator): void {
  const address = one.malloc(1_000_000)
  t.throws(() => other.free(address), { code: INVALID })
  one.free(address)
}
