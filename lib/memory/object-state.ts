/**
 * The state of an object: one byte per granule of the heap, found by the address alone. It is the free map, the check for
 * double frees, the check for addresses inside a block (no object starts there), and what a walk of the heap reads.
 * A byte, since neighbours may belong to different threads, and a byte's store is never torn.
 */
export const enum ObjectState {
  /** No object starts here. */
  None = 0,
  /** Free in its span: the central cache's. */
  Free = 1,
  /** From here on, free in the cache of a thread slot: that of slot i is `FirstSlot + i`. */
  FirstSlot = 2,
  /** Slots that there can be: the last one's state is 250. */
  SlotCount = 249,
  /** Free, in a batch between two caches. */
  Transfer = 253,
  /** Handed out. */
  Live = 255,
}

/** Whether a state is that of an object in a thread cache. */
export function isCached(state: number): boolean {
  return state >= ObjectState.FirstSlot && state < ObjectState.FirstSlot + ObjectState.SlotCount
}

/** Writes `state` at the start of each of `count` objects, `stride` granules apart. */
export function fillStates(states: Uint8Array, granule: number, stride: number, count: number, state: number): void {
  for (let i = 0; i < count; i++) {
    states[granule] = state
    granule = (granule + stride) | 0
  }
}
