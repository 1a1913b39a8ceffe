import { fileURLToPath, URL } from 'node:url'
import { isSharedArrayBuffer } from 'node:util/types'
import { invalidToken, wrongType } from '../base/errors.ts'
import { MAGIC } from './control.ts'
import type { SharedHeap } from './tcmalloc.ts'

/** Undefined in a CommonJS bundle. */
const here: string | undefined = import.meta.url

/** The path of this copy of the library: two copies in one process don't know each other's heaps. */
export const COPY = here === undefined ? 'a bundle' : fileURLToPath(new URL('../../', here))

/** The layout of the tables that this version of the library reads and writes. */
export const TOKEN_VERSION = MAGIC & 0xff

/**
 * The token by which another thread of the process attaches to a heap: a plain object that survives structured clone. Its fields are the
 * library's own; a token of another version, or of a heap that is closed, is refused.
 */
export interface HeapToken extends SharedHeap {
  /** The version of the tables' layout. */
  readonly spanheap: number
  /** The source of its memory, as in `stats().system`. */
  readonly system: string
  /** The path of the copy of the library that made the token. */
  readonly copy: string
}

/** The likely reason why this copy's addon doesn't know a token's heap. */
export function whyUnknown({ copy }: HeapToken): string {
  return copy === COPY ? 'no heap of this process is there' : `it is of another copy of spanheap. ${twoCopies(copy)}`
}

/** The error for a value that should be a heap of this copy and isn't. */
export function notAHeap(value: unknown): TypeError {
  const other = copyOf(value)
  return wrongType(
    'heap',
    'a Heap',
    value,
    other === undefined ? '' : ` of another copy of spanheap. ${twoCopies(other)}`
  )
}

/** The copy of the library that made a heap; undefined if the value isn't a heap, or is closed. */
function copyOf(value: unknown): string | undefined {
  try {
    const { copy } = (value as { share(): Partial<HeapToken> }).share()
    return typeof copy === 'string' ? copy : undefined
  } catch {
    return undefined
  }
}

function twoCopies(other: string): string {
  return `The program has two: that one is in ${other}, this one in ${COPY}; npm ls spanheap tells why, npm dedupe may help`
}

/** @throws AllocatorError `ERR_HEAP_INVALID_TOKEN` if a value isn't a token, or is of another version */
export function checkToken(value: unknown): asserts value is HeapToken {
  const token = (typeof value === 'object' && value !== null ? value : {}) as Partial<HeapToken>
  const { spanheap, generation, system, copy, limitPages, memory, tables } = token
  if (typeof spanheap !== 'number') throw invalidToken('it is none: share() of a heap gives one')
  if (spanheap !== TOKEN_VERSION) throw invalidToken(`it has version ${spanheap}, this is ${TOKEN_VERSION}`)
  if (
    !Number.isInteger(generation) ||
    typeof system !== 'string' ||
    typeof copy !== 'string' ||
    !Number.isInteger(limitPages) ||
    !isSharedArrayBuffer(memory?.buffer) ||
    !isSharedArrayBuffer(tables?.buffer)
  )
    throw invalidToken('it is damaged: it goes by workerData or postMessage, and not as JSON')
}
