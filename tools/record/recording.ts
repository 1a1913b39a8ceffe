import { MOST_RECORDED_BYTES } from '../trace/format.ts'
import { Operation } from '../trace/trace.ts'
import { TraceWriter } from '../trace/trace-writer.ts'

/** What became of the records of a program, in numbers. */
export interface RecordingCounts {
  /** Events of the trace: allocations, frees and reallocations. */
  events: number
  threads: number
  allocations: number
  frees: number
  reallocations: number
  /** Blocks that are live at the end. */
  live: number
  /** Frees of blocks that the recorder never saw: they are in no trace. */
  unseenFrees: number
  /** Blocks that were handed out again although no free of them was seen. The trace frees them there. */
  missedFrees: number
  /** Blocks that an exec put an end to. The trace frees them there. */
  endedByExec: number
  /** Sizes from 4 GiB on, written as one byte less than that. */
  clampedSizes: number
  /** Records that were begun and not written, since their thread ended there. */
  lostRecords: number
  /** True where recording stopped at the number of events that was asked for. */
  isFull: boolean
}

/**
 * A trace in the making. Blocks are told apart by a number, an address or any other that is a block's own while it is live;
 * each has a slot, which is used again once the block was freed.
 */
export class Recording {
  readonly writer = new TraceWriter()
  private readonly slots = new Map<number, number>()
  private readonly idleSlots: number[] = []
  private usedSlots = 0
  private readonly most: number
  private readonly tally = {
    allocations: 0,
    frees: 0,
    reallocations: 0,
    unseenFrees: 0,
    missedFrees: 0,
    endedByExec: 0,
    clampedSizes: 0,
    lostRecords: 0,
  }

  /** @param most events that the trace may have */
  constructor(most: number) {
    this.most = most
  }

  /** True once the trace has all events that it may have: what follows is not for it. */
  get isFull(): boolean {
    return this.writer.events >= this.most
  }

  /** A malloc or a calloc has returned a block. */
  allocate(
    operation: Operation.Malloc | Operation.Calloc,
    thread: number,
    block: number,
    size: number,
    alignmentLog2 = 0
  ): void {
    if (this.slots.has(block)) {
      this.free(thread, block)
      this.tally.missedFrees++
    }
    if (this.isFull) return
    const slot = this.idleSlots.pop() ?? this.usedSlots++
    this.slots.set(block, slot)
    this.writer.append(operation, thread, slot, this.clamp(size), alignmentLog2)
    this.tally.allocations++
  }

  /** A block is freed. */
  free(thread: number, block: number): void {
    if (this.isFull) return
    const slot = this.detach(block)
    if (slot === undefined) this.tally.unseenFrees++
    else this.freeSlot(thread, slot)
  }

  /** Takes a block's slot away from it, for as long as it is on its way to another address. Undefined: nobody has seen it. */
  detach(block: number): number | undefined {
    const slot = this.slots.get(block)
    if (slot !== undefined) this.slots.delete(block)
    return slot
  }

  /** The block that was detached stays where it was; or is freed, if another has got its address meanwhile. */
  keep(thread: number, block: number, slot: number): void {
    if (this.slots.has(block)) this.freeSlot(thread, slot)
    else this.slots.set(block, slot)
  }

  /** The block that was detached has become another. */
  reallocate(thread: number, slot: number, block: number, size: number): void {
    if (this.slots.has(block)) {
      this.free(thread, block)
      this.tally.missedFrees++
    }
    this.slots.set(block, slot)
    if (this.isFull) return
    this.writer.append(Operation.Realloc, thread, slot, this.clamp(size))
    this.tally.reallocations++
  }

  /** The block that was detached is freed. */
  freeSlot(thread: number, slot: number): void {
    if (this.isFull) return
    this.idleSlots.push(slot)
    this.writer.append(Operation.Free, thread, slot, 0)
    this.tally.frees++
  }

  /** Another program has taken this one's place: all its blocks are gone. */
  endAll(thread: number): void {
    for (const block of [...this.slots.keys()]) {
      if (this.isFull) return
      this.free(thread, block)
      this.tally.endedByExec++
    }
  }

  /** A record was lost. */
  lose(): void {
    this.tally.lostRecords++
  }

  counts(): RecordingCounts {
    const { events, threads } = this.writer
    return { events, threads, ...this.tally, live: this.slots.size, isFull: this.isFull }
  }

  private clamp(size: number): number {
    if (size >= MOST_RECORDED_BYTES) this.tally.clampedSizes++
    return size
  }
}
