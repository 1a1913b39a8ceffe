import { channel } from 'node:diagnostics_channel'
import { announce } from '../base/announce.ts'

/** An event of a pool, published to the diagnostics channel `spanheap:pool`. No event is made unless the channel has a subscriber. */
export interface PoolEvent {
  /**
   * `grow`: a block more. `trim`: blocks fewer. `exhausted`: `acquire` at the limit. `wait`: `acquireAsync` at the limit. `misuse`: a wrong
   * release. `death`: a step that a dead thread had begun on a buffer was finished, or the dead have all buffers
   * that this thread waits for. `close`: the pool ends in this thread.
   */
  readonly event: 'grow' | 'trim' | 'exhausted' | 'wait' | 'misuse' | 'death' | 'close'
  /** The reason, in words. */
  readonly reason: string
  /** The size of one buffer, in bytes. */
  readonly size: number
  /** How many buffers it concerns. */
  readonly buffers: number
  /** The pool's tag. */
  readonly tag: string | undefined
}

const events = channel('spanheap:pool')

/** Publishes an event to the subscribers, behind what this thread is in the middle of. */
export function publish(
  event: PoolEvent['event'],
  reason: string,
  pool: { size: number; tag: string | undefined },
  buffers = 1
): void {
  if (events.hasSubscribers)
    announce(events, { event, reason, size: pool.size, buffers, tag: pool.tag } satisfies PoolEvent)
}
