import { AllocatorError } from '../base/errors.ts'
import { Page } from '../memory/page.ts'
import type { Mapping } from '../os/mapper.ts'
import type { Locks } from '../threads/locks.ts'
import { checkNotPaused } from '../threads/paused.ts'
import { probeStack } from '../threads/stack-probe.ts'
import { SlotState, type ThreadSlots } from '../threads/thread-slots.ts'
import { HeapWord, Lock } from './control.ts'
import type { IsolatedBlocks } from './isolated-blocks.ts'
import { SPARE_SLOT } from './object-state.ts'
import { Repair, type RepairedTiers } from './repair.ts'
import { AreaWord, isOpen } from './slot-area.ts'
import { type Tables, tooManyWorkers } from './tables.ts'
import type { ThreadCache } from './thread-cache.ts'

/** The membership that this thread is joining. If there is one when the thread enters another, a vm timeout struck it while it joined. */
let halfOpen: Membership | undefined

/** The membership on whose slow path this thread is. If there is one when the thread enters the next, it was struck on that path. */
let atWork: Membership | undefined

/** Ends the membership of a heap that the program has dropped without a close: nobody can use it any more, as after a thread's death. */
const dropped = new FinalizationRegistry<() => void>((end) => end())

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
  private readonly tag: number
  private readonly tables: Tables
  private readonly repair: Repair
  private tiers!: MemberTiers
  /** Whether the heap's last close was struck behind its work, but for the slot and the tables' memory: these may be gone, or another's. */
  isOver = false
  /** Whether this thread answers when others ring for it. */
  private isListening = false

  /**
   * Claims a slot, which counts for the heap only after `join`; the spare one if all are taken.
   * @throws AllocatorError `ERR_HEAP_TOO_MANY_WORKERS`
   */
  constructor(tables: Tables, isFirst: boolean) {
    probeStack()
    if (atWork !== undefined || halfOpen !== undefined) {
      checkNotPaused()
      mendStruck()
    }
    const { slot, area } = isFirst ? claimFirst(tables) : tables.claimSlot()
    this.slot = slot
    this.area = area
    this.tables = tables
    this.tag = tables.slots.tag(slot)
    this.repair = new Repair(tables, slot)
    this.locks = this.repair.locks
  }

  /**
   * Joins the heap: from now on this thread has it open. With the spare slot, it clears up behind dead threads instead, and hasn't joined
   * the heap.
   * @param check throws if the heap is gone, for a thread that attaches
   * @throws AllocatorError `ERR_HEAP_TOO_MANY_WORKERS` if all slots are live threads'
   */
  join(tiers: MemberTiers, check: ((tables: Tables) => void) | undefined): void {
    const { locks, tables } = this
    this.tiers = tiers
    this.repair.connect(tiers)
    halfOpen = this
    try {
      if (this.isSpare) {
        this.makeRoom(() => check?.(tables))
        return
      }
      if (check !== undefined) this.listen()
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
  undo(): void {
    if (this.isIn) {
      const { budget, cache } = this.tiers
      this.repair.mendOwn()
      if (this.area[AreaWord.BudgetBytes] !== 0) budget.giveBack(this.area)
      if (!this.isSpare) cache.close()
      this.leaveSlot()
    }
    halfOpen = undefined
  }

  /** Mends what this thread left half done when it was struck on a slow path. */
  mend(): void {
    if (!this.isIn) return
    this.repair.mendOwn()
    this.area[AreaWord.Busy] = 0
  }

  /** Whether the slot is still this membership's: it has neither left, nor, in tests, died. */
  private get isIn(): boolean {
    return this.tables.slots.isAlive(this.tag)
  }

  /** Whether all slots were taken. */
  get isSpare(): boolean {
    return this.slot === SPARE_SLOT
  }

  /** Frees dead threads' slots by way of the spare one, which this thread gives back. */
  private makeRoom(check: () => void): void {
    const { repair, tables, slot } = this
    const { slots } = tables
    repair.check()
    probeStack()
    repair.clearUpBySpare(check)
    let taken = 0
    while (taken < slot && slots.state(taken) !== SlotState.Free) taken++
    if (taken === slot) throw tooManyWorkers()
    tables.freeSlot(slot)
    halfOpen = undefined
  }

  /** The thread slot, and the tag of its owner. */
  thread(): { slots: ThreadSlots; slot: number; tag: number } {
    return { slots: this.tables.slots, slot: this.slot, tag: this.tag }
  }

  /**
   * From now on this thread answers when others wait for its locks: it may be struck, and not use the heap again. Until the heap is shared
   * there are no others.
   */
  listen(): void {
    if (this.isListening) return
    this.isListening = true
    dropped.register(this, this.tables.ender(this.slot), this)
    this.listenFrom(this.tables.slots.rings(this.slot))
  }

  private listenFrom(heard: number): void {
    // The bell must not keep a heap that the program has dropped. A struck one is kept by `atWork`.
    const member = new WeakRef(this)
    this.tables.slots.whenRung(this.slot, heard, () => member.deref()?.answer())
  }

  /** Another thread waits for a lock of this one. This is called by the event loop, so whatever this thread holds was left by a strike. */
  private answer(): void {
    if (!this.isListening) return
    const { slots } = this.tables
    const heard = slots.rings(this.slot)
    try {
      mendStruck()
      // What another copy of the library, or an error, has left.
      if (this.area[AreaWord.Busy] !== 0) this.mend()
      for (const locks of slots.ownLocks) locks.settle()
    } catch (error) {
      // The next call of the program reports a heap that is beyond repair.
      if (!(error instanceof AllocatorError)) throw error
    }
    this.listenFrom(heard)
  }

  private leaveSlot(): void {
    if (this.isListening) {
      this.isListening = false
      dropped.unregister(this)
      this.tables.slots.ring(this.tag) // ends the wait
    }
    this.tables.freeSlot(this.slot)
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
    if (atWork !== undefined || area[AreaWord.Busy] !== 0 || (halfOpen !== undefined && halfOpen !== this)) {
      checkNotPaused()
      mendStruck(this)
      if (area[AreaWord.Busy] !== 0) repair.mendOwn()
    }
    area[AreaWord.Busy] = 1
    atWork = this
    if (slots.deaths !== control[HeapWord.ClearedDeaths]) repair.clearUp()
    if (control[HeapWord.Collected] !== 0) this.tiers.isolated?.free(all)
  }

  /** Ends a slow path. */
  leave(): void {
    this.tiers.pageHeap.releaseDue()
    if (this.area[AreaWord.HandedOut]! < 0) this.tables.control[HeapWord.Uncounted] = 1
    this.area[AreaWord.Busy] = 0
    atWork = undefined
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
    if (this.isOver) return this.endClose(true)
    const { tables, locks, area } = this
    const { cache, budget, mapping, pageHeap } = this.tiers
    if (!cache.open) area[AreaWord.Busy] = 1 // struck in an earlier close
    this.enter(true)
    cache.freeLeft()
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
    atWork = undefined
    this.isOver = last
    return this.endClose(last)
  }

  private endClose(last: boolean): boolean {
    if (this.isIn) this.leaveSlot()
    if (last) this.tables.close()
    return last
  }
}

/**
 * Finishes what a strike has left half done in this thread, which lives on: in this heap or another, whichever object it was called by.
 * @param present the membership that is about to go to work, or is joining
 */
function mendStruck(present?: Membership): void {
  for (const struck of [halfOpen, atWork]) {
    if (struck === undefined || (struck === present && struck === halfOpen)) continue
    try {
      if (struck === halfOpen) struck.undo()
      else struck.mend()
    } catch (error) {
      // The error of another heap is for the next call to that.
      if (struck === present || !(error instanceof AllocatorError)) throw error
      halfOpen = undefined
    }
  }
  atWork = undefined
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
