/**
 * The index of each tier's first word in the control section, behind the tables' own two, the heap's (HeapWord) and the page heap's
 * (PageWord). The words are described in the tiers' files.
 */
export const enum Control {
  /** 16 words for each class, a cache line. */
  CentralCache = 336,
  Budget = 2384,
  Peaks = 2392,
  /** A word for each class, then the locks, then the stacks. */
  TransferLengths = 2400,
  /** 32 words for each, of which there are up to 131. */
  Locks = 2528,
  Transfer = 6720,
}

/** Words for arenas, behind the transfer cache's, from a multiple of two cache lines on; described in lib/lifetime/arena-registry.ts. */
export const ARENA_WORDS = 131_072
export const ARENA_LINE = 32

/** Words behind those, the list of the blocks that threads share; described in lib/lifetime/shared-registry.ts. */
export const SHARED_WORDS = 65_536

/** The heap's own words, in the control section: for threads that attach, and for facts that concern all threads. */
export const enum HeapWord {
  /** MAGIC while the heap is open; 0 before and after. Written last when the heap is made, first when it is closed. */
  Magic = 8,
  /** A random number, which tells this heap from any other at this place. */
  Generation = 9,
  /** 1 once a repair has found damage that it can't mend. */
  Poisoned = 10,
  /** The count of deaths that have been cleared up. Written under the lock Clearing. */
  ClearedDeaths = 11,
  /** Granules that dead threads had handed out and not freed, less those of other threads that they freed. Under Clearing. */
  DeadGranules = 12,
  /** The option releaseRate, in thousandths. */
  ReleaseRate = 13,
  /** One more than the highest slot that was ever claimed. Under Clearing. */
  SlotsUsed = 14,
  /** 1 while isolated blocks wait to be freed. Written by the shim. */
  Collected = 15,
  /** 1 in debug mode: every free block is poison, and recently freed blocks wait in the quarantine. Written once. */
  Debug = 16,
  /** The number of pass slots that were ever in use; none behind them is. Atomic. */
  PassesUsed = 17,
  /** Pages of the budget shared by all heaps of the process without a limit of their own; 0 in a heap with one. Written once. */
  BudgetPages = 18,
  /** The shared blocks' (lib/lifetime/shared-registry.ts): how many places of their list were ever in use. Under Clearing. */
  SharedUsed = 19,
  /** How often a thread has closed the heap and may have left blocks open. Atomic. */
  SharedLeft = 20,
  /** The sum of deaths and `SharedLeft` up to which the blocks that nobody has open were ended. */
  SharedCleared = 21,
  /** 1 once a thread has freed more than it was handed: threads free each other's blocks, and no count tells what the dead have. */
  Uncounted = 22,
}

/** "SPAN", and a number that rises whenever the layout of the tables or the meaning of a word changes. */
export const MAGIC = 0x5350_4109

/** The page heap's words. Only a thread that holds the page heap writes them. */
export const enum PageWord {
  /** The first page that hasn't grown. */
  End = 32,
  NormalPages = 33,
  ReleasedPages = 34,
  /** Pages to be freed until the next release. */
  ReleaseWait = 35,
  /** The list from which to release next. */
  ReleaseCursor = 36,
  /** Pages in no list while the system takes them back. */
  ReleasingPages = 37,
  NormalLists = 40,
}

/** The locks, in the order in which a thread may take them: clearing, one class, page heap; or clearing, budget. */
export const enum Lock {
  /** Clearing up behind dead threads, attaching and closing. */
  Clearing = 0,
  PageHeap = 1,
  Budget = 2,
  /**
   * Class c's lock is `FirstClass + c`. It guards the class's words of the central and the transfer cache, and its objects' moves between
   * owners.
   */
  FirstClass = 3,
}
