/**
 * A pass slot: what the tables know of a block that one thread has given up by `pass`, and that another may `adopt`. It tells
 * that block from whatever stands at its address later: by a number that no other pass through the slot has.
 */
export const enum PassSlot {
  Shift = 3,
  Words = 8,
  Bytes = 32,
  /** Blocks of a heap that may be passed, and not adopted, at one time. */
  Most = 2 ** 20,
  /** A slot that so many passes went through isn't used again: its numbers have no more bits. */
  LastSequence = 2 ** 29 - 1,
}

/** The words of a pass slot. */
export const enum PassWord {
  /** See {@link PassState}. */
  State = 0,
  /** Passes through this slot so far. The next one's number is one more. */
  Sequence = 1,
  /** The block. This and what follows is right while the state says `Passed`. */
  Granule = 2,
  /** Bytes of the view that was passed: two words. */
  Length = 3,
  /** 1 where the block was watched for a leak, and so ends in room for a watcher's number. */
  WasWatched = 5,
}

/** The state of a pass slot: one of these in the bits that a tag leaves free, and a tag or a number in the tag's. */
export const enum PassState {
  Mask = 0x700,
  Free = 0,
  /** The thread with this tag has the slot for its next pass, or had it when it died. */
  Claimed = 0x100,
  /** A block is to be adopted by this number. */
  Passed = 0x200,
}
