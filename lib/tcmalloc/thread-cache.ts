import { Granule, Page } from '../memory/page.ts'
import type { Locks } from '../threads/locks.ts'
import type { CacheBudget } from './cache-budget.ts'
import { Lock } from './control.ts'
import { ObjectState, slotState } from './object-state.ts'
import type { SizeClassTable } from './size-class.ts'
import { AreaWord, isOpen } from './slot-area.ts'
import { SpanCache } from './span-cache.ts'
import type { StackLayout } from './stack-layout.ts'
import type { Tables } from './tables.ts'
import type { TransferCache } from './transfer-cache.ts'

/** A trip to the central cache moves a quarter of the stack's limit, or a batch if that is more. */
const TRIP_SHIFT = 2
/** How often a stack that has grown beyond a batch may overflow before it must shrink (kMaxOverages). */
const MOST_OVERAGES = 3
/** The states that a sealed cache sees. */
const NO_STATES = new Int8Array(0)
/** A cache that has used up its budget looks for idle stacks once every so many trips to the central cache. */
const TRIPS_BETWEEN_SCAVENGES = 64

/**
 * The thread cache: per class a stack of free objects that belong to one thread slot. Only that slot's thread touches it, so the usual
 * malloc and free need only plain loads and stores.
 *
 * INVARIANT: an object on a stack has this slot's state, and every object with this slot's state is on its class's stack. The order of
 * stores keeps the stack correct between any two: `pop` writes the state before the length, `push` the entry, the length, then the state.
 * An object moves to another tier under its class's lock, and so does the stack's length. So a thread struck outside of any slow path
 * leaves a correct stack, except for entries with another state, which are ignored.
 *
 * The stacks' contents are always bounded: the limits of all classes together, in bytes, never exceed the slot's budget, a claim on the
 * heap's. So the usual path counts no bytes. With a budget of 0 nothing is cached, and every call goes to the central cache.
 */
export class ThreadCache {
  /** This slot's state: that of every object on its stacks. */
  readonly state: number
  /** Large blocks that the thread has freed: a part of this cache, included in its totals. */
  readonly spans: SpanCache
  private readonly area: Int32Array
  /** The states for the usual path; those of the tables until the cache is sealed. */
  private readonly states: Int8Array
  private readonly pageClass: Int8Array
  /** The bytes of each class. */
  readonly size: Int32Array
  private readonly tables: Tables
  private readonly classes: SizeClassTable
  private readonly layout: StackLayout
  private readonly transfer: TransferCache
  private readonly locks: Locks
  private readonly budget: CacheBudget

  /** The cache in a slot's area: `initialize` prepares a new slot's; a dead thread's can be flushed. */
  constructor(
    tables: Tables,
    classes: SizeClassTable,
    layout: StackLayout,
    transfer: TransferCache,
    locks: Locks,
    budget: CacheBudget,
    slot: number,
    area: Int32Array
  ) {
    this.area = area
    this.tables = tables
    this.states = tables.states
    this.pageClass = tables.pageClass
    this.state = slotState(slot)
    this.spans = new SpanCache(tables, transfer.central.pageHeap, area, this.state)
    this.classes = classes
    this.size = classes.size
    this.layout = layout
    this.transfer = transfer
    this.locks = locks
    this.budget = budget
  }

  /**
   * Prepares a new slot's area. The word that marks the cache open is written last. The words below the stacks are 0 already, and nothing
   * ever writes them: a store to each would make the system back 85 pages, which takes longer than all the rest of attaching.
   */
  initialize(): void {
    const { area } = this
    area.fill(0, 0, AreaWord.Stacks)
    for (let sizeClass = 1; sizeClass < this.classes.count; sizeClass++) {
      const base = this.layout.base[sizeClass]!
      area[sizeClass] = base
      area[AreaWord.Limit + sizeClass] = base
    }
    this.budget.claimFirst(area)
    // Class 0, that of large objects, has a limit that every push exceeds.
    area[AreaWord.Limit] = -1
  }

  /** An object of a class as its granule, now live; 0 if the stack is empty, or its top entry isn't ours any more. */
  pop(sizeClass: number): number {
    const { area, states } = this
    const top = area[sizeClass]!
    const granule = area[top]!
    if (states[granule] !== this.state) return 0
    states[granule] = ObjectState.Live
    area[sizeClass] = (top - 1) | 0
    return granule
  }

  /** Takes a live object. False, without effect, if it isn't live, isn't small, or its stack is full. */
  push(granule: number): boolean {
    const { area, states } = this
    if (states[granule] !== ObjectState.Live) return false
    const sizeClass = this.pageClass[granule >>> Page.GranuleShift]!
    const top = (area[sizeClass]! + 1) | 0
    if (top > area[AreaWord.Limit + sizeClass]!) return false
    area[top] = granule
    area[sizeClass] = top
    states[granule] = this.state
    return true
  }

  /** The usable bytes of a live small block below 2 GiB; 0 for anything else. */
  smallBytes(granule: number): number {
    return this.states[granule] === ObjectState.Live ? this.size[this.pageClass[granule >>> Page.GranuleShift]!]! : 0
  }

  /** After a `pop` that gave nothing: an object from the central cache, in this thread's hand if so wished; 0 if there is no memory. */
  refill(sizeClass: number, inHand = false): number {
    const { area } = this
    const base = this.layout.base[sizeClass]!
    // An object whose state isn't ours was freed twice at one instant, and is another thread's now.
    while (area[sizeClass]! > base && this.tables.states[area[area[sizeClass]!]!] !== this.state) {
      area[sizeClass]!--
    }
    if (area[sizeClass] === base) {
      const batch = this.classes.batch[sizeClass]!
      const limit = area[AreaWord.Limit + sizeClass]! - base
      const want = Math.max(1, Math.min(limit, Math.max(batch, limit >> TRIP_SHIFT)))
      this.locks.acquire(Lock.FirstClass + sizeClass)
      const got = this.transfer.fetch(sizeClass, want, area, base + 1, this.state)
      area[sizeClass] = base + got
      area[AreaWord.HandedOut]! += got * this.classes.stride[sizeClass]!
      this.locks.release(Lock.FirstClass + sizeClass)
      if (got === 0) return 0
      area[AreaWord.LowWater + sizeClass] = AreaWord.Missed
      // Taken first: finding room may empty stacks, this one too.
      const granule = this.popInto(sizeClass, inHand)
      this.raiseLimit(sizeClass, limit < batch ? 1 : batch)
      return granule
    }
    return this.popInto(sizeClass, inHand)
  }

  /** A `pop` by which the object comes into the slot's hand, or becomes its own. */
  private popInto(sizeClass: number, inHand: boolean): number {
    const { area } = this
    const stride = this.classes.stride[sizeClass]!
    const granule = this.pop(sizeClass)
    if (inHand && granule !== 0) {
      area[AreaWord.InHand] = granule
      area[AreaWord.HandedOut]! -= stride
    }
    return granule
  }

  /**
   * After a `push` that found the stack of its class full: takes the object, and gives a batch to the central cache. False if another
   * thread was faster with its free.
   */
  overflow(granule: number, sizeClass: number): boolean {
    this.relieve(sizeClass)
    if (this.push(granule)) return true
    // The limit is 0, or a scavenge has lowered it.
    return this.surrender(granule, sizeClass, ObjectState.Live, this.classes.stride[sizeClass]!)
  }

  /** Makes a place on a full stack, if its limit allows: gives a batch to the central cache, or raises the limit. */
  relieve(sizeClass: number): void {
    const { area } = this
    const base = this.layout.base[sizeClass]!
    const batch = this.classes.batch[sizeClass]!
    const limit = area[AreaWord.Limit + sizeClass]! - base
    if (limit === 0) {
      this.raiseLimit(sizeClass, 1)
    } else {
      const length = area[sizeClass]! - base
      this.giveBack(sizeClass, Math.min(length, Math.max(batch, limit >> TRIP_SHIFT)))
      if (limit < batch) {
        this.raiseLimit(sizeClass, 1)
      } else if (limit > batch && ++area[AreaWord.Overages + sizeClass]! > MOST_OVERAGES) {
        area[AreaWord.Overages + sizeClass] = 0
        this.lowerLimit(sizeClass, Math.max(batch, limit - batch))
      }
    }
  }

  /**
   * Gives an object that is on no stack to the shared tiers, and counts `owned` granules out. False if it isn't in state `from` any more.
   */
  private surrender(granule: number, sizeClass: number, from: ObjectState, owned: number): boolean {
    const { area } = this
    this.locks.acquire(Lock.FirstClass + sizeClass)
    // The class was read earlier: since then the block may have been freed, and its pages carved anew.
    const isThere = this.tables.states[granule] === from && this.pageClass[granule >>> Page.GranuleShift] === sizeClass
    if (isThere) {
      area[AreaWord.Surrendered] = granule
      this.transfer.giveBack(sizeClass, area, AreaWord.Surrendered, 1, from)
      area[AreaWord.HandedOut]! -= owned
    }
    this.locks.release(Lock.FirstClass + sizeClass)
    return isThere
  }

  /** Frees a block that no thread owns, unless it isn't in state `from` any more. REQUIRES: no lock is held but Clearing, or one of other layers */
  freeUnowned(granule: number, from: ObjectState): void {
    const page = granule >>> Page.GranuleShift
    const sizeClass = this.pageClass[page]!
    if (sizeClass === 0) this.transfer.central.pageHeap.freeLarge(page, from)
    else this.surrender(granule, sizeClass, from, 0)
  }

  /** Frees the isolated block noted in `Taken`, unless another thread has. REQUIRES: no lock is held but Clearing */
  freeTaken(): void {
    const { area } = this
    const granule = area[AreaWord.Taken]!
    if (granule === 0) return
    if (this.tables.states[granule] === ObjectState.Collected) this.transfer.scrub?.(granule)
    this.freeUnowned(granule, ObjectState.Collected)
    area[AreaWord.Taken] = 0
  }

  /**
   * Makes the block in the slot's hand one that any thread may free that finds it, noted in `Taken`. It may have come to its next owner's
   * state already, but that owner doesn't know it.
   */
  surrenderHand(): void {
    const { area } = this
    const granule = area[AreaWord.InHand]!
    if (granule === 0) return
    const { states } = this.tables
    states[granule] = ObjectState.Collected
    area[AreaWord.Taken] = granule
    area[AreaWord.InHand] = 0
  }

  /** Frees what a struck thread was about to free, or to give to an owner. REQUIRES: no lock is held but Clearing */
  freeLeft(): void {
    this.freeTaken()
    const granule = this.area[AreaWord.InHand]!
    if (granule === 0) return
    // As poison, it isn't looked at: its guard may not have been written.
    this.transfer.scrub?.(granule)
    this.surrenderHand()
    this.freeTaken()
  }

  /**
   * After the span cache has refused a live large block: makes a place and room for it, if it is worth keeping, and keeps it. False if it
   * should go to the page heap, or another thread was faster.
   */
  keepSpan(start: number, from: number = ObjectState.Live): boolean {
    if (!this.spans.isWorthKeeping(start)) return false
    const missing = this.spans.makePlace(start)
    if (missing > 0) {
      if (this.claim(missing)) this.area[AreaWord.SpanRoom]! += missing
      else this.spans.flush() // reuse the room of the kept spans for this one
    }
    return this.spans.push(start, from)
  }

  /** Gives every object and all owned spans back to the central cache, and kept spans to the page heap; limits stay. */
  flush(): void {
    if (!this.open) return
    this.spans.flush()
    for (let sizeClass = 1; sizeClass < this.classes.count; sizeClass++) {
      this.giveBack(sizeClass, this.area[sizeClass]! - this.layout.base[sizeClass]!)
      if (this.area[AreaWord.OwnSpan + sizeClass] === 0) continue
      this.locks.acquire(Lock.FirstClass + sizeClass)
      this.transfer.central.disown(sizeClass, this.area, this.state)
      this.locks.release(Lock.FirstClass + sizeClass)
    }
  }

  /**
   * Ends the usual path, also for the time when another thread has the slot and its area: no object has a state any more, so `pop` finds
   * nothing, `push` takes nothing, and no block has a size. The field is deleted first: V8 treats a field that is written only once as a
   * constant, and a second write would end that for all caches. Without it, this object gets a shape of its own.
   */
  seal(): void {
    Reflect.deleteProperty(this, 'states')
    Object.defineProperty(this, 'states', { value: NO_STATES })
  }

  /** Ends the cache: until the slot is claimed anew it isn't open, every pop finds granule 0, and every push a limit of 0. */
  close(): void {
    this.area.fill(0, 0, AreaWord.Stacks)
  }

  /** Whether the cache is open: then its limit for large objects is negative. */
  get open(): boolean {
    return isOpen(this.area)
  }

  /** Gives back all objects and all room for them, until needed again. */
  idle(): void {
    this.flush()
    for (let sizeClass = 1; sizeClass < this.classes.count; sizeClass++) this.lowerLimit(sizeClass, 0)
    this.dropSpans()
    this.budget.giveBack(this.area)
  }

  /** Empties the stack of a class. For repairs, which find the objects by their states. */
  forget(sizeClass: number): void {
    const { area } = this
    const base = this.layout.base[sizeClass]!
    area[AreaWord.HandedOut]! -= (area[sizeClass]! - base) * this.classes.stride[sizeClass]!
    area[sizeClass] = base
  }

  /** Counts granules in that this thread got other than by a stack; negative ones count out. */
  count(granules: number): void {
    this.area[AreaWord.HandedOut]! += granules
  }

  /** Granules that this slot has handed out, less those that it took back, whichever slot had handed them out. */
  handedOut(): number {
    return this.area[AreaWord.HandedOut]! - this.bytes() / Granule.Bytes
  }

  /** Bytes on the stacks and in kept spans. */
  bytes(): number {
    const { area, classes } = this
    if (!isOpen(area)) return 0
    let bytes = 0
    for (let sizeClass = 1; sizeClass < classes.count; sizeClass++) {
      // Never below 0: the slot's thread may be closing the cache, which sets these words to 0.
      bytes += Math.max(0, area[sizeClass]! - this.layout.base[sizeClass]!) * classes.size[sizeClass]!
    }
    bytes += this.spans.bytes()
    return isOpen(area) ? bytes : 0
  }

  /** Bytes of the slot's area that may have been touched, in pages of 4 KiB. */
  touchedBytes(): number {
    let pages = Math.ceil((AreaWord.Stacks * 4) / 4096)
    for (let sizeClass = 1; sizeClass < this.classes.count; sizeClass++) {
      pages += Math.ceil(((this.area[AreaWord.Limit + sizeClass]! - this.layout.base[sizeClass]!) * 4) / 4096)
    }
    return pages * 4096
  }

  /** The granules on the stack of a class; for audits. */
  entries(sizeClass: number): Int32Array {
    const first = this.layout.base[sizeClass]! + 1
    return this.area.slice(first, this.area[sizeClass]! + 1)
  }

  /** The sum of all classes' limits and the room for spans, with the bytes claimed for them and the budget; for audits. */
  claims(): { limits: number; claimed: number; budget: number } {
    let limits = this.area[AreaWord.SpanRoom]!
    for (let sizeClass = 1; sizeClass < this.classes.count; sizeClass++) {
      const objects = this.area[AreaWord.Limit + sizeClass]! - this.layout.base[sizeClass]!
      limits += objects * this.classes.size[sizeClass]!
    }
    return { limits, claimed: this.area[AreaWord.ClaimedBytes]!, budget: this.area[AreaWord.BudgetBytes]! }
  }

  private giveBack(sizeClass: number, count: number): void {
    if (count === 0) return
    const { area } = this
    this.locks.acquire(Lock.FirstClass + sizeClass)
    // A repair under this lock may have emptied the stack meanwhile.
    const given = Math.min(count, area[sizeClass]! - this.layout.base[sizeClass]!)
    const top = (area[sizeClass]! - given) | 0
    // Off the stack first: if a strike comes in between, the objects are found by their states, and no stale entry is left.
    area[sizeClass] = top
    area[AreaWord.HandedOut]! -= given * this.classes.stride[sizeClass]!
    this.transfer.giveBack(sizeClass, area, top + 1, given, this.state)
    this.locks.release(Lock.FirstClass + sizeClass)
  }

  /** Lets a stack hold more objects, as far as its capacity and the budget go. */
  private raiseLimit(sizeClass: number, objects: number): void {
    const { area } = this
    const limit = area[AreaWord.Limit + sizeClass]! - this.layout.base[sizeClass]!
    const raised = Math.min(objects, this.layout.capacity[sizeClass]! - limit)
    const bytes = raised * this.classes.size[sizeClass]!
    if (this.claim(bytes)) area[AreaWord.Limit + sizeClass]! += raised
  }

  /** Claims room from the slot's budget; the caller records its use at once, without another call. */
  private claim(bytes: number): boolean {
    const { area } = this
    area[AreaWord.Trips]!++
    if (area[AreaWord.ClaimedBytes]! + bytes > area[AreaWord.BudgetBytes]! && !this.findRoom(bytes)) return false
    area[AreaWord.ClaimedBytes]! += bytes
    return true
  }

  /** Gives back all kept spans and the room for them. */
  private dropSpans(): void {
    const { area } = this
    this.spans.flush()
    area[AreaWord.ClaimedBytes]! -= area[AreaWord.SpanRoom]!
    area[AreaWord.SpanRoom] = 0
  }

  /** REQUIRES: the stack holds no more than `objects`. */
  private lowerLimit(sizeClass: number, objects: number): void {
    const { area } = this
    const limit = area[AreaWord.Limit + sizeClass]! - this.layout.base[sizeClass]!
    area[AreaWord.ClaimedBytes]! -= (limit - objects) * this.classes.size[sizeClass]!
    area[AreaWord.Limit + sizeClass]! -= limit - objects
  }

  /** Makes room for `bytes` more: from the common budget and other slots' budgets, or from idle spans and stacks. */
  private findRoom(bytes: number): boolean {
    const { area } = this
    const wanted = area[AreaWord.ClaimedBytes]! + bytes
    this.budget.raise(area, wanted - area[AreaWord.BudgetBytes]!)
    if (wanted <= area[AreaWord.BudgetBytes]!) return true
    // Other slots may have taken from this budget: then stacks must shrink until the rest fits into it.
    if (area[AreaWord.ClaimedBytes]! <= area[AreaWord.BudgetBytes]! && area[AreaWord.Trips]! < TRIPS_BETWEEN_SCAVENGES)
      return false
    this.scavenge()
    for (let sizeClass = this.classes.count - 1; sizeClass > 0; sizeClass--) {
      if (area[AreaWord.ClaimedBytes]! <= area[AreaWord.BudgetBytes]!) break
      this.giveBack(sizeClass, area[sizeClass]! - this.layout.base[sizeClass]!)
      this.lowerLimit(sizeClass, 0)
    }
    return area[AreaWord.ClaimedBytes]! + bytes <= area[AreaWord.BudgetBytes]!
  }

  /**
   * Takes all room from spans, which are few and soon kept again if in use, and some from stacks that didn't run empty since the last time:
   * half of their unneeded objects go back to the central cache, and the limit drops by half of its unused part, but at least a batch.
   */
  private scavenge(): void {
    const { area } = this
    area[AreaWord.Trips] = 0
    this.dropSpans()
    for (let sizeClass = 1; sizeClass < this.classes.count; sizeClass++) {
      const base = this.layout.base[sizeClass]!
      const low = Math.min(area[AreaWord.LowWater + sizeClass]!, area[sizeClass]! - base)
      if (low !== AreaWord.Missed) {
        this.giveBack(sizeClass, (low + 1) >> 1)
        const length = area[sizeClass]! - base
        const limit = area[AreaWord.Limit + sizeClass]! - base
        const less = Math.max(this.classes.batch[sizeClass]!, (limit - length) >> 1)
        this.lowerLimit(sizeClass, Math.max(length, limit - less))
      }
      area[AreaWord.LowWater + sizeClass] = area[sizeClass]! - base
    }
  }
}
