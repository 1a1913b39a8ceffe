/**
 * Spans: runs of pages that belong together. A span *is* its entries in the span table: there are no span objects to allocate. A page has
 * one entry of eight words (32 bytes, half a cache line). The entry of a span's first page describes the span:
 * `spans[(page << SpanEntry.Shift) + Span.Length]`.
 */
export const enum SpanEntry {
  Shift = 3,
  Words = 8,
  Bytes = 32,
}

/** The words of an entry. */
export const enum Span {
  /**
   * The first page of the span that this page belongs to. INVARIANT: right in the first and the last page of every span,
   * so that neighbours can be found, and in all pages of a span of small objects, so that an object's span can be.
   */
  Start = 0,
  /** The number of pages. This and the following words are valid in the first page only. */
  Length = 1,
  /** The tier that holds the span. Writing it is the commit point of every move between tiers. */
  Location = 2,
  /** Neighbours in the span's list. */
  Next = 3,
  Previous = 4,
  /** Central spans: objects that are free in the span (ObjectState.Free). Long free spans: see tcmalloc/span-tree.ts, as for Occupancy. */
  FreeObjects = 5,
  /** Central spans: the object number at which the next search for free objects starts. Released spans: see PageHeap. */
  Hint = 6,
  /** Central spans: the span's occupancy list, from 0; below 0 if it is in none, see CentralCache. */
  Occupancy = 7,
}

/** A span's location. */
export const enum Location {
  /** Nowhere: before the first span, or behind the last. */
  Nowhere = 0,
  /** In the page heap, backed by memory. */
  Normal = 1,
  /** In the page heap, its pages given back to the system. */
  Released = 2,
  /** On its way between two tiers, in no list. Combined with the slot that moves it, see {@link locationOf}. */
  Transit = 3,
  /** Carved into small objects of one size class: the central cache's. */
  Central = 4,
  /** One large object. */
  Large = 5,
  /** In no list while the system takes its pages back. Combined with the slot that asked for that. */
  Releasing = 6,
  /** The bits of a location that aren't the slot's. */
  Mask = 0xff,
}

/** The location of a span that a thread slot is working on. If the thread dies, a repair can tell that the span was its own. */
export function locationOf(location: Location, slot: number): number {
  return location | ((slot + 1) << 8)
}

/** The slot in a location; -1 if there is none. */
export function slotOf(location: number): number {
  return (location >>> 8) - 1
}
