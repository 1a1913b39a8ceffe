import { Page } from '../memory/page.ts'
import { ObjectState } from './object-state.ts'
import type { PageHeap } from './page-heap.ts'
import { AreaWord } from './slot-area.ts'
import { Location, Span, SpanEntry } from './span.ts'
import type { Tables } from './tables.ts'

/** The limits of what a slot keeps, 4 MiB at most. */
const enum Kept {
  /** Spans kept, and lengths of other spans remembered. */
  Most = 4,
  /** The longest span kept: 1 MiB. */
  MostPages = 128,
  /** The word behind the last entry. */
  End = 524,
}

/**
 * The span cache: a few large blocks that this slot's thread has freed, each a span of its own, for later requests of exactly as many
 * pages. If a program allocates and frees large buffers in pairs, the page heap would do ten times the work: take its lock, join the span
 * with its neighbours and cut it off again.
 *
 * It is a part of the thread cache, in the same area: only the slot's owner touches it, with plain loads and stores. To all other tiers a
 * kept span stays a large block, in `Location.Large` and in no list; only its state says that it is free, and in which slot.
 *
 * INVARIANT: an entry counts while its span's state is this slot's and the page has no size class. (The span may have been carved since,
 * with its first object on a stack of this slot.) Every large block with this slot's state has exactly one entry. The order of stores keeps
 * this true between any two: `push` writes the entry, then the state; `take` the state, then the entry. Any other entry is ignored, and its
 * place is free.
 *
 * INVARIANT: the spans total at most `SpanRoom` bytes, which the slot has claimed just as the limits of stacks.
 */
export class SpanCache {
  /** This slot's state: that of every span that is kept. */
  private readonly state: number
  private readonly area: Int32Array
  private readonly states: Int8Array
  private readonly pageClass: Int8Array
  private readonly spans: Int32Array
  private readonly pageHeap: PageHeap

  /** @param pageHeap takes spans back; the acting thread's, whether the slot is its own or a dead one */
  constructor(tables: Tables, pageHeap: PageHeap, area: Int32Array, state: number) {
    this.state = state
    this.area = area
    this.states = tables.states
    this.pageClass = tables.pageClass
    this.spans = tables.spans
    this.pageHeap = pageHeap
  }

  /** Takes a span of exactly `pages`, now live, and returns its first page; 0 if none is kept. Its pages are dirty. */
  take(pages: number): number {
    const { area } = this
    // From the last place on: that span was probably freed last, and is in the processor's cache.
    for (let at = Kept.End - 1; at >= AreaWord.Spans; at--) {
      const start = area[at]!
      if (start === 0 || this.lengthOf(start) !== pages || !this.keeps(start)) continue
      this.states[start << Page.GranuleShift] = ObjectState.Live
      area[at] = 0
      return start
    }
    return 0
  }

  /**
   * Takes a large block in state `from`, by default live. False, without effect, if it isn't one, is too long, or there is no place or
   * room. A block that isn't `Large` yet was never quite handed out: its thread was struck, and a repair will take it.
   */
  push(start: number, from: number = ObjectState.Live): boolean {
    const { area, states, spans } = this
    const granule = start << Page.GranuleShift
    if (states[granule] !== from) return false
    if (spans[(start << SpanEntry.Shift) + Span.Location] !== Location.Large) return false
    const pages = this.lengthOf(start)
    if (pages > Kept.MostPages) return false
    let room = (area[AreaWord.SpanRoom]! - pages * Page.Bytes) | 0
    let place = 0
    for (let at = AreaWord.Spans; at < Kept.End; at++) {
      const kept = area[at]!
      if (kept !== 0) {
        if (this.keeps(kept)) {
          room = (room - this.lengthOf(kept) * Page.Bytes) | 0
          continue
        }
        // An old entry that doesn't count must not count again next to the new one.
        area[at] = 0
      }
      place = at
    }
    if (place === 0 || room < 0) return false
    area[place] = start
    states[granule] = this.state
    return true
  }

  /**
   * After a refused `push`: whether spans of this length recur. They do if another was freed lately. The first of a length goes to the page
   * heap, which may have better use for its pages. Keeping spans that are freed once, as at the end of a phase, would only keep the spans
   * around them apart: the heap of the trace `node` grew by 5 %.
   */
  isWorthKeeping(start: number): boolean {
    const { area } = this
    const pages = this.lengthOf(start)
    if (pages > Kept.MostPages) return false
    for (let i = 0; i < Kept.Most; i++) if (area[AreaWord.Lengths + i] === pages) return true
    const next = area[AreaWord.NextLength]!
    area[AreaWord.NextLength] = (next + 1) % Kept.Most
    area[AreaWord.Lengths + next] = pages
    return false
  }

  /**
   * Makes a place for a span, and returns the room still missing for it, in bytes. If all places are taken, one span in turn goes back:
   * otherwise four that are never requested again would stay for ever. REQUIRES: no lock is held
   */
  makePlace(start: number): number {
    const { area } = this
    if (this.entries().length === Kept.Most) {
      const next = area[AreaWord.NextSpan]!
      area[AreaWord.NextSpan] = (next + 1) % Kept.Most
      this.giveBack(AreaWord.Spans + next)
    }
    return Math.max(0, this.bytes() + this.lengthOf(start) * Page.Bytes - area[AreaWord.SpanRoom]!)
  }

  /** Gives every span back to the page heap; the room stays. REQUIRES: no lock is held but Clearing */
  flush(): void {
    for (let at = AreaWord.Spans; at < Kept.End; at++) this.giveBack(at)
  }

  /** Gives back the kept span that starts at a page. False if there is none. REQUIRES: no lock is held */
  giveBackAt(start: number): boolean {
    const place = this.area.subarray(AreaWord.Spans, Kept.End).indexOf(start)
    if (place < 0 || !this.keeps(start)) return false
    this.giveBack(AreaWord.Spans + place)
    return true
  }

  /** Bytes of the kept spans. Other threads may call this too, while no span moves in the page heap. */
  bytes(): number {
    let pages = 0
    for (let at = AreaWord.Spans; at < Kept.End; at++) {
      const start = this.area[at]!
      if (start !== 0 && this.keeps(start)) pages += this.lengthOf(start)
    }
    return pages * Page.Bytes
  }

  /** The first pages of the kept spans. */
  entries(): number[] {
    return [...this.area.subarray(AreaWord.Spans, Kept.End)].filter((start) => start !== 0 && this.keeps(start))
  }

  /**
   * Gives up the state under the page heap's lock, and the entry last: if a strike comes in between, the entry still counts or the span is
   * the page heap's.
   */
  private giveBack(at: number): void {
    const { area } = this
    const start = area[at]!
    if (start === 0) return
    const pages = this.lengthOf(start)
    if (this.keeps(start) && this.pageHeap.freeLarge(start, this.state)) {
      area[AreaWord.HandedOut]! -= pages << Page.GranuleShift
    }
    area[at] = 0
  }

  private keeps(start: number): boolean {
    return this.states[start << Page.GranuleShift] === this.state && this.pageClass[start] === 0
  }

  private lengthOf(start: number): number {
    return this.spans[(start << SpanEntry.Shift) + Span.Length]!
  }
}
