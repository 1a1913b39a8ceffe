import { ObjectState, fillStates } from '../memory/object-state.ts'
import { Page } from '../memory/page.ts'
import { Location, Span } from '../memory/span.ts'
import type { Tables } from '../memory/tables.ts'
import { Control } from './control.ts'
import type { PageHeap } from './page-heap.ts'
import type { SizeClassTable } from './size-class.ts'

/** Spans with free objects are kept in this many lists by how full they are (google/tcmalloc's kNumLists). */
const OCCUPANCY_LISTS = 8
const OCCUPANCY_SHIFT = 3
const FULL = -1

// A class's words of the control section: heads of its lists, fullest first, then two counts.
const CLASS_SHIFT = 4
const SPAN_COUNT = OCCUPANCY_LISTS
const FREE_COUNT = OCCUPANCY_LISTS + 1

/**
 * The central cache: spans carved into objects of one class, shared by all threads. What is free in a span is told by the
 * states of its objects alone. Spans that are nearly full are used first, so that nearly empty ones can become empty and go
 * back to the page heap, which they do at once.
 *
 * INVARIANT: a span's FREE_OBJECTS is the number of its objects in state FREE; it is in the list of its occupancy, or in
 * none when that number is 0. Only the holder of the class writes any of it.
 */
export class CentralCache {
  private readonly classes: SizeClassTable
  private readonly control: Int32Array
  private readonly spans: Int32Array
  private readonly states: Uint8Array
  private readonly pageClass: Uint8Array
  private readonly pageDirty: Uint8Array
  private readonly pageHeap: PageHeap

  constructor(tables: Tables, classes: SizeClassTable, pageHeap: PageHeap) {
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

  /** Takes `count` objects back whose granules are in `area` from `at` on. */
  giveBack(sizeClass: number, area: Int32Array, at: number, count: number): void {
    const { states, spans } = this
    const end = at + count
    let i = at
    while (i < end) {
      // Neighbours on a stack are often of one span, whose list then changes once.
      const span = spans[((area[i]! >>> Page.GranuleShift) << Span.Shift) + Span.Start]!
      let freed = 0
      do {
        states[area[i]!] = ObjectState.Free
        freed++
        i++
      } while (i < end && spans[((area[i]! >>> Page.GranuleShift) << Span.Shift) + Span.Start] === span)
      this.addFree(span, sizeClass, freed)
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
        span = this.spans[(span << Span.Shift) + Span.Next]!
      }
      lists.push(listed)
    }
    return { spans: this.control[words + SPAN_COUNT]!, freeObjects: this.control[words + FREE_COUNT]!, lists }
  }

  /** The occupancy list that a span with so many free objects belongs to. */
  static occupancyOf(freeObjects: number, objects: number): number {
    if (freeObjects === 0) return FULL
    return Math.min(OCCUPANCY_LISTS - 1, ((freeObjects << OCCUPANCY_SHIFT) / objects) | 0)
  }

  /** The span with the fewest free objects, but at least one; 0 where all are full. */
  private fullest(sizeClass: number): number {
    const words = wordsOf(sizeClass)
    if (this.control[words + FREE_COUNT] === 0) return 0
    let list = words
    while (this.control[list] === 0) list++
    return this.control[list]!
  }

  /** Takes free objects of one span, in address order from where the last search ended; returns the new `next`. */
  private take(
    span: number,
    sizeClass: number,
    area: Int32Array,
    at: number,
    next: number,
    state: number
  ): number {
    const { spans, states } = this
    const entry = span << Span.Shift
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
    this.control[wordsOf(sizeClass) + FREE_COUNT]! -= count
    this.setFree(span, sizeClass, freeObjects - count)
    return end
  }

  private addFree(span: number, sizeClass: number, count: number): void {
    const freeObjects = this.spans[(span << Span.Shift) + Span.FreeObjects]! + count
    const words = wordsOf(sizeClass)
    if (freeObjects === this.classes.objects[sizeClass]) {
      this.unlink(span, words)
      this.control[words + FREE_COUNT]! -= freeObjects - count
      this.control[words + SPAN_COUNT]!--
      this.wipe(span, sizeClass)
    } else {
      this.control[words + FREE_COUNT]! += count
      this.setFree(span, sizeClass, freeObjects)
    }
  }

  /** Sets a span's number of free objects, and moves it to the list of its occupancy. */
  private setFree(span: number, sizeClass: number, freeObjects: number): void {
    const entry = span << Span.Shift
    this.spans[entry + Span.FreeObjects] = freeObjects
    const occupancy = CentralCache.occupancyOf(freeObjects, this.classes.objects[sizeClass]!)
    if (occupancy === this.spans[entry + Span.Occupancy]) return
    const words = wordsOf(sizeClass)
    this.unlink(span, words)
    if (occupancy !== FULL) this.link(span, words, occupancy)
  }

  private link(span: number, words: number, occupancy: number): void {
    const { control, spans } = this
    const entry = span << Span.Shift
    const head = control[words + occupancy]!
    spans[entry + Span.Occupancy] = occupancy
    spans[entry + Span.Next] = head
    spans[entry + Span.Previous] = 0
    if (head !== 0) spans[(head << Span.Shift) + Span.Previous] = span
    control[words + occupancy] = span
  }

  private unlink(span: number, words: number): void {
    const { control, spans } = this
    const entry = span << Span.Shift
    const occupancy = spans[entry + Span.Occupancy]!
    if (occupancy === FULL) return
    const next = spans[entry + Span.Next]!
    const previous = spans[entry + Span.Previous]!
    if (previous === 0) control[words + occupancy] = next
    else spans[(previous << Span.Shift) + Span.Next] = next
    if (next !== 0) spans[(next << Span.Shift) + Span.Previous] = previous
    spans[entry + Span.Occupancy] = FULL
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
      spans[(page << Span.Shift) + Span.Start] = span
    }
    fillStates(this.states, span << Page.GranuleShift, classes.stride[sizeClass]!, objects, ObjectState.Free)
    const entry = span << Span.Shift
    spans[entry + Span.FreeObjects] = objects
    spans[entry + Span.Hint] = 0
    spans[entry + Span.Occupancy] = FULL
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
    const entry = span << Span.Shift
    spans[entry + Span.Location] = Location.Transit
    fillStates(this.states, span << Page.GranuleShift, classes.stride[sizeClass]!, classes.objects[sizeClass]!, ObjectState.None)
    const end = span + spans[entry + Span.Length]!
    for (let page = span; page < end; page++) this.pageClass[page] = 0
    this.pageHeap.free(span)
  }
}

function wordsOf(sizeClass: number): number {
  return Control.CentralCache + (sizeClass << CLASS_SHIFT)
}
