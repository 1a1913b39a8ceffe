/**
 * The numbers of the usual path are `const enum`s: the compiler puts them into the code as literals. V8 would load and check an exported
 * `const` at every use, which took as long as the rest of a malloc.
 */

/** A page of the heap: 8 KiB, TCMalloc's and Go's unit for spans. The system's own pages may be smaller or larger. */
export const enum Page {
  Shift = 13,
  Bytes = 8192,
  /** `granule >>> Page.GranuleShift` is its page. */
  GranuleShift = 9,
  Granules = 512,
  /**
   * The first page that is ever used. The pages before it (64 KiB, the largest system page that exists) never grow, so address 0 is never
   * valid, and page 0 can mean "none" in every list.
   */
  First = 8,
}

/** A granule: the unit of addresses. Every block starts at a multiple of 16 bytes, as malloc promises on 64-bit systems. */
export const enum Granule {
  Shift = 4,
  Bytes = 16,
}

/** Addresses below 2 GiB are small integers. Addresses above are doubles, and take the slow twin of a function. */
export const enum Address32 {
  Most = 0x7fffffff,
  MostGranule = 0x7ffffff,
  /** The bits that may be set in the address of a block. */
  Right = 0x7ffffff0,
  /** The bits that are 0 in every address of a block. */
  Wrong = 0x8000000f,
}

/** Whether a value is a small integer to V8 and not negative. */
export function isNatural32(value: unknown): value is number {
  return typeof value === 'number' && (value | 0) === value && value >= 0
}

/** The most bytes of a heap. Its granules then number 2^31: they are small integers, and no typed array has more elements. */
export const MOST_HEAP_BYTES = 2 ** 35

/** The largest system page that the layout is made for. Sections of the tables start at multiples of it. */
export const MOST_SYSTEM_PAGE_BYTES = 65536

/** The smallest span, in pages: 1, or a system page if that is larger. */
export function leastSpanPages(systemPageSize: number): number {
  return Math.max(1, systemPageSize >>> Page.Shift)
}

/** The least multiple of `unit` that is `value` or more. */
export function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit
}

/** Pages in `bytes`, rounded up. */
export function pagesFor(bytes: number): number {
  return Math.ceil(bytes / 2 ** Page.Shift)
}
