import { channel } from 'node:diagnostics_channel'

/** What happens to a pool, told to the diagnostics channel `spanheap:pool`. Nothing is made of it where nobody listens. */
export interface PoolEvent {
  /**
   * `grow`: a block more. `trim`: blocks fewer. `exhausted`: `acquire` at the limit. `wait`: `acquireAsync` at the limit. `misuse`: a wrong
   * release. `death`: what a thread that died was about to do with a buffer was finished. `close`: the pool ends in this thread.
   */
  readonly event: 'grow' | 'trim' | 'exhausted' | 'wait' | 'misuse' | 'death' | 'close'
  /** In words, why. */
  readonly reason: string
  /** Of one buffer, in bytes. */
  readonly size: number
  /** Buffers that it is about. */
  readonly buffers: number
  /** The pool's. */
  readonly tag: string | undefined
}

const events = channel('spanheap:pool')

/** Tells who listens. */
export function publish(
  event: PoolEvent['event'],
  reason: string,
  pool: { size: number; tag: string | undefined },
  buffers = 1
): void {
  if (events.hasSubscribers)
    events.publish({ event, reason, size: pool.size, buffers, tag: pool.tag } satisfies PoolEvent)
}
