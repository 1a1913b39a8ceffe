import { AllocatorError } from '../base/errors.ts'
import { Granule, Page } from '../memory/page.ts'
import { isFree, isHandedOut, ObjectState } from './object-state.ts'
import type { TCMalloc } from './tcmalloc.ts'

/** The error for an address at which a live block was expected. It says what is there instead. */
export function wrongAddress(tiers: Pick<TCMalloc, 'stateOf' | 'endPage'>, address: number): AllocatorError {
  const granule = address / Granule.Bytes
  const state = Number.isInteger(granule) ? tiers.stateOf(granule) : ObjectState.None
  if (isFree(state)) {
    return new AllocatorError('ERR_HEAP_DOUBLE_FREE', `the block at ${address} is free already`, { address })
  }
  if (state === ObjectState.Passed) {
    const message = `the block at ${address} was passed, and is nobody's until it is adopted`
    return new AllocatorError('ERR_HEAP_INVALID_ADDRESS', message, { address })
  }
  // It was live a moment ago, when the caller looked: since then another thread has freed it, and it was handed out again.
  if (isHandedOut(state)) {
    return new AllocatorError('ERR_HEAP_DOUBLE_FREE', `two threads freed the block at ${address} at once`, { address })
  }
  const page = Math.floor(granule / 2 ** Page.GranuleShift)
  const grown = page >= Page.First && page < tiers.endPage
  return new AllocatorError(
    'ERR_HEAP_INVALID_ADDRESS',
    grown ? `no block starts at ${address}` : `${address} is not an address of this heap`,
    { address }
  )
}

/** The error for a buffer that its thread has given back: its address may belong to another block by now. */
export function givenBack(address: number): AllocatorError {
  return new AllocatorError('ERR_HEAP_DOUBLE_FREE', `the buffer at ${address} was freed or passed already`, { address })
}

/** The error for a block that is part of another object, which alone may free it. */
export function notYours(address: number): AllocatorError {
  const message = `the block at ${address} belongs to a pool, an arena or a table of handles`
  return new AllocatorError('ERR_HEAP_INVALID_ADDRESS', message, { address })
}

/** The error for an isolated block, which is reached only by its own ArrayBuffer. */
export function isolated(address: number): AllocatorError {
  const message = `the block at ${address} is an isolated buffer's: freeBuffer frees it, or V8 does`
  return new AllocatorError('ERR_HEAP_INVALID_ADDRESS', message, { address })
}

/** The error for a view that isn't of the heap's memory. */
export function notOurs(address: number): AllocatorError {
  return new AllocatorError('ERR_HEAP_INVALID_ADDRESS', "the view is not of this heap's memory", { address })
}
