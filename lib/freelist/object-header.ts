/**
 * The object header: 16 bytes in front of every block, in the heap's own memory, as textbooks draw it. A block is named by
 * the granule of its header, and the program's bytes start at the next one; so they are aligned to 16.
 *
 * A program that writes beyond its block destroys the header of the next one. That is a lesson of this design: the other heaps keep their
 * metadata beside their memory. Here the first call that reads a destroyed header throws `ERR_HEAP_CORRUPT`, since size and next say the
 * same thing twice; but its contents are lost, and the block with them.
 */
export const enum Header {
  /** Granules of the block, without the header; at least 1. */
  Size = 0,
  /** Whether it is used, and the collector's bits; see {@link State}. */
  State = 1,
  /** The next header in the list; the heap's end in the last one. INVARIANT: `block + 1 + size`. */
  Next = 2,
  /** The header before, by which a freed block finds the neighbour to merge with; 0 in the first one. */
  Previous = 3,
}

/** The size of a header. */
export const enum HeaderSize {
  Granules = 1,
  Bytes = 16,
}

/** The state's bits: used, marked, and the rest is the type of a mutator's object. */
export const enum State {
  /** All bits of a free block. */
  Unused = 0,
  Used = 1,
  /** The collector has reached it. Meaningless outside a collection. */
  Marked = 2,
}

/** `state >>> Type.Shift` is the type's number; 0 in blocks from malloc, which no collector touches. */
export const enum Type {
  Shift = 2,
}

/** The state of a used block of a type, 0 for a block from malloc. */
export function usedState(type: number): number {
  return (type << Type.Shift) | State.Used
}
