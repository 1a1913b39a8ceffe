import { channel } from 'node:diagnostics_channel'
import { announce } from '../base/announce.ts'
import { callersIn } from '../base/call-stack.ts'
import { AllocatorError, type AllocatorErrorCode } from '../base/errors.ts'
import { emitWarning } from '../base/warning.ts'

/** A misuse found by debug mode, as published to the diagnostics channel `spanheap:misuse`. */
export interface MisuseReport {
  /**
   * `overflow`: bytes behind the end of a block were written. `write-after-free`: bytes of a free block, or of a pool's idle buffer, were
   * written. `wrong-free`: a block that isn't live was freed, or a pool's buffer that isn't in use was released.
   */
  readonly kind: 'overflow' | 'write-after-free' | 'wrong-free'
  /** The address of the block. */
  readonly address: number
  /** The requested size, in bytes; undefined if it isn't known any more. */
  readonly bytes: number | undefined
  /** The offset in the block of the first damaged byte; undefined for a wrong free. */
  readonly offset: number | undefined
  /** The tag that the block was allocated with. */
  readonly tag: string | undefined
  /** Where it was allocated; undefined if that was in another thread. */
  readonly allocated: string | undefined
  /** Where it was freed, or given back to its pool; undefined if it is live, or that was in another thread. */
  readonly freed: string | undefined
}

/** A thread's record of a block that it allocated or freed. */
export interface BlockRecord {
  bytes: number | undefined
  tag: string | undefined
  allocated: string | undefined
  freed: string | undefined
}

/** A finding that isn't reported yet. */
export interface Finding {
  readonly report: MisuseReport
  readonly error: AllocatorError
}

/** The most findings of one thread that are printed; the channel gets all. */
const MOST_WARNINGS = 10

/** A {@link MisuseReport} for each finding of this thread. */
const misuses = channel('spanheap:misuse')
const told = new WeakSet<AllocatorError>()
let warnings = 0

/** Makes a finding about a block: the report and, if a call can throw it, the error. */
export function finding(
  kind: MisuseReport['kind'],
  code: AllocatorErrorCode,
  message: string,
  address: number,
  record: BlockRecord | undefined,
  offset?: number
): Finding {
  const allocated = callersIn(record?.allocated)
  const freed = callersIn(record?.freed)
  const { bytes, tag } = record ?? {}
  const stacks = [
    ...(allocated === undefined ? [] : [`allocated\n${allocated}`]),
    ...(freed === undefined ? [] : [`freed\n${freed}`]),
  ]
  const cause = stacks.length > 0 ? stacks.join('\n') : 'it was allocated and freed in other threads, if at all'
  return {
    report: { kind, address, bytes, offset, tag, allocated, freed },
    error: new AllocatorError(code, message, { address, cause }),
  }
}

/** Reports a finding and returns the error to throw. */
export function tell({ report, error }: Finding, isAtWork = false): AllocatorError {
  told.add(error)
  announce(misuses, report, isAtWork)
  return error
}

/** Whether an error is that of a reported finding. */
export function isTold(error: AllocatorError): boolean {
  return told.has(error)
}

/** Reports a finding that no call can throw, since it is in the middle of its work. If the channel has no subscriber, the first ten are process warnings. */
export function warn(found: Finding): void {
  const { message, cause } = tell(found, true)
  if (misuses.hasSubscribers || warnings >= MOST_WARNINGS) return
  warnings++
  const more = warnings === MOST_WARNINGS ? '; further ones are told to the channel spanheap:misuse only' : ''
  emitWarning(`${message}${more}`, {
    type: 'MisuseWarning',
    code: 'SPANHEAP_MISUSE',
    detail: String(cause),
  })
}
