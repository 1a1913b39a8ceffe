import { type AllocatorError, staleHandle, wrongType } from '../base/errors.ts'

/**
 * The result of a heap's or pool's `pass`, and the argument of `adopt`: a plain object that survives structured clone, to be sent by
 * `postMessage`, `workerData` or any other way to a thread of this process. Its fields are the library's own, and `adopt` trusts none of
 * them.
 */
export interface PassedBlock {
  /** The kind of owner that passed it: a heap or a pool. */
  readonly from: 'heap' | 'pool'
  /** Tells that owner from every other. */
  readonly owner: number
  /** The owner's slot for it. */
  readonly slot: number
  /** Tells this pass from all others through that slot. */
  readonly sequence: number
  /** The block's address in the heap. */
  readonly address: number
  /** The length of the passed view, in bytes. */
  readonly length: number
}

/** The value for a block that is about to be passed. */
export function passedBlock({ from, owner, slot, sequence, address, length }: PassedBlock): PassedBlock {
  return Object.freeze({ from, owner, slot, sequence, address, length })
}

/**
 * Checks that a value may be a passed block of an owner. The owner itself checks what its numbers refer to.
 * @throws AllocatorError `ERR_HEAP_STALE_HANDLE`; TypeError `ERR_INVALID_ARG_TYPE` if it isn't an object
 */
export function checkPassed(value: unknown, by: PassedBlock['from'], generation: number): PassedBlock {
  if (typeof value !== 'object' || value === null) throw wrongType('passed', 'what pass has returned', value)
  // Each field is read once: a getter may return something else the next time.
  const { from, owner, slot, sequence, address, length } = value as Partial<PassedBlock>
  if (from !== by || owner !== generation) throw stalePass()
  if (!isCount(slot) || !isCount(sequence) || !isCount(address) || !isCount(length)) throw stalePass()
  return { from, owner, slot, sequence, address, length }
}

/** The error for a value that names no block that waits to be adopted. */
export function stalePass(): AllocatorError {
  return staleHandle('nothing that was passed is there: it was adopted already, or is of another heap or pool')
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}
