import { isLeased, isOut, isPassed, type PoolSlots, Slot } from './pool-slots.ts'

/** What a pool comes to. */
export interface PoolStats {
  /** Of one buffer, in bytes. */
  size: number
  /** Buffers that there may be. */
  max: number
  /** Buffers that there are: acquired, leased, passed and idle. */
  buffers: number
  /** Of those: handed out by `acquire` and its kin, in all threads. */
  acquired: number
  /** Of those: handed out as leases. */
  leased: number
  /** Of those: passed, and not adopted yet. */
  passed: number
  /** Of those: ready to be handed out. */
  idle: number
  /** Of those acquired or leased: what threads that died had. */
  dead: number
  /** Who waits for one, in all threads. */
  waiting: number
  /** Of all buffers, in usable bytes. */
  bytes: number
}

/** Counts the buffers of a pool by what their slots' words say; none of one that is closed. */
export function poolStats(slots: PoolSlots | undefined, size: number, max: number, waiting: number): PoolStats {
  const stats = { size, max, buffers: 0, acquired: 0, leased: 0, passed: 0, idle: 0, dead: 0, waiting, bytes: 0 }
  for (let slot = 0; slots !== undefined && slot < slots.used; slot++) {
    const word = slots.state(slot)
    if (word === Slot.Empty) continue
    stats.buffers++
    if (word === Slot.Free) stats.idle++
    else if (isPassed(word)) stats.passed++
    else if (isLeased(word)) stats.leased++
    else if (isOut(word)) stats.acquired++
    if (isOut(word) && slots.isDead(word)) stats.dead++
  }
  stats.bytes = stats.buffers * size
  return stats
}
