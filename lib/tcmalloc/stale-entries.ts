import { Page } from '../memory/page.ts'
import { HeapWord } from './control.ts'
import { PagePast } from './page-past.ts'
import type { StackLayout } from './stack-layout.ts'
import type { Tables } from './tables.ts'

/** The most pages for which one look at the stacks serves: as much time again. */
const MOST_REACH = 1024
/** The classes in the past of four pages. */
const FOUR_CLASSES = 0x7f7f7f7f

/**
 * The entries of thread caches' stacks that name objects which are no longer there. If a program frees a block in two threads at one instant,
 * both threads put it on their stacks, and the object has the state of the slower one. The other's entry is stale: `pop` skips it, since the
 * state isn't that slot's.
 *
 * It counts for nothing as long as the object keeps its size. But if the pages are carved anew, the object may get that slot's state once
 * more; the stale entry would hand it out as one of the old size, over its neighbours. So pages that a stack names don't get another size
 * until that slot has come to the entry. `pop` doesn't compare sizes: that would take 0.45 ns of the 2.8 ns of a malloc and a free.
 */
export class StaleEntries {
  private readonly tables: Tables
  private readonly stacks: StackLayout
  /** The slots' areas, as far as this thread has looked at them. */
  private readonly areas: Int32Array[] = []

  constructor(tables: Tables, stacks: StackLayout) {
    this.tables = tables
    this.stacks = stacks
  }

  /**
   * Whether a stack of another class than `sizeClass` names an object in pages that no span in use has. REQUIRES: the caller holds the page heap
   * @param reach the number of pages from `start` on that are free, or are these: one look at the stacks serves them all
   */
  name(start: number, pages: number, reach: number, sizeClass: number): boolean {
    const { control, pagePast } = this.tables
    if (control[HeapWord.SlotsUsed]! < 2) return false // no two threads ever had the heap
    if (!this.haveClass(start, pages)) return false
    for (let page = start; page < start + pages; page++) {
      const was = pagePast[page]! & PagePast.ClassMask
      if (was !== 0 && was !== sizeClass && this.sweep(was, start, Math.min(reach, MOST_REACH)) < start + pages)
        return true
    }
    return false
  }

  /** Whether any of the pages, or of those beside them, had a class. A large block has many pages, and most had none. */
  private haveClass(start: number, pages: number): boolean {
    const { pagePasts } = this.tables
    let all = 0
    for (let at = start >> 2; at <= (start + pages - 1) >> 2; at++) all |= pagePasts[at]!
    return (all & FOUR_CLASSES) !== 0
  }

  /** Forgets that pages had a class, but for those that its stacks name. Returns the first of these. */
  private sweep(sizeClass: number, start: number, reach: number): number {
    const { pagePast } = this.tables
    const named = this.named(sizeClass, start, reach)
    for (let page = start; page < start + reach; page++) {
      const past = pagePast[page]!
      if ((past & PagePast.ClassMask) === sizeClass && !named.includes(page)) pagePast[page] = past & PagePast.Dirty
    }
    return Math.min(...named)
  }

  /** The pages that stacks of a class name, among so many. */
  private named(sizeClass: number, start: number, reach: number): number[] {
    const { tables, areas } = this
    const base = this.stacks.base[sizeClass]!
    const from = start << Page.GranuleShift
    const granules = reach << Page.GranuleShift
    const pages: number[] = []
    for (let slot = 0; slot < tables.control[HeapWord.SlotsUsed]!; slot++) {
      areas[slot] ??= tables.slotArea(slot)
      const area = areas[slot]!
      const top = area[sizeClass]!
      for (let at = base + 1; at <= top; at++) {
        const granule = area[at]!
        if ((granule - from) >>> 0 < granules) pages.push(granule >>> Page.GranuleShift)
      }
    }
    return pages
  }
}
