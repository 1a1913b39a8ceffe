import { Granule } from '../memory/page.ts'
import { HeapWord } from '../tcmalloc/control.ts'
import { ObjectState } from '../tcmalloc/object-state.ts'
import type { TCMalloc } from '../tcmalloc/tcmalloc.ts'
import { type BlockHost, type BlockRegistry, SharedBlock, SharedWord } from '../threads/shared-block.ts'

/**
 * The shared blocks of a heap, of all its threads: channels, tables, pools, and the rosters of pools that one thread has alone. The list is in
 * the heap's tables. So whatever way a thread ends, the others find what it alone had open, and end it.
 *
 * The words change under `exclusively`, each together with the thread's hand (lib/tcmalloc/hand.ts): a block is in a place or in a hand,
 * and never in both or in neither.
 */
export class SharedRegistry implements BlockRegistry {
  readonly open = new Set<SharedBlock>()
  made: SharedBlock | undefined
  private readonly host: BlockHost
  private readonly tiers: TCMalloc
  /** The granule of a block in each place, or 0. */
  private readonly words: Int32Array
  private readonly control: Int32Array

  constructor(host: BlockHost, tiers: TCMalloc) {
    this.host = host
    this.tiers = tiers
    this.words = tiers.sharedWords
    this.control = tiers.tables.control
  }

  add(shared: SharedBlock, seat: number): boolean {
    const { words, control, tiers } = this
    const { states } = tiers.tables
    const { block } = tiers.hand
    const granule = shared.address / Granule.Bytes
    const used = control[HeapWord.SharedUsed]!
    const free = words.subarray(0, used).indexOf(0)
    const place = free < 0 ? used : free
    if (place >= words.length) return false
    if (free < 0) control[HeapWord.SharedUsed] = used + 1
    states[granule] = ObjectState.Pooled
    Atomics.store(words, place, granule)
    block[0] = 0
    shared.seat = seat
    this.made = shared
    return true
  }

  /**
   * The sweeping thread may read the place at the same time: it finds one block or the other, and both have this thread's seat. ARM64 may
   * show stores behind the place's before it, so this thread makes an Atomics load before it writes to the old block as another's.
   */
  replace(instead: SharedBlock, shared: SharedBlock, seat: number): void {
    const { words, tiers } = this
    const { states } = tiers.tables
    const { block } = tiers.hand
    const granule = shared.address / Granule.Bytes
    const old = instead.address / Granule.Bytes
    const place = this.placeOf(old)
    instead.untrack()
    states[granule] = ObjectState.Pooled
    Atomics.store(words, place, granule)
    block[0] = old
    instead.seat = 0
    shared.seat = seat
  }

  remove(shared: SharedBlock): void {
    const { words, tiers } = this
    const { block } = tiers.hand
    const granule = shared.address / Granule.Bytes
    const place = this.placeOf(granule)
    words[place] = 0
    block[0] = granule
    shared.words[SharedWord.Kind] = 0
    shared.seat = 0
  }

  /** Ends the blocks that no live thread has open, if any thread died or closed the heap since the last time. Returns how many. */
  clearUp(): number {
    const { words, control, host } = this
    this.made?.leave() // this thread was struck before its maker got it
    this.made = undefined
    const due = (this.tiers.tables.slots.countDeaths() + Atomics.load(control, HeapWord.SharedLeft)) | 0
    if (control[HeapWord.SharedCleared] === due) return 0
    let ended = 0
    // This thread was struck in an earlier call.
    for (const block of this.open) {
      if (!block.isHalfEnded) continue
      block.leave()
      ended++
    }
    for (let place = 0; place < control[HeapWord.SharedUsed]!; place++) {
      const granule = Atomics.load(words, place)
      if (granule === 0) continue
      const isThere = () => Atomics.load(words, place) === granule
      const orphan = host.exclusively(() => SharedBlock.orphan(host, granule * Granule.Bytes, isThere))
      if (orphan === undefined) continue
      orphan.leave()
      ended++
    }
    control[HeapWord.SharedCleared] = due
    return ended
  }

  /** This thread closes the heap: gives up its seats. Blocks that were its alone are orphans now. */
  close(): void {
    const { control } = this
    if (control[HeapWord.SharedUsed] === 0) return
    this.tiers.member.exclusively(() => {
      Atomics.add(control, HeapWord.SharedLeft, 1)
      for (const block of this.open) block.vacate()
    })
    this.open.clear()
  }

  private placeOf(granule: number): number {
    const { words, control } = this
    return words.subarray(0, control[HeapWord.SharedUsed]!).indexOf(granule)
  }
}
