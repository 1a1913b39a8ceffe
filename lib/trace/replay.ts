import { constants } from 'node:os'
import type { Allocator, SyscallCounts } from '../allocator.ts'
import { AllocatorError } from '../errors.ts'
import { CALLOC, FREE, MALLOC, type Trace } from './trace.ts'

/** A block in a replay: its address, or the Buffer that stands for it; 0 where the slot is empty. */
export type Block = number | Buffer

/** What a trace is replayed on. */
export interface ReplayTarget<B extends Block> {
  malloc(size: number): B
  calloc(size: number): B
  alignedAlloc(alignment: number, size: number): B
  realloc(block: B, size: number): B
  free(block: B): void
  /** Writes one byte in every 64 of the block's first `size`. */
  touch(block: B, size: number): void
  /** What the target says of itself; null where it can't tell. */
  residentBytes(): number | null
  figures(): TargetFigures | null
}

/** What a heap can tell and Node's buffers can't. */
export interface TargetFigures {
  syscalls: SyscallCounts
  mappedBytes: number
  peakMappedBytes: number
}

export interface ReplayOptions {
  rounds: number
  touch: boolean
  /** Called after every round, with its number from 1. */
  onRound?: (round: number) => void
}

/** What a replay measured. Bytes and nanoseconds. */
export interface ReplayResult {
  /** The best round, per event. */
  nsPerEvent: number
  /** The first round, per event. */
  coldNsPerEvent: number
  /** Where the design couldn't go on. */
  stopped: { event: number; errno: string } | null
  endMappedBytes: number | null
  peakResidentBytes: number | null
}

/** How often the first round stops its clock to ask for the resident size: evenly, and at the peak of live bytes. */
const RESIDENT_SAMPLES = 16

/** Replays a trace round by round. Between rounds everything live is freed, outside the clock. */
export function replay<B extends Block>(trace: Trace, target: ReplayTarget<B>, options: ReplayOptions): ReplayResult {
  const slots: (B | 0)[] = []
  for (let slot = 0; slot < trace.slots; slot++) slots.push(0)
  const run = new Run(trace, target, slots, options.touch)
  const stops = sampleStops(trace)
  const times: number[] = []
  let peakResidentBytes: number | null = null
  let stopped: ReplayResult['stopped'] = null
  for (let round = 1; round <= options.rounds && stopped === null; round++) {
    // Sampling reads a file and spoils caches, so it is left to the first round, which is cold anyway.
    const sections = round === 1 ? stops : [trace.events]
    let elapsed = 0
    let from = 0
    for (const to of sections) {
      const start = process.hrtime.bigint()
      stopped = run.events(from, to)
      elapsed += Number(process.hrtime.bigint() - start)
      if (round === 1) peakResidentBytes = larger(peakResidentBytes, target.residentBytes())
      if (stopped !== null) break
      from = to
    }
    times.push(elapsed / (stopped === null ? trace.events : Math.max(1, stopped.event)))
    run.freeAll()
    options.onRound?.(round)
  }
  return {
    nsPerEvent: Math.min(...times),
    coldNsPerEvent: times[0]!,
    stopped,
    endMappedBytes: target.figures()?.mappedBytes ?? null,
    peakResidentBytes,
  }
}

class Run<B extends Block> {
  private readonly trace: Trace
  private readonly target: ReplayTarget<B>
  private readonly slots: (B | 0)[]
  private readonly touch: boolean

  constructor(trace: Trace, target: ReplayTarget<B>, slots: (B | 0)[], touch: boolean) {
    this.trace = trace
    this.target = target
    this.slots = slots
    this.touch = touch
  }

  /** Replays `[from, to)`; says where and why it had to stop. */
  events(from: number, to: number): ReplayResult['stopped'] {
    const { operation, alignmentLog2, slot, size } = this.trace
    const { target, slots, touch } = this
    let event = from
    try {
      for (; event < to; event++) {
        const kind = operation[event]!
        const at = slot[event]!
        if (kind === FREE) {
          target.free(slots[at] as B)
          slots[at] = 0
          continue
        }
        const bytes = size[event]!
        if (kind === MALLOC) {
          slots[at] = alignmentLog2[event] === 0 ? target.malloc(bytes) : target.alignedAlloc(1 << alignmentLog2[event]!, bytes)
        } else if (kind === CALLOC) {
          slots[at] = target.calloc(bytes)
        } else {
          slots[at] = target.realloc(slots[at] as B, bytes)
        }
        if (touch) target.touch(slots[at] as B, bytes)
      }
      return null
    } catch (error) {
      // One mapping per block ends at the system's limit of mappings: that is a figure, not a failure.
      if (error instanceof AllocatorError && error.errno === constants.errno.ENOMEM) return { event, errno: 'ENOMEM' }
      throw error
    }
  }

  freeAll(): void {
    const { slots, target } = this
    for (let slot = 0; slot < slots.length; slot++) {
      if (slots[slot] === 0) continue
      target.free(slots[slot] as B)
      slots[slot] = 0
    }
  }
}

/** A heap as what a trace is replayed on. */
export class HeapTarget<H extends Allocator & { residentBytes(): number | null }> implements ReplayTarget<number> {
  protected readonly heap: H
  private readonly low: Uint8Array

  /** @param buffer what the heap's addresses are offsets in, if there is such a thing */
  constructor(heap: H, buffer: SharedArrayBuffer | ArrayBuffer) {
    this.heap = heap
    this.low = new Uint8Array(buffer, 0, Math.min(buffer.byteLength, 2 ** 31 - 1))
  }

  malloc(size: number): number {
    return this.heap.malloc(size)
  }

  calloc(size: number): number {
    return this.heap.calloc(1, size)
  }

  alignedAlloc(alignment: number, size: number): number {
    return this.heap.alignedAlloc(alignment, size)
  }

  realloc(address: number, size: number): number {
    return this.heap.realloc(address, size)
  }

  free(address: number): void {
    this.heap.free(address)
  }

  touch(address: number, size: number): void {
    const { low } = this
    const end = address + size
    if (end <= low.length) {
      for (let at = address; at < end; at += 64) low[at] = 1
    } else if (size > 0) {
      const view = this.heap.view(address, size)
      for (let at = 0; at < size; at += 64) view[at] = 1
    }
  }

  residentBytes(): number | null {
    return this.heap.residentBytes()
  }

  figures(): TargetFigures {
    return this.heap.stats()
  }
}

/** Node's own buffers: `Buffer.allocUnsafeSlow`, and the garbage collector to take them back. */
export class BufferTarget implements ReplayTarget<Buffer> {
  malloc(size: number): Buffer {
    return Buffer.allocUnsafeSlow(size)
  }

  calloc(size: number): Buffer {
    return Buffer.alloc(size)
  }

  alignedAlloc(_alignment: number, size: number): Buffer {
    return Buffer.allocUnsafeSlow(size) // there is no way to ask for more
  }

  realloc(buffer: Buffer, size: number): Buffer {
    const moved = Buffer.allocUnsafeSlow(size)
    buffer.copy(moved, 0, 0, Math.min(size, buffer.length))
    return moved
  }

  free(): void {
    // The replay forgets the buffer; that is all that a program can do.
  }

  touch(buffer: Buffer, size: number): void {
    for (let at = 0; at < size; at += 64) buffer[at] = 1
  }

  residentBytes(): null {
    return null
  }

  figures(): null {
    return null
  }
}

function sampleStops(trace: Trace): number[] {
  const stops = new Set([trace.events, Math.min(trace.events, trace.peakEvent + 1)])
  for (let i = 1; i < RESIDENT_SAMPLES; i++) stops.add(Math.floor((trace.events * i) / RESIDENT_SAMPLES))
  return [...stops].sort((a, b) => a - b)
}

function larger(a: number | null, b: number | null): number | null {
  return a === null || b === null ? (a ?? b) : Math.max(a, b)
}
