/**
 * Spans: runs of pages that belong together. A span *is* its entries in the span table: there are no span objects to
 * allocate. A page has one entry of eight words (32 bytes, half a cache line), and that of a span's first page holds what
 * is known of the span: `spans[(page << SpanEntry.Shift) + Span.Length]`.
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
  /** Pages. This and the following are right in the first page only. */
  Length = 1,
  /** Which tier holds the span. The commit point of every move between tiers. */
  Location = 2,
  /** Neighbours in the list that the span is in. */
  Next = 3,
  Previous = 4,
  /** Central spans: objects that are free in the span (ObjectState.Free). Long free ones: see tcmalloc/span-tree.ts, as for Occupancy. */
  FreeObjects = 5,
  /** Central spans: the object number at which the next search for free objects starts. Released ones: see PageHeap. */
  Hint = 6,
  /** Central spans: the occupancy list that it is in, from 0; below 0 where it is in none, see CentralCache. */
  Occupancy = 7,
}

/** Where a span is. */
export const enum Location {
  /** Nowhere: before the first span, or behind the last. */
  Nowhere = 0,
  /** In the page heap, backed by memory. */
  Normal = 1,
  /** In the page heap, its pages given back to the system. */
  Released = 2,
  /** On its way between two tiers, in no list. With the slot that moves it, see {@link locationOf}. */
  Transit = 3,
  /** Carved into small objects of one size class: the central cache's. */
  Central = 4,
  /** One large object. */
  Large = 5,
  /** In no list while the system takes its pages back, with the slot that asked it to. */
  Releasing = 6,
  /** The bits of a location that are none of a slot's. */
  Mask = 0xff,
}

/** The location of a span that a thread slot is at work on. If the thread dies, a repair knows whose it was. */
export function locationOf(location: Location, slot: number): number {
  return location | ((slot + 1) << 8)
}

/** The slot in a location; -1 where there is none. */
export function slotOf(location: number): number {
  return (location >>> 8) - 1
}
