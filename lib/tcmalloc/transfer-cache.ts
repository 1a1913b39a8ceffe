import type { CentralCache } from './central-cache.ts'
import { Control } from './control.ts'
import { ObjectState } from './object-state.ts'
import type { SizeClassTable } from './size-class.ts'
import { StackLayout } from './stack-layout.ts'
import type { Tables } from './tables.ts'

/** TCMalloc keeps up to 64 batches per class between the thread caches and the spans, and at most 1 MiB. */
const MOST_BATCHES = 64
const MOST_BYTES = 2 ** 20

/** The layout of the stacks in the control section, and so its length. */
export function transferLayout(classes: SizeClassTable): StackLayout {
  return new StackLayout(classes, Control.Transfer, MOST_BATCHES, MOST_BYTES)
}

/**
 * The transfer cache: objects that thread caches give back wait here, one stack per class, for the next thread that needs some. Moving a
 * batch between two stacks takes a copy and a state per object; returning it to its spans and finding free objects in them again takes
 * several times that. Objects that don't fit go to the spans.
 *
 * INVARIANT: an object on a stack has the state Transfer, and every object with that state is on its class's stack. Only the
 * holder of the class writes any of it; REQUIRES of `fetch`, `giveBack`, `flush` and `clear`: the caller holds the class.
 */
export class TransferCache {
  private readonly classes: SizeClassTable
  private readonly layout: StackLayout
  private readonly control: Int32Array
  private readonly states: Int8Array
  /** The next tier. */
  readonly central: CentralCache

  /** In debug mode: poisons a block that comes back other than by the program's free. */
  scrub: ((granule: number) => void) | undefined

  constructor(tables: Tables, classes: SizeClassTable, layout: StackLayout, central: CentralCache) {
    this.classes = classes
    this.layout = layout
    this.control = tables.control
    this.states = tables.states
    this.central = central
  }

  /**
   * Moves up to `want` free objects of a class to a thread slot: their granules to `area` from `at` on, their states to `state`. Returns
   * how many; 0 only if there is no memory.
   */
  fetch(sizeClass: number, want: number, area: Int32Array, at: number, state: number): number {
    const { control, states } = this
    const length = control[Control.TransferLengths + sizeClass]!
    if (length === 0) return this.central.fetch(sizeClass, want, area, at, state)
    const count = Math.min(want, length)
    const from = this.layout.base[sizeClass]! + 1 + length - count
    for (let i = 0; i < count; i++) {
      const granule = control[from + i]!
      states[granule] = state
      area[at + i] = granule
    }
    control[Control.TransferLengths + sizeClass] = length - count
    return count
  }

  /**
   * Takes back the objects in state `state` whose granules are in the `count` words of `area` from `at` on. Any other isn't the caller's
   * any more: two threads freed one block at one instant.
   */
  giveBack(sizeClass: number, area: Int32Array, at: number, count: number, state: number): void {
    const { control, states } = this
    const length = control[Control.TransferLengths + sizeClass]!
    if (length + count > this.layout.capacity[sizeClass]!) {
      this.central.giveBack(sizeClass, area, at, count, state)
      return
    }
    let to = this.layout.base[sizeClass]! + 1 + length
    for (let i = at; i < at + count; i++) {
      const granule = area[i]!
      if (states[granule] !== state) continue
      states[granule] = ObjectState.Transfer
      control[to++] = granule
    }
    control[Control.TransferLengths + sizeClass] = to - this.layout.base[sizeClass]! - 1
  }

  /** Gives all objects of a class back to the spans. */
  flush(sizeClass: number): void {
    const length = this.control[Control.TransferLengths + sizeClass]!
    if (length === 0) return
    this.central.giveBack(sizeClass, this.control, this.layout.base[sizeClass]! + 1, length, ObjectState.Transfer)
    this.control[Control.TransferLengths + sizeClass] = 0
  }

  /** Forgets what is on the stack of a class. For repairs, which find the objects by their states. */
  clear(sizeClass: number): void {
    this.control[Control.TransferLengths + sizeClass] = 0
  }

  /** Bytes on the stacks. */
  bytes(): number {
    let bytes = 0
    for (let sizeClass = 1; sizeClass < this.classes.count; sizeClass++) {
      bytes += this.control[Control.TransferLengths + sizeClass]! * this.classes.size[sizeClass]!
    }
    return bytes
  }

  /** The granules on the stack of a class; for audits. */
  entries(sizeClass: number): Int32Array {
    const first = this.layout.base[sizeClass]! + 1
    return this.control.slice(first, first + this.control[Control.TransferLengths + sizeClass]!)
  }
}
