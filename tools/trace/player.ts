import { Buffer } from 'node:buffer'
import { constants } from 'node:os'
import { type Address, type Allocator, AllocatorError } from 'spanheap'
import { Operation, type Trace } from './trace.ts'

/** Where a design couldn't go on: one mapping per block ends at the system's limit of mappings. */
export interface Stop {
  event: number
  errno: string
}

/** Plays a trace's events on something that allocates. */
export interface Player {
  /** Plays the events `[from, to)`; says where it had to stop, or null. */
  play(from: number, to: number): Stop | null
  /** Frees everything live. */
  freeAll(): void
}

/** How blocks are written to, where a replay is to touch them: one byte in every 64. */
export type Touch = (address: Address, size: number) => void

const STRIDE = 64

/** Events that are played by one call. */
const CHUNK_EVENTS = 2048

/** What a player reads of a trace. */
export type Columns = Pick<Trace, 'operation' | 'alignmentLog2' | 'slot' | 'size'>

/** What a player calls. */
export type Playable = Pick<Allocator, 'malloc' | 'free' | 'realloc' | 'calloc' | 'alignedAlloc'>

/** The address of each slot's block, 0 where there is none. */
export type Slots = Int32Array | Float64Array

/** Plays on a heap. Addresses are kept in 32 bits where all of the heap's fit. */
export function heapPlayer(trace: Trace, heap: Playable, touch: Touch | undefined, addresses32: boolean): Player {
  return slotPlayer(trace, heap, touch, addresses32 ? new Int32Array(trace.slots) : new Float64Array(trace.slots))
}

/**
 * Plays on a heap, with slots that other threads may play on too. The heap is a constant of the closures, as it is in a
 * program that keeps its heap in a `const`: V8 then knows its tables when it compiles them.
 */
export function slotPlayer(columns: Columns, heap: Playable, touch: Touch | undefined, slots: Slots): Player {
  const { operation, alignmentLog2, slot, size } = columns

  // Two loops that differ in the last line, and so more than 460 bytes of bytecode: V8 doesn't inline this into `play`, where it
  // would have no room left for the heap's functions. (It did in some processes: a perl event then took 13 to 14 ns, not 11.)
  const playChunk = (from: number, to: number): Stop | null => {
    // Integers for sure: else V8 keeps the counter as a tagged value, and checks and shifts it at every event.
    let event = from | 0
    const end = to | 0
    try {
      if (touch === undefined) {
        for (; event < end; event = (event + 1) | 0) {
          const kind = operation[event]!
          const at = slot[event]!
          if (kind === Operation.Free) {
            heap.free(slots[at]!)
            slots[at] = 0
            continue
          }
          const bytes = size[event]!
          // A store in each branch: where they met in one variable, V8 would keep it as a tagged value or a double.
          if (kind === Operation.Malloc) slots[at] = heap.malloc(bytes)
          else if (kind === Operation.Realloc) slots[at] = heap.realloc(slots[at]!, bytes)
          else if (kind === Operation.Calloc) slots[at] = heap.calloc(1, bytes)
          else slots[at] = heap.alignedAlloc(2 ** alignmentLog2[event]!, bytes)
        }
      } else {
        for (; event < end; event = (event + 1) | 0) {
          const kind = operation[event]!
          const at = slot[event]!
          if (kind === Operation.Free) {
            heap.free(slots[at]!)
            slots[at] = 0
            continue
          }
          const bytes = size[event]!
          if (kind === Operation.Malloc) slots[at] = heap.malloc(bytes)
          else if (kind === Operation.Realloc) slots[at] = heap.realloc(slots[at]!, bytes)
          else if (kind === Operation.Calloc) slots[at] = heap.calloc(1, bytes)
          else slots[at] = heap.alignedAlloc(2 ** alignmentLog2[event]!, bytes)
          touch(slots[at]!, bytes)
        }
      }
      return null
    } catch (error) {
      if (error instanceof AllocatorError && error.errno === constants.errno.ENOMEM) return { event, errno: 'ENOMEM' }
      throw error
    }
  }

  return {
    // Chunk by chunk, since V8 compiles a function that is entered often better than one that it must replace in its loop.
    play: (from, to) => {
      for (let at = from; at < to; at += CHUNK_EVENTS) {
        const stop = playChunk(at, Math.min(to, at + CHUNK_EVENTS))
        if (stop !== null) return stop
      }
      return null
    },
    freeAll: () => freeSlots(heap, slots),
  }
}

/** Frees every block that a slot has. */
export function freeSlots(heap: Pick<Allocator, 'free'>, slots: Slots): void {
  for (let at = 0; at < slots.length; at++) {
    if (slots[at] === 0) continue
    heap.free(slots[at]!)
    slots[at] = 0
  }
}

/** Writes through a view of all of a heap's memory below 2 GiB, and through a view of the block above. */
export function touchThrough(heap: Allocator, buffer: SharedArrayBuffer | ArrayBuffer): Touch {
  const low = new Uint8Array(buffer, 0, Math.min(buffer.byteLength, 2 ** 31 - 1))
  return (address, size) => {
    const end = address + size
    if (end <= low.length) {
      for (let at = address; at < end; at += STRIDE) low[at] = 1
    } else {
      const view = heap.view(address, size)
      for (let at = 0; at < size; at += STRIDE) view[at] = 1
    }
  }
}

/** Plays on Node's own buffers: `Buffer.allocUnsafeSlow`, and the garbage collector to take them back. */
export function bufferPlayer(trace: Trace, touch: boolean): Player {
  const { operation, slot, size } = trace
  const none = Buffer.allocUnsafeSlow(0)
  const slots: Buffer[] = Array.from({ length: trace.slots }, () => none)

  return {
    play: (from, to) => {
      for (let event = from; event < to; event++) {
        const kind = operation[event]!
        const at = slot[event]!
        const bytes = size[event]!
        if (kind === Operation.Free) {
          slots[at] = none
          continue
        }
        const buffer = kind === Operation.Calloc ? Buffer.alloc(bytes) : Buffer.allocUnsafeSlow(bytes)
        if (kind === Operation.Realloc) slots[at]!.copy(buffer)
        if (touch) for (let i = 0; i < bytes; i += STRIDE) buffer[i] = 1
        slots[at] = buffer
      }
      return null
    },
    freeAll: () => {
      slots.fill(none)
    },
  }
}
