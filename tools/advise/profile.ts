import { Operation, type Trace } from '../trace/trace.ts'
import { Histogram } from './histogram.ts'

/** Blocks of a range of sizes. */
export interface SizeRow {
  /** The largest size of the range, which begins above the row before. */
  mostBytes: number
  /** Allocations, and reallocations to such a size. */
  allocations: number
  bytes: number
  /** Blocks that were live at the peak. */
  peakBlocks: number
  peakBytes: number
  /** Of those that were freed: half had at most so many events between allocation and free. Null: none was freed. */
  medianLifetime: number | null
}

/** Blocks that lived for a number of events. */
export interface LifetimeRow {
  /** The longest life of the range. Null: they are live at the end. */
  mostEvents: number | null
  blocks: number
  /** Of their sizes at the allocation. */
  bytes: number
}

/** What a trace's program does with memory. */
export interface TraceProfile {
  allocations: number
  frees: number
  reallocations: number
  /** Of all allocations, and of reallocations to their new size. */
  requestedBytes: number
  liveAtEndBytes: number
  /** Allocations of less than 4 KiB that were freed within 10 000 events, as a share of all allocations. */
  smallAndShort: number
  /** The share of bytes that was asked for in blocks from 4 KiB on. */
  bytesInLarge: number
  sizes: SizeRow[]
  lifetimes: LifetimeRow[]
}

/** Half of Node's pool: `Buffer.allocUnsafe` cuts smaller Buffers from that, and the young generation takes them back. */
export const SMALL_BYTES = 4096
/** A life of that many events counts as short. */
const SHORT_EVENTS = 10_000

/** The profile, and the sizes it was made of. */
export interface Profiled {
  profile: TraceProfile
  /** Of all allocations and reallocations. */
  allocated: Histogram
  /** Of what was live at the peak. */
  atPeak: Histogram
}

/** Goes through a trace once. */
export function profileOf(trace: Trace): Profiled {
  const lives = new Lives(trace)
  for (let event = 0; event < trace.events; event++) {
    lives.play(event)
    if (event === trace.peakEvent) lives.markPeak()
  }
  return lives.finish()
}

/** The power of two, from 16 on, that a size is at most. */
function rangeOf(size: number): number {
  return Math.max(4, Math.ceil(Math.log2(Math.max(1, size))))
}

class Lives {
  private readonly trace: Trace
  /** For each slot: the size of its block now, -1 for none; the size that it was allocated with, and the event. */
  private readonly sizes: Float64Array
  private readonly firstSizes: Float64Array
  private readonly births: Int32Array
  private readonly allocated = new Histogram()
  private readonly atPeak = new Histogram()
  private readonly lives = new Map<number, number[]>() // of freed blocks, by the range of their size
  private readonly byLife = new Map<number, { blocks: number; bytes: number }>() // by the power of ten
  private readonly counts = { allocations: 0, frees: 0, reallocations: 0 }
  private smallAndShort = 0

  constructor(trace: Trace) {
    this.trace = trace
    this.sizes = new Float64Array(trace.slots).fill(-1)
    this.firstSizes = new Float64Array(trace.slots)
    this.births = new Int32Array(trace.slots)
  }

  play(event: number): void {
    const { trace } = this
    const slot = trace.slot[event]!
    const size = trace.size[event]!
    if (trace.operation[event] === Operation.Free) {
      this.counts.frees++
      this.ended(slot, event - this.births[slot]!)
      this.sizes[slot] = -1
      return
    }
    this.allocated.add(size)
    this.sizes[slot] = size
    if (trace.operation[event] === Operation.Realloc) {
      this.counts.reallocations++
    } else {
      this.counts.allocations++
      this.firstSizes[slot] = size
      this.births[slot] = event
    }
  }

  markPeak(): void {
    for (const size of this.sizes) if (size >= 0) this.atPeak.add(size)
  }

  finish(): Profiled {
    const live = new Histogram()
    for (const [slot, size] of this.sizes.entries()) if (size >= 0) live.add(this.firstSizes[slot]!)
    const { allocated, atPeak } = this
    const { trace } = this
    const large = allocated.between(SMALL_BYTES, Number.POSITIVE_INFINITY)
    const profile: TraceProfile = {
      ...this.counts,
      requestedBytes: allocated.bytes,
      liveAtEndBytes: this.sizes.reduce((sum, size) => sum + Math.max(0, size), 0),
      smallAndShort: trace.events === 0 ? 0 : this.smallAndShort / Math.max(1, this.counts.allocations),
      bytesInLarge: large.bytes / Math.max(1, allocated.bytes),
      sizes: this.sizeRows(),
      lifetimes: [...this.lifetimeRows(), { mostEvents: null, blocks: live.blocks, bytes: live.bytes }],
    }
    return { profile, allocated, atPeak }
  }

  private ended(slot: number, events: number): void {
    const size = this.firstSizes[slot]!
    const range = rangeOf(size)
    const lives = this.lives.get(range)
    if (lives === undefined) this.lives.set(range, [events])
    else lives.push(events)
    const power = Math.ceil(Math.log10(Math.max(1, events)))
    const row = this.byLife.get(power) ?? { blocks: 0, bytes: 0 }
    this.byLife.set(power, { blocks: row.blocks + 1, bytes: row.bytes + size })
    if (size < SMALL_BYTES && events < SHORT_EVENTS) this.smallAndShort++
  }

  private sizeRows(): SizeRow[] {
    const rows = new Map<number, SizeRow>()
    for (const [size, count] of this.allocated.entries()) {
      const range = rangeOf(size)
      const row = rows.get(range) ?? this.emptyRow(range)
      row.allocations += count
      row.bytes += size * count
      rows.set(range, row)
    }
    for (const [size, count] of this.atPeak.entries()) {
      const row = rows.get(rangeOf(size))!
      row.peakBlocks += count
      row.peakBytes += size * count
    }
    return [...rows.values()]
  }

  private emptyRow(range: number): SizeRow {
    const lives = Float64Array.from(this.lives.get(range) ?? []).sort()
    const medianLifetime = lives[(lives.length - 1) >>> 1] ?? null
    return { mostBytes: 2 ** range, allocations: 0, bytes: 0, peakBlocks: 0, peakBytes: 0, medianLifetime }
  }

  private lifetimeRows(): LifetimeRow[] {
    return [...this.byLife]
      .sort(([a], [b]) => a - b)
      .map(([power, { blocks, bytes }]) => ({ mostEvents: 10 ** power, blocks, bytes }))
  }
}
