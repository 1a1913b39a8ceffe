/**
 * A pass slot: the tables' record of a block that one thread has given up by `pass` and another may `adopt`. A number that no other pass
 * through the slot has tells the block from later ones at its address.
 */
export const enum PassSlot {
  Shift = 3,
  Words = 8,
  Bytes = 32,
  /** The most blocks of a heap that may be passed and not yet adopted at one time. */
  Most = 2 ** 20,
  /** A slot isn't used again after so many passes: its numbers have no more bits. */
  LastSequence = 2 ** 29 - 1,
}

/** The words of a pass slot. */
export const enum PassWord {
  /** See {@link PassState}. */
  State = 0,
  /** Passes through this slot so far. The next pass gets the next number. */
  Sequence = 1,
  /** The block. This and the following words are valid while the state is `Passed`. */
  Granule = 2,
  /** Bytes of the passed view: two words. */
  Length = 3,
  /** 1 if the block was watched for a leak, and so ends in room for a watcher's number. */
  WasWatched = 5,
}

/** The state of a pass slot: one of these in the bits outside a tag's, and a tag or a number in the tag's bits. */
export const enum PassState {
  Mask = 0x700,
  Free = 0,
  /** The thread with this tag has claimed the slot for its next pass, or had when it died. */
  Claimed = 0x100,
  /** A block waits to be adopted under this number. */
  Passed = 0x200,
}
