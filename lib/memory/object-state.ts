/**
 * The state of an object: one byte per granule of the heap, found by the address alone. It is the free map, the check for
 * double frees, the check for addresses inside a block (no object starts there), and what a walk of the heap reads.
 * A byte, since neighbours may belong to different threads, and a byte's store is never torn.
 */

/** No object starts here. */
export const NONE = 0
/** Free in its span: the central cache's. */
export const FREE = 1
/** From here on, free in the cache of a thread slot: slot i has state `FIRST_SLOT + i`. */
export const FIRST_SLOT = 2
export const SLOT_COUNT = 249
/** Handed out. */
export const LIVE = 255

/** Whether a state is that of an object in a thread cache. */
export function isCached(state: number): boolean {
  return state >= FIRST_SLOT && state < FIRST_SLOT + SLOT_COUNT
}

/** Writes `state` at the start of each of `count` objects, `stride` granules apart. */
export function fillStates(states: Uint8Array, granule: number, stride: number, count: number, state: number): void {
  for (let i = 0; i < count; i++) {
    states[granule] = state
    granule = (granule + stride) | 0
  }
}
