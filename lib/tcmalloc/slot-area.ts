import type { SizeClassTable } from './size-class.ts'
import { StackLayout } from './stack-layout.ts'

/** A stack holds at most this many batches, and at most 4 MiB: a slot's stacks take 347 KiB if all are full. */
const MOST_BATCHES = 64
const MOST_STACK_BYTES = 4 * 2 ** 20
/** The words of a slot's area. The owner writes them. Other threads read them, and write only those marked so. */
export const enum AreaWord {
  // Per class, at most 127: the index of the top entry from word 0 on, and from these words on:
  Limit = 128, // the top's highest allowed index
  LowWater = 256, // the length at the last scavenge; Missed if the stack was found empty since
  Overages = 384,
  // Once:
  ClaimedBytes = 512, // of all limits together
  BudgetBytes = 513, // their allowed total; written under the lock Budget, by others too
  Trips = 514, // trips that wanted a limit raised, since the last scavenge
  Busy = 515, // 1 while the owner is on a slow path; if it is 1 at the start of one, the owner was struck in the last
  HandedOut = 516, // granules from other tiers less those given back, stacks included
  // The span cache's:
  SpanRoom = 517, // the allowed total of its spans, in bytes; claimed as a limit is
  NextSpan = 518, // index, from 0, of the span to give back next if all places are taken
  NextLength = 519, // index, from 0, of the length to overwrite next
  Spans = 520, // the first pages of the kept spans, 0 if none; four words
  Lengths = 524, // lengths in pages of spans freed lately and not kept; four words
  /** Per class, the span from which the slot takes; see CentralCache. Written under the lock of the class. */
  OwnSpan = 528,
  /** The granule of an isolated block that the owner is about to free, or 0. The shim writes it as it takes the block from its list. */
  Taken = 656,
  /**
   * The granule of an object that is on no stack while it is given back. A full stack has no place for it: the next stack begins behind its
   * top.
   */
  Surrendered = 657,
  /** The granule of the block in the owner's hand, or 0; see hand.ts. */
  InHand = 658,
  Stacks = 659,
  /** A low-water mark below 0: the stack ran empty. */
  Missed = -1,
}

/** The layout of the stacks in a slot's area. */
export function threadCacheLayout(classes: SizeClassTable): StackLayout {
  return new StackLayout(classes, AreaWord.Stacks, MOST_BATCHES, MOST_STACK_BYTES)
}

/** Whether a slot's area holds an open cache: initialized and not closed since. */
export function isOpen(area: Int32Array): boolean {
  return area[AreaWord.Limit]! < 0
}
