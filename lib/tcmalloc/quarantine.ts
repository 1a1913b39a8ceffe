import { Locks } from '../memory/locks.ts'
import { ObjectState } from '../memory/object-state.ts'
import { Granule } from '../memory/page.ts'
import type { ThreadSlots } from '../memory/thread-slots.ts'
import type { Mapping } from '../os/mapper.ts'

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

/** Blocks that it holds at most, and bytes: enough that a stale pointer is used before its block is another's, little enough for a test. */
const MOST_BLOCKS = 8192
const MOST_BYTES = 16 * 2 ** 20

/** What the quarantine takes of a heap's tables, in words. */
export const QUARANTINE_WORDS = Word.Ring + MOST_BLOCKS

/** What freed bytes read as: an odd number, a large one, and no pointer that anybody follows. */
const POISON = 0xdd
const POISON_WORD = 0xdddddddd | 0

/** What the quarantine needs of the tiers whose blocks it keeps. */
export interface QuarantinedTiers {
  readonly mapping: Mapping
  readonly quarantineWords: Int32Array
  thread(): { slots: ThreadSlots; tag: number }
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

  constructor(tiers: QuarantinedTiers) {
    this.tiers = tiers
    this.words = tiers.quarantineWords
    this.memory = tiers.mapping.unshared()
    const { slots, tag } = tiers.thread()
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
    return bytes <= MOST_BYTES
  }

  /**
   * Takes a block that was handed out, and poisons it. False where it is in another state than `from` by now: another thread was faster.
   * REQUIRES: `makeRoom` was called for it.
   */
  enter(granule: number, from: ObjectState): boolean {
    const { words, tiers } = this
    return this.locks.holding(Word.Lock, () => {
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
   * Frees the oldest blocks until one of `bytes` more fits. Stops at one that was written to, which is poisoned anew, and returns it.
   */
  makeRoom(bytes: number): Written | undefined {
    return this.locks.holding(Word.Lock, () => {
      while (this.blocks > 0 && (this.blocks >= MOST_BLOCKS || this.bytes + bytes > MOST_BYTES)) {
        const granule = this.words[this.placeOf(this.words[Word.Head]!)]!
        const offset = this.inspectBlock(granule)
        if (offset >= 0) return { granule, offset }
        this.leave(granule)
      }
      return undefined
    })
  }

  /** Blocks that were written to since they were freed. They are poisoned anew. */
  inspect(): Written[] {
    return this.locks.holding(Word.Lock, () => {
      const found: Written[] = []
      for (let at = this.words[Word.Head]!; at !== this.words[Word.Tail]; at = (at + 1) | 0) {
        const granule = this.words[this.placeOf(at)]!
        const offset = this.inspectBlock(granule)
        if (offset >= 0) found.push({ granule, offset })
      }
      return found
    })
  }

  /** Fills the first `length` bytes of a block with poison. */
  poison(granule: number, length = this.tiers.usableBytes(granule)): void {
    new Uint8Array(this.memory, granule * Granule.Bytes, length).fill(POISON)
  }

  /**
   * The offset of the first of a block's bytes that isn't poison, or -1. With `orZero`, words that are all zeros count as poison: those of
   * memory that was never handed out since the system gave it.
   */
  firstWrite(granule: number, length: number, orZero: boolean): number {
    const bytes = new Uint8Array(this.memory, granule * Granule.Bytes, length)
    const words = new Int32Array(this.memory, granule * Granule.Bytes, length >>> 2)
    let word = 0
    while (word < words.length && (words[word] === POISON_WORD || (orZero && words[word] === 0))) word++
    let at = word * 4
    // In a word that is neither, the first byte that isn't poison; if all others of it are zeros, the first that isn't one.
    const isWhole = (byte: number) => byte === POISON || (orZero && byte === 0)
    while (at < length && isWhole(bytes[at]!)) at++
    return at < length ? at : word < words.length ? word * 4 : -1
  }

  private inspectBlock(granule: number): number {
    const length = this.tiers.usableBytes(granule)
    const offset = this.firstWrite(granule, length, false)
    if (offset >= 0) this.poison(granule)
    return offset
  }

  private placeOf(at: number): number {
    return Word.Ring + ((at >>> 0) % MOST_BLOCKS)
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

  /** The owner of the lock was struck. Its stores that belong together have no strike point between them. */
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
