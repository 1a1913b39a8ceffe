import { Page } from '../memory/page.ts'
import type { Mapping } from '../os/mapper.ts'
import type { Locks } from '../threads/locks.ts'
import { probeStack } from '../threads/stack-probe.ts'
import { SlotState, type ThreadSlots } from '../threads/thread-slots.ts'
import { HeapWord, Lock } from './control.ts'
import type { IsolatedBlocks } from './isolated-blocks.ts'
import { Repair, type RepairedTiers } from './repair.ts'
import { AreaWord, isOpen } from './slot-area.ts'
import type { Tables } from './tables.ts'
import type { ThreadCache } from './thread-cache.ts'

/** The membership that this thread was joining when a vm timeout struck it; undone before the thread opens another. */
let halfOpen: Membership | undefined

/** The tiers with which a thread joins a heap. */
export interface MemberTiers extends RepairedTiers {
  mapping: Mapping
  cache: ThreadCache
  isolated: IsolatedBlocks | undefined
}

/** This thread's membership of a heap: its slot and its locks, joining and leaving, and the start and end of every slow path. */
export class Membership {
  readonly slot: number
  readonly area: Int32Array
  readonly locks: Locks
  private readonly tables: Tables
  private readonly repair: Repair
  private tiers!: MemberTiers

  /** Claims a slot, which counts for the heap only after `join`. @throws AllocatorError `ERR_HEAP_TOO_MANY_WORKERS` */
  constructor(tables: Tables, isFirst: boolean) {
    probeStack()
    halfOpen?.undo()
    const { slot, area } = isFirst ? claimFirst(tables) : tables.claimSlot()
    this.slot = slot
    this.area = area
    this.tables = tables
    this.repair = new Repair(tables, slot)
    this.locks = this.repair.locks
  }

  /**
   * Joins the heap: from now on this thread has it open.
   * @param check throws if the heap is gone, for a thread that attaches
   */
  join(tiers: MemberTiers, check: ((tables: Tables) => void) | undefined): void {
    const { locks, tables } = this
    this.tiers = tiers
    this.repair.connect(tiers)
    halfOpen = this
    try {
      locks.acquire(Lock.Clearing)
      check?.(tables)
      tiers.cache.initialize()
      tables.control[HeapWord.SlotsUsed] = Math.max(tables.control[HeapWord.SlotsUsed]!, this.slot + 1)
      locks.release(Lock.Clearing)
      // Clears up behind dead threads: other threads may never come to a slow path.
      this.enter()
      this.leave()
    } catch (error) {
      this.undo()
      throw error
    }
    halfOpen = undefined
  }

  /** Undoes an unfinished join: this thread was struck while it joined, and the program never got the heap. */
  private undo(): void {
    const { budget, cache } = this.tiers
    halfOpen = undefined
    this.repair.mendOwn()
    if (this.area[AreaWord.BudgetBytes] !== 0) budget.giveBack(this.area)
    cache.close()
    this.tables.freeSlot(this.slot)
  }

  /** The thread slot, and the tag of its owner. */
  thread(): { slots: ThreadSlots; slot: number; tag: number } {
    const { slots } = this.tables
    return { slots, slot: this.slot, tag: slots.tag(this.slot) }
  }

  /**
   * Begins a slow path.
   * @param all whether to free all isolated blocks that V8 has let go of, or a limited number
   * @throws AllocatorError `ERR_HEAP_CORRUPT` if a repair has failed
   */
  enter(all = false): void {
    const { area, repair } = this
    const { control, slots } = this.tables
    repair.check()
    probeStack()
    if (area[AreaWord.Busy] !== 0) repair.mendOwn()
    area[AreaWord.Busy] = 1
    if (slots.deaths !== control[HeapWord.ClearedDeaths]) repair.clearUp()
    if (control[HeapWord.Collected] !== 0) this.tiers.isolated?.free(all)
  }

  /** Ends a slow path. */
  leave(): void {
    this.tiers.pageHeap.releaseDue()
    this.area[AreaWord.Busy] = 0
  }

  /** Runs `work`, which takes no lock of the tiers, while no other thread runs such work. */
  exclusively<T>(work: () => T): T {
    this.enter()
    try {
      return this.locks.holding(Lock.Clearing, work)
    } finally {
      this.leave()
    }
  }

  /** Runs `read` while no other thread moves anything between tiers. */
  reading<T>(read: () => T): T {
    const { classes } = this.tiers
    const locks = Array.from({ length: classes.count - 1 }, (_, index) => Lock.FirstClass + 1 + index)
    this.enter(true)
    try {
      return this.locks.reading([...locks, Lock.PageHeap], read)
    } finally {
      this.leave()
    }
  }

  /** Slots whose caches are open: those of attached threads, and of dead ones not cleared up yet. */
  openSlots(): number[] {
    const { control, slots } = this.tables
    const open: number[] = []
    for (let slot = 0; slot < control[HeapWord.SlotsUsed]!; slot++) {
      if (slots.state(slot) !== SlotState.Free && isOpen(this.tables.slotArea(slot))) open.push(slot)
    }
    return open
  }

  /** Whether no other thread has the heap open now. */
  isAlone(): boolean {
    return this.openSlots().every((slot) => slot === this.slot)
  }

  /** Ends this thread's membership; the last thread gives all memory back. Returns whether this was the last. */
  close(): boolean {
    const { tables, locks, area } = this
    const { cache, budget, mapping, pageHeap } = this.tiers
    if (!cache.open) area[AreaWord.Busy] = 1 // struck in an earlier close
    this.enter(true)
    cache.flush()
    budget.giveBack(area)
    locks.acquire(Lock.Clearing)
    // From here on other closing threads take the slot as closed. Its count of handed-out granules stays.
    cache.close()
    area[AreaWord.Busy] = 1
    const last = this.openSlots().length === 0
    if (last) {
      tables.control[HeapWord.Magic] = 0
      const pages = pageHeap.mappedPages
      if (pages > 0) mapping.discard(Page.First * Page.Bytes, pages * Page.Bytes)
    }
    // The lock goes first: it would look abandoned once the slot is free.
    locks.release(Lock.Clearing)
    tables.freeSlot(this.slot)
    if (last) tables.close()
    return last
  }
}

/** Claims a new heap's first slot. If that fails, the tables are closed: nothing else would use them. */
function claimFirst(tables: Tables): { slot: number; area: Int32Array } {
  try {
    return tables.claimSlot()
  } catch (error) {
    tables.close()
    throw error
  }
}
