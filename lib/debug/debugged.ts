import type { Address, Allocator } from '../base/allocator.ts'
import { checkViewLength } from '../base/arguments.ts'
import type { BufferOptions, HeapBuffers } from '../buffers/heap-buffers.ts'
import type { Mapper } from '../os/mapper.ts'
import { DebugBlocks, type DebuggedHeap } from './debug-blocks.ts'
import type { DebugMemory } from './debug-memory.ts'

/** A heap whose calls debug mode wraps. */
export interface FrontedHeap extends Allocator {
  freeBuffer(view: ArrayBufferView): void
}

/** The parts of a heap that debug mode needs. */
export interface Front extends DebuggedHeap {
  readonly heap: FrontedHeap
  readonly buffers: HeapBuffers
  readonly isOpen: boolean
  /** The granule of a live block. @throws AllocatorError */
  liveGranule(address: Address): number
}

/** Wraps a heap's calls in debug mode, by properties of that heap, so that other heaps pay nothing. */
export function debugged(host: Front, memory: DebugMemory, mapper: Mapper): DebugBlocks {
  const { heap } = host
  const { malloc, alignedAlloc, free, freeBuffer, releaseFreeMemory } = heap
  const plain = {
    malloc: malloc.bind(heap),
    alignedAlloc: alignedAlloc.bind(heap),
    free: free.bind(heap),
    freeBuffer: freeBuffer.bind(heap),
  }
  const debug = new DebugBlocks(host, memory, plain, mapper)
  const calls = {
    malloc: (size: number) => debug.malloc(size),
    calloc: (count: number, size: number) => debug.calloc(count, size),
    realloc: (address: Address, size: number) => debug.realloc(address, size),
    alignedAlloc: (alignment: number, size: number) => debug.alignedAlloc(alignment, size),
    free: (address: Address) => debug.free(address),
    freeBuffer: (view: ArrayBufferView) => debug.freeBuffer(view),
    allocBuffer: (size: number, options?: BufferOptions) => host.buffers.allocate(size, options),
    usableSize: (address: Address) => debug.sizeOf(host.liveGranule(address)),
    releaseFreeMemory(bytes?: number) {
      const before = heap.stats().pageHeapReleasedBytes
      if (bytes === undefined && host.isOpen) debug.emptyQuarantine()
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
