import { randomInt } from 'node:crypto'
import type { Heap } from '../heap/heap.ts'
import { HOST } from '../lifetime/host.ts'
import { Granule } from '../memory/page.ts'
import { type BlockKind, SharedBlock } from '../threads/shared-block.ts'
import { inTagBits, Tag, type ThreadSlots } from '../threads/thread-slots.ts'

const KIND: BlockKind = { magic: 0x504f_4f03, name: 'pool' }

/** A pool's words among those of its block, before those of its slots. The first are written once; what threads write has a line of its own. */
export const enum Word {
  Size = 34, // of a buffer, in bytes: two words
  Alignment = 36,
  Most = 37, // slots that there may be
  Zero = 38, // 0, 1 at acquire, 2 at release
  /** Slots that were ever in use: none behind them is. */
  Used = 320,
  /** Counts what waiters wait for; and threads in which somebody waits, or did when they died. */
  Wake = 352,
  Waiters = 353,
  /** Passes so far, the number of the last one. */
  Passes = 354,
  /** How many wait in the thread of each seat. */
  Waiting = 384,
  /** Two words for each slot: its state, and its block's granule. */
  Slots = 640,
}

/**
 * The state of a slot. It is one of the first two, or `tag | state << StateShift` with the tag of the thread that has the buffer: the
 * tag's own bits leave room for it, as they do for a lock's. A buffer that was passed is nobody's: the number of that pass stands in the
 * tag's place, so that one compare-and-exchange tells it from every other pass, and makes it the adopter's.
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
  /** The same, and it is watched for a leak. */
  Watched = 0x300,
  /** A lease has its buffer. */
  Leased = 0x400,
  /** It is losing its block. */
  Trimming = 0x500,
  /** It is to be adopted, by the number that stands here. */
  Passed = 0x600,
}

/** So many numbers have room in a tag's place: after that many passes of one pool they begin again. */
const PASS_NUMBERS = 2 ** 29

/** Slots that a pool's words have room for at first, while only one thread has them. */
const FIRST_CAPACITY = 16

/** So many slots are looked at for a free one before a block is made instead: under a microsecond. */
const LOOKS = 64

/** What a pool's buffers are. */
export interface PoolShape {
  size: number
  alignment: number
  zero: 0 | 1 | 2
  /** Slots that there may be. */
  most: number
}

/**
 * The slots of a pool: in an array of this thread's own, or in a block of the heap, where several threads share them. Each slot changes
 * its state by one store, or by one compare-and-exchange where it is shared. So there is nothing to lock and nothing to repair: a thread
 * that dies leaves slots that say that they are its own.
 */
export class PoolSlots {
  readonly words: Int32Array
  /** Tells the pool from every other, also from those at that address before and after it. */
  readonly generation: number
  /** The block that they are in; undefined for an array of this thread's. */
  readonly block: SharedBlock | undefined
  private readonly threads: ThreadSlots
  private readonly tag: number
  /** No slot before it is empty, as far as this thread knows. */
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

  /** Those that another thread shares, to be joined. @throws AllocatorError `ERR_HEAP_INVALID_TOKEN` */
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

  /** Slots that there may be. */
  get most(): number {
    return this.words[Word.Most]!
  }

  /** Slots that the words have room for. */
  get capacity(): number {
    return Math.min(this.most, (this.words.length - Word.Slots) >> 1)
  }

  /** How many slots were ever in use: those before it are worth a look. */
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

  /** A number for the next pass: no other has it, of those that came before and any that matters after. */
  nextPass(): number {
    return (Atomics.add(this.words, Word.Passes, 1) >>> 0) % PASS_NUMBERS
  }

  /** The word of a slot whose buffer was passed by a number. */
  passed(number: number): number {
    return inTagBits(number) | Slot.Passed
  }

  /** Makes a slot this thread's whose buffer was passed by a number. Any two may be given: false where no such one waits. */
  adopt(slot: number, number: number): boolean {
    if (slot >= this.used || number >= PASS_NUMBERS) return false
    return this.change(slot, this.passed(number), this.own(Slot.Acquired))
  }

  /** Makes a slot that is in one state be in another; false where it was in another already. */
  change(slot: number, from: number, to: number): boolean {
    return Atomics.compareExchange(this.words, Word.Slots + 2 * slot, from, to) === from
  }

  /**
   * A slot without a block, which this thread is to give one; -1 where all have one. It looks from where this thread has last found
   * or left one, and everywhere only where there is no slot left that was never used.
   */
  claimEmpty(): number {
    const slot = this.claimFrom(this.firstEmpty)
    if (slot >= 0) return slot
    const making = this.own(Slot.Making)
    while (this.used < this.capacity) {
      const fresh = Atomics.add(this.words, Word.Used, 1)
      if (fresh < this.capacity && this.change(fresh, Slot.Empty, making)) return fresh
    }
    // Another thread may have left one.
    return this.isShared ? this.claimFrom(0) : -1
  }

  /** A slot that this thread was at work on has no block. */
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

  /** A free slot that another thread may have left, made `acquired`: one of the next 64, or with `everywhere` of all; -1 where none is. */
  takeFree(acquired: number, everywhere: boolean): number {
    const { used } = this
    for (let looks = Math.min(used, everywhere ? used : LOOKS); looks > 0; looks--) {
      this.nextLook = this.nextLook < used ? this.nextLook + 1 : 1
      const slot = this.nextLook - 1
      if (this.state(slot) === Slot.Free && this.change(slot, Slot.Free, acquired)) return slot
    }
    return -1
  }

  /** Slots whose words hold true for `test`. */
  count(test: (word: number) => boolean): number {
    const { used } = this
    let count = 0
    for (let slot = 0; slot < used; slot++) if (test(this.state(slot))) count++
    return count
  }

  /** A slot whose word holds true for `test`, the one at `first` or the next; -1 if there is none. */
  findFrom(first: number, test: (word: number) => boolean): number {
    const { used } = this
    for (let looked = 0, slot = first; looked < used; looked++, slot++) {
      if (slot >= used) slot = 0
      if (test(this.state(slot))) return slot
    }
    return -1
  }

  /** The slot in the first `reach` bytes of whose block an address lies; -1 where it is in none. With 1, it is where a block starts. */
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
    if (isPassed(word)) return false // nobody's
    // A tag's top bit may be set.
    return (word & Slot.StateMask) !== 0 && (word & Tag.SlotMask) !== 0 && !this.threads.isAlive(word & ~Slot.StateMask)
  }

  /** Deaths of the heap's threads so far. */
  get deaths(): number {
    return this.threads.deaths
  }

  /** So many wait in this thread. */
  noteWaiting(count: number): void {
    this.block?.note(Word.Waiting, count)
  }

  /** How many wait, in all threads that live. REQUIRES: they are shared */
  get waiting(): number {
    return this.block!.seats.total(Word.Waiting)
  }

  /** A slot is free: wakes one thread of those that wait for one. */
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
