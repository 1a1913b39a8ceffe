import { Page } from '../memory/page.ts'
import { windowsOf } from '../memory/word-windows.ts'
import type { ObjectBits } from './object-bits.ts'
import type { PointerMap } from './pointer-map.ts'
import type { GoSizeClasses } from './size-class.ts'
import { Bits, PageEntry, PageWord, Span, SpanEntry, Word8 } from './span.ts'
import type { GoTables } from './tables.ts'

/** The capacity of the mark stack, in objects: 256 KiB, which a second-level cache holds. */
const STACK_OBJECTS = 65536
/** Units of a large object that are scanned at a time, before the objects that they refer to: 16 KiB. (Go cuts at 128 KiB.) */
const PIECE_UNITS = 2048
/** The most work of one call, so that it is counted in small integers. */
const MOST_WORK = 2 ** 30
/** Words of the pointer map in a window of 4 GiB, whose 32-bit words are then indexed by small integers. */
const WINDOW_SHIFT = 24

/**
 * Marks reachable objects. An object is white while it has no mark, grey while it is marked and waits to be scanned, and black after that.
 * Grey objects wait on a stack of fixed size. If the stack is full, an object is noted in a bit of its own and its span in a list; it then
 * waits until the stack is empty. So the memory for marking is bounded, and no object is scanned twice.
 *
 * A pointer may lead anywhere inside an object, and to any address, since a program can write to its memory. A pointer to anything but an
 * object of a collected span is skipped.
 */
export class Marker {
  /** Work done so far: units of 8 bytes in the scanned objects. */
  work = 0
  /** Objects marked since `begin`, by size class; those allocated meanwhile are not counted. */
  private readonly marked: Int32Array
  /** Pages of large ones. */
  private markedPages = 0
  private readonly bits: ObjectBits
  private readonly objectWords: Int32Array
  private readonly pages: Int32Array
  private readonly spans: Int32Array
  private readonly greyBits: Int32Array
  private readonly pointerBits: Int32Array
  private readonly classes: GoSizeClasses
  private readonly size8: Int32Array
  private readonly windows: readonly Int32Array[]
  private readonly stack = new Int32Array(STACK_OBJECTS)
  private top = 0
  /** The first span with grey bits; -1 if none has. */
  private greySpans = -1
  /** The start of the piece whose length `nextPiece` returned. */
  private pieceStart = 0

  /** @param buffer the heap's memory */
  constructor(
    tables: GoTables,
    classes: GoSizeClasses,
    bits: ObjectBits,
    pointers: PointerMap,
    buffer: SharedArrayBuffer | ArrayBuffer
  ) {
    this.bits = bits
    this.objectWords = bits.words
    this.pages = tables.pages
    this.spans = tables.spans
    this.greyBits = tables.greyBits
    this.pointerBits = pointers.bits
    this.classes = classes
    this.size8 = classes.size8
    this.windows = windowsOf(buffer)
    this.marked = new Int32Array(classes.count)
  }

  /** Starts to count anew. */
  begin(): void {
    this.work = 0
    this.marked.fill(0)
    this.markedPages = 0
  }

  /** Bytes of the objects marked since `begin`. */
  markedBytes(size: Int32Array): number {
    return this.marked.reduce(
      (sum, objects, sizeClass) => sum + objects * size[sizeClass]!,
      this.markedPages * Page.Bytes
    )
  }

  /** Whether no object is grey. */
  get isDone(): boolean {
    return this.top === 0 && this.greySpans < 0
  }

  /** Turns the object at an address grey, if it is white. Takes the two halves of the address. */
  shade(low: number, high: number): void {
    const grey = this.mark(low, high)
    if (grey === 0) return
    if (this.top < STACK_OBJECTS) this.stack[this.top++] = grey
    else this.defer(grey)
  }

  /**
   * Scans grey objects until none is left, or until `work` has reached `limit`. The object found last, if it needs scanning, is scanned at
   * once. Through the stack, marking a list took a third longer.
   */
  drain(limit: number): void {
    const { pages, size8, pointerBits, stack, windows } = this
    const work = Math.ceil(Math.min(limit - this.work, MOST_WORK))
    let left = work
    let top = this.top
    let next = 0
    let window = 0
    let words = windows[0]!
    while (left > 0) {
      let unit = next
      next = 0
      if (unit === 0) {
        if (top === 0) {
          if (this.greySpans < 0) break
          this.top = 0
          this.takeDeferred()
          top = this.top
        }
        unit = stack[--top]!
      }
      const sizeClass = (pages[(unit >>> Word8.PageShift) << PageEntry.Shift]! & PageWord.SpanClass) >>> 1
      let units = size8[sizeClass]!
      if (sizeClass === 0) {
        this.top = top
        units = this.nextPiece(unit)
        top = this.top
        unit = (unit + this.pieceStart) | 0
      }
      left = (left - units) | 0
      const end = (unit + units) | 0
      let word = unit >>> 5
      // An object of at most 32 units mostly has one word of the map; the bits of its neighbours are masked off.
      let map = pointerBits[word]! & (-1 << (unit & 31))
      for (;;) {
        if (word >>> WINDOW_SHIFT !== window) {
          window = word >>> WINDOW_SHIFT
          words = windows[window]!
        }
        const isLast = (end - 1) >>> 5 === word
        if (isLast && (end & 31) !== 0) map &= ~(-1 << (end & 31))
        while (map !== 0) {
          const at = (word << 5) | (31 - Math.clz32(map & -map))
          map &= map - 1
          const index = (at & Word8.WindowMask) << 1
          const low = words[index]!
          const high = words[index + 1]!
          if ((low | high) === 0) continue
          const grey = this.mark(low, high)
          if (grey === 0) continue
          if (next === 0) next = grey
          else if (top < STACK_OBJECTS) stack[top++] = grey
          else this.defer(grey)
        }
        if (isLast) break
        word = (word + 1) | 0
        map = pointerBits[word]!
      }
    }
    this.work += work - left
    this.top = top
    if (next === 0) return
    if (top < STACK_OBJECTS) stack[this.top++] = next
    else this.defer(next)
  }

  /** Marks the object at an address, if it is white. Returns its unit if it has to be scanned; else 0. */
  private mark(low: number, high: number): number {
    const page = (high << 19) | (low >>> 13)
    // Pages past the heap have no entry: undefined is treated like 0.
    if (page <= 0 || high >>> 0 > 7) return 0
    const info = this.pages[page << PageEntry.Shift]! | 0
    if (info === 0 || (info & PageWord.Manual) !== 0) return 0
    const start = info >>> PageWord.StartShift
    const sizeClass = (info & PageWord.SpanClass) >>> 1
    const offset = ((page - start) << Word8.PageShift) | ((low & 8191) >>> Word8.Shift)
    const slot = this.classes.slotAt(sizeClass, offset)
    const word = (this.bits.marked + (start << Bits.PageShift) + (slot >>> 5)) | 0
    const bit = 1 << (slot & 31)
    const marks = this.objectWords[word]!
    // The bits past the last slot are always marked.
    if ((marks & bit) !== 0) return 0
    this.objectWords[word] = marks | bit
    this.marked[sizeClass]!++
    if (sizeClass === 0) this.markedPages += this.spans[(start << SpanEntry.Shift) + Span.Pages]!
    // Without pointers it becomes black at once.
    return (info & 1) !== 0 ? 0 : ((start << Word8.PageShift) + Math.imul(slot, this.size8[sizeClass]!)) | 0
  }

  /** The next piece of a large object. The rest stays on the stack, below the objects that this piece refers to. */
  private nextPiece(unit: number): number {
    const entry = (unit >>> Word8.PageShift) << SpanEntry.Shift
    // As numbers: an object may have 2^31 units, and more.
    const all = this.spans[entry + Span.Pages]! * Word8.PageUnits
    this.pieceStart = this.spans[entry + Span.Scanned]! >>> 0
    const units = Math.min(PIECE_UNITS, all - this.pieceStart)
    const isLast = this.pieceStart + units === all
    this.spans[entry + Span.Scanned] = isLast ? 0 : this.pieceStart + units
    if (isLast) return units
    // An object found last doesn't come from the stack: there may be no room for it.
    if (this.top < STACK_OBJECTS) this.stack[this.top++] = unit
    else this.defer(unit)
    return units
  }

  /** Notes a grey object that doesn't fit on the stack. */
  private defer(unit: number): void {
    const info = this.pages[(unit >>> Word8.PageShift) << PageEntry.Shift]!
    const start = info >>> PageWord.StartShift
    const sizeClass = (info & PageWord.SpanClass) >>> 1
    const slot = this.classes.slotAt(sizeClass, (unit - (start << Word8.PageShift)) | 0)
    this.greyBits[(start << Bits.PageShift) + (slot >>> 5)]! |= 1 << (slot & 31)
    const link = (start << SpanEntry.Shift) + Span.NextGrey
    if (this.spans[link] !== 0) return
    this.spans[link] = this.greySpans
    this.greySpans = start
  }

  /** Puts the grey objects of one span on the stack, which is empty and has room for all of them. */
  private takeDeferred(): void {
    const { spans, greyBits, stack } = this
    const start = this.greySpans
    const entry = start << SpanEntry.Shift
    this.greySpans = spans[entry + Span.NextGrey]!
    spans[entry + Span.NextGrey] = 0
    const size8 = this.size8[spans[entry + Span.SpanClass]! >>> 1]!
    const first = start << Bits.PageShift
    const count = (spans[entry + Span.Objects]! + 31) >>> 5
    for (let word = 0; word < count; word++) {
      let grey = greyBits[first + word]!
      greyBits[first + word] = 0
      while (grey !== 0) {
        const slot = (word << 5) | (31 - Math.clz32(grey & -grey))
        grey &= grey - 1
        stack[this.top++] = (start << Word8.PageShift) + Math.imul(slot, size8)
      }
    }
  }
}
