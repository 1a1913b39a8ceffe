import { isSharedArrayBuffer } from 'node:util/types'
import { invalidToken } from './errors.ts'
import { MAGIC } from './tcmalloc/control.ts'
import type { SharedHeap } from './tcmalloc/tcmalloc.ts'

/** The layout of the tables that this version of the library reads and writes. */
export const TOKEN_VERSION = MAGIC & 0xff

/**
 * What another thread of the process attaches to a heap by: a plain object that survives structured clone. Its fields are
 * the library's own; a token of another version, or of a heap that is closed, is refused.
 */
export interface HeapToken extends SharedHeap {
  /** The version of the tables' layout. */
  readonly spanheap: number
  /** Where its memory comes from, as in `stats().system`. */
  readonly system: string
}

/** @throws AllocatorError `ERR_HEAP_INVALID_TOKEN` where a value isn't a token, or is one of another version */
export function checkToken(value: unknown): asserts value is HeapToken {
  const token = (typeof value === 'object' && value !== null ? value : {}) as Partial<HeapToken>
  const { spanheap, generation, system, limitPages, memory, tables } = token
  if (typeof spanheap !== 'number') throw invalidToken('it is none')
  if (spanheap !== TOKEN_VERSION) throw invalidToken(`it has version ${spanheap}, this is ${TOKEN_VERSION}`)
  if (
    !Number.isInteger(generation) ||
    typeof system !== 'string' ||
    !Number.isInteger(limitPages) ||
    !isSharedArrayBuffer(memory) ||
    !isSharedArrayBuffer(tables)
  )
    throw invalidToken('it is damaged')
}
