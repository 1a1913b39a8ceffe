import type { SizeClassTable } from './size-class.ts'
import { StackLayout } from './stack-layout.ts'

/** A stack holds at most this many batches, and at most 4 MiB: a slot's stacks then take 347 KiB when all are full. */
const MOST_BATCHES = 64
const MOST_STACK_BYTES = 4 * 2 ** 20
/** The words of a slot's area. Its owner writes them; others read them, and write only what is said so. */
export const enum AreaWord {
  // Per class, of which there are 127 at most: from word 0 on the index of the top entry, and from these on:
  Limit = 128, // the index that the top may not pass
  LowWater = 256, // the length at the last scavenge; Missed if the stack was found empty since
  Overages = 384,
  // Once:
  ClaimedBytes = 512, // of all limits together
  BudgetBytes = 513, // what they may come to; written under the lock Budget, by others too
  Trips = 514, // that wanted a limit raised, since the last scavenge
  Busy = 515, // 1 while the owner is on a slow path: found 1 at the start of one, it was struck in the one before
  HandedOut = 516, // granules that came from other tiers less those that went back, stacks included
  // The span cache's:
  SpanRoom = 517, // bytes that its spans may come to; claimed as a limit is
  NextSpan = 518, // whose turn it is to go back where all places are taken, from 0
  NextLength = 519, // which of the lengths is overwritten next, from 0
  Spans = 520, // the pages where the kept spans start, 0 where there is none; four words
  Lengths = 524, // in pages, those of which a span was freed lately and not kept; four words
  /** Per class, the span from which the slot takes; see CentralCache. Written under the lock of the class. */
  OwnSpan = 528,
  /** The granule of an isolated block that the owner is about to free, or 0. The shim writes it as it takes the block from its list. */
  Taken = 656,
  /** The granule of an object that is on no stack, while it is given back. A full stack has no place behind its top: there the next one begins. */
  Surrendered = 657,
  Stacks = 658,
  /** A low-water mark below 0: there were too few. */
  Missed = -1,
}

/** Where the stacks are in a slot's area. */
export function threadCacheLayout(classes: SizeClassTable): StackLayout {
  return new StackLayout(classes, AreaWord.Stacks, MOST_BATCHES, MOST_STACK_BYTES)
}

/** Whether a slot's area holds a cache: one that was readied, and not closed since. */
export function isOpen(area: Int32Array): boolean {
  return area[AreaWord.Limit]! < 0
}
