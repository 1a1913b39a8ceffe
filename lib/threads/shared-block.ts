import { randomInt } from 'node:crypto'
import { AllocatorError, closedError, invalidToken } from '../base/errors.ts'
import { Locks } from './locks.ts'
import { Seats } from './seats.ts'
import type { ThreadSlots } from './thread-slots.ts'

/** The words that each shared block begins with. */
export const enum SharedWord {
  /** The lock of the block's contents. */
  Lock = 0,
  /** The kind of the block's contents, with the bit `ENDING` once it ends; 0 before its first thread has it, and after its end. */
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

/** Set while a thread frees the contents and the block: no thread can join any more. */
const ENDING = 0x80

/** A kind of contents of shared blocks. */
export interface BlockKind {
  /** Three letters and the version of the words' layout, below 0x80. */
  readonly magic: number
  /** Its name in messages. */
  readonly name: string
  /** Whether threads take the block's lock. Such a block keeps its place in the registry until its end. */
  readonly isLocked?: true
  /**
   * Frees the contents of a block that no thread uses any more. It goes on from where another thread, or an earlier call, was struck. So each
   * part of the contents comes into the thread's hand by the store that takes it out of the block's words. It calls nothing of the program.
   */
  end(block: SharedBlock, host: BlockHost): void
}

/** The kinds that this thread has loaded, by their magic numbers: one that finds a dead thread's block must know how it ends. */
const kinds = new Map<number, BlockKind>()

/** Makes a kind known to the threads that end what dead ones have left. */
export function blockKind<K extends BlockKind>(kind: K): K {
  kinds.set(kind.magic, kind)
  return kind
}

/** A heap's list of its shared blocks. Its words are written under `exclusively`, but for `replace`. */
export interface BlockRegistry {
  /** The blocks that this thread has open. */
  readonly open: Set<SharedBlock>
  /** Ends the blocks that no live thread has open. */
  clearUp(): number
  /** The block that `add` or `replace` has entered, until nothing can keep its maker from getting it. */
  made: SharedBlock | undefined
  /** Enters the block in this thread's hand, which is empty then, and sets its seat. False if there is no room. */
  add(block: SharedBlock, seat: number): boolean
  /** Enters the block in this thread's hand in another's place, which comes into the hand. No strike comes behind the store that does it. */
  replace(instead: SharedBlock, block: SharedBlock, seat: number): void
  /** Takes a block out of the list and into this thread's hand. */
  remove(block: SharedBlock): void
}

/** The parts of its heap that a shared block needs. */
export interface BlockHost {
  readonly heap: { readonly buffer: SharedArrayBuffer; usableSize(address: number): number }
  readonly isOpen: boolean
  readonly shared: BlockRegistry
  thread(): { slots: ThreadSlots; tag: number }
  isPooled(address: number): boolean
  /** A new block in this thread's hand (lib/tcmalloc/hand.ts). */
  take(bytes: number, alignment: number, zeroed: boolean): number
  emptyHand(): void
  exclusively<T>(work: () => T): T
}

/**
 * A heap block that threads have open: a channel, a pool's slots, a table of handles. A thread that joins takes a seat, which keeps the block
 * alive. The last thread that leaves frees the contents and the block. If it dies before, or any thread dies with the last seat, the block
 * is an orphan, and a thread that clears up finds it in the heap's registry and ends it.
 *
 * Threads join and leave under `exclusively`, so no thread joins a block that another is about to free. The block's own lock won't do:
 * it lies in the block. Whoever ends a block has a seat in it until it is out of the registry. So if this thread is struck meanwhile,
 * it goes on when it leaves again or clears up; if it dies, the block is an orphan again.
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
  /** The word index of this thread's seat; 0 if it has none, or the block isn't registered. The registry sets it. */
  seat = 0

  /**
   * A new block of `length` words, which this thread has open.
   * @param instead a block of this thread alone, whose place in the registry it takes; that block is then in the thread's hand, and has ended
   * without its contents
   * @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY`
   */
  static create(
    host: BlockHost,
    kind: BlockKind,
    length: number,
    describe: (words: Int32Array, block: SharedBlock) => void,
    generation = randomInt(1, 2 ** 31),
    instead?: SharedBlock
  ): SharedBlock {
    host.shared.clearUp()
    const address = host.take(length * 4, 0, true)
    const words = new Int32Array(host.heap.buffer, address, length)
    const block = new SharedBlock(host, kind, address, words, generation)
    describe(words, block)
    words[SharedWord.Generation] = generation
    // Before others can find the block: a thread with the token of an earlier block here would join, and end this one as its last thread.
    const seat = block.seats.take(block.tag)
    Atomics.store(words, SharedWord.Kind, kind.magic)
    block.track()
    if (instead !== undefined) host.shared.replace(instead, block, seat)
    else if (!host.exclusively(() => host.shared.add(block, seat))) {
      block.untrack()
      host.emptyHand()
      throw new AllocatorError('ERR_HEAP_OUT_OF_MEMORY', 'the heap has too many pools, channels and tables open')
    }
    host.shared.made = undefined
    return block
  }

  /**
   * The block that a token names. This thread has no seat in it yet, so it may go at any time.
   * @throws AllocatorError `ERR_HEAP_INVALID_TOKEN` if no such block is there, `ERR_HEAP_CLOSED`
   */
  static find(host: BlockHost, kind: BlockKind, address: unknown, generation: unknown): SharedBlock {
    if (typeof address !== 'number' || typeof generation !== 'number') throw invalidToken(`it is no ${kind.name}'s`)
    if (!host.isOpen) throw closedError()
    host.shared.clearUp()
    const words = wordsAt(host, address)
    if (words === undefined || !isOf(words, kind, generation)) throw noneThere(kind)
    return new SharedBlock(host, kind, address, words, generation)
  }

  /**
   * The registered block at an address, if no live thread has a seat in it: from now on this thread ends it. Undefined for any other, whose
   * lock is released if a dead thread has it.
   * REQUIRES: the caller runs it under `exclusively`
   * @param isThere whether the block is still registered. Its seats mean nothing if its thread has replaced it meanwhile
   */
  static orphan(host: BlockHost, address: number, isThere: () => boolean): SharedBlock | undefined {
    const words = wordsAt(host, address)
    const kind = words && kinds.get(Atomics.load(words, SharedWord.Kind) & ~ENDING)
    if (words === undefined || kind === undefined) return undefined
    const block = new SharedBlock(host, kind, address, words, words[SharedWord.Generation]!)
    if (kind.isLocked) block.locks.leaveDead()
    if (block.seats.isTaken(0) || !isThere()) return undefined
    block.track()
    Atomics.store(words, SharedWord.Kind, kind.magic | ENDING)
    block.seat = block.seats.take(block.tag)
    return block
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
   * Takes a seat.
   * @throws AllocatorError `ERR_HEAP_INVALID_TOKEN` if the block has gone since it was found, `ERR_HEAP_TOO_MANY_WORKERS`
   */
  join(): void {
    const { host, words, kind, seats } = this
    this.track()
    const isJoined = host.exclusively(() => {
      if (!host.isPooled(this.address) || !isOf(words, kind, this.generation)) return undefined
      this.seat = seats.take(this.tag)
      return this.seat !== 0
    })
    if (isJoined) return
    this.untrack()
    if (isJoined === undefined) throw noneThere(kind)
    throw new AllocatorError('ERR_HEAP_TOO_MANY_WORKERS', `a ${kind.name} serves ${SharedWord.Seats} threads at most`)
  }

  /** From now on this thread may have the block open: it mends the block's lock, and gives up its seat when it closes the heap. */
  track(): void {
    this.host.shared.open.add(this)
    this.threads.ownLocks.add(this.locks)
  }

  untrack(): void {
    this.threads.ownLocks.delete(this.locks)
    this.host.shared.open.delete(this)
  }

  /** Whether this thread has a seat, which keeps the block alive. */
  get isJoined(): boolean {
    return this.seat !== 0 && this.host.isOpen
  }

  /** Whether this thread was struck while it ended the block. */
  get isHalfEnded(): boolean {
    return this.seat !== 0 && (Atomics.load(this.words, SharedWord.Kind) & ENDING) !== 0
  }

  /** Sets the word of this thread's seat in a row of words, one for each seat, that starts at index `row`. */
  note(row: number, value: number): void {
    if (this.seat !== 0) Atomics.store(this.words, row + this.seat - SharedWord.Peers, value)
  }

  /** The word of this thread's seat in such a row; 0 if it has none. */
  noted(row: number): number {
    return this.seat === 0 ? 0 : Atomics.load(this.words, row + this.seat - SharedWord.Peers)
  }

  /** Gives up the seat, and leaves the end of the block, if it was the last, to others. REQUIRES: the caller runs it under `exclusively` */
  vacate(): void {
    if (this.seat === 0) return
    this.threads.ownLocks.delete(this.locks)
    const { words, seat } = this
    words[seat] = 0
    this.seat = 0
  }

  /**
   * Gives up the seat; the last live thread ends the block. May be called again, also after a strike in an earlier call. If this thread has
   * closed the heap, its seat already counts as dead.
   * @param isReady whether the last thread may free the contents now; by default it may
   * @returns false if this is the last thread, and they may not go yet
   */
  leave(isReady = () => true): boolean {
    if (!this.isJoined) return true
    const { host, words, seats, kind } = this
    const mayLeave = host.exclusively(() => {
      if (seats.isTaken(this.seat)) this.vacate()
      else if (!isReady()) return false
      else Atomics.store(words, SharedWord.Kind, kind.magic | ENDING)
      return true
    })
    if (!mayLeave) return false
    if (this.seat !== 0) {
      kind.end(this, host)
      this.threads.ownLocks.delete(this.locks)
      host.exclusively(() => host.shared.remove(this))
      host.emptyHand()
    }
    this.untrack()
    return true
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
  return Atomics.load(words, SharedWord.Kind) === magic && words[SharedWord.Generation] === generation
}

function noneThere({ name }: BlockKind): AllocatorError {
  return invalidToken(`no ${name} is there`)
}
