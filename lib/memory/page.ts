/** A page of the heap: 8 KiB, TCMalloc's and Go's unit for spans. The system's own pages may be smaller or larger. */
export const PAGE_SHIFT = 13
export const PAGE_BYTES = 1 << PAGE_SHIFT

/** A granule: the unit of addresses. Every block starts at a multiple of 16 bytes, as malloc promises on 64-bit systems. */
export const GRANULE_SHIFT = 4
export const GRANULE_BYTES = 1 << GRANULE_SHIFT

/** Granules of a page, as a shift: granule >>> this is its page. */
export const PAGE_GRANULE_SHIFT = PAGE_SHIFT - GRANULE_SHIFT
export const PAGE_GRANULES = 1 << PAGE_GRANULE_SHIFT

/**
 * The first page that is ever used. Those before it (64 KiB, the largest system page that there is) never grow: so
 * address 0 is not valid, and page 0 can mean "none" in every list.
 */
export const FIRST_PAGE = 8

/** A heap's most bytes: its granules then number 2^31, so that they are small integers and no typed array has more elements. */
export const MOST_HEAP_BYTES = 2 ** 35

/** The largest system page that the layout is made for. Sections of the tables start at multiples of it. */
export const MOST_SYSTEM_PAGE_BYTES = 65536
