import { Page } from '../memory/page.ts'
import type { MHeap } from './mheap.ts'
import type { ObjectBits } from './object-bits.ts'
import { type GoSizeClasses, SpanClass } from './size-class.ts'
import { Span, SpanEntry } from './span.ts'
import { SpanLists } from './span-list.ts'
import type { GoTables } from './tables.ts'
import type { Tally } from './tally.ts'

/** How many spans are swept in vain for one with a free slot before a new one is made: it costs 1 % of space (Go's spanBudget). */
const SWEPT_IN_VAIN = 100

const enum ListSet {
  Shift = 2,
}

/** Lists of a span class: partial and full ones, for either parity of the generation. */
const enum List {
  Full = 2,
}

/**
 * Go's mcentral, of all span classes: the collected spans that no cache has, with free slots (partial) or without (full), swept or not. A
 * span is swept if its SweepGen equals the heap's, and unswept if it is two behind. Lists are kept by the parity of the generation. When
 * the generation rises by two, all of the swept lists become the unswept ones at once; the others, which are empty then, take the swept
 * spans.
 */
export class MCentral {
  /** The heap's sweep generation. */
  generation = 0
  /** Pages of spans that wait to be swept. */
  unsweptPages = 0
  /** Pages of all spans in the lists; when the generation rises, all of these become unswept. */
  pages = 0
  private readonly spans: Int32Array
  private readonly classes: GoSizeClasses
  private readonly bits: ObjectBits
  private readonly mheap: MHeap
  private readonly tally: Tally
  private readonly lists: SpanLists
  /** The list that sweepOne looks at next. */
  private cursor = 0

  constructor(tables: GoTables, classes: GoSizeClasses, bits: ObjectBits, mheap: MHeap, tally: Tally) {
    this.spans = tables.spans
    this.classes = classes
    this.bits = bits
    this.mheap = mheap
    this.tally = tally
    this.lists = new SpanLists(tables.spans, SpanClass.Slots << ListSet.Shift)
  }

  /** A swept span of a class with free slots, for a cache; 0 if there is no memory. */
  cacheSpan(spanClass: number): number {
    const swept = (spanClass << ListSet.Shift) | this.parity
    const unswept = swept ^ 1
    const start = this.pop(swept)
    if (start !== 0) return start
    for (let vain = 0; vain < SWEPT_IN_VAIN && this.unsweptPages > 0; vain++) {
      const candidate = this.pop(unswept) || this.pop(unswept | List.Full)
      if (candidate === 0) break
      if (!this.sweep(candidate)) continue
      const allocated = this.spans[(candidate << SpanEntry.Shift) + Span.Allocated]!
      if (allocated < this.classes.objects[spanClass >>> 1]!) return candidate
      this.push(swept | List.Full, candidate)
    }
    return this.newSpan(this.classes.pages[spanClass >>> 1]!, spanClass)
  }

  /** Takes a swept span back from a cache, with so many objects allocated in it. */
  uncacheSpan(start: number, allocated: number): void {
    const entry = start << SpanEntry.Shift
    this.spans[entry + Span.Allocated] = allocated
    if (allocated === 0) this.mheap.free(start)
    else this.list(start)
  }

  /** An allocated span for one large object; 0 if there is no memory. */
  largeSpan(pages: number, spanClass: number): number {
    const start = this.newSpan(pages, spanClass)
    if (start !== 0) this.uncacheSpan(start, 1)
    return start
  }

  /** Makes all swept spans unswept. REQUIRES: all are swept, and none is in a cache. */
  nextGeneration(): void {
    this.generation = (this.generation + 2) | 0
    this.unsweptPages = this.pages
    this.cursor = 0
  }

  /** Sweeps a span; false if no span is unswept. */
  sweepOne(): boolean {
    if (this.unsweptPages === 0) return false
    for (; this.cursor < SpanClass.Slots << 1; this.cursor++) {
      const list = ((this.cursor >>> 1) << ListSet.Shift) | ((this.cursor & 1) << 1) | (this.parity ^ 1)
      const start = this.pop(list)
      if (start === 0) continue
      if (this.sweep(start)) this.list(start)
      return true
    }
    return false
  }

  /** For audits: the spans of a class that are in lists, and whether each list is one of full and of swept ones. */
  describe(spanClass: number): { start: number; full: boolean; swept: boolean }[] {
    const found: { start: number; full: boolean; swept: boolean }[] = []
    for (const full of [false, true]) {
      for (const swept of [true, false]) {
        const list = (spanClass << ListSet.Shift) | (full ? List.Full : 0) | (this.parity ^ (swept ? 0 : 1))
        for (const start of this.lists.members(list, this.mheap.mappedPages)) found.push({ start, full, swept })
      }
    }
    return found
  }

  /** The parity of the lists of swept spans. */
  private get parity(): number {
    return (this.generation >>> 1) & 1
  }

  /** Frees the unmarked objects. False if no object is left: then the span's pages are free. */
  private sweep(start: number): boolean {
    const { spans, tally } = this
    const entry = start << SpanEntry.Shift
    const sizeClass = spans[entry + Span.SpanClass]! >>> 1
    const before = spans[entry + Span.Allocated]!
    const allocated = this.bits.sweep(start)
    this.unsweptPages -= spans[entry + Span.Pages]!
    if (sizeClass !== 0) tally.add(sizeClass, 0, before - allocated)
    if (allocated === 0) {
      if (sizeClass === 0) tally.removeLarge(spans[entry + Span.Pages]! * Page.Bytes)
      this.mheap.free(start)
      return false
    }
    spans[entry + Span.Allocated] = allocated
    spans[entry + Span.SweepGen] = this.generation
    if (allocated < before) spans[entry + Span.NeedsZero] = 1
    return true
  }

  private newSpan(pages: number, spanClass: number): number {
    const start = this.mheap.allocate({ pages, spanClass, manual: false })
    if (start !== 0) this.spans[(start << SpanEntry.Shift) + Span.SweepGen] = this.generation
    return start
  }

  /** Puts a swept span into its list. */
  private list(start: number): void {
    const { spans } = this
    const entry = start << SpanEntry.Shift
    const isFull = spans[entry + Span.Allocated] === spans[entry + Span.Objects]
    const list = (spans[entry + Span.SpanClass]! << ListSet.Shift) | (isFull ? List.Full : 0) | this.parity
    this.push(list, start)
  }

  private push(list: number, start: number): void {
    this.pages += this.spans[(start << SpanEntry.Shift) + Span.Pages]!
    this.lists.push(list, start)
  }

  private pop(list: number): number {
    const start = this.lists.pop(list)
    if (start !== 0) this.pages -= this.spans[(start << SpanEntry.Shift) + Span.Pages]!
    return start
  }
}
