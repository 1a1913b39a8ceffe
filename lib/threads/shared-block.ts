import { randomInt } from 'node:crypto'
import { AllocatorError, closedError, invalidToken } from '../base/errors.ts'
import { Locks } from './locks.ts'
import { Seats } from './seats.ts'
import type { ThreadSlots } from './thread-slots.ts'

/** The words that each shared block begins with. */
export const enum SharedWord {
  /** The lock of the block's contents. */
  Lock = 0,
  /** The kind of the block's contents; with the bit `ENDING` once its last thread leaves. */
  Kind = 32,
  /** Tells the block from earlier and later ones at this address; written once. */
  Generation = 33,
  /** The words from here to `Peers`, and those from `Count` on, belong to the block's contents. */
  Own = 34,
  /** The seats: tags of threads that have the block open, or had it open when they died; 0 in free seats. */
  Peers = 64,
  Seats = 240,
  Count = 320,
}

/** Set while the last thread leaves and frees the block: no thread can join any more. */
const ENDING = 0x80

/** A kind of contents of shared blocks. */
export interface BlockKind {
  /** Three letters and the version of the words' layout, below 0x80. */
  readonly magic: number
  /** Its name in messages. */
  readonly name: string
}

/** The parts of its heap that a shared block needs. */
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
 * A heap block that several threads have open: a channel, a pool's slots, a table of handles. A thread that joins takes a seat, which keeps
 * the block alive. The last thread that leaves frees the contents and the block.
 *
 * Threads join and leave under `exclusively`, so no thread joins a block that the last one is about to free. The block's own lock won't do:
 * it lies in the block. A thread has left once its seat is cleared or, for the last one, once the kind is. If the last thread is struck
 * while it frees, it keeps its seat and goes on when it calls `leave` again. If it died, the next thread with the token goes on.
 */
export class SharedBlock {
  readonly address: number
  /** Tells the block from every other, including earlier and later ones at its address. */
  readonly generation: number
  readonly words: Int32Array
  /** This thread's tag. The slots tell which others live. */
  readonly tag: number
  readonly threads: ThreadSlots
  /** The guarded data needs no repair: it changes by a single store, or by several with no strike point in between. */
  readonly locks: Locks
  readonly seats: Seats
  private readonly host: BlockHost
  private readonly kind: BlockKind
  /** The word index of this thread's seat; 0 if it has none. */
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
    // Before others can find the block: a thread with the token of an earlier block here would join, and end this one as its last thread.
    block.seat = block.seats.take(block.tag)
    Atomics.store(words, SharedWord.Kind, kind.magic)
    return block
  }

  /**
   * The block that a token names. This thread has no seat in it yet, so it may go at any time.
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
   * Takes a seat. If the last thread died while it ended the block, this call finishes that, and reports the block as gone.
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

  /** Whether this thread has a seat, which keeps the block alive. */
  get isJoined(): boolean {
    return this.seat !== 0 && this.host.isOpen
  }

  /** Sets the word of this thread's seat in a row of words, one for each seat, that starts at index `row`. */
  note(row: number, value: number): void {
    if (this.seat !== 0) Atomics.store(this.words, row + this.seat - SharedWord.Peers, value)
  }

  /**
   * Gives up the seat. May be called again, also after a strike in an earlier call. If this thread has closed the heap, its seat already
   * counts as dead.
   * @param end frees the contents, for the last live thread; it resumes from where another thread or an earlier call stopped. It returns
   * false if other threads still hold some: the block then stays, closed to joiners, until another thread tries again
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
    // Under `exclusively`: otherwise a thread could look for dead seats in memory that has a new owner by then.
    host.exclusively(() => Atomics.store(words, SharedWord.Kind, 0))
    this.seat = 0
    host.setPooled(address, false)
    host.discard(address)
  }
}

/** The words of the shared block at an address; undefined if there is none. */
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
