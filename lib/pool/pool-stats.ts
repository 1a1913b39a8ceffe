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
  const words = slots === undefined ? [] : Array.from({ length: slots.used }, (_, slot) => slots.state(slot))
  const count = (test: (word: number) => boolean) => words.filter(test).length
  const buffers = count((word) => word !== Slot.Empty)
  const leased = count(isLeased)
  return {
    size,
    max,
    buffers,
    acquired: count(isOut) - leased,
    leased,
    passed: count(isPassed),
    idle: count((word) => word === Slot.Free),
    dead: count((word) => isOut(word) && slots!.isDead(word)),
    waiting,
    bytes: buffers * size,
  }
}
