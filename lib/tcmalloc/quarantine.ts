import { Granule } from '../memory/page.ts'
import type { Mapping } from '../os/mapper.ts'
import { Locks } from '../threads/locks.ts'
import type { Membership } from './membership.ts'
import { ObjectState } from './object-state.ts'

/** The words of the quarantine. All but Granules are read and written under the lock. */
const enum Word {
  Lock = 0,
  /** Blocks that came and went so far. */
  Tail = 32,
  Head = 33,
  /** The total of the blocks, in granules. */
  Granules = 34,
  /** The granule of the block that the lock's holder is putting in, or 0. */
  Entering = 35,
  /** The granule of the block that the lock's holder is freeing, or 0. It is no longer in the ring. */
  Leaving = 36,
  /** The ring of the blocks' granules, the oldest at `Head` modulo its length. */
  Ring = 64,
}

/** Places of the ring: a divisor of 2^32, at which its counts wrap. */
const PLACES = 8192
/**
 * The most blocks and bytes that it holds: enough that a stale pointer is likely used before its block is reused, little enough for a test.
 * A thread makes room first, then puts its block in; the spare places are for the 240 threads that a heap may have.
 */
const MOST_BLOCKS = PLACES - 256
const MOST_BYTES = 16 * 2 ** 20

/** The quarantine's words in a heap's tables. */
export const QUARANTINE_WORDS = Word.Ring + PLACES

/** Four freed bytes read as this: an odd number, a large one, and never a valid pointer. */
export const POISON = 0xdddddddd | 0
const BYTE = 0xff

/** The parts of the tiers that the quarantine needs. */
export interface QuarantinedTiers {
  readonly mapping: Mapping
  readonly quarantineWords: Int32Array
  readonly member: Pick<Membership, 'thread'>
  stateOf(granule: number): number
  changeState(granule: number, from: ObjectState, to: ObjectState): boolean
  usableBytes(granule: number): number
  countOwned(granule: number, times: number): void
  freeUnowned(granule: number, from: ObjectState): void
}

/** A block that was written to while it was free. */
export interface Written {
  readonly granule: number
  /** The offset of the first byte written. */
  readonly offset: number
}

/**
 * The most recently freed blocks of a heap in debug mode, of all threads, in the order in which they were freed. Until a block leaves, all
 * of its bytes are poison, and it isn't handed out. So a write to it is detected, and a second free of it isn't mistaken for the free of a
 * later block at its address.
 *
 * A block in state `Quarantined` is in the ring, or named by the word Entering or Leaving; only the holder of the lock takes it out of this
 * state. So a thread that takes the lock over from a struck one knows how far that one got.
 */
export class Quarantine {
  private readonly tiers: QuarantinedTiers
  private readonly words: Int32Array
  private readonly locks: Locks
  private readonly memory: ArrayBuffer
  private readonly mostBytes: number = MOST_BYTES

  constructor(tiers: QuarantinedTiers) {
    this.tiers = tiers
    this.words = tiers.quarantineWords
    this.memory = tiers.mapping.unshared()
    const { slots, tag } = tiers.member.thread()
    this.locks = new Locks(this.words, Word.Lock, slots, tag, { mend: () => this.mend(), check: () => {} })
    slots.ownLocks.add(this.locks)
  }

  /** The total of the blocks, in bytes. */
  get bytes(): number {
    return (this.words[Word.Granules]! >>> 0) * Granule.Bytes
  }

  /** The number of blocks. */
  get blocks(): number {
    return (this.words[Word.Tail]! - this.words[Word.Head]!) | 0
  }

  /** Whether the quarantine takes blocks of so many bytes. Longer ones would drive out all others, and take longer to fill than to map. */
  takes(bytes: number): boolean {
    return bytes <= this.mostBytes
  }

  /**
   * Takes a handed-out block and poisons it. False if its state isn't `from` any more: another thread was faster. REQUIRES: `makeRoom` was
   * called for it.
   */
  enter(granule: number, from: ObjectState): boolean {
    const { words, tiers } = this
    return this.holding(() => {
      // If this thread is struck, a block that is both noted and quarantined isn't in the ring yet.
      if (tiers.stateOf(granule) === ObjectState.Quarantined) return false
      words[Word.Entering] = granule
      if (!tiers.changeState(granule, from, ObjectState.Quarantined)) {
        words[Word.Entering] = 0
        return false
      }
      this.finishEntering()
      // A block that this thread has taken out of an owner's words isn't its own.
      if (from !== ObjectState.Collected) tiers.countOwned(granule, -1)
      return true
    })
  }

  /**
   * Frees the oldest blocks until one of `bytes` more fits. Returns those that were written to since they were freed, poisoned anew. It
   * stops at the first of these; with `passes` it frees them too.
   */
  makeRoom(bytes: number, passes: boolean): Written[] {
    return this.holding(() => {
      const found: Written[] = []
      while (this.blocks > 0 && (this.blocks >= MOST_BLOCKS || this.bytes + bytes > this.mostBytes)) {
        const granule = this.oldest
        if (this.inspectBlock(granule, found) && !passes) break
        this.leave(granule)
      }
      return found
    })
  }

  /** Frees blocks, the oldest first, up to one that was written to, which stays unchanged for others to find. Returns the number freed. */
  freeIntact(): number {
    return this.holding(() => {
      let count = 0
      for (; this.blocks > 0; count++) {
        const granule = this.oldest
        if (this.firstWrite(granule, this.tiers.usableBytes(granule), POISON) >= 0) break
        this.leave(granule)
      }
      return count
    })
  }

  /** Returns the blocks that were written to since they were freed, and poisons them anew. */
  inspect(): Written[] {
    return this.holding(() => {
      const found: Written[] = []
      for (let at = this.words[Word.Head]!; at !== this.words[Word.Tail]; at = (at + 1) | 0)
        this.inspectBlock(this.words[this.placeOf(at)]!, found)
      return found
    })
  }

  /** Runs `work` while no block enters or leaves. */
  holding<T>(work: () => T): T {
    return this.locks.holding(Word.Lock, () => {
      this.mend() // an error may have ended an earlier holder's work
      return work()
    })
  }

  /** Fills the first `length` bytes of a block with poison. */
  poison(granule: number, length = this.tiers.usableBytes(granule)): void {
    new Uint8Array(this.memory, granule * Granule.Bytes, length).fill(POISON & BYTE)
  }

  /** The offset of a block's first byte that is neither `fill` nor `orFill`, words of four equal bytes; -1 if there is none. */
  firstWrite(granule: number, length: number, fill: number, orFill = fill): number {
    const address = granule * Granule.Bytes
    const words = new Int32Array(this.memory, address, length >>> 2)
    let word = 0
    while (word < words.length && (words[word] === fill || words[word] === orFill)) word++
    const from = word * 4
    const bytes = new Uint8Array(this.memory, address + from, Math.min(4, length - from))
    const byte = bytes.findIndex((value) => value !== (fill & BYTE) && value !== (orFill & BYTE))
    if (byte >= 0) return from + byte
    // A word that mixes bytes of both was written to, too.
    return word < words.length ? from : -1
  }

  private inspectBlock(granule: number, found: Written[]): boolean {
    const offset = this.firstWrite(granule, this.tiers.usableBytes(granule), POISON)
    if (offset < 0) return false
    this.poison(granule)
    found.push({ granule, offset })
    return true
  }

  private get oldest(): number {
    return this.words[this.placeOf(this.words[Word.Head]!)]!
  }

  private placeOf(at: number): number {
    return Word.Ring + (at & (PLACES - 1))
  }

  private finishEntering(): void {
    const { words } = this
    const granule = words[Word.Entering]!
    const bytes = this.tiers.usableBytes(granule)
    this.poison(granule, bytes)
    const place = this.placeOf(words[Word.Tail]!)
    words[place] = granule
    words[Word.Granules] = words[Word.Granules]! + bytes / Granule.Bytes
    words[Word.Tail] = (words[Word.Tail]! + 1) | 0
    words[Word.Entering] = 0
  }

  private leave(granule: number): void {
    const { words, tiers } = this
    const granules = tiers.usableBytes(granule) / Granule.Bytes
    words[Word.Leaving] = granule
    words[Word.Granules] = words[Word.Granules]! - granules
    words[Word.Head] = (words[Word.Head]! + 1) | 0
    tiers.freeUnowned(granule, ObjectState.Quarantined)
    words[Word.Leaving] = 0
  }

  /** Finishes the work of a struck holder. Stores that belong together have no strike point in between. */
  private mend(): void {
    const { words, tiers } = this
    const entering = words[Word.Entering]!
    if (entering !== 0 && tiers.stateOf(entering) === ObjectState.Quarantined) this.finishEntering()
    words[Word.Entering] = 0
    const leaving = words[Word.Leaving]!
    if (leaving !== 0) tiers.freeUnowned(leaving, ObjectState.Quarantined)
    words[Word.Leaving] = 0
  }
}
