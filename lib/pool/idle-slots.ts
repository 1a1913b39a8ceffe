import type { PoolBlocks } from './pool-blocks.ts'
import { Slot } from './pool-slots.ts'

/**
 * A pool's free slots, as this thread knows them: a stack, with the last released slot on top. If threads share the slots, it only
 * remembers where free ones were. The usual acquire and release read and write `stack` and `top` themselves.
 */
export class IdleSlots {
  stack: Int32Array
  top = 0
  /** The lowest value of `top` since `takeLow`. */
  low = 0
  private readonly blocks: PoolBlocks
  /** How many more releases may find a shared pool's stack full before it is looked through. */
  private untilCompact = 0

  constructor(blocks: PoolBlocks) {
    this.blocks = blocks
    this.stack = new Int32Array(blocks.slots.isShared ? blocks.slots.capacity : blocks.slots.nextCapacity)
  }

  /** Takes the newest slot off, or returns -1. If threads share the slots, it may no longer be free. */
  pop(): number {
    if (this.top === 0) return -1
    this.top--
    if (this.top < this.low) this.low = this.top
    return this.stack[this.top]!
  }

  /** Puts a slot on top. A full stack drops it: the stack is full of slots that other threads have since acquired. */
  push(slot: number): void {
    if (this.top < this.stack.length) this.stack[this.top++] = slot
  }

  /** The fewest slots that were idle at any time since the last call: so many weren't needed. */
  takeLow(): number {
    const { low } = this
    this.low = this.top
    return low
  }

  /** A stack with room for `capacity` slots and with the same slots on it, to be stored as `stack`. */
  withRoom(capacity: number): Int32Array {
    if (this.stack.length >= capacity) return this.stack
    const stack = new Int32Array(capacity)
    stack.set(this.stack)
    return stack
  }

  /**
   * Before a release to a shared pool whose idle slots are at their limit: keeps only the slots that are still free, each once, since
   * buffers that others have acquired aren't idle. It looks at every slot, so it runs again only after as many releases as there are slots
   * left.
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

  /** Frees the buffers of at most `most` idle slots, the longest idle first, until the pool has `keep`. Returns how many it freed. */
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
    // Slots that other threads have released are on no stack of this thread: look for them only if the caller wants all of them gone.
    if (slots.isShared && most === Number.POSITIVE_INFINITY)
      for (let slot = 0; gone < wanted && slot < slots.used; slot++) isDropped(slot)
    return gone
  }
}
