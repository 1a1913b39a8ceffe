import { channel } from 'node:diagnostics_channel'
import { callersIn } from '../buffers/call-stack.ts'
import { AllocatorError, type AllocatorErrorCode } from '../errors.ts'

/** What debug mode has found wrong, as told to the diagnostics channel `spanheap:misuse`. */
export interface MisuseReport {
  /**
   * `overflow`: bytes behind the end of a block were written. `write-after-free`: bytes of a free block, or of an idle buffer of a pool, were.
   * `wrong-free`: a block that isn't live was freed, or a pool's buffer that isn't out released.
   */
  readonly kind: 'overflow' | 'write-after-free' | 'wrong-free'
  /** The address of the block. */
  readonly address: number
  /** The size that was asked for, in bytes; undefined where another thread had it. */
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

const misuses = channel('spanheap:misuse')

/** What is known of a block in the thread that has allocated it. */
export interface BlockRecord {
  bytes: number
  tag: string | undefined
  allocated: string | undefined
  freed: string | undefined
}

/** Tells what was found, and returns the error to throw if a call is there to throw from. */
export function misuse(
  kind: MisuseReport['kind'],
  code: AllocatorErrorCode,
  message: string,
  address: number,
  record: BlockRecord | undefined,
  offset?: number
): AllocatorError {
  const allocated = callersIn(record?.allocated)
  const freed = callersIn(record?.freed)
  const { bytes, tag } = record ?? {}
  if (misuses.hasSubscribers)
    misuses.publish({ kind, address, bytes, offset, tag, allocated, freed } satisfies MisuseReport)
  const parts = [
    allocated === undefined ? 'allocated in another thread' : `allocated\n${allocated}`,
    ...(freed === undefined ? [] : [`freed\n${freed}`]),
  ]
  return new AllocatorError(code, message, { address, cause: parts.join('\n') })
}
