import type { Locks } from '../threads/locks.ts'
import { SlotState } from '../threads/thread-slots.ts'
import { Control, HeapWord, Lock } from './control.ts'
import { AreaWord } from './slot-area.ts'
import type { Tables } from './tables.ts'

/** Bytes that a cache takes at a time from the common budget or from another cache's (gperftools' kStealAmount). */
const STEP_BYTES = 64 * 1024
/** Bytes that a new cache takes at once, if available; other caches can't take them from it (kMinThreadCacheSize). */
const LEAST_BYTES = 512 * 1024
/** The most other caches that are checked for room to take (as in gperftools' IncreaseCacheLimitLocked). */
const MOST_LOOKED_AT = 10

// The budget's words of the control section, in bytes.
const UNCLAIMED = Control.Budget
const TOTAL = Control.Budget + 1
/** The slot from which to take next. */
const VICTIM = Control.Budget + 2

/**
 * The bytes that all thread caches together may hold. Each has claimed a part. A cache that wants more takes unclaimed bytes first, then
 * those that others have claimed beyond their least. A cache that lost room gives objects back when it next wants room.
 *
 * INVARIANT: the unclaimed bytes and the slots' claims add up to the total. Only the holder of the budget's lock writes them.
 */
export class CacheBudget {
  private readonly control: Int32Array
  private readonly tables: Tables
  private readonly locks: Locks

  constructor(tables: Tables, locks: Locks) {
    this.tables = tables
    this.control = tables.control
    this.locks = locks
  }

  /** Readies a new heap's words. */
  static initialize(control: Int32Array, bytes: number): void {
    control[UNCLAIMED] = bytes
    control[TOTAL] = bytes
  }

  /** The first claim of a new slot. */
  claimFirst(area: Int32Array): void {
    this.locks.acquire(Lock.Budget)
    this.move(area, Math.min(LEAST_BYTES, this.control[UNCLAIMED]!))
    this.locks.release(Lock.Budget)
  }

  /** Claims at least `missing` bytes more for a slot, if they can be had. */
  raise(area: Int32Array, missing: number): void {
    const { control } = this
    if (control[TOTAL] === 0) return // nothing is cached: not worth a lock
    // The caller's own work is done already: without more room it goes on as before.
    if (!this.locks.tryAcquire(Lock.Budget)) return
    const most = control[TOTAL]! - area[AreaWord.BudgetBytes]! // unless other slots take from it
    if (missing <= most) {
      const wanted = Math.min(most, Math.max(missing, STEP_BYTES))
      if (control[UNCLAIMED]! < missing) this.steal(area, wanted)
      if (control[UNCLAIMED]! >= missing) this.move(area, Math.min(wanted, control[UNCLAIMED]!))
    }
    this.locks.release(Lock.Budget)
  }

  /** Gives back all that a slot has claimed. */
  giveBack(area: Int32Array): void {
    this.locks.acquire(Lock.Budget)
    this.move(area, -area[AreaWord.BudgetBytes]!)
    this.locks.release(Lock.Budget)
  }

  /** Recomputes the unclaimed bytes from the slots' claims after a thread was struck. REQUIRES: the caller holds the budget. */
  rebuild(): void {
    this.control[UNCLAIMED]! += this.missing
  }

  /** Bytes that are neither unclaimed nor claimed by a slot: 0, unless a thread was struck or is at work; for audits. */
  get missing(): number {
    const { control, tables } = this
    let missing = control[TOTAL]! - control[UNCLAIMED]!
    for (let slot = 0; slot < tables.slots.count; slot++) {
      if (tables.slots.state(slot) !== SlotState.Free) missing -= tables.slotArea(slot)[AreaWord.BudgetBytes]!
    }
    return missing
  }

  private move(area: Int32Array, bytes: number): void {
    this.control[UNCLAIMED]! -= bytes
    area[AreaWord.BudgetBytes]! += bytes
  }

  /** Unclaims up to `wanted` bytes that other slots have claimed. */
  private steal(area: Int32Array, wanted: number): void {
    const { control, tables } = this
    const { slots } = tables
    const used = control[HeapWord.SlotsUsed]!
    for (let looked = 0, passed = 0; looked < MOST_LOOKED_AT && passed < used; passed++) {
      const slot = (control[VICTIM]! + 1) % used
      control[VICTIM] = slot
      if (slots.state(slot) !== SlotState.Live) continue
      const victim = tables.slotArea(slot)
      if (victim.byteOffset === area.byteOffset) continue
      looked++
      const spare = victim[AreaWord.BudgetBytes]! - LEAST_BYTES
      if (spare > 0) this.move(victim, -Math.min(spare, STEP_BYTES))
      if (control[UNCLAIMED]! >= wanted) return
    }
  }
}
