/**
 * Thread slots: a word of shared memory for each thread that uses a heap. The shim claims a slot and marks it dead
 * (native/thread_slot.cc), each in one native call that no terminate() can interrupt; threads read the words here, and
 * free the slot of a dead one when everything it left is cleared up.
 */

/** The two low bits of a slot's word. The bits above them count the slot's claims. */
export const enum SlotState {
  Mask = 3,
  Free = 0,
  Live = 1,
  Dead = 2,
}

/** The parts of an owner's tag, which stands in the word of a lock that it holds. Never 0. */
export const enum Tag {
  /** The slot, plus 1. */
  SlotMask = 0xff,
  /** Bits of the lock's own are in between. */
  ClaimShift = 11,
}

/** A number of up to 29 bits, in the bits of a word that a tag takes: those of the lock's own stay free. */
export function inTagBits(number: number): number {
  return (number & Tag.SlotMask) | ((number >>> 8) << Tag.ClaimShift)
}

/** The words that a shim's `claimSlot` is told of: one that counts deaths, then one for each slot. */
export class ThreadSlots {
  readonly count: number
  private readonly words: Int32Array

  constructor(words: Int32Array) {
    this.words = words
    this.count = words.length - 1
  }

  /** How many owners have died so far, all told. A plain load, for slow paths to look whether there is anything to do. */
  get deaths(): number {
    return this.words[0]!
  }

  /** The word of a slot. */
  word(slot: number): number {
    return Atomics.load(this.words, slot + 1)
  }

  /** What a slot is: free, live or dead. */
  state(slot: number): SlotState {
    return this.word(slot) & SlotState.Mask
  }

  /** The tag of a slot's present owner: tells it from every other, and from earlier owners of the slot. */
  tag(slot: number): number {
    return ((this.word(slot) >>> 2) << Tag.ClaimShift) | (slot + 1)
  }

  /** Whether the owner with this tag lives: its slot is live, and was not claimed anew since. */
  isAlive(tag: number): boolean {
    const slot = (tag & Tag.SlotMask) - 1
    return slot < this.count && this.state(slot) === SlotState.Live && this.tag(slot) === tag
  }

  /** Frees a dead owner's slot. REQUIRES: the caller has cleared up behind it, and holds the lock of those who do. */
  free(slot: number): void {
    Atomics.and(this.words, slot + 1, ~SlotState.Mask)
  }

  /** Marks an owner dead, as the hook does. For tests that let a thread die in the middle without ending a real one. */
  markDead(slot: number): void {
    const word = this.word(slot)
    Atomics.store(this.words, slot + 1, (word & ~SlotState.Mask) | SlotState.Dead)
    Atomics.add(this.words, 0, 1)
  }
}
