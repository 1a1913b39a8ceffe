import { channel } from 'node:diagnostics_channel'
import { AllocatorError, type AllocatorErrorCode } from '../base/errors.ts'
import { emitWarning } from '../base/warning.ts'
import { callersIn } from '../buffers/call-stack.ts'

/** What debug mode has found wrong, as told to the diagnostics channel `spanheap:misuse`. */
export interface MisuseReport {
  /**
   * `overflow`: bytes behind the end of a block were written. `write-after-free`: bytes of a free block, or of an idle buffer of a pool, were.
   * `wrong-free`: a block that isn't live was freed, or a pool's buffer that isn't out released.
   */
  readonly kind: 'overflow' | 'write-after-free' | 'wrong-free'
  /** The address of the block. */
  readonly address: number
  /** The size that was asked for, in bytes; undefined where nobody knows it any more. */
  readonly bytes: number | undefined
  /** The offset in the block of the first byte that is wrong; undefined for a wrong free. */
  readonly offset: number | undefined
  /** The tag that the block was allocated with. */
  readonly tag: string | undefined
  /** Where it was allocated; undefined where that was in another thread. */
  readonly allocated: string | undefined
  /** Where it was freed, or given back to its pool; undefined where it is live, or that was in another thread. */
  readonly freed: string | undefined
}

/** What is known of a block in the thread that has allocated or freed it. */
export interface BlockRecord {
  bytes: number | undefined
  tag: string | undefined
  allocated: string | undefined
  freed: string | undefined
}

/** What was found, before anybody is told. */
export interface Finding {
  readonly report: MisuseReport
  readonly error: AllocatorError
}

/** More findings than this of one thread aren't printed; the channel tells of all. */
const MOST_WARNINGS = 10

/** A {@link MisuseReport} for each finding of this thread. */
const misuses = channel('spanheap:misuse')
const told = new WeakSet<AllocatorError>()
let warnings = 0

/** What is to be told of a block, and thrown if a call is there to throw from. */
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

/** Tells of a finding, and returns what to throw. */
export function tell({ report, error }: Finding): AllocatorError {
  told.add(error)
  if (misuses.hasSubscribers) misuses.publish(report)
  return error
}

/** Whether an error is that of a finding that was told. */
export function isTold(error: AllocatorError): boolean {
  return told.has(error)
}

/** Tells of a finding where no call is there to throw from: where nobody listens, the first ten are warnings of the process. */
export function warn(found: Finding): void {
  const { message, cause } = tell(found)
  if (misuses.hasSubscribers || warnings >= MOST_WARNINGS) return
  warnings++
  const more = warnings === MOST_WARNINGS ? '; further ones are told to the channel spanheap:misuse only' : ''
  emitWarning(`${message}${more}`, {
    type: 'MisuseWarning',
    code: 'SPANHEAP_MISUSE',
    detail: String(cause),
  })
}
