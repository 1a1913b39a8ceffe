import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { BufferPool, PoolEvent, PoolStats } from '../../lib/index.ts'

/** Runs something, and returns what was told meanwhile on the channel `spanheap:pool` by pools with a tag. */
export function eventsDuring(tag: string, run: () => void): PoolEvent[] {
  const events: PoolEvent[] = []
  const listen = (event: unknown) => {
    if ((event as PoolEvent).tag === tag) events.push(event as PoolEvent)
  }
  subscribe('spanheap:pool', listen)
  try {
    run()
  } finally {
    unsubscribe('spanheap:pool', listen)
  }
  return events
}

/** What a pool's buffers are, in short. */
export function counts({ stats }: { stats(): PoolStats }): { acquired: number; leased: number; idle: number } {
  const { acquired, leased, idle, passed, buffers } = stats()
  if (acquired + leased + idle + passed !== buffers) throw new Error(`${buffers} buffers, of which some are nothing`)
  return { acquired, leased, idle }
}

/** The statistics of a pool, which may be closed. */
export const countsOf = (pool: BufferPool) => counts({ stats: () => pool.stats() })

/** What a promise has come to by now: `waiting`, or how it was settled. */
export async function stateOf(promise: Promise<unknown>): Promise<'waiting' | 'resolved' | 'rejected'> {
  // Whatever is settled already is told in a few turns of the event loop.
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve))
  const waiting = Symbol('waiting')
  try {
    return (await Promise.race([promise, Promise.resolve(waiting)])) === waiting ? 'waiting' : 'resolved'
  } catch {
    return 'rejected'
  }
}
