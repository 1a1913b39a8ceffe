import { randomInt } from 'node:crypto'
import { AllocatorError, closedError, invalidToken } from '../base/errors.ts'
import { Locks } from './locks.ts'
import { Seats } from './seats.ts'
import type { ThreadSlots } from './thread-slots.ts'

/** The words that each shared block begins with. */
export const enum SharedWord {
  /** The lock of what is in the block. */
  Lock = 0,
  /** The kind of what is in the block; with the bit `ENDING` from when its last thread leaves it. */
  Kind = 32,
  /** Tells the block from others that were or will be here; written once. */
  Generation = 33,
  /** From here to `Peers` the words are those of what is in the block, and so are those from `Count` on. */
  Own = 34,
  /** The tags of threads that have the block open, or had when they died; 0 in seats that are free. */
  Peers = 64,
  Seats = 240,
  Count = 320,
}

/** The bit of a block that its last thread leaves, and frees: nobody joins it any more. */
const ENDING = 0x80

/** What is in shared blocks of a kind. */
export interface BlockKind {
  /** Three letters and the version of the words' layout, below 0x80. */
  readonly magic: number
  /** What messages call it. */
  readonly name: string
}

/** What a shared block needs of the heap that it lies in. */
export interface BlockHost {
  readonly heap: {
    readonly buffer: SharedArrayBuffer
    calloc(count: number, size: number): number
    usableSize(address: number): number
  }
  readonly isOpen: boolean
  thread(): { slots: ThreadSlots; tag: number }
  isPooled(address: number): boolean
  setPooled(address: number, pooled: boolean): void
  discard(address: number): void
  exclusively<T>(work: () => T): T
}

/**
 * A block of a heap that several threads have open: a channel, a pool's slots, a table of handles. A thread that joins takes a seat, which
 * keeps the block where it is. The last one that leaves frees what is in the block, and the block.
 *
 * Threads join and leave under `exclusively`, so that nobody joins what the last one is about to free. The block's own lock won't do for
 * that: it lies in the block. One store decides whether a thread has left: that of its seat, or, of the last one, that of the kind. A last one that
 * is struck while it frees keeps its seat. It goes on when it calls `leave` again; if it is dead, the next thread that has the token does.
 */
export class SharedBlock {
  readonly address: number
  /** Tells it from every other, also from those at that address before and after it. */
  readonly generation: number
  readonly words: Int32Array
  /** This thread's tag, and how to tell whether others live. */
  readonly tag: number
  readonly threads: ThreadSlots
  /** Nothing that they guard needs a mend: what is in a block changes by one store, or by some that nothing comes between. */
  readonly locks: Locks
  readonly seats: Seats
  private readonly host: BlockHost
  private readonly kind: BlockKind
  /** The index of this thread's seat among the words; 0 if it has none. */
  private seat = 0

  /** A new block of `length` words, which this thread has open. @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY` */
  static create(
    host: BlockHost,
    kind: BlockKind,
    length: number,
    describe: (words: Int32Array) => void,
    generation = randomInt(1, 2 ** 31)
  ): SharedBlock {
    const address = host.heap.calloc(length, 4)
    const words = new Int32Array(host.heap.buffer, address, length)
    const block = new SharedBlock(host, kind, address, words, generation)
    describe(words)
    words[SharedWord.Generation] = generation
    host.setPooled(address, true)
    // Before it is a block to others: a thread with a token of one that was here would join, and end it as the last one.
    block.seat = block.seats.take(block.tag)
    Atomics.store(words, SharedWord.Kind, kind.magic)
    return block
  }

  /**
   * The block that a token names, in which this thread has no seat yet: it may go at any time.
   * @throws AllocatorError `ERR_HEAP_INVALID_TOKEN` if no such block is there, `ERR_HEAP_CLOSED`
   */
  static find(host: BlockHost, kind: BlockKind, address: unknown, generation: unknown): SharedBlock {
    if (typeof address !== 'number' || typeof generation !== 'number') throw invalidToken(`it is no ${kind.name}'s`)
    if (!host.isOpen) throw closedError()
    const words = wordsAt(host, address)
    if (words === undefined || !isOf(words, kind, generation)) throw noneThere(kind)
    return new SharedBlock(host, kind, address, words, generation)
  }

  private constructor(host: BlockHost, kind: BlockKind, address: number, words: Int32Array, generation: number) {
    const { slots, tag } = host.thread()
    this.address = address
    this.generation = generation
    this.words = words
    this.tag = tag
    this.threads = slots
    this.seats = new Seats(words, SharedWord.Peers, SharedWord.Seats, slots)
    this.locks = new Locks(words, SharedWord.Lock, slots, tag, { mend: () => {}, check: () => {} })
    this.host = host
    this.kind = kind
  }

  /**
   * Takes a seat. Where the last thread has died while it ended the block, this one does, and then has found none.
   * @param end as for `leave`
   * @throws AllocatorError `ERR_HEAP_INVALID_TOKEN` if the block has gone since it was found, `ERR_HEAP_TOO_MANY_WORKERS`
   */
  join(end: () => boolean): void {
    const { host, words, kind, seats } = this
    let isEnding = false
    const seat = host.exclusively(() => {
      if (!host.isPooled(this.address) || !isOf(words, kind, this.generation)) return undefined
      isEnding = words[SharedWord.Kind] !== kind.magic
      return isEnding && seats.isTaken(0) ? undefined : seats.take(this.tag)
    })
    if (seat === undefined) throw noneThere(kind)
    if (seat === 0)
      throw new AllocatorError('ERR_HEAP_TOO_MANY_WORKERS', `a ${kind.name} serves ${SharedWord.Seats} threads at most`)
    this.seat = seat
    if (!isEnding) return
    this.leave(end)
    throw noneThere(kind)
  }

  /** Whether this thread has a seat, and so keeps the words where they are. */
  get isJoined(): boolean {
    return this.seat !== 0 && this.host.isOpen
  }

  /** Sets the word that this thread's seat has in a row of such words, one for each seat, from the index `row` on. */
  note(row: number, value: number): void {
    if (this.seat !== 0) Atomics.store(this.words, row + this.seat - SharedWord.Peers, value)
  }

  /**
   * Gives up the seat. May be called again, also by a thread that was struck in an earlier call. If the heap is closed here, the seat is a
   * dead one's already.
   * @param end what the last thread that lives frees the block's contents by, which goes on where another thread, or an earlier call, has
   * ended. False if others still have some: then the block stays, for nobody to join, until the next thread that tries ends it again
   */
  leave(end: () => boolean): void {
    if (!this.isJoined) return
    const { host, words, seats, address } = this
    const giveUp = () => {
      Atomics.store(words, this.seat, 0)
      this.seat = 0
    }
    const isLast = host.exclusively(() => {
      if (seats.isTaken(this.seat)) giveUp()
      else Atomics.store(words, SharedWord.Kind, this.kind.magic | ENDING)
      return this.seat !== 0
    })
    if (!isLast) return
    if (!end()) {
      giveUp()
      return
    }
    // Nobody is to look for dead seats in what is another's by then.
    host.exclusively(() => Atomics.store(words, SharedWord.Kind, 0))
    this.seat = 0
    host.setPooled(address, false)
    host.discard(address)
  }
}

/** The words of the block at an address; undefined if none is there that is a part of something else. */
function wordsAt(host: BlockHost, address: number): Int32Array | undefined {
  try {
    const length = host.isPooled(address) ? host.heap.usableSize(address) >>> 2 : 0
    return length < SharedWord.Count ? undefined : new Int32Array(host.heap.buffer, address, length)
  } catch {
    return undefined // freed between the two
  }
}

function isOf(words: Int32Array, { magic }: BlockKind, generation: number): boolean {
  return (Atomics.load(words, SharedWord.Kind) & ~ENDING) === magic && words[SharedWord.Generation] === generation
}

function noneThere({ name }: BlockKind): AllocatorError {
  return invalidToken(`no ${name} is there`)
}
