import { Page } from '../memory/page.ts'

/**
 * Go's size classes, made by its rule (src/runtime/mksizeclasses.go) and checked in the tests against the published table,
 * column by column. Objects of up to 32 KiB are small: they come from spans that are cut into slots of one size.
 *
 * Two counts have the same names. Go up to 1.15 had 66 sizes, and said 67 since it counted class 0, which stands for large objects; so it
 * had 134 span classes. Since 1.16 there is a class of 24 bytes (issue golang/go#8885): 67 sizes and, without class 0, again 134 span
 * classes. Arrays by span class have 136 slots, since class 0 has its two as well.
 */

/** Small objects. */
export const enum GoSmall {
  /** The largest: 32 KiB. Above it an object has a span of its own. */
  MostBytes = 32768,
  /** Classes that have a size, 1 to 67. */
  Classes = 67,
  /** The longest span of small objects: 80 KiB, for objects of 27264 bytes. */
  MostPages = 10,
}

/** Span classes: twice the size class, plus 1 if objects hold no pointers. Such objects are marked, but never scanned. */
export const enum SpanClass {
  /** A large object that may hold pointers. */
  LargeScan = 0,
  /** A large object without pointers. */
  LargeNoscan = 1,
  /** Blocks that tiny objects share: 16 bytes, no pointers (Go's tinySpanClass). */
  Tiny = 5,
  /** How many span classes small objects have: two for each of the 67 sizes. */
  Small = 134,
  /** Slots of an array by span class: the two of large objects come first. */
  Slots = 136,
}

/** The span class of a size class; `noscan` is 1 if the objects hold no pointers, else 0. */
export function spanClassOf(sizeClass: number, noscan: number): number {
  return (sizeClass << 1) | noscan
}

/** The size class of a span class. */
export function sizeClassOf(spanClass: number): number {
  return spanClass >>> 1
}

/** 1 if the objects of a span class hold no pointers, else 0. */
export function noscanOf(spanClass: number): number {
  return spanClass & 1
}

/** Sizes are multiples of 8 bytes, and so are offsets in a span. */
const UNIT_BYTES = 8
/** The part of a span that may be lost at its end, and the distance between sizes. */
const LOSS = 1 / 8
/** Objects are made larger, in steps of this (a cache line or two), if as many of them still fit in their span. */
const ROUNDING_BYTES = 128
/** Go describes objects up to this size by bits in their span, larger ones by a word of their own (heapBitsInSpan). */
const MOST_BYTES_WITH_BITS = 512
/** The bytes that those bits take of a span of 8 KiB: one bit for each word. Green Tea's marks take as much again. */
const BITS_BYTES = 128

/** One size class, with the figures of Go's published table. */
export interface GoSizeClass {
  /** From 1. */
  readonly sizeClass: number
  /** Bytes of an object. */
  readonly size: number
  /** Bytes of a span. */
  readonly spanBytes: number
  readonly pages: number
  /** Objects in a span. */
  readonly objects: number
  /** Bytes of a span after its last object. */
  readonly tailWaste: number
  /** Percent of a span that is lost if each object is the smallest that the class serves, to two decimals as Go prints it. */
  readonly maxWaste: string
  /** The largest power of two, a page at most, that divides the size. */
  readonly minAlign: number
  /** `(offset * divMagic) >> 32`, in 64 bits, is the slot of an offset: Go's own way to divide. */
  readonly divMagic: number
  /** Objects in Go's span since 1.22 if they hold pointers: the bits that say which of their words do lie in the span. */
  readonly scanObjects: number
  /** Objects in Go's span with the Green Tea collector, whose marks lie in the span too: without pointers and with. */
  readonly noscanObjectsGreenTea: number
  readonly scanObjectsGreenTea: number
}

/** From `size` up to the next power of two, sizes are this far apart. */
function alignmentOf(size: number): number {
  if (size < 32) return 8
  if (size < 128) return 16
  return Math.min(256, 2 ** Math.floor(Math.log2(size)) * LOSS)
}

/** Pages of a span: the fewest that lose at most an eighth at the end. */
function spanPagesOf(size: number): number {
  let bytes = Page.Bytes
  while (bytes % size > bytes * LOSS) bytes += Page.Bytes
  return bytes / Page.Bytes
}

/** The table's row for a size. `below` is the size before it. */
function describe(sizeClass: number, size: number, pages: number, below: number): GoSizeClass {
  const spanBytes = pages * Page.Bytes
  const objects = Math.floor(spanBytes / size)
  const tailWaste = spanBytes - objects * size
  const withBits = size <= MOST_BYTES_WITH_BITS
  const objectsBefore = (bytes: number) => Math.floor((spanBytes - bytes) / size)
  // Objects of 8 bytes are too many for marks of 128 bytes.
  const marks = withBits && size > UNIT_BYTES ? BITS_BYTES : 0
  const bits = withBits ? BITS_BYTES : 0
  return {
    sizeClass,
    size,
    spanBytes,
    pages,
    objects,
    tailWaste,
    maxWaste: (((size - below - 1) * objects + tailWaste) * (100 / spanBytes)).toFixed(2),
    minAlign: Math.min(Page.Bytes, size & -size),
    divMagic: Math.floor((2 ** 32 - 1) / size) + 1,
    scanObjects: objectsBefore(bits),
    noscanObjectsGreenTea: objectsBefore(marks),
    scanObjectsGreenTea: objectsBefore(bits + marks),
  }
}

/** The 67 classes by the rule, smallest first. */
export function generateSizeClasses(): GoSizeClass[] {
  const rows: { size: number; pages: number }[] = []
  for (let size = UNIT_BYTES; size <= GoSmall.MostBytes; size += alignmentOf(size)) {
    const pages = spanPagesOf(size)
    const spanBytes = pages * Page.Bytes
    const previous = rows.at(-1)
    // Two sizes with as many objects in as many pages: the smaller one would save nothing.
    if (previous?.pages === pages && Math.floor(spanBytes / previous.size) === Math.floor(spanBytes / size)) rows.pop()
    rows.push({ size, pages })
  }
  // The same number of objects may have room to be larger; this applies to 18 classes.
  for (const row of rows) {
    const spanBytes = row.pages * Page.Bytes
    const share = Math.floor(spanBytes / Math.floor(spanBytes / row.size))
    row.size = Math.max(row.size, share - (share % ROUNDING_BYTES))
  }
  return rows.map(({ size, pages }, i) => describe(i + 1, size, pages, rows[i - 1]?.size ?? 0))
}

/**
 * The classes as columns, by number, as the tiers read them. Class 0 stands for a large object, and is all zeros.
 *
 * INVARIANT: for every class c and every offset8 from 0 to 1024 * pages[c], `Math.imul(offset8, magic[c]) >>> shift[c]` is
 * `Math.floor(offset8 / size8[c])`. Offsets are in units of 8 bytes: then no product reaches 2^31, and a slot is found
 * without a division and without a number that isn't a small integer.
 */
export class GoSizeClasses {
  readonly count = GoSmall.Classes + 1
  /** Bytes of an object. */
  readonly size: Int32Array
  /** Units of 8 bytes of an object. */
  readonly size8: Int32Array
  readonly pages: Int32Array
  /** Objects in a span, all of it: bits and marks are kept elsewhere. */
  readonly objects: Int32Array
  readonly magic: Int32Array
  readonly shift: Int32Array

  constructor() {
    const classes = generateSizeClasses()
    const column = (value: (sizeClass: GoSizeClass) => number) => Int32Array.from([0, ...classes.map(value)])
    // With 2^shift > size8 * offset8, rounding the magic up adds less than one unit to a product.
    const shiftOf = ({ size, spanBytes }: GoSizeClass) =>
      32 - Math.clz32((size / UNIT_BYTES) * (spanBytes / UNIT_BYTES))
    this.size = column(({ size }) => size)
    this.size8 = column(({ size }) => size / UNIT_BYTES)
    this.pages = column(({ pages }) => pages)
    this.objects = column(({ objects }) => objects)
    this.shift = column(shiftOf)
    this.magic = column((sizeClass) => Math.ceil(2 ** shiftOf(sizeClass) / (sizeClass.size / UNIT_BYTES)))
  }

  /** The slot that has a unit of a span of a class, `offset8` units after the span's start; 0 for class 0. */
  slotAt(sizeClass: number, offset8: number): number {
    return Math.imul(offset8, this.magic[sizeClass]!) >>> this.shift[sizeClass]!
  }

  /** The class that serves each size up to GoSmall.MostBytes, by the size in units of 8 bytes, rounded up. */
  classBySize8(): Int8Array {
    return this.lookup(UNIT_BYTES)
  }

  /** The same for addresses that are multiples of 16, by the size in units of 16: it skips 8 and 24 bytes. */
  classBySize16(): Int8Array {
    return this.lookup(2 * UNIT_BYTES)
  }

  /** For each multiple of `unit` the first class that holds it, among those whose sizes are multiples of `unit`. */
  private lookup(unit: number): Int8Array {
    const table = new Int8Array(GoSmall.MostBytes / unit + 1)
    let sizeClass = 1
    for (let units = 0; units < table.length; units++) {
      while (this.size[sizeClass]! < units * unit || this.size[sizeClass]! % unit !== 0) sizeClass++
      table[units] = sizeClass
    }
    return table
  }
}
