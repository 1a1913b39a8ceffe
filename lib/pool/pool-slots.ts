import { randomInt } from 'node:crypto'
import type { Heap } from '../heap/heap.ts'
import { HOST } from '../lifetime/host.ts'
import { Granule } from '../memory/page.ts'
import { type BlockKind, SharedBlock } from '../threads/shared-block.ts'
import { inTagBits, Tag, type ThreadSlots } from '../threads/thread-slots.ts'

const KIND: BlockKind = { magic: 0x504f_4f03, name: 'pool' }

/**
 * A pool's words among those of its block, before those of its slots. The first ones are written once; words that threads write have a line
 * of their own.
 */
export const enum Word {
  Size = 34, // of a buffer, in bytes: two words
  Alignment = 36,
  Most = 37, // slots that there may be
  Zero = 38, // 0, 1 at acquire, 2 at release
  /** How many slots were ever in use: those from there on never were. */
  Used = 320,
  /** Wake counts the events that waiters wait for. The next word counts threads with a waiter, including threads that died waiting. */
  Wake = 352,
  Waiters = 353,
  /** How many passes there were: the number of the last one. */
  Passes = 354,
  /** How many wait in the thread of each seat. */
  Waiting = 384,
  /** Two words for each slot: its state, and its block's granule. */
  Slots = 640,
}

/**
 * The state of a slot. It is one of the first two, or `tag | state << StateShift` with the tag of the thread that has the buffer; the tag's
 * own bits leave room for it, as they do for a lock's. A passed buffer has no owner: the pass's number stands in the tag's place. So one
 * compare-and-exchange both distinguishes it from every other pass and makes it the adopter's.
 */
export const enum Slot {
  /** It has no block. */
  Empty = 0,
  /** Its buffer waits to be acquired. */
  Free = 1,
  StateShift = 8,
  StateMask = 0x700,
  /** It is getting a block. */
  Making = 0x100,
  /** The program has its buffer. */
  Acquired = 0x200,
  /** As `Acquired`, and watched for a leak. */
  Watched = 0x300,
  /** A lease has its buffer. */
  Leased = 0x400,
  /** It is losing its block. */
  Trimming = 0x500,
  /** Passed, under the number in the tag's place, and waits to be adopted. */
  Passed = 0x600,
}

/** How many numbers fit in a tag's place: after that many passes of one pool they begin again. */
const PASS_NUMBERS = 2 ** 29

/** The slots that a pool's words have room for at first, while one thread alone has them. */
const FIRST_CAPACITY = 16

/** How many slots are looked at for a free one before a block is made instead: this takes less than a microsecond. */
const LOOKS = 64

/** The properties of a pool's buffers. */
export interface PoolShape {
  size: number
  alignment: number
  zero: 0 | 1 | 2
  /** The most slots that there may be. */
  most: number
}

/**
 * The slots of a pool: in an array of this thread's own, or in a block of the heap, where several threads share them. Each slot changes its
 * state by one store, or by one compare-and-exchange if it is shared. So there is nothing to lock and nothing to repair: the slots of a
 * dead thread still say that they are its own.
 */
export class PoolSlots {
  readonly words: Int32Array
  /** Tells the pool from every other, including earlier and later ones at that address. */
  readonly generation: number
  /** The block that they are in; undefined for an array of this thread's. */
  readonly block: SharedBlock | undefined
  private readonly threads: ThreadSlots
  private readonly tag: number
  /** No slot below it is empty, as far as this thread knows. */
  private firstEmpty = 0
  /** Where the last look for a free slot ended. */
  private nextLook = 0

  private constructor(heap: Heap, words: Int32Array, generation: number, block?: SharedBlock) {
    this.words = words
    this.generation = generation
    this.block = block
    const { slots, tag } = block === undefined ? heap[HOST].thread() : { slots: block.threads, tag: block.tag }
    this.threads = slots
    this.tag = tag
  }

  static local(heap: Heap, shape: PoolShape): PoolSlots {
    const words = new Int32Array(Word.Slots + 2 * Math.min(FIRST_CAPACITY, shape.most))
    const slots = new PoolSlots(heap, words, randomInt(1, 2 ** 31))
    slots.describe(shape)
    return slots
  }

  /** Finds another thread's shared slots, to join them. @throws AllocatorError `ERR_HEAP_INVALID_TOKEN` */
  static find(heap: Heap, address: unknown, generation: unknown): PoolSlots {
    const block = SharedBlock.find(heap[HOST], KIND, address, generation)
    return new PoolSlots(heap, block.words, block.generation, block)
  }

  /** The same slots with room for twice as many. REQUIRES: they are this thread's own. */
  grown(heap: Heap): PoolSlots {
    const room = Math.min(this.most, this.capacity * 2)
    const slots = new PoolSlots(heap, new Int32Array(Word.Slots + 2 * room), this.generation)
    slots.words.set(this.words)
    return slots
  }

  /** The same slots in a block of the heap, for at most `most` of them. REQUIRES: they are this thread's own. */
  shared(heap: Heap, most: number): PoolSlots {
    const describe = (words: Int32Array) => {
      words.set(this.words)
      words[Word.Most] = most
    }
    const block = SharedBlock.create(heap[HOST], KIND, Word.Slots + 2 * most, describe, this.generation)
    return new PoolSlots(heap, block.words, this.generation, block)
  }

  get shape(): PoolShape {
    const { words } = this
    return {
      size: (words[Word.Size]! >>> 0) + words[Word.Size + 1]! * 2 ** 32,
      alignment: words[Word.Alignment]!,
      zero: words[Word.Zero] as PoolShape['zero'],
      most: this.most,
    }
  }

  get isShared(): boolean {
    return this.block !== undefined
  }

  /** The most slots that there may be. */
  get most(): number {
    return this.words[Word.Most]!
  }

  /** Slots that the words have room for. */
  get capacity(): number {
    return Math.min(this.most, (this.words.length - Word.Slots) >> 1)
  }

  /** How many slots were ever in use: only those are worth a look. */
  get used(): number {
    return Math.min(this.capacity, Atomics.load(this.words, Word.Used))
  }

  state(slot: number): number {
    return Atomics.load(this.words, Word.Slots + 2 * slot)
  }

  blockOf(slot: number): number {
    return (this.words[Word.Slots + 2 * slot + 1]! >>> 0) * Granule.Bytes
  }

  setAddress(slot: number, address: number): void {
    this.words[Word.Slots + 2 * slot + 1] = (address / Granule.Bytes) | 0
  }

  /** This thread's word for a state: that of its own slots. */
  own(state: Slot): number {
    return this.tag | state
  }

  /** A number for the next pass: different from those of earlier passes, and of any later one that matters. */
  nextPass(): number {
    return (Atomics.add(this.words, Word.Passes, 1) >>> 0) % PASS_NUMBERS
  }

  /** The word of a slot whose buffer was passed under a number. */
  passed(number: number): number {
    return inTagBits(number) | Slot.Passed
  }

  /** Makes this thread's a slot that was passed under a number. Accepts any two numbers: false if there is no such pass to adopt. */
  adopt(slot: number, number: number): boolean {
    if (slot >= this.used || number >= PASS_NUMBERS) return false
    return this.change(slot, this.passed(number), this.own(Slot.Acquired))
  }

  /** Changes a slot from one state to another; false if it was in a different state already. */
  change(slot: number, from: number, to: number): boolean {
    return Atomics.compareExchange(this.words, Word.Slots + 2 * slot, from, to) === from
  }

  /**
   * Claims a slot without a block, which this thread is to give one; -1 if all have blocks. It looks from where this thread last found or
   * left one, and everywhere only if every slot was used once.
   */
  claimEmpty(): number {
    const slot = this.claimFrom(this.firstEmpty)
    if (slot >= 0) return slot
    const making = this.own(Slot.Making)
    while (this.used < this.capacity) {
      const fresh = Atomics.add(this.words, Word.Used, 1)
      if (fresh < this.capacity && this.change(fresh, Slot.Empty, making)) return fresh
    }
    // Another thread may have left an empty one.
    return this.isShared ? this.claimFrom(0) : -1
  }

  /** Marks a slot that this thread was working on as having no block. */
  leaveEmpty(slot: number, state: Slot): void {
    this.change(slot, this.own(state), Slot.Empty)
    if (slot < this.firstEmpty) this.firstEmpty = slot
  }

  private claimFrom(first: number): number {
    const { used } = this
    for (let slot = first; slot < used; slot++) {
      if (this.state(slot) !== Slot.Empty || !this.change(slot, Slot.Empty, this.own(Slot.Making))) continue
      this.firstEmpty = slot + 1
      return slot
    }
    this.firstEmpty = used
    return -1
  }

  /** Changes a free slot, maybe left by another thread, to `acquired`: one of the next 64, or with `everywhere` any; -1 if none is free. */
  takeFree(acquired: number, everywhere: boolean): number {
    const { used } = this
    for (let looks = Math.min(used, everywhere ? used : LOOKS); looks > 0; looks--) {
      this.nextLook = this.nextLook < used ? this.nextLook + 1 : 1
      const slot = this.nextLook - 1
      if (this.state(slot) === Slot.Free && this.change(slot, Slot.Free, acquired)) return slot
    }
    return -1
  }

  /** Counts the slots whose word passes `test`. */
  count(test: (word: number) => boolean): number {
    const { used } = this
    let count = 0
    for (let slot = 0; slot < used; slot++) if (test(this.state(slot))) count++
    return count
  }

  /** The first slot, from `first` on, whose word passes `test`; -1 if there is none. */
  findFrom(first: number, test: (word: number) => boolean): number {
    const { used } = this
    for (let looked = 0, slot = first; looked < used; looked++, slot++) {
      if (slot >= used) slot = 0
      if (test(this.state(slot))) return slot
    }
    return -1
  }

  /** The slot whose block has an address in its first `reach` bytes; -1 if none has. With 1: the slot whose block starts at the address. */
  find(address: number, reach: number): number {
    const { used } = this
    for (let slot = 0; slot < used; slot++) {
      const block = this.blockOf(slot)
      if (block !== 0 && address >= block && address < block + reach && this.state(slot) !== Slot.Empty) return slot
    }
    return -1
  }

  /** Whether the thread that a slot's word names is gone. */
  isDead(word: number): boolean {
    if (isPassed(word)) return false // it has no owner
    // A tag's top bit may be set.
    return (word & Slot.StateMask) !== 0 && (word & Tag.SlotMask) !== 0 && !this.threads.isAlive(word & ~Slot.StateMask)
  }

  /** Deaths of the heap's threads so far. */
  get deaths(): number {
    return this.threads.deaths
  }

  /** Records how many waiters this thread has. */
  noteWaiting(count: number): void {
    this.block?.note(Word.Waiting, count)
  }

  /** How many waiters the live threads have. REQUIRES: they are shared */
  get waiting(): number {
    return this.block!.seats.total(Word.Waiting)
  }

  /** A slot is free: wakes one of the threads that wait for one. */
  wake(): void {
    if (this.block === undefined || Atomics.load(this.words, Word.Waiters) === 0) return
    Atomics.add(this.words, Word.Wake, 1)
    Atomics.notify(this.words, Word.Wake, 1)
  }

  private describe({ size, alignment, zero, most }: PoolShape): void {
    const { words } = this
    words[Word.Size] = size | 0
    words[Word.Size + 1] = Math.floor(size / 2 ** 32)
    words[Word.Alignment] = alignment
    words[Word.Zero] = zero
    words[Word.Most] = most
  }
}

/** Whether a slot's word says that the program, or a lease, has its buffer. */
export function isOut(word: number): boolean {
  const kind = word & Slot.StateMask
  return kind === Slot.Acquired || kind === Slot.Watched || kind === Slot.Leased
}

/** Whether it was passed, and not adopted yet. */
export function isPassed(word: number): boolean {
  return (word & Slot.StateMask) === Slot.Passed
}

/** Whether a lease has it, or an operation. */
export function isLeased(word: number): boolean {
  return (word & Slot.StateMask) === Slot.Leased
}
