import type { BlockKind } from '../threads/shared-block.ts'

export const KIND: BlockKind = { magic: 0x484e_4402, name: 'table' }

/** A table's words among those of its block, which change under the lock. Its generation is the one with which the slots' generations begin. */
export const enum Word {
  /** Handles that there may be. */
  Most = 34,
  /** Slots that were ever in use: none behind them is. */
  Used = 35,
  /** 1 more than the first of the slots that no thread keeps, which follow by `Slot.Link`; 0 for none. */
  Free = 36,
  /** The count of deaths up to which slots of the dead were taken back. */
  ClearedDeaths = 37,
  /** The granule of each chunk of slots, as far as there are any. */
  Chunks = 38,
  MostChunks = 17,
}

/** The words of a slot. */
export const enum Slot {
  /** Its generation, times four, and its state. */
  State = 0,
  /** Its block's granule. */
  Granule = 1,
  /** Of a free slot, 1 more than the next one; of one that a thread keeps, that thread's tag, or for a moment still 0; else 0. */
  Link = 2,
  /** Its block's size in bytes; where that isn't below 2 GiB, how many fewer it is than the usable ones, and -1 less that. */
  Size = 3,
}

/** The two low bits of a slot's first word. */
export const enum State {
  /** Anybody's. */
  Free = 0,
  /** It has a block, and a handle. */
  Live = 1,
  /** Free, and kept by a thread for what it allocates next. */
  Kept = 2,
  /** Its generations are used up. */
  Retired = 3,
}

/** What a slot's generation is: the bits of its first word above the state. */
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
  /** Words of a slot, as a shift. */
  SlotShift = 2,
  /** Slots of the first chunk, as a shift. The second has as many, and each from there on twice as many as the one before. */
  FirstChunkShift = 8,
}

/** The chunk in which a slot is. */
export function chunkOf(index: number): number {
  return 32 - Math.clz32(index >>> Handle.FirstChunkShift)
}

/** The first slot of a chunk. */
export function firstOf(chunk: number): number {
  return chunk === 0 ? 0 : (1 << (Handle.FirstChunkShift - 1)) << chunk
}

/** Slots of a chunk. */
export function slotsOf(chunk: number): number {
  return firstOf(chunk + 1) - firstOf(chunk)
}
