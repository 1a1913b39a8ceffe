/**
 * Spans: runs of pages that belong together. A span *is* its entries in the span table: there are no span objects to
 * allocate. A page has one entry of eight words (32 bytes, half a cache line), and that of a span's first page holds what
 * is known of the span.
 */
export const SPAN_SHIFT = 3
export const SPAN_WORDS = 1 << SPAN_SHIFT
export const SPAN_BYTES = SPAN_WORDS * 4

// The words of an entry.

/**
 * The first page of the span that this page belongs to. INVARIANT: right in the first and the last page of every span, so
 * that neighbours can be found, and in all pages of a span of small objects, so that an object's span can be.
 */
export const START = 0
/** Pages. The following are right in the first page only. */
export const LENGTH = 1
/** Which tier holds the span; see below. The commit point of every move between tiers. */
export const LOCATION = 2
/** Neighbours in the list that the span is in. Lists are circular; 0 where it is in none. */
export const NEXT = 3
export const PREVIOUS = 4
/** Central spans: objects that are free in the span (state FREE). */
export const FREE_OBJECTS = 5
/** Central spans: the object number at which the next search for free objects starts. */
export const HINT = 6
/** Central spans: the occupancy list that it is in, from 0; -1 where it is full and in none. */
export const OCCUPANCY = 7

// Locations.

/** Nothing: before the first span, or behind the last. */
export const NOWHERE = 0
/** In the page heap, backed by memory. */
export const NORMAL = 1
/** In the page heap, its pages given back to the system. */
export const RELEASED = 2
/** On its way between two tiers, in no list. */
export const TRANSIT = 3
/** Carved into small objects of one size class: the central cache's. */
export const CENTRAL = 4
/** One large object. */
export const LARGE = 5
