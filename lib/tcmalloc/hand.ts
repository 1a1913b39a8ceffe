import type { BlockBytes } from '../memory/block-bytes.ts'
import { Granule, Page } from '../memory/page.ts'
import type { Membership } from './membership.ts'
import { ObjectState } from './object-state.ts'
import { Small } from './size-class.ts'
import { AreaWord } from './slot-area.ts'
import { Span, SpanEntry } from './span.ts'
import type { Tables } from './tables.ts'
import type { ThreadCache } from './thread-cache.ts'

/** The parts of the tiers that fill and empty the hand. */
export interface HandTiers {
  readonly tables: Tables
  readonly cache: ThreadCache
  readonly member: Membership
  /** In debug mode. */
  readonly quarantine: object | undefined
  readonly classBySize: Int8Array
  allocateSmall(sizeClass: number, inHand: boolean): number
  allocateLarge(bytes: number, zeroed: BlockBytes | undefined, inHand: boolean): number
  allocateAligned(alignment: number, bytes: number, inHand: boolean): number
}

/**
 * A thread's hand: the one block that is on its way between the free blocks and the words of an owner that threads share (a pool, a
 * table, a channel, their own words, an arena). If the thread is struck meanwhile, the block in its hand is freed: by the thread that
 * clears up behind it or, if it lives on, by itself, at its next block, statistics or close.
 *
 * The word `block` is written together with what it stands in for, with no strike point in between: as the block leaves the free blocks;
 * as the owner's words get it, which sets `block` to 0; as they lose it; and as it is free again. So at any moment a block is free, or in an
 * owner's words, or in a hand, and in one of these only. A block in a hand doesn't count as its thread's own, nor does an owner's.
 */
export class Hand {
  /** One word: the block's granule, or 0. */
  readonly block: Int32Array
  readonly area: Int32Array
  private readonly tiers: HandTiers

  constructor(tiers: HandTiers, area: Int32Array) {
    this.tiers = tiers
    this.area = area
    this.block = area.subarray(AreaWord.InHand, AreaWord.InHand + 1)
  }

  /** Takes a new block, live, and returns its granule; 0 if there is no memory. With `zeroed`, a large block's bytes are 0. */
  take(bytes: number, alignment = 0, zeroed?: BlockBytes): number {
    const { tiers, area } = this
    if (area[AreaWord.InHand] !== 0) this.clear()
    if (alignment > Granule.Bytes) return tiers.allocateAligned(alignment, bytes, true)
    if (bytes > Small.MostBytes) return tiers.allocateLarge(bytes, zeroed, true)
    const { cache } = tiers
    const sizeClass = tiers.classBySize[(bytes + (Granule.Bytes - 1)) >>> Granule.Shift]!
    const granules = cache.size[sizeClass]! >>> Granule.Shift
    const granule = cache.pop(sizeClass)
    if (granule === 0) return tiers.allocateSmall(sizeClass, true)
    area[AreaWord.InHand] = granule
    area[AreaWord.HandedOut]! -= granules
    return granule
  }

  /** The same for a block in a span of its own, whatever its size. */
  takeLarge(bytes: number): number {
    this.clear()
    return this.tiers.allocateLarge(bytes, undefined, true)
  }

  /** Frees the block that this thread had in its hand when it was struck. REQUIRES: no lock is held */
  clear(): void {
    if (this.area[AreaWord.InHand] === 0) return
    const { cache, member } = this.tiers
    member.enter()
    cache.freeLeft()
    member.leave()
  }

  /** Frees the block in the hand, if there is one. REQUIRES: no lock is held */
  empty(): void {
    const { area, tiers } = this
    const granule = area[AreaWord.InHand]!
    if (granule === 0) return
    const { cache, tables, member, quarantine } = tiers
    const sizeClass = tables.pageClass[granule >>> Page.GranuleShift]!
    // In debug mode free memory is poison.
    if (quarantine === undefined) {
      tables.states[granule] = ObjectState.Live
      if (this.push(granule, sizeClass)) return
      if (sizeClass !== 0) {
        member.enter()
        cache.relieve(sizeClass)
        member.leave()
        if (this.push(granule, sizeClass)) return
      }
    }
    this.surrender(() => cache.freeTaken())
  }

  /** Puts the block in the hand, which is live, into this thread's cache. False if there is no place for it. */
  private push(granule: number, sizeClass: number): boolean {
    const { area } = this
    const { cache, tables } = this.tiers
    const page = granule >>> Page.GranuleShift
    const granules =
      sizeClass !== 0
        ? cache.size[sizeClass]! >>> Granule.Shift
        : tables.spans[(page << SpanEntry.Shift) + Span.Length]! << Page.GranuleShift
    // This thread can't be struck between the last store of either push and the ones below.
    if (!(sizeClass !== 0 ? cache.push(granule) : cache.spans.push(page))) return false
    area[AreaWord.InHand] = 0
    area[AreaWord.HandedOut]! += granules
    return true
  }

  /** Lets `free` free the block in the hand, which the slot's area notes as taken. Any thread may that finds it. */
  surrender(free: () => void): void {
    const { cache, member } = this.tiers
    member.enter()
    cache.surrenderHand()
    free()
    this.area[AreaWord.Taken] = 0
    member.leave()
  }
}
