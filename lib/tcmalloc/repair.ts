import { AllocatorError } from '../base/errors.ts'
import { Locks, type Mender } from '../threads/locks.ts'
import { SlotState, Tag } from '../threads/thread-slots.ts'
import type { CacheBudget } from './cache-budget.ts'
import type { CentralCache } from './central-cache.ts'
import { Control, HeapWord, Lock } from './control.ts'
import { SPARE_SLOT } from './object-state.ts'
import type { PageHeap } from './page-heap.ts'
import type { SizeClassTable } from './size-class.ts'
import { AreaWord, isOpen } from './slot-area.ts'
import type { Tables } from './tables.ts'
import type { ThreadCache } from './thread-cache.ts'
import type { TransferCache } from './transfer-cache.ts'

/** The tiers that a repair works on. */
export interface RepairedTiers {
  classes: SizeClassTable
  pageHeap: PageHeap
  central: CentralCache
  transfer: TransferCache
  budget: CacheBudget
  /** The cache in a slot's area. */
  cacheOf(slot: number): ThreadCache
}

/**
 * Clears up behind threads that were struck: by `terminate()` or an end of their own, which the shim's hook reports, or by a vm timeout or
 * a stack overflow, after which they live on. Each tier rebuilds itself from facts that always hold (the tiling of pages, the states of
 * objects, each slot's claims). This class decides when, and for which slot.
 *
 * A repair may be struck itself. Then the locks stay dirty, the dead slot stays dead, and the next thread starts again.
 */
export class Repair implements Mender {
  readonly locks: Locks
  private readonly tables: Tables
  private readonly slot: number
  private tiers!: RepairedTiers

  constructor(tables: Tables, slot: number) {
    this.tables = tables
    this.slot = slot
    this.locks = new Locks(tables.control, Control.Locks, tables.slots, tables.slots.tag(slot), this)
  }

  /** Sets the tiers, which are made after the locks. */
  connect(tiers: RepairedTiers): void {
    this.tiers = tiers
  }

  /** @throws AllocatorError `ERR_HEAP_CORRUPT` once a repair has found damage that it can't mend */
  check(): void {
    if (this.tables.control[HeapWord.Poisoned] !== 0) throw this.corrupt('an earlier repair has failed')
  }

  mend(lock: number, owner: number): void {
    const { slots } = this.tables
    // If the owner is neither of this thread nor dead, its slot was cleared up and claimed again.
    const own = slots.isOwn(owner) ? owner : -1
    // Looked at before the states and locations are: those of a thread that dies later change until then, and its slot is cleared up anyway.
    const struck = Array.from(
      { length: slots.count },
      (_, slot) => slot === own || slots.state(slot) === SlotState.Dead
    )
    const isStruck = (slot: number) => struck[slot]!
    if (lock === Lock.Clearing) return // its next holder clears up from the start
    if (lock === Lock.Budget) this.tiers.budget.rebuild()
    else if (lock === Lock.PageHeap) this.rebuildPages(isStruck)
    else this.mendClass(lock - Lock.FirstClass, isStruck)
  }

  /** This thread was struck on a slow path and lives: repairs and releases all that it holds. */
  mendOwn(): void {
    const { locks } = this
    const { slots } = this.tables
    // Another thread that lives may hold a dirty lock, and wait for one that this thread was struck with.
    this.mendAll(this.slot, Lock.Clearing, (lock) => slots.isOwnTag(locks.owner(lock)))
    this.tiers.cacheOf(this.slot).freeTaken()
  }

  /**
   * Finds dead threads, gives back the contents of their caches, and frees their slots. Takes time proportional to those contents, unless a
   * thread died on a slow path.
   */
  clearUp(): void {
    this.locks.acquire(Lock.Clearing)
    this.clearUpSlots()
    this.locks.release(Lock.Clearing)
  }

  /**
   * The same for the owner of the spare slot. It may have taken the slot over from a dead thread, and takes over that thread's work here.
   * @param check throws if the heap is gone
   */
  clearUpBySpare(check: () => void): void {
    this.locks.acquire(Lock.Clearing)
    check()
    this.mendAll(this.slot, Lock.PageHeap)
    this.clearUpSlots()
    this.locks.release(Lock.Clearing)
  }

  private clearUpSlots(): void {
    const { control, slots } = this.tables
    const deaths = slots.countDeaths()
    for (let slot = 0; slot < slots.count; slot++) {
      const word = slots.word(slot)
      if ((word & SlotState.Mask) !== SlotState.Dead) continue
      this.clearUpSlot(slot)
      slots.free(slot, word)
    }
    control[HeapWord.ClearedDeaths] = deaths
  }

  /** A heap's state for a report of damage that can't be mended: slots in use, locks held, the counts. */
  dump(): string {
    const { control, slots } = this.tables
    const used: string[] = []
    for (let slot = 0; slot < slots.count; slot++) {
      if (slots.state(slot) !== SlotState.Free)
        used.push(`${slot}:${slots.word(slot)}${this.tables.slotArea(slot)[AreaWord.Busy] === 1 ? ' busy' : ''}`)
    }
    const held: string[] = []
    for (let lock = 0; lock < Lock.FirstClass + this.tiers.classes.count; lock++) {
      if (this.locks.owner(lock) !== 0) held.push(`${lock}:${this.locks.owner(lock)}`)
    }
    const { pageHeap } = this.tiers
    return [
      `slot ${this.slot}; slots in use [${used.join(', ')}]; locks held [${held.join(', ')}]`,
      `deaths ${slots.deaths}, cleared up to ${control[HeapWord.ClearedDeaths]}`,
      `end page ${pageHeap.endPage}, ${pageHeap.normalPages} normal, ${pageHeap.releasedPages} released`,
    ].join('; ')
  }

  private clearUpSlot(slot: number): void {
    const { tables } = this
    const { control } = tables
    const area = tables.slotArea(slot)
    // The owner of the spare slot has done nothing but clear up, and no area. This thread holds Clearing.
    if (area[AreaWord.Busy] !== 0 || slot === SPARE_SLOT) this.mendAll(slot, Lock.PageHeap)
    if (slot === SPARE_SLOT) return
    // A thread may die before its area has grown: the area is empty then, and must not be written.
    if (isOpen(area)) {
      const cache = this.tiers.cacheOf(slot)
      cache.freeLeft()
      cache.flush()
      const handedOut = cache.handedOut()
      control[HeapWord.DeadGranules]! += handedOut
      area[AreaWord.HandedOut] = 0 // counted once, even if this thread is struck now and another starts again
      this.tiers.budget.giveBack(area)
      cache.close()
    } else if (area[AreaWord.BudgetBytes] !== 0 || this.ownerOf(Lock.Budget) === slot) {
      this.tiers.budget.giveBack(area) // it died while it joined
    }
    tables.releaseArea(slot)
  }

  /**
   * Mends all that a struck thread holds. Without a lock, it can only have been working on pages in transit. A dirty lock may have been
   * that thread's and now be held by another that mends it and looks for dead slots: this slot must stay dead until then.
   * @param first the first lock to look at: behind Clearing if this thread holds that
   * @param waitsFor whether to wait for a dirty lock that another slot has
   */
  private mendAll(slot: number, first: Lock, waitsFor: (lock: number) => boolean = () => true): void {
    for (let lock: number = first; lock < Lock.FirstClass + this.tiers.classes.count; lock++) {
      const isTheirs = this.ownerOf(lock) !== slot
      if (isTheirs && !(this.locks.isDirty(lock) && waitsFor(lock))) continue
      this.locks.acquire(lock)
      this.locks.release(lock)
    }
    this.locks.acquire(Lock.PageHeap)
    this.rebuildPages((other) => other === slot)
    this.locks.release(Lock.PageHeap)
  }

  /** The slot that has a lock; -1 if it is free. */
  private ownerOf(lock: number): number {
    return (this.locks.owner(lock) & Tag.SlotMask) - 1
  }

  private mendClass(sizeClass: number, isStruck: (slot: number) => boolean): void {
    const { central, transfer, cacheOf } = this.tiers
    const { slots } = this.tables
    for (let slot = 0; slot < slots.count; slot++) {
      if (isStruck(slot) && isOpen(this.tables.slotArea(slot))) cacheOf(slot).forget(sizeClass)
    }
    transfer.clear(sizeClass)
    this.locks.acquire(Lock.PageHeap)
    central.rebuild(sizeClass, isStruck)
    this.locks.release(Lock.PageHeap)
    central.giveEmptySpansBack(sizeClass)
  }

  private rebuildPages(isStruck: (slot: number) => boolean): void {
    try {
      this.tiers.pageHeap.rebuild(isStruck)
    } catch (error) {
      if (!(error instanceof AllocatorError)) throw error
      this.tables.control[HeapWord.Poisoned] = 1
      throw this.corrupt(error.message)
    }
  }

  private corrupt(reason: string): AllocatorError {
    return new AllocatorError('ERR_HEAP_CORRUPT', `the heap can't be repaired: ${reason}; ${this.dump()}`)
  }
}
