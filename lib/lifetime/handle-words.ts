/** A table's words among those of its block. They change under the lock. Its generation is the first generation of its slots. */
export const enum Word {
  /** The most handles that there may be. */
  Most = 34,
  /** How many slots were ever in use: those from there on never were. */
  Used = 35,
  /** 1 more than the first of the slots that no thread keeps; the others follow by `Slot.Link`. 0 for none. */
  Free = 36,
  /** The count of deaths up to which slots of dead threads were taken back. */
  ClearedDeaths = 37,
  /** The granule of each chunk of slots. */
  Chunks = 38,
  MostChunks = 17,
}

/** The words of a slot. */
export const enum Slot {
  /** Its generation, times four, and its state. */
  State = 0,
  /** Its block's granule. */
  Granule = 1,
  /** In a free slot: 1 more than the next one. In a slot that a thread keeps: its tag, or 0 for a moment. Else 0. */
  Link = 2,
  /** Requested bytes if below 2 GiB; otherwise `size - usableSize - 1`, always negative, from which `view` recovers the size. */
  Size = 3,
}

/** The two low bits of a slot's first word. */
export const enum State {
  /** Free, and no thread keeps it. */
  Free = 0,
  /** It has a block, and a handle. */
  Live = 1,
  /** Free, and kept by a thread for its next allocations. */
  Kept = 2,
  /** Its generations are used up. */
  Retired = 3,
}

/** A slot's generation: the bits of its first word above the state. */
export const enum Generation {
  Shift = 2,
  /** The bits of the state. */
  StateMask = 3,
  Most = 0x1fffffff,
  /** The first one is below this. */
  FirstBelow = 0x1000000,
}

/** A handle is `generation * 2^24 + index of the slot`: 53 bits. */
export const enum Handle {
  IndexMask = 0xffffff,
  MostSlots = 0x1000000,
  /** The words of a slot, as a shift. */
  SlotShift = 2,
  /** The slots of the first chunk, as a shift. The second has as many, and each after it twice as many as the one before. */
  FirstChunkShift = 8,
}

/** The chunk that has a slot. */
export function chunkOf(index: number): number {
  return 32 - Math.clz32(index >>> Handle.FirstChunkShift)
}

/** The first slot of a chunk. */
export function firstOf(chunk: number): number {
  return chunk === 0 ? 0 : (1 << (Handle.FirstChunkShift - 1)) << chunk
}

/** How many slots a chunk has. */
export function slotsOf(chunk: number): number {
  return firstOf(chunk + 1) - firstOf(chunk)
}
