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
  /** What the blocks come to, in granules. */
  Granules = 34,
  /** The granule of a block that the holder is putting in, or 0. */
  Entering = 35,
  /** The granule of a block that the holder is freeing, or 0: it is in the ring no more. */
  Leaving = 36,
  /** From here on the granules of the blocks, the oldest at `Head` modulo their number. */
  Ring = 64,
}

/** Places of the ring: a divisor of 2^32, where its counts begin again. */
const PLACES = 8192
/**
 * Blocks that it holds at most, and bytes: enough that a stale pointer is used before its block is another's, little enough for a test. A
 * thread makes room first, and then puts its block in: each of the 240 that a heap may have has a place left for that.
 */
const MOST_BLOCKS = PLACES - 256
const MOST_BYTES = 16 * 2 ** 20

/** What the quarantine takes of a heap's tables, in words. */
export const QUARANTINE_WORDS = Word.Ring + PLACES

/** What freed bytes read as, four by four: an odd number, a large one, and no pointer that anybody follows. */
export const POISON = 0xdddddddd | 0
const BYTE = 0xff

/** What the quarantine needs of the tiers whose blocks it keeps. */
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
  /** The offset of the first byte that was. */
  readonly offset: number
}

/**
 * The blocks of a heap in debug mode that were freed last, by whatever thread, in the order in which they were freed. Until they leave, all
 * of their bytes are poison, and nobody gets them: so a write to one of them is seen, and a second free of one is told from the free of
 * what came in its place.
 *
 * A block in the state `Quarantined` is in the ring, or named by the words Entering or Leaving, and only the holder of the lock takes it out
 * of this state. So whoever takes the lock over from one that was struck knows how far it came.
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
  }

  /** What the blocks come to, in bytes. */
  get bytes(): number {
    return (this.words[Word.Granules]! >>> 0) * Granule.Bytes
  }

  /** How many there are. */
  get blocks(): number {
    return (this.words[Word.Tail]! - this.words[Word.Head]!) | 0
  }

  /** Whether a block of so many bytes is one for the quarantine. Longer ones would drive out all others, and take longer to fill than to map. */
  takes(bytes: number): boolean {
    return bytes <= this.mostBytes
  }

  /**
   * Takes a block that was handed out, and poisons it. False where it is in another state than `from` by now: another thread was faster.
   * REQUIRES: `makeRoom` was called for it.
   */
  enter(granule: number, from: ObjectState): boolean {
    const { words, tiers } = this
    return this.holding(() => {
      // Should this thread be struck, a block that is noted and quarantined is one that isn't in the ring yet.
      if (tiers.stateOf(granule) === ObjectState.Quarantined) return false
      words[Word.Entering] = granule
      if (!tiers.changeState(granule, from, ObjectState.Quarantined)) {
        words[Word.Entering] = 0
        return false
      }
      this.finishEntering()
      tiers.countOwned(granule, -1)
      return true
    })
  }

  /**
   * Frees the oldest blocks until one of `bytes` more fits. Returns those that were written to since they were freed, poisoned anew: it stops at
   * the first, or with `passes` frees them too.
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

  /** Frees blocks, the oldest first, up to one that was written to, which stays as it is for others to find. Returns how many. */
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

  /** Blocks that were written to since they were freed. They are poisoned anew. */
  inspect(): Written[] {
    return this.holding(() => {
      const found: Written[] = []
      for (let at = this.words[Word.Head]!; at !== this.words[Word.Tail]; at = (at + 1) | 0)
        this.inspectBlock(this.words[this.placeOf(at)]!, found)
      return found
    })
  }

  /** Runs `work` while nothing comes or goes. */
  holding<T>(work: () => T): T {
    return this.locks.holding(Word.Lock, () => {
      this.mend() // an error may have ended the work of one who let the lock go
      return work()
    })
  }

  /** Fills the first `length` bytes of a block with poison. */
  poison(granule: number, length = this.tiers.usableBytes(granule)): void {
    new Uint8Array(this.memory, granule * Granule.Bytes, length).fill(POISON & BYTE)
  }

  /** The offset of the first of a block's bytes where neither `fill` nor `orFill` stands, which are words of four equal bytes; -1 where there is none. */
  firstWrite(granule: number, length: number, fill: number, orFill = fill): number {
    const address = granule * Granule.Bytes
    const words = new Int32Array(this.memory, address, length >>> 2)
    let word = 0
    while (word < words.length && (words[word] === fill || words[word] === orFill)) word++
    const from = word * 4
    const bytes = new Uint8Array(this.memory, address + from, Math.min(4, length - from))
    const byte = bytes.findIndex((value) => value !== (fill & BYTE) && value !== (orFill & BYTE))
    if (byte >= 0) return from + byte
    // A word of which some bytes are the one and some the other was written to, too.
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

  /** Finishes what one who was struck had begun. Its stores that belong together have no strike point between them. */
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
