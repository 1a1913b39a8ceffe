import { randomInt } from 'node:crypto'
import type { Heap } from '../heap/heap.ts'
import { type HeapHost, HOST } from '../lifetime/host.ts'
import { Granule } from '../memory/page.ts'
import { ObjectState } from '../tcmalloc/object-state.ts'
import { type BlockKind, blockKind, SharedBlock } from '../threads/shared-block.ts'
import { inTagBits, Tag, type ThreadSlots } from '../threads/thread-slots.ts'

const KIND = blockKind({ magic: 0x504f_4f04, name: 'pool', end: freeSlots })

/**
 * The roster of a pool that one thread has alone: a shared block with the granules of its blocks, by slot. The slots themselves are out of
 * other threads' reach, but those must find the blocks if this thread dies.
 */
const enum Roster {
  /** How many slots it is for. */
  Capacity = 34,
  Blocks = 320,
}
export const ROSTER = blockKind({ magic: 0x504f_5202, name: 'pool', end: freeRoster })

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
  /** What the waiters of each seat's thread are owed: see `Owed`. */
  Owed = 640,
  /** Two words for each slot: its state, and its block's granule. */
  Slots = 896,
}

/** The word of a seat whose thread has waiters. It is one of these, or `slot + 1` while that slot is reserved for the thread. */
const enum Owed {
  Nothing = 0,
  /** It was woken in vain, since another thread was faster: the next slot that is released is reserved for it. */
  Next = -1,
  /** It has given up, until a new waiter comes: dead threads have all buffers. */
  GaveUp = -2,
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
  /** Free, but for waiters of the thread with this tag only, as long as that thread is owed it. */
  // biome-ignore lint/suspicious/noDuplicateEnumValues: the last state has all bits of the mask
  Reserved = 0x700,
}

/** How many numbers fit in a tag's place: after that many passes of one pool they begin again. */
const PASS_NUMBERS = 2 ** 29

/** The slots that a pool's words have room for with its first block, while one thread alone has them. */
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
 * The slots of a pool: in an array of this thread's own with a roster of their blocks in the heap, or in a block of the heap, where several
 * threads share them. Each slot changes its state by one store, or by one compare-and-exchange if it is shared. So there is nothing to lock
 * and nothing to repair: the slots of a dead thread still say that they are its own.
 */
export class PoolSlots {
  readonly words: Int32Array
  /** Tells the pool from every other, including earlier and later ones at that address. */
  readonly generation: number
  /** The block that they are in; undefined for an array of this thread's. */
  readonly block: SharedBlock | undefined
  /** Such an array's roster; undefined before the first buffer. */
  readonly roster: SharedBlock | undefined
  private readonly host: HeapHost
  private readonly rosterWords: Int32Array | undefined
  private readonly threads: ThreadSlots
  private readonly tag: number
  /** No slot below it is empty, as far as this thread knows. */
  private firstEmpty = 0
  /** Where the last look for a free slot ended. */
  private nextLook = 0
  /** The seat for whose thread this one reserved a slot last. */
  private lastOwed = 0

  private constructor(heap: Heap, words: Int32Array, generation: number, block?: SharedBlock, roster?: SharedBlock) {
    this.words = words
    this.generation = generation
    this.block = block
    this.roster = roster
    this.rosterWords = roster?.words
    this.host = heap[HOST]
    const { slots, tag } = block === undefined ? this.host.thread() : { slots: block.threads, tag: block.tag }
    this.threads = slots
    this.tag = tag
  }

  /** The slots of a new pool: none before it has grown, but words for the first ones. */
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

  /**
   * The same slots with room for twice as many, and a roster as long. From its return on these ones mean nothing, and their roster is in this
   * thread's hand. REQUIRES: they are this thread's own
   */
  grown(heap: Heap): PoolSlots {
    const capacity = this.nextCapacity
    // The first growth keeps the words: see BufferPool.move.
    const words = this.roster === undefined ? this.words : new Int32Array(Word.Slots + 2 * capacity)
    if (words !== this.words) words.set(this.words)
    return this.moved(ROSTER, Roster.Blocks + capacity, (roster, block) => {
      roster[Roster.Capacity] = capacity
      if (this.rosterWords !== undefined) roster.set(this.rosterWords.subarray(Roster.Blocks), Roster.Blocks)
      return new PoolSlots(heap, words, this.generation, undefined, block)
    })
  }

  /** The same slots in a block of the heap, for at most `most` of them, as `grown`. REQUIRES: they are this thread’s own, and no more than `most` are used */
  shared(heap: Heap, most: number): PoolSlots {
    return this.moved(KIND, Word.Slots + 2 * most, (words, block) => {
      // There may be room for more than `most` here, but none of that was used.
      words.set(this.words.subarray(0, words.length))
      words[Word.Most] = most
      return new PoolSlots(heap, words, this.generation, block)
    })
  }

  private moved(
    kind: BlockKind,
    length: number,
    describe: (words: Int32Array, block: SharedBlock) => PoolSlots
  ): PoolSlots {
    let slots!: PoolSlots
    const make = (words: Int32Array, block: SharedBlock) => {
      slots = describe(words, block)
    }
    SharedBlock.create(this.host, kind, length, make, this.generation, this.roster)
    return slots
  }

  get isShared(): boolean {
    return this.block !== undefined
  }

  /** What of them lies in the heap; undefined before the first buffer. */
  get home(): SharedBlock | undefined {
    return this.block ?? this.roster
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

  /** The most slots that there may be. */
  get most(): number {
    return this.words[Word.Most]!
  }

  /** Slots that the words, and the roster, have room for. */
  get capacity(): number {
    return this.home === undefined ? 0 : Math.min(this.most, (this.words.length - Word.Slots) >> 1)
  }

  /** The capacity after the next growth. */
  get nextCapacity(): number {
    return Math.min(this.most, Math.max(FIRST_CAPACITY, 2 * this.capacity))
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

  /** Gives a slot the block in this thread's hand. REQUIRES: there is one */
  place(slot: number): void {
    const { words, rosterWords, host } = this
    const { states } = host.tiers.tables
    const { block } = host.tiers.hand
    const granule = block[0]!
    states[granule] = ObjectState.Pooled
    words[Word.Slots + 2 * slot + 1] = granule
    if (rosterWords !== undefined) rosterWords[Roster.Blocks + slot] = granule
    block[0] = 0
  }

  /** Takes a slot's block, if it has one, into this thread's hand, which is empty. */
  displace(slot: number): void {
    const { words, rosterWords, host } = this
    const { block } = host.tiers.hand
    const at = Word.Slots + 2 * slot + 1
    block[0] = words[at]!
    words[at] = 0
    if (rosterWords !== undefined) rosterWords[Roster.Blocks + slot] = 0
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

  /** Makes a slot free or, if another thread has waited in vain, reserves it for that. False if its state wasn't `from`. */
  free(slot: number, from: number): boolean {
    const reserved = this.block === undefined || this.words[Word.Waiters] === 0 ? 0 : this.owe(slot)
    if (!this.change(slot, from, reserved || Slot.Free)) return false
    // Only that thread has a use for it, and it isn't known which one a single notification wakes.
    if (reserved !== 0) this.wake(Number.POSITIVE_INFINITY)
    return true
  }

  /** Tells a thread that it is owed a slot from now on. Returns the word of the slot while it is reserved; 0 if no thread needs that. */
  private owe(slot: number): number {
    const { seats } = this.block!
    const seat = seats.next(Word.Owed, Owed.Next, this.lastOwed)
    if (seat < 0) return 0
    const tag = seats.tag(seat)
    if (Atomics.compareExchange(this.words, Word.Owed + seat, Owed.Next, slot + 1) !== Owed.Next) return 0
    this.lastOwed = seat
    return tag | Slot.Reserved
  }

  /** A waiter of this thread was woken in vain: it is owed the next slot. */
  noteStarving(): void {
    if (this.block?.noted(Word.Owed) !== Owed.GaveUp) this.block?.note(Word.Owed, Owed.Next)
  }

  /** This thread is about to wait, though it may have given up before. */
  noteHope(): void {
    if (this.block?.noted(Word.Owed) === Owed.GaveUp) this.block.note(Word.Owed, Owed.Nothing)
  }

  /** Takes the slot that is reserved for this thread's waiters; -1 if none is. */
  takeReserved(acquired: number): number {
    const slot = this.block === undefined ? -1 : this.block.noted(Word.Owed) - 1
    if (slot < 0) return -1
    // Struck behind this, the thread has left a slot that others may take.
    this.block!.note(Word.Owed, Owed.Nothing)
    return this.change(slot, this.own(Slot.Reserved), acquired) ? slot : -1
  }

  /** Whether a slot that is free, or reserved, is there for this thread's asking. */
  private isForAll(slot: number, word: number): boolean {
    if (word === Slot.Free) return true
    if (!isReserved(word)) return false
    const seat = this.block!.seats.next(Word.Owed, slot + 1, 0)
    return seat < 0 || this.block!.seats.tag(seat) !== (word & ~Slot.StateMask)
  }

  /** Changes a free slot, maybe left by another thread, to `acquired`: one of the next 64, or with `everywhere` any; -1 if none is free. */
  takeFree(acquired: number, everywhere: boolean): number {
    const { used } = this
    for (let looks = Math.min(used, everywhere ? used : LOOKS); looks > 0; looks--) {
      this.nextLook = this.nextLook < used ? this.nextLook + 1 : 1
      const slot = this.nextLook - 1
      const word = this.state(slot)
      if (this.isForAll(slot, word) && this.change(slot, word, acquired)) return slot
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
  countDeaths(): number {
    return this.threads.countDeaths()
  }

  /** Records how many waiters this thread has. */
  noteWaiting(count: number): void {
    const { block } = this
    if (block === undefined) return
    block.note(Word.Waiting, count)
    if (count > 0 || block.noted(Word.Owed) === Owed.GaveUp) return
    // The last one may have left while a slot was on its way to it.
    const slot = this.takeReserved(this.own(Slot.Reserved))
    block.note(Word.Owed, Owed.Nothing)
    if (slot >= 0 && this.free(slot, this.own(Slot.Reserved))) this.wake()
  }

  /**
   * Whether this thread waits in vain: dead threads have all buffers, and each live one waits too, or has given up. This one gives up with
   * the answer. REQUIRES: they are shared, and this thread has looked for a free slot
   */
  giveUp(): boolean {
    const { seats } = this.block!
    const waits = (seat: number) =>
      Atomics.load(this.words, Word.Waiting + seat) > 0 || Atomics.load(this.words, Word.Owed + seat) === Owed.GaveUp
    if (!this.areDead || !seats.everyOther(waits)) return false
    this.block!.note(Word.Owed, Owed.GaveUp)
    return true
  }

  /** Whether dead threads have all buffers. */
  get areDead(): boolean {
    return this.used > 0 && this.findFrom(0, (word) => !isOut(word) || !this.isDead(word)) < 0
  }

  /** How many waiters the live threads have. REQUIRES: they are shared */
  get waiting(): number {
    return this.block!.seats.total(Word.Waiting)
  }

  /** A slot is free: wakes one of the threads that wait for one, or more. */
  wake(threads = 1): void {
    if (this.block === undefined || Atomics.load(this.words, Word.Waiters) === 0) return
    Atomics.add(this.words, Word.Wake, 1)
    Atomics.notify(this.words, Word.Wake, threads)
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

/** Whether it is reserved for a thread's waiters. */
export function isReserved(word: number): boolean {
  return (word & Slot.StateMask) === Slot.Reserved
}

/** Whether it was passed, and not adopted yet. */
export function isPassed(word: number): boolean {
  return (word & Slot.StateMask) === Slot.Passed
}

/** Whether a lease has it, or an operation. */
export function isLeased(word: number): boolean {
  return (word & Slot.StateMask) === Slot.Leased
}

/** Frees the blocks of a shared pool, whatever state they are in: no thread is left that could use them. */
function freeSlots({ words }: SharedBlock, { tiers: { hand } }: HeapHost): void {
  const { block } = hand
  hand.clear()
  const used = Math.min(words[Word.Used]!, words[Word.Most]!)
  for (let at = Word.Slots + 1; at < Word.Slots + 2 * used; at += 2) {
    block[0] = words[at]!
    words[at] = 0
    hand.empty()
  }
}

/** The same for a pool that a thread had alone. */
function freeRoster({ words }: SharedBlock, { tiers: { hand } }: HeapHost): void {
  const { block } = hand
  hand.clear()
  for (let at = Roster.Blocks; at < Roster.Blocks + words[Roster.Capacity]!; at++) {
    block[0] = words[at]!
    words[at] = 0
    hand.empty()
  }
}
