import { fillStates, isCached, ObjectState, slotOfState } from '../memory/object-state.ts'
import { Page } from '../memory/page.ts'
import { Location, locationOf, Span, SpanEntry } from '../memory/span.ts'
import type { Tables } from '../memory/tables.ts'
import { Control } from './control.ts'
import type { PageHeap } from './page-heap.ts'
import type { SizeClassTable } from './size-class.ts'

/** Spans with free objects are kept in this many lists by how full they are (google/tcmalloc's kNumLists). */
const OCCUPANCY_LISTS = 8
const OCCUPANCY_SHIFT = 3
const UNLISTED = -1

// A class's words of the control section: heads of its lists, fullest first, then two counts.
const CLASS_SHIFT = 4
const SPAN_COUNT = OCCUPANCY_LISTS
const FREE_COUNT = OCCUPANCY_LISTS + 1

/**
 * The central cache: spans carved into objects of one class, shared by all threads. What is free in a span is told by the
 * states of its objects alone. Spans that are nearly full are used first, so that nearly empty ones can become empty and go
 * back to the page heap, which they do at once.
 *
 * INVARIANT: a span's FreeObjects is the number of its objects in state Free; it is in the list that its Occupancy names,
 * that of its occupancy now or earlier, or in none when that number is 0. Only the holder of the class writes
 * any of it; REQUIRES of every method but `bytes` and `describe`: the caller holds the class.
 */
export class CentralCache {
  private readonly classes: SizeClassTable
  private readonly control: Int32Array
  private readonly spans: Int32Array
  private readonly states: Int8Array
  private readonly pageClass: Int8Array
  private readonly pageDirty: Int8Array
  private readonly pageHeap: PageHeap
  private readonly transit: number

  /** @param slot the thread slot whose central cache this is: one of many over the same words */
  constructor(tables: Tables, classes: SizeClassTable, pageHeap: PageHeap, slot: number) {
    this.transit = locationOf(Location.Transit, slot)
    this.classes = classes
    this.control = tables.control
    this.spans = tables.spans
    this.states = tables.states
    this.pageClass = tables.pageClass
    this.pageDirty = tables.pageDirty
    this.pageHeap = pageHeap
  }

  /**
   * Moves up to `want` free objects of a class to a thread slot: their granules to `area` from `at` on, the lowest address
   * last, so that a stack hands them out in order; their states to `state`. Returns how many: fewer than asked for rather
   * than carve a new span, 0 only where there is no memory.
   */
  fetch(sizeClass: number, want: number, area: Int32Array, at: number, state: number): number {
    let next = at + want
    let span = this.fullest(sizeClass)
    if (span === 0) span = this.carve(sizeClass)
    while (span !== 0) {
      next = this.take(span, sizeClass, area, at, next, state)
      if (next === at) break
      span = this.fullest(sizeClass)
    }
    const got = at + want - next
    if (got < want) area.copyWithin(at, next, at + want)
    return got
  }

  /**
   * Takes objects back whose granules are in the `count` words of `area` from `at` on, of those that have the state `state`.
   * Others aren't the caller's any more: two threads freed one block at one instant.
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
      // Neighbours on a stack are often of one span, whose count then changes once.
      if (owner !== span) {
        if (freed !== 0) this.addFree(span, sizeClass, freed)
        span = owner
        freed = 0
      }
      freed++
    }
    if (freed !== 0) this.addFree(span, sizeClass, freed)
  }

  /**
   * Makes all of a class whole again after a thread was struck: from the states of its objects. What was on its way
   * between two caches, or in a struck thread's, is free in its span then. REQUIRES: the caller holds the page heap too.
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

  /** Gives spans back to the page heap whose objects are all free. After a repair only: else they go back at once. */
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

  /** Bytes that are free here, and what spans lose at their ends. */
  bytes(): number {
    let bytes = 0
    for (let sizeClass = 1; sizeClass < this.classes.count; sizeClass++) {
      const words = wordsOf(sizeClass)
      bytes += this.control[words + FREE_COUNT]! * this.classes.size[sizeClass]!
      bytes += this.control[words + SPAN_COUNT]! * this.classes.tailBytes(sizeClass)
    }
    return bytes
  }

  /** What the class's words say, for audits: spans and free objects in all, and the spans of each list. */
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

  /**
   * The span with the fewest free objects, but at least one; 0 where all are full. A span stays in its list while objects
   * are taken from it and freed into it; the first that doesn't belong to its list any more moves now, once for many of them.
   */
  private fullest(sizeClass: number): number {
    const { control, spans } = this
    const words = wordsOf(sizeClass)
    if (control[words + FREE_COUNT] === 0) return 0
    const objects = this.classes.objects[sizeClass]!
    for (let list = 0; ; ) {
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
  }

  /** Takes free objects of one span, in address order from where the last search ended; returns the new `next`. */
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

  /** Gives a span back whose objects are all free. Where the page heap can't be had it stays, for the next objects. */
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
    if (occupancy === UNLISTED) return
    const next = spans[entry + Span.Next]!
    const previous = spans[entry + Span.Previous]!
    if (previous === 0) control[words + occupancy] = next
    else spans[(previous << SpanEntry.Shift) + Span.Next] = next
    if (next !== 0) spans[(next << SpanEntry.Shift) + Span.Previous] = previous
    spans[entry + Span.Occupancy] = UNLISTED
  }

  /** Gets a span from the page heap and makes objects of it; 0 where there is no memory. */
  private carve(sizeClass: number): number {
    const { spans, classes } = this
    const pages = classes.pages[sizeClass]!
    const objects = classes.objects[sizeClass]!
    const span = this.pageHeap.allocate(pages)
    if (span === 0) return 0
    for (let page = span; page < span + pages; page++) {
      this.pageClass[page] = sizeClass
      this.pageDirty[page] = 1
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

  /** Makes pages of a span whose objects are all free. */
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

/** The occupancy list for a span with so many free objects: 0 for the fullest. */
function occupancyOf(freeObjects: number, objects: number): number {
  return Math.min(OCCUPANCY_LISTS - 1, ((freeObjects << OCCUPANCY_SHIFT) / objects) | 0)
}

function wordsOf(sizeClass: number): number {
  return Control.CentralCache + (sizeClass << CLASS_SHIFT)
}
