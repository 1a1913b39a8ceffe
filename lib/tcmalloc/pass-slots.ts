import { AllocatorError } from '../base/errors.ts'
import { Granule } from '../memory/page.ts'
import { tablesRefused } from '../memory/reservation.ts'
import { inTagBits } from '../threads/thread-slots.ts'
import { HeapWord } from './control.ts'
import type { Membership } from './membership.ts'
import { ObjectState } from './object-state.ts'
import { PassSlot, PassState, PassWord } from './pass-slot.ts'
import { AreaWord } from './slot-area.ts'
import type { Tables } from './tables.ts'

/** The slots to search for a free one before a fresh one is taken: under a microsecond. */
const LOOKS = 64
const TWO_32 = 2 ** 32

/** The parts of the tiers that the slots need. */
export interface PassingTiers {
  readonly tables: Tables
  usableBytes(granule: number): number
  readonly member: Pick<Membership, 'exclusively'>
}

/**
 * Blocks that were passed and not adopted yet, including those in channels. Each has a slot (pass-slot.ts) and the state `Passed`, in which
 * no other call takes it.
 *
 * INVARIANT: a block is `Passed` if and only if exactly one slot in state `Passed` names it. The block's state, the slot's and this
 * thread's count of its own change by plain stores in a row, with no strike point in between. An adoption has one compare-and-exchange
 * before them, which decides between competing threads. So no block is ever half passed or half adopted, and nothing needs repair: a slot
 * claimed by a thread that died is recognized as such, and is as good as free.
 */
export class PassSlots {
  /** The slot for this thread's next pass, once `ready` has found one; else -1. */
  slot = -1
  /** The number of that pass. */
  sequence = 0
  private readonly tiers: PassingTiers
  private readonly words: Int32Array
  private readonly states: Int8Array
  private readonly area: Int32Array
  private readonly claimed: number
  /** The slot at which this thread's next search starts. */
  private next: number

  /** @param slot this thread's slot, whose area is `area` */
  constructor(tiers: PassingTiers, slot: number, area: Int32Array) {
    this.tiers = tiers
    this.words = tiers.tables.passes
    this.states = tiers.tables.states
    this.area = area
    this.claimed = tiers.tables.slots.tag(slot) | PassState.Claimed
    this.next = slot * LOOKS
  }

  /** The number of slots that were ever in use: a search ends there. */
  get used(): number {
    return Math.min(PassSlot.Most, Atomics.load(this.tiers.tables.control, HeapWord.PassesUsed))
  }

  /**
   * Finds a slot for this thread's next pass, if it has none yet.
   * @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY` if the most blocks are passed already, or the system refuses the memory
   */
  ready(): void {
    if (this.slot >= 0) return
    const { used } = this
    let slot = this.claimOneOf(Math.min(used, LOOKS))
    if (slot < 0) slot = this.claimFresh()
    if (slot < 0) slot = this.claimOneOf(used)
    if (slot < 0) {
      const message = `a heap has at most ${PassSlot.Most} blocks that were passed and not adopted`
      throw new AllocatorError('ERR_HEAP_OUT_OF_MEMORY', message)
    }
    this.sequence = this.words[(slot << PassSlot.Shift) + PassWord.Sequence]! + 1
    this.slot = slot
  }

  /**
   * Gives up a block through the slot that is ready. False, without effect, if it isn't live. The caller's stores right after are part of
   * it: there is no strike point in between. REQUIRES: `ready`
   */
  pass(granule: number, length: number): boolean {
    const { words, states, area, slot, sequence } = this
    const granules = this.tiers.usableBytes(granule) / Granule.Bytes
    const passed = inTagBits(sequence) | PassState.Passed
    const at = slot << PassSlot.Shift
    const state = states[granule]!
    if (state !== ObjectState.Live && state !== ObjectState.Watched) return false
    words[at + PassWord.Sequence] = sequence
    words[at + PassWord.Granule] = granule
    words[at + PassWord.Length] = length | 0
    words[at + PassWord.Length + 1] = (length / TWO_32) | 0
    words[at + PassWord.WasWatched] = state === ObjectState.Watched ? 1 : 0
    states[granule] = ObjectState.Passed
    words[at + PassWord.State] = passed
    area[AreaWord.HandedOut]! -= granules
    this.slot = -1
    return true
  }

  /** The granule of the block that waits in a slot under a number; 0 if none does. Both arguments may be any numbers. */
  granuleOf(slot: number, sequence: number): number {
    const { words } = this
    const at = slot << PassSlot.Shift
    if (!(slot >= 0 && slot < this.used) || Atomics.load(words, at) !== (inTagBits(sequence) | PassState.Passed))
      return 0
    // Compared again in full: the state has no room for all bits of `sequence`.
    return words[at + PassWord.Sequence] === sequence ? words[at + PassWord.Granule]! : 0
  }

  /** Bytes of the view that was passed. REQUIRES: its block waits in the slot */
  lengthOf(slot: number): number {
    const at = (slot << PassSlot.Shift) + PassWord.Length
    return (this.words[at]! >>> 0) + this.words[at + 1]! * TWO_32
  }

  /** Whether the block was watched for a leak when it was passed. REQUIRES: it waits in the slot */
  wasWatched(slot: number): boolean {
    return this.words[(slot << PassSlot.Shift) + PassWord.WasWatched] === 1
  }

  /**
   * Adopts a block that `granuleOf` has found. False if another thread was faster. The caller's stores right after are part of it, as with
   * `pass`. With `inHand` the block comes into this thread's hand, and isn't its own.
   */
  adopt(slot: number, sequence: number, granule: number, inHand = false): boolean {
    const { words, states, area } = this
    const granules = this.tiers.usableBytes(granule) / Granule.Bytes
    const passed = inTagBits(sequence) | PassState.Passed
    if (Atomics.compareExchange(words, slot << PassSlot.Shift, passed, PassState.Free) !== passed) return false
    // A free that raced with the pass was faster: the block isn't the passed one any more.
    if (states[granule] !== ObjectState.Passed) return false
    states[granule] = ObjectState.Live
    if (inHand) area[AreaWord.InHand] = granule
    else area[AreaWord.HandedOut]! += granules
    return true
  }

  /** Granules of blocks that wait to be adopted. */
  granules(): number[] {
    const { words, used } = this
    const granules: number[] = []
    for (let at = 0; at < used << PassSlot.Shift; at += PassSlot.Words) {
      if (isPassed(words[at + PassWord.State]!)) granules.push(words[at + PassWord.Granule]!)
    }
    return granules
  }

  /** Their total, in usable bytes. */
  bytes(): number {
    return this.granules().reduce((sum, granule) => sum + this.tiers.usableBytes(granule), 0)
  }

  /** Bytes of slots that may have been touched. */
  touchedBytes(): number {
    return this.used * PassSlot.Bytes
  }

  /** Claims an unused slot among the next `looks`; -1 if there is none. */
  private claimOneOf(looks: number): number {
    const { used } = this
    for (; looks > 0; looks--) {
      this.next = this.next < used ? this.next + 1 : 1
      if (this.claim(this.next - 1)) return this.next - 1
    }
    return -1
  }

  /** Claims a slot behind those that were ever in use; -1 if there are no more. */
  private claimFresh(): number {
    const { tables } = this.tiers
    for (;;) {
      const { used } = this
      if (used === PassSlot.Most) return -1
      if (used >= tables.coveredPasses) this.cover(used + 1)
      const isOurs = this.claim(used)
      Atomics.compareExchange(tables.control, HeapWord.PassesUsed, used, used + 1)
      if (isOurs) return used
    }
  }

  private cover(count: number): void {
    const errno = this.tiers.member.exclusively(() => this.tiers.tables.coverPasses(count))
    if (errno !== 0) throw tablesRefused(errno, PassSlot.Bytes)
  }

  /** Claims a slot that is free, or whose claimer was struck after its claim, be it another thread or this one. */
  private claim(slot: number): boolean {
    const { words, claimed } = this
    const at = slot << PassSlot.Shift
    const word = words[at + PassWord.State]!
    if (isPassed(word) || words[at + PassWord.Sequence] === PassSlot.LastSequence) return false
    const isLeft =
      word === PassState.Free || word === claimed || !this.tiers.tables.slots.isAlive(word & ~PassState.Mask)
    return isLeft && Atomics.compareExchange(words, at, word, claimed) === word
  }
}

function isPassed(word: number): boolean {
  return (word & PassState.Mask) === PassState.Passed
}
