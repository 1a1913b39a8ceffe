import { Page } from '../memory/page.ts'
import { Control, HeapWord } from './control.ts'
import { fillStates, isCached, ObjectState, slotOfState } from './object-state.ts'
import type { PageHeap } from './page-heap.ts'
import { PagePast } from './page-past.ts'
import type { SizeClassTable } from './size-class.ts'
import { AreaWord } from './slot-area.ts'
import { Location, locationOf, Span, SpanEntry } from './span.ts'
import type { Tables } from './tables.ts'

/** Spans with free objects are kept in this many lists by how full they are (google/tcmalloc's kNumLists). */
const OCCUPANCY_LISTS = 8
const OCCUPANCY_SHIFT = 3
const UNLISTED = -1
/** Values from here down: the span is owned by a slot, see {@link ownedBy}. */
const OWNED = -2
/** The states of objects of more granules are in different cache lines (in pairs, since a processor fetches two). */
const OWNED_STRIDE = 128

// A class's words of the control section: heads of its lists, fullest first, then two counts.
const CLASS_SHIFT = 4
const SPAN_COUNT = OCCUPANCY_LISTS
const FREE_COUNT = OCCUPANCY_LISTS + 1

/**
 * The central cache: spans carved into objects of one class, shared by all threads. Only the states of its objects tell which of them are
 * free. Nearly full spans are used first, so that nearly empty ones become empty. An empty span goes back to the page heap at once.
 *
 * Small objects a slot takes from a span that it owns, until that has none left; other slots don't take from it. Two threads that took
 * turns in one span would write the same cache lines of states at every malloc and free (9 % of their speed-up over one thread).
 *
 * INVARIANT: a span's FreeObjects is the number of its objects in state Free. A span with none is in no list. Any other is either owned by
 * a slot (its Occupancy names the slot, whose OwnSpan names the span) or in the list that its Occupancy names, which may be out of date.
 * Only the holder of the class writes any of it; REQUIRES of every method but `bytes` and `describe`: the caller holds the class.
 */
export class CentralCache {
  private readonly tables: Tables
  private readonly classes: SizeClassTable
  private readonly control: Int32Array
  private readonly spans: Int32Array
  private readonly states: Int8Array
  private readonly pageClass: Int8Array
  private readonly pagePast: Int8Array
  readonly pageHeap: PageHeap
  private readonly transit: number

  /** @param slot this instance's thread slot; many instances share the same words */
  constructor(tables: Tables, classes: SizeClassTable, pageHeap: PageHeap, slot: number) {
    this.transit = locationOf(Location.Transit, slot)
    this.tables = tables
    this.classes = classes
    this.control = tables.control
    this.spans = tables.spans
    this.states = tables.states
    this.pageClass = tables.pageClass
    this.pagePast = tables.pagePast
    this.pageHeap = pageHeap
  }

  /**
   * Moves up to `want` free objects of a class to a thread slot: their granules to `area` from `at` on, the lowest address last, so that a
   * stack hands them out in order; their states to `state`. Returns how many: fewer than `want` rather than carve a new span, 0 only if
   * there is no memory.
   */
  fetch(sizeClass: number, want: number, area: Int32Array, at: number, state: number): number {
    const owner = ownedBy(slotOfState(state))
    let next = at + want
    let span = area[AreaWord.OwnSpan + sizeClass]!
    if (!this.isOwn(span, sizeClass, owner)) {
      span = this.takeFullest(sizeClass) || this.carve(sizeClass) || this.ownOfOthers(sizeClass)
    }
    while (span !== 0) {
      if (this.classes.stride[sizeClass]! <= OWNED_STRIDE) this.own(span, sizeClass, area, owner)
      next = this.take(span, sizeClass, area, at, next, state)
      if (next === at) break
      span = this.takeFullest(sizeClass)
    }
    const got = at + want - next
    if (got < want) area.copyWithin(at, next, at + want)
    return got
  }

  /**
   * Takes back the objects in state `state` whose granules are in the `count` words of `area` from `at` on. Any other isn't the caller's
   * any more: two threads freed one block at one instant.
   */
  giveBack(sizeClass: number, area: Int32Array, at: number, count: number, state: number): void {
    const { states, spans } = this
    const end = at + count
    let span = 0
    let freed = 0
    for (let i = at; i < end; i++) {
      const granule = area[i]!
      if (states[granule] !== state) continue
      states[granule] = ObjectState.Free
      const owner = spans[((granule >>> Page.GranuleShift) << SpanEntry.Shift) + Span.Start]!
      // Neighbours on a stack are often in one span, whose count is then changed once.
      if (owner !== span) {
        if (freed !== 0) this.addFree(span, sizeClass, freed)
        span = owner
        freed = 0
      }
      freed++
    }
    if (freed !== 0) this.addFree(span, sizeClass, freed)
  }

  /** Ends a slot's ownership of its span of a class, so that all slots can take from it. `state` is the slot's. */
  disown(sizeClass: number, area: Int32Array, state: number): void {
    const span = area[AreaWord.OwnSpan + sizeClass]!
    if (this.isOwn(span, sizeClass, ownedBy(slotOfState(state)))) this.list(span, sizeClass)
    area[AreaWord.OwnSpan + sizeClass] = 0
  }

  /**
   * Rebuilds a class from the states of its objects after a thread was struck. Objects on their way between two caches, or in a struck
   * thread's cache, become free in their spans. REQUIRES: the caller holds the page heap too.
   */
  rebuild(sizeClass: number, isStruck: (slot: number) => boolean): void {
    const { control, spans, states, classes } = this
    const words = wordsOf(sizeClass)
    const stride = classes.stride[sizeClass]!
    const objects = classes.objects[sizeClass]!
    control.fill(0, words, words + FREE_COUNT + 1)
    const end = this.pageHeap.endPage
    for (let page = Page.First; page < end; page += spans[(page << SpanEntry.Shift) + Span.Length]!) {
      const entry = page << SpanEntry.Shift
      if (spans[entry + Span.Location] !== Location.Central || this.pageClass[page] !== sizeClass) continue
      let free = 0
      let granule = page << Page.GranuleShift
      for (let i = 0; i < objects; i++) {
        const state = states[granule]!
        if (state === ObjectState.Transfer || (isCached(state) && isStruck(slotOfState(state)))) {
          states[granule] = ObjectState.Free
        }
        if (states[granule] === ObjectState.Free) free++
        granule += stride
      }
      spans[entry + Span.FreeObjects] = free
      spans[entry + Span.Hint] = 0
      spans[entry + Span.Occupancy] = UNLISTED
      control[words + SPAN_COUNT]!++
      control[words + FREE_COUNT]! += free
      if (free > 0) this.link(page, words, occupancyOf(free, objects))
    }
  }

  /** Gives all empty spans back to the page heap. Needed only after a repair: otherwise they go back at once. */
  giveEmptySpansBack(sizeClass: number): void {
    const { control, spans } = this
    const words = wordsOf(sizeClass)
    const objects = this.classes.objects[sizeClass]!
    for (let span = control[words + OCCUPANCY_LISTS - 1]!; span !== 0; ) {
      const entry = span << SpanEntry.Shift
      const next = spans[entry + Span.Next]!
      if (spans[entry + Span.FreeObjects] === objects) this.dissolve(span, sizeClass)
      span = next
    }
  }

  /** Bytes that are free here, plus the remainders at the ends of spans. */
  bytes(): number {
    let bytes = 0
    for (let sizeClass = 1; sizeClass < this.classes.count; sizeClass++) {
      const words = wordsOf(sizeClass)
      bytes += this.control[words + FREE_COUNT]! * this.classes.size[sizeClass]!
      bytes += this.control[words + SPAN_COUNT]! * this.classes.tailBytes(sizeClass)
    }
    return bytes
  }

  /** The class's words, for audits: the numbers of spans and free objects, and the spans of each list. */
  describe(sizeClass: number): { spans: number; freeObjects: number; lists: number[][] } {
    const words = wordsOf(sizeClass)
    const lists: number[][] = []
    for (let list = 0; list < OCCUPANCY_LISTS; list++) {
      const listed: number[] = []
      const limit = this.control[words + SPAN_COUNT]!
      for (let span = this.control[words + list]!; span !== 0 && listed.length <= limit; ) {
        listed.push(span)
        span = this.spans[(span << SpanEntry.Shift) + Span.Next]!
      }
      lists.push(listed)
    }
    return { spans: this.control[words + SPAN_COUNT]!, freeObjects: this.control[words + FREE_COUNT]!, lists }
  }

  /** Whether a slot still owns the span that its word names: a repair, or a thread in want of memory, may have ended that. */
  private isOwn(span: number, sizeClass: number, owner: number): boolean {
    // If the pages have another class now, or none, the slot doesn't own them for this class.
    return this.pageClass[span] === sizeClass && this.spans[(span << SpanEntry.Shift) + Span.Occupancy] === owner
  }

  private own(span: number, sizeClass: number, area: Int32Array, owner: number): void {
    this.unlink(span, wordsOf(sizeClass))
    area[AreaWord.OwnSpan + sizeClass] = span
    this.spans[(span << SpanEntry.Shift) + Span.Occupancy] = owner
  }

  private list(span: number, sizeClass: number): void {
    const free = this.spans[(span << SpanEntry.Shift) + Span.FreeObjects]!
    this.link(span, wordsOf(sizeClass), occupancyOf(free, this.classes.objects[sizeClass]!))
  }

  /** If there is no memory for another span: takes one from the slot that owns it, and lists it; 0 if there is none. */
  private ownOfOthers(sizeClass: number): number {
    const { control, tables } = this
    if (control[wordsOf(sizeClass) + FREE_COUNT] === 0) return 0
    for (let slot = 0; slot < control[HeapWord.SlotsUsed]!; slot++) {
      const span = tables.slotArea(slot)[AreaWord.OwnSpan + sizeClass]!
      if (!this.isOwn(span, sizeClass, ownedBy(slot))) continue
      this.list(span, sizeClass)
      return span
    }
    return 0
  }

  /**
   * The listed span with the fewest free objects, but at least one; 0 if all are full. Taking and freeing objects leaves a span in its
   * list; a span that turns up first in the wrong list is moved now, once for many such changes.
   */
  private takeFullest(sizeClass: number): number {
    const { control, spans } = this
    const words = wordsOf(sizeClass)
    if (control[words + FREE_COUNT] === 0) return 0
    const objects = this.classes.objects[sizeClass]!
    for (let list = 0; list < OCCUPANCY_LISTS; ) {
      const span = control[words + list]!
      if (span === 0) {
        list++
        continue
      }
      const occupancy = occupancyOf(spans[(span << SpanEntry.Shift) + Span.FreeObjects]!, objects)
      if (occupancy === list) return span
      this.unlink(span, words)
      this.link(span, words, occupancy)
      list = Math.min(list, occupancy)
    }
    return 0
  }

  /** Takes free objects of one span, in address order from the end of the last search; returns the new `next`. */
  private take(span: number, sizeClass: number, area: Int32Array, at: number, next: number, state: number): number {
    const { spans, states } = this
    const entry = span << SpanEntry.Shift
    const stride = this.classes.stride[sizeClass]!
    const objects = this.classes.objects[sizeClass]!
    const freeObjects = spans[entry + Span.FreeObjects]!
    const count = Math.min(next - at, freeObjects)
    const end = next - count
    let object = spans[entry + Span.Hint]!
    let granule = (span << Page.GranuleShift) + object * stride
    while (next > end) {
      if (states[granule] === ObjectState.Free) {
        states[granule] = state
        area[--next] = granule
      }
      granule += stride
      if (++object === objects) {
        object = 0
        granule = span << Page.GranuleShift
      }
    }
    spans[entry + Span.Hint] = object
    spans[entry + Span.FreeObjects] = freeObjects - count
    const words = wordsOf(sizeClass)
    this.control[words + FREE_COUNT]! -= count
    if (freeObjects === count) this.unlink(span, words)
    return end
  }

  /** Counts objects that were freed into a span. One whose objects are all free goes back to the page heap. */
  private addFree(span: number, sizeClass: number, count: number): void {
    const entry = span << SpanEntry.Shift
    const before = this.spans[entry + Span.FreeObjects]!
    const words = wordsOf(sizeClass)
    const objects = this.classes.objects[sizeClass]!
    this.spans[entry + Span.FreeObjects] = before + count
    this.control[words + FREE_COUNT]! += count
    if (before + count === objects && this.dissolve(span, sizeClass)) return
    if (before === 0) this.link(span, words, occupancyOf(count, objects))
  }

  /** Gives an empty span back. If the page heap's lock can't be had, the span stays for the next objects. */
  private dissolve(span: number, sizeClass: number): boolean {
    if (!this.pageHeap.hold()) return false
    const words = wordsOf(sizeClass)
    this.unlink(span, words)
    this.control[words + FREE_COUNT]! -= this.classes.objects[sizeClass]!
    this.control[words + SPAN_COUNT]!--
    this.wipe(span, sizeClass)
    this.pageHeap.letGo()
    return true
  }

  private link(span: number, words: number, occupancy: number): void {
    const { control, spans } = this
    const entry = span << SpanEntry.Shift
    const head = control[words + occupancy]!
    spans[entry + Span.Occupancy] = occupancy
    spans[entry + Span.Next] = head
    spans[entry + Span.Previous] = 0
    if (head !== 0) spans[(head << SpanEntry.Shift) + Span.Previous] = span
    control[words + occupancy] = span
  }

  private unlink(span: number, words: number): void {
    const { control, spans } = this
    const entry = span << SpanEntry.Shift
    const occupancy = spans[entry + Span.Occupancy]!
    spans[entry + Span.Occupancy] = UNLISTED
    if (occupancy < 0) return
    const next = spans[entry + Span.Next]!
    const previous = spans[entry + Span.Previous]!
    if (previous === 0) control[words + occupancy] = next
    else spans[(previous << SpanEntry.Shift) + Span.Next] = next
    if (next !== 0) spans[(next << SpanEntry.Shift) + Span.Previous] = previous
  }

  /** Gets a span from the page heap and carves it into objects; 0 if there is no memory. */
  private carve(sizeClass: number): number {
    const { spans, classes } = this
    const pages = classes.pages[sizeClass]!
    const objects = classes.objects[sizeClass]!
    const span = this.pageHeap.allocate(pages, 1, sizeClass)
    if (span === 0) return 0
    for (let page = span; page < span + pages; page++) {
      this.pageClass[page] = sizeClass
      this.pagePast[page] = PagePast.Dirty | sizeClass
      spans[(page << SpanEntry.Shift) + Span.Start] = span
    }
    fillStates(this.states, span << Page.GranuleShift, classes.stride[sizeClass]!, objects, ObjectState.Free)
    const entry = span << SpanEntry.Shift
    spans[entry + Span.FreeObjects] = objects
    spans[entry + Span.Hint] = 0
    spans[entry + Span.Occupancy] = UNLISTED
    spans[entry + Span.Location] = Location.Central
    const words = wordsOf(sizeClass)
    this.control[words + SPAN_COUNT]!++
    this.control[words + FREE_COUNT]! += objects
    this.link(span, words, OCCUPANCY_LISTS - 1)
    return span
  }

  /** Turns an empty span back into plain pages. */
  private wipe(span: number, sizeClass: number): void {
    const { spans, classes } = this
    const entry = span << SpanEntry.Shift
    spans[entry + Span.Location] = this.transit
    fillStates(
      this.states,
      span << Page.GranuleShift,
      classes.stride[sizeClass]!,
      classes.objects[sizeClass]!,
      ObjectState.None
    )
    const end = span + spans[entry + Span.Length]!
    for (let page = span; page < end; page++) this.pageClass[page] = 0
    this.pageHeap.takeBack(span)
  }
}

/** The Occupancy of a span that a slot owns. */
export function ownedBy(slot: number): number {
  return OWNED - slot
}

/** The slot that owns a span with this Occupancy; below 0 if none does. */
export function ownerOf(occupancy: number): number {
  return OWNED - occupancy
}

/** The occupancy list for a span with so many free objects: 0 for the fullest. */
function occupancyOf(freeObjects: number, objects: number): number {
  return Math.min(OCCUPANCY_LISTS - 1, ((freeObjects << OCCUPANCY_SHIFT) / objects) | 0)
}

function wordsOf(sizeClass: number): number {
  return Control.CentralCache + (sizeClass << CLASS_SHIFT)
}
