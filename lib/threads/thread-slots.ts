import { threadId } from 'node:worker_threads'

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

/** This thread's number: no other thread of the process has it, and all copies of the library in the thread know it. Never 0. */
const THREAD = threadId + 1

/** Rows of words, with one in each for every slot. */
const ROWS = 3

/** How many words so many slots take. */
export function threadSlotWords(slots: number): number {
  return 1 + ROWS * slots
}

/** Locks that this thread may hold by its slot. */
export interface OwnLocks {
  /** Mends and releases what this thread holds. REQUIRES: it is in the middle of nothing */
  settle(): void
}

/**
 * The slots' words: a count of deaths, then three rows. The first row is passed to the shim's `claimSlot`; its last word is the
 * spare slot's. The second has the number of the
 * thread that claimed the slot last, which may have several slots, one for each Heap object. The words of the third are bells.
 */
export class ThreadSlots {
  readonly count: number
  /** Locks besides the heap's that this thread may hold. */
  readonly ownLocks = new Set<OwnLocks>()
  private readonly words: Int32Array

  constructor(words: Int32Array) {
    this.words = words
    this.count = (words.length - 1) / ROWS
  }

  /** The number of owners that have died so far. A plain load, by which slow paths check whether there is anything to do. */
  get deaths(): number {
    return this.words[0]!
  }

  /**
   * The same for a thread that is about to look for the dead, and then notes up to which death it has done so. An Atomics load: ARM64 may do a
   * plain one after the Atomics loads of slots behind it, and then it counts a death that those didn't see.
   */
  countDeaths(): number {
    return Atomics.load(this.words, 0)
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

  /** Notes whose a slot is. REQUIRES: this thread has just claimed it, and holds no lock by it */
  noteThread(slot: number): void {
    Atomics.store(this.words, 1 + this.count + slot, THREAD)
  }

  /**
   * Whether a slot is this thread's, by this Heap object or another. As long as another thread's slot has the number of one of this
   * thread's before it, no lock names it.
   */
  isOwn(slot: number): boolean {
    if (slot >= this.count || this.state(slot) !== SlotState.Live) return false
    return Atomics.load(this.words, 1 + this.count + slot) === THREAD
  }

  /** Whether a live owner's tag is of this thread. */
  isOwnTag(tag: number): boolean {
    return this.isOwn((tag & Tag.SlotMask) - 1)
  }

  /** Asks the thread that has a slot to mend what it may have left half done. Its event loop does so, if it listens. */
  ring(tag: number): void {
    const bell = this.bellOf((tag & Tag.SlotMask) - 1)
    Atomics.add(this.words, bell, 1)
    Atomics.notify(this.words, bell)
  }

  /**
   * Calls `answer` from the event loop, once, after the next ring. It keeps no thread running.
   * @param heard the value of `rings` up to which nothing is left to be answered
   */
  whenRung(slot: number, heard: number, answer: () => void): void {
    const wait = Atomics.waitAsync(this.words, this.bellOf(slot), heard)
    void (wait.async ? wait.value : Promise.resolve()).then(answer)
  }

  /** How often the bell of a slot was rung. */
  rings(slot: number): number {
    return Atomics.load(this.words, this.bellOf(slot))
  }

  private bellOf(slot: number): number {
    return 1 + 2 * this.count + slot
  }

  /**
   * Frees the slot of a dead owner. Without effect if it has another owner since, which only the spare slot can have.
   * REQUIRES: the caller has cleared up behind the owner that `word` names, and holds the lock for that.
   */
  free(slot: number, word: number): void {
    Atomics.compareExchange(this.words, slot + 1, word, word & ~SlotState.Mask)
  }

  /** Sleeps for `ms` milliseconds, or less if the slot changes its owner now. */
  sleep(slot: number, ms: number): void {
    Atomics.wait(this.words, slot + 1, this.word(slot), ms)
  }

  /** Marks an owner dead, as the hook does. For tests that simulate a thread's death in the middle of an operation. */
  markDead(slot: number): void {
    const word = this.word(slot)
    Atomics.store(this.words, slot + 1, (word & ~SlotState.Mask) | SlotState.Dead)
    Atomics.add(this.words, 0, 1)
  }
}
