import { Granule, Page } from '../memory/page.ts'

/**
 * TCMalloc's size classes, made by its rule (gperftools, src/common.cc) and checked in the tests against the published table of 85. Sizes
 * up to 256 KiB are small: they come from spans carved into objects of one class. One difference at the bottom: a request of up to 8 bytes
 * is served from the class of 16, since an object's state is kept per 16 bytes.
 */

/** Small objects. */
export const enum Small {
  /** The largest: 256 KiB. A larger block is a span of its own. */
  MostBytes = 262144,
}

/** A smaller object would have no state of its own. */
export const LEAST_OBJECT_BYTES: number = Granule.Bytes

/** A transfer between a thread cache and the central cache moves at most this many bytes, or two objects. */
const BATCH_BYTES = 64 * 1024
const LEAST_BATCH = 2
const MOST_BATCH = 32

/** One size class. */
export interface SizeClass {
  /** Bytes of an object. */
  readonly size: number
  /** Pages of a span. */
  readonly pages: number
  /** Objects in a span. */
  readonly objects: number
  /** Objects that move between caches at a time. */
  readonly batch: number
}

/** Objects that move between a thread cache and the central cache at a time. */
export function batchOf(size: number): number {
  return Math.max(LEAST_BATCH, Math.min(MOST_BATCH, Math.floor(BATCH_BYTES / size)))
}

/** The largest step between sizes: an eighth of the size at most. (Merging widens some: rounding up loses 20 % at worst.) */
function alignmentOf(size: number): number {
  if (size < 16) return 8
  if (size < 128) return 16
  return Math.min(Page.Bytes, 2 ** Math.floor(Math.log2(size)) / 8)
}

/** Pages of a span: the fewest that hold a quarter of a batch and lose at most 12.5 % at the end. */
function spanPagesOf(size: number, leastPages: number): number {
  const least = leastPages * Page.Bytes
  let bytes = 0
  do {
    bytes += least
    while (bytes % size > bytes / 8) bytes += least
  } while (Math.floor(bytes / size) < Math.floor(batchOf(size) / 4))
  return bytes / Page.Bytes
}

/** All classes by the rule, smallest first. `leastPages` is the smallest span, in pages: 1, or a system page if that is larger. */
export function generateSizeClasses(leastPages = 1): SizeClass[] {
  const classes: SizeClass[] = []
  for (let size = 8; size <= Small.MostBytes; size += alignmentOf(size)) {
    const pages = spanPagesOf(size, leastPages)
    const objects = Math.floor((pages * Page.Bytes) / size)
    const previous = classes.at(-1)
    // Two sizes with equally many objects in equally many pages: the smaller one would save nothing.
    if (previous?.pages === pages && previous.objects === objects) classes.pop()
    classes.push({ size, pages, objects, batch: batchOf(size) })
  }
  return classes
}

/**
 * The classes as columns, by number from 1, for the tiers. Class 0 stands for a large object. The classes depend on the system page, so
 * each heap has its own table.
 */
export class SizeClassTable {
  readonly count: number
  /** Bytes of an object. */
  readonly size: Int32Array
  /** Granules of an object. */
  readonly stride: Int32Array
  readonly pages: Int32Array
  readonly objects: Int32Array
  readonly batch: Int32Array

  constructor(leastPages = 1) {
    const classes = generateSizeClasses(leastPages).filter(({ size }) => size >= LEAST_OBJECT_BYTES)
    const column = (value: (sizeClass: SizeClass) => number) => Int32Array.from([0, ...classes.map(value)])
    this.count = classes.length + 1
    this.size = column(({ size }) => size)
    this.stride = column(({ size }) => size / Granule.Bytes)
    this.pages = column(({ pages }) => pages)
    this.objects = column(({ objects }) => objects)
    this.batch = column(({ batch }) => batch)
  }

  /** The class that serves each size up to Small.MostBytes, by the size in granules, rounded up. */
  classBySize(): Int8Array {
    const table = new Int8Array(Small.MostBytes / Granule.Bytes + 1)
    let sizeClass = 1
    for (let granules = 0; granules < table.length; granules++) {
      while (this.size[sizeClass]! < granules * Granule.Bytes) sizeClass++
      table[granules] = sizeClass
    }
    return table
  }

  /** Bytes of a span left over by carving it into objects of a class. */
  tailBytes(sizeClass: number): number {
    return this.pages[sizeClass]! * Page.Bytes - this.objects[sizeClass]! * this.size[sizeClass]!
  }
}
