import { type AllocatorError, staleHandle, wrongType } from '../base/errors.ts'

/**
 * What `pass` of a heap or a pool gives, and `adopt` takes: a plain object that survives structured clone, to be sent by `postMessage`,
 * `workerData` or any other way to a thread of this process. Its fields are the library's own. `adopt` believes none of them.
 */
export interface PassedBlock {
  /** What has passed it: a heap, or a pool. */
  readonly from: 'heap' | 'pool'
  /** Tells that one from every other. */
  readonly owner: number
  /** Where its owner knows of it. */
  readonly slot: number
  /** Tells this pass from all others through that slot. */
  readonly sequence: number
  /** Of its block, in the heap. */
  readonly address: number
  /** Of the view that was passed, in bytes. */
  readonly length: number
}

/** The value for a block that is about to be passed. */
export function passedBlock({ from, owner, slot, sequence, address, length }: PassedBlock): PassedBlock {
  return Object.freeze({ from, owner, slot, sequence, address, length })
}

/**
 * Whether a value may be one of an owner's. What its numbers stand for is for that one to say.
 * @throws AllocatorError `ERR_HEAP_STALE_HANDLE`; TypeError `ERR_INVALID_ARG_TYPE` where it isn't an object
 */
export function checkPassed(value: unknown, by: PassedBlock['from'], generation: number): PassedBlock {
  if (typeof value !== 'object' || value === null) throw wrongType('passed', 'what pass has returned', value)
  // Each field is read once: a getter may say something else the next time.
  const { from, owner, slot, sequence, address, length } = value as Partial<PassedBlock>
  if (from !== by || owner !== generation) throw stalePass()
  if (!isCount(slot) || !isCount(sequence) || !isCount(address) || !isCount(length)) throw stalePass()
  return { from, owner, slot, sequence, address, length }
}

/** The error for a value that stands for no block that waits to be adopted. */
export function stalePass(): AllocatorError {
  return staleHandle('nothing that was passed is there: it was adopted already, or is of another heap or pool')
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}
