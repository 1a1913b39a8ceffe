import { performance } from 'node:perf_hooks'
import { Page } from '../memory/page.ts'
import type { Marker } from './marker.ts'
import type { MCache } from './mcache.ts'
import type { MCentral } from './mcentral.ts'
import type { CycleRecord, MemStats } from './mem-stats.ts'
import type { MHeap } from './mheap.ts'
import type { ObjectBits } from './object-bits.ts'
import { assistRatio, nextConsMark, type Pace, pace, scanWorkLeft, sweepPagesPerByte } from './pacer.ts'
import type { Roots } from './roots.ts'
import { Word8 } from './span.ts'
import type { TinyBlocks } from './tiny.ts'

/** Work between two looks at the clock: some 5 µs of marking, or 100 if each pointer leads to memory that no cache has. */
const WORK_BETWEEN_LOOKS = 2048
/** Spans that are swept between two looks at the clock. */
const SPANS_BETWEEN_LOOKS = 16
/** An allocation that owes less work than this defers it, so that the work is worth starting (Go's gcOverAssistWork). */
const LEAST_ASSIST_WORK = 8192
/**
 * The most work in one allocation, unless the allocation itself is larger: half a millisecond, or a few if memory is slow. The next
 * allocation owes the rest.
 */
const MOST_ASSIST_WORK = 65536

/** The phase of a cycle. */
const enum Phase {
  /** No cycle runs; everything is swept. */
  Off = 0,
  Mark = 1,
  Sweep = 2,
}

/** The kind of work that an allocation does. */
const enum Assist {
  Start,
  Mark,
  Sweep,
}

/** How eagerly a heap is collected. */
export interface CollectorSettings {
  /** Go's GOGC: how much, in per cent of the live bytes, may be allocated before the next cycle ends; below 0 it is off. */
  gcPercent: number
  /** Go's GOMEMLIMIT, in bytes: heap and tables together should stay below it. */
  memoryLimit: number
  /** Called with the record of each cycle as it ends. */
  onCycle: ((record: CycleRecord) => void) | undefined
}

/** The tiers that the collector works on. */
export interface CollectedTiers {
  bits: ObjectBits
  mheap: MHeap
  central: MCentral
  cache: MCache
  marker: Marker
  roots: Roots
  tiny: TinyBlocks
  size: Int32Array
  memStats: MemStats
  /** Bytes of the tables. */
  tableBytes(): number
}

/**
 * Tri-colour mark and sweep, in slices: a cycle advances at allocations, and when the program asks for it. It keeps every object that is
 * reachable when the cycle begins, and every object that is allocated while it marks (snapshot at the beginning). To that end the write
 * barrier shades the targets that stores overwrite, and so do removed roots. No root has to be looked at twice, so the end of marking takes
 * no time.
 */
export class Collector {
  /** The distance from an object's allocated bit to its mark while a cycle marks; 0 when none does. */
  markOffset = 0
  /** Bytes that count as live: those that the last cycle marked, and all of each span that was cached since, as in Go. */
  heapLive = 0
  /** Bytes handed to the program since it last paid. */
  owed = 0
  /** The pace that the next cycle is measured against. */
  private target: Pace
  private readonly settings: CollectorSettings
  private readonly tiers: CollectedTiers
  private phase: Phase = Phase.Off
  /** Work that allocations owe: of marking, in units of 8 bytes, and of sweeping, in pages. */
  private markDebt = 0
  private sweepDebt = 0
  private pagesPerByte = 0
  /** Units that a cycle is expected to scan: as many as the last one did. */
  private expectedWork = 0
  /** How many bytes the program allocates while the collector could scan one; undefined until measured. */
  private consMark: number | undefined
  private sliceStart = 0
  private cycleStart = 0
  private liveAtStart = 0
  /** The basis of the last pace: `heapLive` at the end of the last cycle's marking. */
  private liveAtEnd = 0
  /** True while `onCycle` is called for a cycle's end: the callback may allocate, but not collect. */
  private isTelling = false
  private isStopped = false
  private forced = false
  private record: CycleRecord

  constructor(settings: CollectorSettings, tiers: CollectedTiers) {
    this.settings = settings
    this.tiers = tiers
    this.target = this.pace()
    this.record = tiers.memStats.newCycle()
    this.repace()
  }

  /** Whether a cycle marks, so that stores must inform the marker. */
  get isMarking(): boolean {
    return this.markOffset !== 0
  }

  /** The heap size, in bytes, at which the running or the next cycle should end. */
  get nextGC(): number {
    return this.target.goal
  }

  /** Returns the previous value. */
  setGCPercent(percent: number): number {
    const before = this.settings.gcPercent
    this.settings.gcPercent = percent
    this.repace()
    return before
  }

  setMemoryLimit(bytes: number): number {
    const before = this.settings.memoryLimit
    this.settings.memoryLimit = bytes
    this.repace()
    return before
  }

  /** Shades an object that a root or a pointer no longer leads to. REQUIRES: it is marking. */
  shade(unit: number): void {
    this.tiers.marker.shade(unit << 3, unit >>> 29)
  }

  /** The same by the two halves of an address. */
  shadeAddress(low: number, high: number): void {
    this.tiers.marker.shade(low, high)
  }

  /** The program got a span, or a large object, of so many bytes. It pays once it has initialized the object. */
  owe(bytes: number): void {
    this.owed += bytes
  }

  /** Does work in proportion to the debt. */
  pay(): void {
    const bytes = this.owed
    this.owed = 0
    this.heapLive += bytes
    if (this.phase === Phase.Off) {
      // Memory from malloc counts for the limit, and changes all the time.
      if (this.settings.memoryLimit !== Number.POSITIVE_INFINITY) this.target = this.pace()
      if (this.heapLive >= this.target.trigger && !this.isTelling) this.slice(Assist.Start, 0)
    } else if (this.phase === Phase.Mark) {
      this.markDebt += bytes * this.workPerByte()
      if (this.markDebt >= LEAST_ASSIST_WORK) this.slice(Assist.Mark, bytes)
    } else {
      this.sweepDebt += bytes * this.pagesPerByte
      if (this.sweepDebt > 0 || this.tiers.central.unsweptPages === 0) this.slice(Assist.Sweep, 0)
    }
    this.tiers.mheap.scavenge()
  }

  /** Works until a time, at least a little. Begins a cycle if none runs; true once it is complete. */
  step(budgetMicros: number): boolean {
    if (this.isTelling) return true
    this.sliceStart = performance.now()
    const end = this.sliceStart + budgetMicros / 1000
    if (this.phase === Phase.Off) this.start(true)
    do this.advance()
    while (this.phase !== Phase.Off && performance.now() < end)
    this.endSlice()
    return this.phase === Phase.Off
  }

  /** Ends a running cycle, and then runs a whole one. */
  collect(): void {
    if (this.isTelling) return
    if (this.phase !== Phase.Off) this.finish()
    if (this.isStopped) return // by the callback at the end of that cycle
    this.sliceStart = performance.now()
    this.start(true)
    this.finish()
  }

  /** Stops all work: the heap is closed. */
  stop(): void {
    this.isStopped = true
    this.phase = Phase.Off
    this.markOffset = 0
  }

  /** Ends the running cycle. */
  private finish(): void {
    this.sliceStart = performance.now()
    while (this.phase !== Phase.Off) this.advance()
    this.endSlice()
  }

  /** Frees `pages` by sweeping, before the system is asked for more. The sweep is bounded (Go's reclaim). */
  reclaim(pages: number): void {
    const { mheap, central } = this.tiers
    const before = mheap.usedPages
    const most = Math.max(1024, pages)
    for (let swept = 0; swept < most && this.phase === Phase.Sweep && before - mheap.usedPages < pages; swept++) {
      if (!central.sweepOne()) break
    }
  }

  /** Takes the cached spans back. */
  flush(): void {
    this.heapLive -= this.tiers.cache.flush()
  }

  private advance(): void {
    if (this.phase === Phase.Mark) this.mark(WORK_BETWEEN_LOOKS)
    else this.sweepSome(SPANS_BETWEEN_LOOKS)
  }

  private start(forced: boolean): void {
    const { roots, marker, bits, memStats } = this.tiers
    this.phase = Phase.Mark
    this.forced = forced
    this.record = memStats.newCycle()
    this.record.begin(this.heapLive, this.target.goal)
    this.liveAtStart = this.heapLive
    this.cycleStart = this.sliceStart
    this.markOffset = bits.marked - bits.allocated
    this.markDebt = 0
    marker.begin()
    roots.begin()
    if (roots.newest !== 0) this.shade(roots.newest)
  }

  /** The work that an allocation owes for each byte, so that marking ends before the heap reaches its goal. */
  private workPerByte(): number {
    const { marker, roots } = this.tiers
    const left = scanWorkLeft(this.expectedWork, this.heapLive / Word8.Bytes + roots.count, marker.work)
    return assistRatio(left, this.heapLive, this.target.goal)
  }

  /** Does some marking, and ends the phase when no work is left. */
  private mark(work: number): void {
    const { roots, marker } = this.tiers
    // Work is counted in whole units.
    const limit = marker.work + Math.ceil(work)
    while (marker.work < limit) {
      marker.drain(limit)
      if (!marker.isDone) continue
      if (roots.isDone) {
        this.terminate()
        return
      }
      const root = roots.next()
      marker.work++
      if (root !== 0) this.shade(root)
    }
  }

  /** Everything reachable is marked: the marks become the allocated bits, and every span waits to be swept. */
  private terminate(): void {
    const { tiny, bits, central, marker, size, memStats } = this.tiers
    this.flush()
    tiny.flush()
    const marked = marker.markedBytes(size)
    const allocated = Math.max(0, this.heapLive - this.liveAtStart)
    this.heapLive = marked + allocated
    this.expectedWork = marker.work
    if (!this.forced) this.measure(allocated)
    memStats.markedBytes = marked
    this.markOffset = 0
    bits.swap()
    central.nextGeneration()
    this.phase = Phase.Sweep
    this.record.marked(marked)
    this.liveAtEnd = this.heapLive
    this.sweepDebt = 0
    this.repace()
    this.sweepSome(0)
  }

  /** Measures the program's allocation rate against the marking rate, in a cycle that an allocation started. */
  private measure(allocated: number): void {
    const now = performance.now()
    const collector = this.record.totalMs + now - this.sliceStart
    const program = now - this.cycleStart - collector
    const scanned = this.tiers.marker.work * Word8.Bytes
    this.consMark = nextConsMark(this.consMark ?? 0, allocated, program, scanned, collector)
  }

  private sweepSome(spans: number): void {
    const { central, mheap } = this.tiers
    for (let swept = 0; swept < spans && central.unsweptPages > 0; swept++) {
      const before = central.unsweptPages
      central.sweepOne()
      this.sweepDebt -= before - central.unsweptPages
    }
    if (central.unsweptPages > 0) return
    this.phase = Phase.Off
    this.sweepDebt = 0
    mheap.scavenge()
  }

  /** The pace from current figures: at the end of marking, and when a setting changes. */
  private repace(): void {
    const { central, mheap, tableBytes } = this.tiers
    this.target = this.pace()
    mheap.softLimitPages = (this.settings.memoryLimit - tableBytes()) / Page.Bytes
    this.pagesPerByte = sweepPagesPerByte(central.unsweptPages, this.heapLive, this.target.trigger)
  }

  private pace(): Pace {
    const { gcPercent, memoryLimit } = this.settings
    const { roots, mheap, tableBytes } = this.tiers
    return pace({
      gcPercent,
      memoryLimit,
      liveBytes: this.liveAtEnd,
      rootBytes: roots.count * Word8.Bytes,
      // The program's memory from malloc counts for the limit, and no collection reduces it.
      nonHeapBytes: tableBytes() + Math.max(0, mheap.usedPages * Page.Bytes - this.heapLive),
      ...(this.consMark === undefined ? {} : { consMark: this.consMark, scanBytes: this.expectedWork * Word8.Bytes }),
    })
  }

  /** Does the work that an allocation of so many bytes owes. */
  private slice(assist: Assist, bytes: number): void {
    this.sliceStart = performance.now()
    if (assist === Assist.Start) this.start(false)
    else if (assist === Assist.Mark) {
      const work = Math.min(this.markDebt, Math.max(MOST_ASSIST_WORK, bytes / Word8.Bytes))
      this.mark(work)
      this.markDebt -= work
    } else {
      do this.sweepSome(1)
      while (this.sweepDebt > 0 && this.phase === Phase.Sweep)
    }
    this.endSlice()
  }

  private endSlice(): void {
    this.record.note(performance.now() - this.sliceStart)
    if (this.phase !== Phase.Off || this.isStopped) return
    this.tiers.memStats.endCycle(this.record, this.forced)
    this.isTelling = true
    try {
      this.settings.onCycle?.(this.record)
    } finally {
      this.isTelling = false
    }
  }
}
