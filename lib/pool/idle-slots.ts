import type { PoolBlocks } from './pool-blocks.ts'
import { Slot } from './pool-slots.ts'

/**
 * The slots of a pool that are free, as this thread knows them: a stack, the one that was released last on top. Of slots that threads share it is
 * a memory of where free ones were. The usual acquire and release read and write `stack` and `top` themselves.
 */
export class IdleSlots {
  stack: Int32Array
  top = 0
  /** The lowest that `top` was since `takeLow`. */
  low = 0
  private readonly blocks: PoolBlocks
  /** So many more releases may find the stack of a shared pool full before it is looked through. */
  private untilCompact = 0

  constructor(blocks: PoolBlocks) {
    this.blocks = blocks
    this.stack = new Int32Array(blocks.slots.capacity)
  }

  /** Takes the newest slot off, or returns -1. It may be free no more, if threads share the slots. */
  pop(): number {
    if (this.top === 0) return -1
    this.top--
    if (this.top < this.low) this.low = this.top
    return this.stack[this.top]!
  }

  /** Puts a slot on top. A full stack forgets it: other threads have filled it with what isn't free any more. */
  push(slot: number): void {
    if (this.top < this.stack.length) this.stack[this.top++] = slot
  }

  /** The least slots that were idle at any time since the last call: nobody needed them. */
  takeLow(): number {
    const { low } = this
    this.low = this.top
    return low
  }

  /** A stack with room for `capacity` slots and the same ones on it, to be stored as `stack`. */
  withRoom(capacity: number): Int32Array {
    if (this.stack.length >= capacity) return this.stack
    const stack = new Int32Array(capacity)
    stack.set(this.stack)
    return stack
  }

  /**
   * Before a release to a shared pool whose idle slots are as many as may be: leaves only what is free still, and once, since what others have
   * acquired isn't idle. It looks at all of them: so it isn't done again before as many were released as are left.
   */
  compact(): void {
    if (--this.untilCompact >= 0) return
    const { stack, blocks } = this
    const free = new Set(stack.subarray(0, this.top).filter((slot) => blocks.slots.state(slot) === Slot.Free))
    this.top = 0
    for (const slot of free) this.push(slot)
    this.low = Math.min(this.low, this.top)
    this.untilCompact = this.top
  }

  /** Frees the buffers of idle slots, those that have lain longest first, at most `most`, until the pool has `keep`. Returns how many. */
  trim(most: number, keep: number): number {
    const { blocks, stack } = this
    const { slots } = blocks
    blocks.mendOwn()
    const wanted = Math.min(most, slots.count((word) => word !== Slot.Empty) - keep)
    let gone = 0
    const isDropped = (slot: number) => {
      if (gone >= wanted || slots.state(slot) !== Slot.Free || !blocks.take(slot, Slot.Free)) return false
      blocks.drop(slot)
      gone++
      return true
    }
    const left = stack.slice(0, this.top).filter((slot) => !isDropped(slot) && slots.state(slot) === Slot.Free)
    stack.set(left)
    this.top = left.length
    this.low = this.top
    // What other threads have released is on no stack of this one's: only a caller who wants all of it gone looks for it.
    if (slots.isShared && most === Number.POSITIVE_INFINITY)
      for (let slot = 0; gone < wanted && slot < slots.used; slot++) isDropped(slot)
    return gone
  }
}
