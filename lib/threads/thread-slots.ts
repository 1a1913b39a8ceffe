/**
 * Thread slots: a word of shared memory for each thread that uses a heap. The shim claims a slot and marks it dead (native/thread_slot.cc),
 * each in one native call that no terminate() can interrupt. Other threads read the words here, and free a dead thread's slot once they
 * have cleared up behind it.
 */

/** The two low bits of a slot's word. The bits above them count the slot's claims. */
export const enum SlotState {
  Mask = 3,
  Free = 0,
  Live = 1,
  Dead = 2,
}

/** The parts of an owner's tag, which is in the word of each lock that it holds. Never 0. */
export const enum Tag {
  /** The slot, plus 1. */
  SlotMask = 0xff,
  /** The lock's own bits are in between. */
  ClaimShift = 11,
}

/** Spreads a number of up to 29 bits over a tag's bits of a word; the lock's own bits stay free. */
export function inTagBits(number: number): number {
  return (number & Tag.SlotMask) | ((number >>> 8) << Tag.ClaimShift)
}

/** The words that are passed to the shim's `claimSlot`: a count of deaths, then one word for each slot. */
export class ThreadSlots {
  readonly count: number
  private readonly words: Int32Array

  constructor(words: Int32Array) {
    this.words = words
    this.count = words.length - 1
  }

  /** The number of owners that have died so far. A plain load, by which slow paths check whether there is anything to do. */
  get deaths(): number {
    return this.words[0]!
  }

  /** The word of a slot. */
  word(slot: number): number {
    return Atomics.load(this.words, slot + 1)
  }

  /** A slot's state: free, live or dead. */
  state(slot: number): SlotState {
    return this.word(slot) & SlotState.Mask
  }

  /** The tag of a slot's present owner. It differs from every other's, earlier owners of the slot included. */
  tag(slot: number): number {
    return ((this.word(slot) >>> 2) << Tag.ClaimShift) | (slot + 1)
  }

  /** Whether the owner with this tag lives: its slot is live and hasn't been claimed again since. */
  isAlive(tag: number): boolean {
    const slot = (tag & Tag.SlotMask) - 1
    return slot < this.count && this.state(slot) === SlotState.Live && this.tag(slot) === tag
  }

  /** Frees a dead owner's slot. REQUIRES: the caller has cleared up behind it, and holds the lock for that. */
  free(slot: number): void {
    Atomics.and(this.words, slot + 1, ~SlotState.Mask)
  }

  /** Marks an owner dead, as the hook does. For tests that simulate a thread's death in the middle of an operation. */
  markDead(slot: number): void {
    const word = this.word(slot)
    Atomics.store(this.words, slot + 1, (word & ~SlotState.Mask) | SlotState.Dead)
    Atomics.add(this.words, 0, 1)
  }
}
