import type { Address } from '../base/allocator.ts'
import { checkViewLength } from '../base/arguments.ts'
import type { BufferOptions } from '../buffers/heap-buffers.ts'
import type { Mapper } from '../os/mapper.ts'
import type { TCMalloc } from '../tcmalloc/tcmalloc.ts'
import { DebugBlocks, type DebuggedHeap, type PlainCalls } from './debug-blocks.ts'
import type { DebugMemory } from './debug-memory.ts'

/** A heap whose calls debug mode stands in front of. */
export interface FrontedHeap extends DebuggedHeap, PlainCalls {
  readonly memory: DebugMemory
  readonly isOpen: boolean
  /** The granule of a live block. @throws AllocatorError */
  liveGranule(address: Address): number
  usableSize(address: Address): number
  releaseFreeMemory(bytes?: number): number
  stats(): { readonly pageHeapReleasedBytes: number }
}

/**
 * Puts debug mode in front of a heap's calls: as properties of that heap, so that they cost others nothing.
 * @param allocate makes a Buffer, with whatever options
 */
export function debugged(
  heap: FrontedHeap,
  tiers: TCMalloc,
  mapper: Mapper,
  allocate: (size: number, options?: BufferOptions) => Buffer<ArrayBuffer>
): DebugBlocks {
  const { memory, malloc, alignedAlloc, free, freeBuffer, releaseFreeMemory } = heap
  const plain = {
    malloc: malloc.bind(heap),
    alignedAlloc: alignedAlloc.bind(heap),
    free: free.bind(heap),
    freeBuffer: freeBuffer.bind(heap),
  }
  const debug = new DebugBlocks(heap, memory, plain, tiers, mapper)
  const calls = {
    malloc: (size: number) => debug.malloc(size),
    calloc: (count: number, size: number) => debug.calloc(count, size),
    realloc: (address: Address, size: number) => debug.realloc(address, size),
    alignedAlloc: (alignment: number, size: number) => debug.alignedAlloc(alignment, size),
    free: (address: Address) => debug.free(address),
    freeBuffer: (view: ArrayBufferView) => debug.freeBuffer(view),
    allocBuffer: allocate,
    usableSize: (address: Address) => debug.sizeOf(heap.liveGranule(address)),
    releaseFreeMemory(bytes?: number) {
      const before = heap.stats().pageHeapReleasedBytes
      if (bytes === undefined && heap.isOpen) debug.emptyQuarantine()
      releaseFreeMemory.call(heap, bytes)
      return Math.max(0, heap.stats().pageHeapReleasedBytes - before)
    },
    view(address: Address, length?: number) {
      const bytes = checkViewLength(length, heap.usableSize(address))
      const { buffer, byteOffset } = memory.at(address, bytes)
      return new Uint8Array(buffer, byteOffset, bytes)
    },
  }
  for (const [name, value] of Object.entries(calls))
    Object.defineProperty(heap, name, { value, configurable: true, writable: true })
  return debug
}
