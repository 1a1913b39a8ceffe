/**
 * The state of an object: one byte per granule of the heap, found by the address alone. The states are the free map, the check for double
 * frees and for addresses inside a block (no object starts there), and the source for a walk of the heap. A byte, since neighbours may
 * belong to different threads, and a byte's store is never torn. Signed, and so are the other tables of bytes: Node and its packages give
 * Uint8Arrays properties of their own here and there, after which V8 checks the shape of each before every access. It took 3 to 5 % of a
 * replay.
 */
export const enum ObjectState {
  /** No object starts here. */
  None = 0,
  /** Free in its span: the central cache's. */
  Free = 1,
  /** From here on, free in the cache of a thread slot; see {@link slotState}. */
  FirstSlot = 2,
  /** The most slots: the last one's state is 241 as an unsigned byte, which leaves 14 for objects outside of slots' caches. */
  SlotCount = 240,
  /** Freed, and kept back by debug mode: see tcmalloc/quarantine.ts. */
  Quarantined = -9,
  /** Its ArrayBuffer is gone, and a thread is about to free it; any thread that finds it may. */
  Collected = -8,
  /** Handed out in an ArrayBuffer of its own. Only V8 frees it, or `freeBuffer` by detaching it. */
  Isolated = -7,
  /** Given up by `pass`, without an owner until it is adopted. */
  Passed = -6,
  /** Handed out as a chunk of an arena: only the registry of arenas writes this state, or takes a block out of it. */
  Chunk = -5,
  /** Handed out to a pool, which alone may free it. */
  Pooled = -4,
  /** Free, in a batch between two caches. */
  Transfer = -3,
  /** Handed out and watched: the watching thread needs to know when it is freed. */
  Watched = -2,
  /** Handed out. */
  Live = -1,
}

/** The spare slot, behind the others. Its owner has no cache, so no object has its state. */
export const SPARE_SLOT: number = ObjectState.SlotCount

/** Whether a block in this state is handed out, in whichever way, and has an owner: a passed block has none. */
export function isHandedOut(state: number): boolean {
  return (
    state === ObjectState.Live ||
    state === ObjectState.Watched ||
    state === ObjectState.Pooled ||
    state === ObjectState.Chunk ||
    state === ObjectState.Isolated
  )
}

/** The state of an object in the cache of a thread slot: the signed byte whose bits are `FirstSlot + slot`. */
export function slotState(slot: number): number {
  return ((ObjectState.FirstSlot + slot) << 24) >> 24
}

/** The thread slot in whose cache an object of this state is. REQUIRES: `isCached(state)`. */
export function slotOfState(state: number): number {
  return (state & 0xff) - ObjectState.FirstSlot
}

/** Whether an object in this state is in a thread cache. */
export function isCached(state: number): boolean {
  const bits = state & 0xff
  return bits >= ObjectState.FirstSlot && bits < ObjectState.FirstSlot + ObjectState.SlotCount
}

/** Whether a block in this state isn't handed out, but was once or may be next. */
export function isFree(state: number): boolean {
  return (
    state === ObjectState.Free ||
    state === ObjectState.Transfer ||
    state === ObjectState.Collected ||
    state === ObjectState.Quarantined ||
    isCached(state)
  )
}

/** Writes `state` at the start of each of `count` objects, `stride` granules apart. */
export function fillStates(states: Int8Array, granule: number, stride: number, count: number, state: number): void {
  for (let i = 0; i < count; i++) {
    states[granule] = state
    granule = (granule + stride) | 0
  }
}
