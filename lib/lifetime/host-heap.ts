import type { Address, Allocator } from '../base/allocator.ts'
import { closedError } from '../base/errors.ts'
import type { ViewMemory } from '../memory/view-memory.ts'
import { notAHeap } from '../tcmalloc/token.ts'
import type { ThreadSlots } from '../threads/thread-slots.ts'
import { ArenaRegistry } from './arena-registry.ts'

/** What blocks, handles and arenas need of a heap, which is made of them and so in a layer above. */
export interface HostHeap extends Allocator {
  readonly buffer: SharedArrayBuffer
  /** What views are over. */
  readonly memory: ViewMemory
  /** Whether it isn't closed in this thread. */
  readonly isOpen: boolean
  /** The arenas that it has in all threads. */
  readonly arenas: ArenaRegistry
  /** @throws AllocatorError `ERR_HEAP_NOT_SHARED` */
  share(): { readonly generation: number }
  thread(): { slots: ThreadSlots; slot: number; tag: number }
  setPooled(address: Address, pooled: boolean): void
  isPooled(address: Address): boolean
  /** As `free`, for what is given up for good: in debug mode, what is wrong with the block is told, not thrown. */
  discard(address: Address): void
  /** Runs a few loads and stores that no other thread comes in between with such ones of its own. */
  exclusively<T>(work: () => T): T
}

/** Checks that an argument is an open heap. */
export function checkHeap(value: unknown): HostHeap {
  const isHeap = typeof value === 'object' && value !== null && (value as HostHeap).arenas instanceof ArenaRegistry
  if (!isHeap) throw notAHeap(value)
  checkIsOpen(value as HostHeap)
  return value as HostHeap
}

/** @throws AllocatorError `ERR_HEAP_CLOSED` */
export function checkIsOpen(heap: HostHeap): void {
  if (!heap.isOpen) throw closedError()
}
