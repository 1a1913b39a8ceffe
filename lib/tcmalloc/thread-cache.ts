import { ObjectState, slotState } from '../memory/object-state.ts'
import { Page } from '../memory/page.ts'
import type { Tables } from '../memory/tables.ts'
import { Control } from './control.ts'
import type { SizeClassTable } from './size-class.ts'
import { StackLayout } from './stack-layout.ts'
import type { TransferCache } from './transfer-cache.ts'

/** A stack holds at most this many batches, and at most 4 MiB: a slot's stacks then take 347 KiB when all are full. */
const MOST_BATCHES = 64
const MOST_STACK_BYTES = 4 * 2 ** 20
/** A trip to the central cache moves a quarter of what the stack may hold, or a batch where that is more. */
const TRIP_SHIFT = 2
/** A cache that needs more room takes at least this much of the common budget (gperftools' kStealAmount). */
const BUDGET_STEP_BYTES = 64 * 1024
/** What a new cache takes at once, if there is so much (kMinThreadCacheSize). */
const FIRST_BUDGET_BYTES = 512 * 1024
/** So often may a stack that has grown beyond a batch overflow before it must shrink (kMaxOverages). */
const MOST_OVERAGES = 3
/** A cache that has used up its budget looks for idle stacks once in so many trips to the central cache. */
const TRIPS_BETWEEN_SCAVENGES = 64

/** The words of a slot's area. */
const enum Cache {
  // Per class a pair, which shares a line: the index of the top entry, and the index that it may not pass.
  Limit = 1,
  // Per class, of which there are 127 at most, from these on:
  LowWater = 256, // the length at the last scavenge; Missed if the stack was found empty since
  Overages = 384,
  // Once:
  ClaimedBytes = 512, // of all limits together
  BudgetBytes = 513, // what they may come to
  Trips = 514, // that wanted a limit raised, since the last scavenge
  Stacks = 528,
  /** A low-water mark below 0: there were too few. */
  Missed = -1,
}

/** Where the stacks are in a slot's area. */
export function threadCacheLayout(classes: SizeClassTable): StackLayout {
  return new StackLayout(classes, Cache.Stacks, MOST_BATCHES, MOST_STACK_BYTES)
}

/** Sets the common budget of a new heap's caches, in bytes. */
export function initializeBudget(control: Int32Array, bytes: number): void {
  control[Control.Budget] = bytes
}

/**
 * The thread cache: per class a stack of free objects that belong to one thread slot. Only that thread touches it, so the
 * usual malloc and free take plain loads and stores and nothing else.
 *
 * INVARIANT: an object on a stack has this slot's state, and every object with this slot's state is on its class's stack.
 * The order of stores keeps the stack the truth between any two: `pop` writes the state before the length, `push` the
 * entry, the length, then the state.
 *
 * What the stacks may hold is bounded at every moment: the limits of all classes together, in bytes, never exceed the
 * slot's budget, which it claims from the heap's. So the usual path needs no count of bytes. With a budget of 0 nothing
 * is cached, and every call goes to the central cache.
 */
export class ThreadCache {
  /** This slot's state: that of every object on its stacks. */
  readonly state: number
  private readonly area: Int32Array
  private readonly states: Int8Array
  private readonly pageClass: Int8Array
  private readonly control: Int32Array
  private readonly classes: SizeClassTable
  private readonly layout: StackLayout
  private readonly transfer: TransferCache

  constructor(
    tables: Tables,
    classes: SizeClassTable,
    layout: StackLayout,
    transfer: TransferCache,
    slot: number,
    area: Int32Array
  ) {
    this.area = area
    this.states = tables.states
    this.pageClass = tables.pageClass
    this.state = slotState(slot)
    this.control = tables.control
    this.classes = classes
    this.layout = layout
    this.transfer = transfer
    this.initialize()
  }

  /** An object of a class as its granule, now live; 0 where the stack is empty, or its top entry isn't ours any more. */
  pop(sizeClass: number): number {
    const { area, states } = this
    const top = area[sizeClass << 1]!
    const granule = area[top]!
    if (states[granule] !== this.state) return 0
    states[granule] = ObjectState.Live
    area[sizeClass << 1] = (top - 1) | 0
    return granule
  }

  /** Takes a live object. False, and nothing is done, where it isn't live, isn't small, or its stack is full. */
  push(granule: number): boolean {
    const { area, states } = this
    if (states[granule] !== ObjectState.Live) return false
    const pair = this.pageClass[granule >>> Page.GranuleShift]! << 1
    const top = (area[pair]! + 1) | 0
    if (top > area[pair + Cache.Limit]!) return false
    area[top] = granule
    area[pair] = top
    states[granule] = this.state
    return true
  }

  /** After a `pop` that gave nothing: an object from the central cache, or 0 where there is no memory. */
  refill(sizeClass: number): number {
    const { area } = this
    const base = this.layout.base[sizeClass]!
    // An entry whose state isn't ours was freed twice at one instant, and is somebody else's now.
    while (area[sizeClass << 1]! > base && this.states[area[area[sizeClass << 1]!]!] !== this.state) {
      area[sizeClass << 1]!--
    }
    if (area[sizeClass << 1] === base) {
      const batch = this.classes.batch[sizeClass]!
      const limit = area[(sizeClass << 1) + Cache.Limit]! - base
      const want = Math.max(1, Math.min(limit, Math.max(batch, limit >> TRIP_SHIFT)))
      const got = this.transfer.fetch(sizeClass, want, area, base + 1, this.state)
      if (got === 0) return 0
      area[sizeClass << 1] = base + got
      area[Cache.LowWater + sizeClass] = Cache.Missed
      this.raiseLimit(sizeClass, limit < batch ? 1 : batch)
    }
    return this.pop(sizeClass)
  }

  /** After a `push` that found the stack of its class full: takes the object, and gives a batch to the central cache. */
  overflow(granule: number, sizeClass: number): void {
    const { area } = this
    const base = this.layout.base[sizeClass]!
    const batch = this.classes.batch[sizeClass]!
    const limit = area[(sizeClass << 1) + Cache.Limit]! - base
    if (limit === 0) {
      this.raiseLimit(sizeClass, 1)
    } else {
      const length = area[sizeClass << 1]! - base
      this.giveBack(sizeClass, Math.min(length, Math.max(batch, limit >> TRIP_SHIFT)))
      if (limit < batch) {
        this.raiseLimit(sizeClass, 1)
      } else if (limit > batch && ++area[Cache.Overages + sizeClass]! > MOST_OVERAGES) {
        area[Cache.Overages + sizeClass] = 0
        this.lowerLimit(sizeClass, Math.max(batch, limit - batch))
      }
    }
    if (this.push(granule)) return
    // The limit is 0, or came down in a scavenge. An entry above it will do for the moment that it takes to give it back.
    const above = (area[sizeClass << 1]! + 1) | 0
    area[above] = granule
    this.transfer.giveBack(sizeClass, area, above, 1)
  }

  /** Gives every object back to the central cache; limits stay. */
  flush(): void {
    for (let sizeClass = 1; sizeClass < this.classes.count; sizeClass++) {
      this.giveBack(sizeClass, this.area[sizeClass << 1]! - this.layout.base[sizeClass]!)
    }
  }

  /**
   * Ends the cache: every pop finds granule 0 and every push a limit of 0, so that both say no without a check of their own.
   * (The fields stay as they are: V8 takes them for constants as long as nobody writes them twice.)
   */
  close(): void {
    this.area.fill(0, 0, Cache.Stacks)
  }

  /** Whether it hasn't been closed: an open one's limit for large objects is negative. */
  get open(): boolean {
    return this.area[Cache.Limit]! < 0
  }

  /** Bytes on the stacks. */
  bytes(): number {
    const { area, classes } = this
    let bytes = 0
    for (let sizeClass = 1; sizeClass < classes.count; sizeClass++) {
      bytes += (area[sizeClass << 1]! - this.layout.base[sizeClass]!) * classes.size[sizeClass]!
    }
    return bytes
  }

  /** Bytes of the slot's area that may have been touched, in pages of 4 KiB. */
  touchedBytes(): number {
    let pages = Math.ceil((Cache.Stacks * 4) / 4096)
    for (let sizeClass = 1; sizeClass < this.classes.count; sizeClass++) {
      pages += Math.ceil(((this.area[(sizeClass << 1) + Cache.Limit]! - this.layout.base[sizeClass]!) * 4) / 4096)
    }
    return pages * 4096
  }

  /** The granules on the stack of a class; for audits. */
  entries(sizeClass: number): Int32Array {
    const first = this.layout.base[sizeClass]! + 1
    return this.area.slice(first, this.area[sizeClass << 1]! + 1)
  }

  /** What the limits of all classes come to, beside what was claimed for them; for audits. */
  claims(): { limits: number; claimed: number; budget: number } {
    let limits = 0
    for (let sizeClass = 1; sizeClass < this.classes.count; sizeClass++) {
      const objects = this.area[(sizeClass << 1) + Cache.Limit]! - this.layout.base[sizeClass]!
      limits += objects * this.classes.size[sizeClass]!
    }
    return { limits, claimed: this.area[Cache.ClaimedBytes]!, budget: this.area[Cache.BudgetBytes]! }
  }

  private initialize(): void {
    const { area, control } = this
    area.fill(0, 0, Cache.Stacks)
    // Class 0, that of large objects, has a limit that every push passes.
    area[Cache.Limit] = -1
    for (let sizeClass = 1; sizeClass < this.classes.count; sizeClass++) {
      const base = this.layout.base[sizeClass]!
      area[base] = 0
      area[sizeClass << 1] = base
      area[(sizeClass << 1) + Cache.Limit] = base
    }
    const first = Math.min(FIRST_BUDGET_BYTES, control[Control.Budget]!)
    control[Control.Budget]! -= first
    area[Cache.BudgetBytes] = first
  }

  private giveBack(sizeClass: number, count: number): void {
    if (count === 0) return
    const { area } = this
    const top = (area[sizeClass << 1]! - count) | 0
    this.transfer.giveBack(sizeClass, area, top + 1, count)
    area[sizeClass << 1] = top
  }

  /** Lets a stack hold more objects, as far as its capacity and the budget go. */
  private raiseLimit(sizeClass: number, objects: number): void {
    const { area } = this
    const limit = area[(sizeClass << 1) + Cache.Limit]! - this.layout.base[sizeClass]!
    const raised = Math.min(objects, this.layout.capacity[sizeClass]! - limit)
    const bytes = raised * this.classes.size[sizeClass]!
    area[Cache.Trips]!++
    if (area[Cache.ClaimedBytes]! + bytes > area[Cache.BudgetBytes]! && !this.findBudget(bytes)) return
    area[Cache.ClaimedBytes]! += bytes
    area[(sizeClass << 1) + Cache.Limit]! += raised
  }

  /** REQUIRES: the stack holds no more than `objects`. */
  private lowerLimit(sizeClass: number, objects: number): void {
    const { area } = this
    const limit = area[(sizeClass << 1) + Cache.Limit]! - this.layout.base[sizeClass]!
    area[Cache.ClaimedBytes]! -= (limit - objects) * this.classes.size[sizeClass]!
    area[(sizeClass << 1) + Cache.Limit]! -= limit - objects
  }

  /** Makes room for `bytes` more: from the common budget, or from stacks that lie idle. */
  private findBudget(bytes: number): boolean {
    const { area, control } = this
    const missing = area[Cache.ClaimedBytes]! + bytes - area[Cache.BudgetBytes]!
    const unclaimed = control[Control.Budget]!
    if (unclaimed >= missing) {
      const taken = Math.min(unclaimed, Math.max(missing, BUDGET_STEP_BYTES))
      control[Control.Budget] = unclaimed - taken
      area[Cache.BudgetBytes]! += taken
      return true
    }
    if (area[Cache.Trips]! < TRIPS_BETWEEN_SCAVENGES) return false
    this.scavenge()
    return area[Cache.ClaimedBytes]! + bytes <= area[Cache.BudgetBytes]!
  }

  /**
   * Takes room from stacks that weren't short of objects since the last time: half of what wasn't needed goes back to the
   * central cache, and the limit comes down by half of what it wasn't used for, but at least a batch.
   */
  private scavenge(): void {
    const { area } = this
    area[Cache.Trips] = 0
    for (let sizeClass = 1; sizeClass < this.classes.count; sizeClass++) {
      const base = this.layout.base[sizeClass]!
      const low = Math.min(area[Cache.LowWater + sizeClass]!, area[sizeClass << 1]! - base)
      if (low !== Cache.Missed) {
        this.giveBack(sizeClass, (low + 1) >> 1)
        const length = area[sizeClass << 1]! - base
        const limit = area[(sizeClass << 1) + Cache.Limit]! - base
        const less = Math.max(this.classes.batch[sizeClass]!, (limit - length) >> 1)
        this.lowerLimit(sizeClass, Math.max(length, limit - less))
      }
      area[Cache.LowWater + sizeClass] = area[sizeClass << 1]! - base
    }
  }
}
