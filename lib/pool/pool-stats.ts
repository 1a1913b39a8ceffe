import { isLeased, isOut, isPassed, isReserved, type PoolSlots, Slot } from './pool-slots.ts'

/** A pool's numbers. */
export interface PoolStats {
  /** The size of one buffer, in bytes. */
  size: number
  /** The most buffers that there may be. */
  max: number
  /** How many buffers exist: acquired, leased, passed and idle. */
  buffers: number
  /** How many of them were handed out by `acquire` and its variants, in all threads. */
  acquired: number
  /** How many of them were handed out as leases. */
  leased: number
  /** How many of them were passed, and not adopted yet. */
  passed: number
  /** How many of them are ready to be handed out. */
  idle: number
  /** How many of the acquired or leased ones belonged to threads that died. */
  dead: number
  /** How many callers wait for one, in all threads. */
  waiting: number
  /** The usable bytes of all buffers. */
  bytes: number
}

/** Counts the buffers of a pool by their slots' words; a closed pool has none. */
export function poolStats(slots: PoolSlots | undefined, size: number, max: number, waiting: number): PoolStats {
  const stats = { size, max, buffers: 0, acquired: 0, leased: 0, passed: 0, idle: 0, dead: 0, waiting, bytes: 0 }
  for (let slot = 0; slots !== undefined && slot < slots.used; slot++) {
    const word = slots.state(slot)
    if (word === Slot.Empty) continue
    stats.buffers++
    if (word === Slot.Free || isReserved(word)) stats.idle++
    else if (isPassed(word)) stats.passed++
    else if (isLeased(word)) stats.leased++
    else if (isOut(word)) stats.acquired++
    if (isOut(word) && slots.isDead(word)) stats.dead++
  }
  stats.bytes = stats.buffers * size
  return stats
}
