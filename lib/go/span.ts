/**
 * Spans (Go's mspan): runs of 8 KiB pages, carved into objects of one size class, or one large object. A span is its first
 * page's entry of sixteen words (a cache line) in the span table: `spans[(page << SpanEntry.Shift) + Span.Pages]`.
 */
export const enum SpanEntry {
  Shift = 4,
  Words = 16,
  Bytes = 64,
}

/** The words of an entry. */
export const enum Span {
  Pages = 0,
  /** Size class times two, plus one if its objects hold no pointers. Classes of 0 are large objects. */
  SpanClass = 1,
  /** Slots for objects. */
  Objects = 2,
  /** Neighbours in its list, as pages; see SpanLists. */
  Next = 3,
  Previous = 4,
  /** Collected spans: the sweep generation in which the span was last swept; see MCentral. */
  SweepGen = 5,
  /** Collected spans: allocated objects when the span last changed hands; while no cache has it, all that are allocated. */
  Allocated = 6,
  /** 1 if slots may hold earlier contents. */
  NeedsZero = 8,
  /** Large objects: the marker's position, in units of 8 bytes. 0 unless the marker is in the object. */
  Scanned = 9,
  /** The next span with objects that didn't fit on the mark stack; -1 after the last, 0 if the span isn't among them. */
  NextGrey = 10,
}

/**
 * The words that a free, or the marker, reads first: two words a page, densely, so that those of 64 KiB of the heap share a cache line.
 */
export const enum PageEntry {
  Shift = 1,
}

/** The words of a page's entry. */
export const enum PageField {
  /** See PageWord. */
  Word = 0,
  /** In the first page of a manual span: after so many frees the span needs attention, since it is no longer full, or is empty. */
  FreesLeft = 1,
}

/**
 * A page's word about its span; 0 if the page belongs to none:
 *
 *     first page of the span << 9 | manual << 8 | span class
 */
export const enum PageWord {
  StartShift = 9,
  /** The program frees its objects; the collector leaves them alone (Go's mSpanManual). */
  Manual = 0x100,
  SpanClass = 0xff,
}

/** Bits for the objects of a span: up to 1024 in a page, so that a page has 32 words. */
export const enum Bits {
  PageShift = 5,
  PageWords = 32,
}

/** Units of 8 bytes, in which Go's classes and pointers are counted. */
export const enum Word8 {
  Shift = 3,
  Bytes = 8,
  /** `unit >>> Word8.PageShift` is its page. */
  PageShift = 10,
  PageUnits = 1024,
  /** The last unit whose address is below 2 GiB, and so a small integer. */
  MostUnit32 = 0xfffffff,
  /** `unit >>> Word8.WindowShift` is its window of 4 GiB (see word-windows.ts), and this its number there. */
  WindowShift = 29,
  WindowMask = 0x1fffffff,
}
