/** Where each tier's words start in the control section, behind the tables' own two. The tiers' files say what they are. */
export const enum Control {
  PageHeap = 2,
  /** 16 words for each class. */
  CentralCache = 810,
  Budget = 2858,
  Peaks = 2866,
  /** A word for each class, then the stacks. */
  TransferLengths = 2880,
  Transfer = 3008,
}
