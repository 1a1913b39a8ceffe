import { GoHeap, type GoHeapOptions, type TypeId } from '../../lib/go/index.ts'
import { AllocatorError } from '../../lib/index.ts'

/** A heap that collects only what a test asks it to. */
export function openQuiet(options: GoHeapOptions = {}): GoHeap {
  return new GoHeap({ limitBytes: 2 ** 28, gcPercent: -1, ...options })
}

/** Whether an object, or a block, starts at an address. */
export function isThere(heap: GoHeap, address: number): boolean {
  try {
    return heap.usableSize(address) >= 0
  } catch (error) {
    if (error instanceof AllocatorError && error.code === 'ERR_HEAP_INVALID_ADDRESS') return false
    throw error
  }
}

/** Makes another object the newest, so that none of a test's own is a root for that. */
export function distract(heap: GoHeap): void {
  heap.allocate(heap.defineType({ size: 2000, pointers: [] }))
}

/** Roots that keep the collector busy: each takes a slice of no time to scan. Returns their ids. */
export function addBallast(heap: GoHeap, slices: number): number[] {
  const type = heap.defineType({ size: 64 * 1024, pointers: [0, 64 * 1024 - 8] })
  return Array.from({ length: slices }, () => heap.addRoot(heap.allocate(type)))
}

/** A list of objects whose pointer at 0 is the next one; returns its first, which is the newest. */
export function chain(heap: GoHeap, type: TypeId, length: number): number {
  let first = heap.allocate(type)
  let root = heap.addRoot(first)
  for (let i = 1; i < length; i++) {
    const next = first
    first = heap.allocate(type)
    heap.setPointer(first, 0, next)
    heap.removeRoot(root)
    root = heap.addRoot(first)
  }
  heap.removeRoot(root)
  return first
}

/** How long a list is. */
export function lengthOf(heap: GoHeap, first: number): number {
  let length = 0
  for (let at = first; at !== 0; at = heap.getPointer(at, 0)) length++
  return length
}
