import { Heap, type HeapOptions, type LedgerOptions, type SyscallCounts } from 'spanheap'
import { DirectHeap } from 'spanheap/direct'
import { FreeListHeap } from 'spanheap/freelist'
import { GoHeap } from 'spanheap/go'
import type { AllocatorName } from './allocators.ts'
import { bufferPlayer, heapPlayer, type Player, type Stop, touchThrough } from './player.ts'
import type { Trace } from './trace.ts'

export interface ReplayOptions {
  allocator: AllocatorName
  rounds: number
  /** Write one byte in every 64 of each block, as a program would. */
  touch: boolean
  /** Write a line of JSON for every system call to this file. */
  ledger?: string | undefined
  /** Called after every round, with its number from 1. */
  onRound?: (round: number) => void
}

/** What a replay measured: bytes, and nanoseconds per event. Null is what an allocator can't tell. */
export interface ReplayReport {
  schemaVersion: 2
  node: string
  trace: string
  allocator: AllocatorName
  events: number
  rounds: number
  /** The best round. */
  nsPerEvent: number
  /** The first round. */
  coldNsPerEvent: number
  touched: boolean
  /** Where the design couldn't go on. */
  stopped: Stop | null
  /** In all rounds, from construction to close. */
  syscalls: SyscallCounts | null
  /** Of the sizes asked for, from the trace. */
  peakLiveBytes: number
  peakMappedBytes: number | null
  /** After the last round's frees. */
  endMappedBytes: number | null
  /** Resident pages of the heap and its tables, at the highest of the first round's samples. */
  peakResidentBytes: number | null
  /** Worker threads that played, each the events of one of the trace's threads; 1 where one thread played all. */
  threads: number
}

/** How often the first round stops its clock to ask for the resident size: evenly, and at the peak of live bytes. */
const RESIDENT_SAMPLES = 16
/** With a trace that stays well below, the heap is limited to 2 GiB, and the replay keeps addresses in 32 bits. */
const SMALL_HEAP_BYTES = 2 ** 31 - 2 ** 20
const SMALL_TRACE_BYTES = 2 ** 29

/** What a replay measured beside its times. */
type Figures = Pick<
  ReplayReport,
  'stopped' | 'syscalls' | 'peakMappedBytes' | 'endMappedBytes' | 'peakResidentBytes' | 'threads'
>

/** What is played on, and how it is asked for its figures. */
export interface Stage {
  player: Player
  residentBytes(): number | null
  /** The heap and its tables, where they are writable. */
  mappedBytes(): number | null
  /** System calls for memory up to now, the heap's construction among them. */
  systemCalls(): number | null
  /** Closes the heap; the figures up to then. */
  finish(): Pick<ReplayReport, 'syscalls' | 'peakMappedBytes' | 'endMappedBytes'>
}

/** Replays a trace round by round. Between rounds everything live is freed, outside the clock. */
export function replay(trace: Trace, options: ReplayOptions): ReplayReport {
  const stage = openStage(trace, options)
  const times: number[] = []
  let peakResidentBytes: number | null = null
  let stopped: Stop | null = null
  for (let round = 1; round <= options.rounds && stopped === null; round++) {
    // Sampling reads a file and spoils caches, so it is left to the first round, which is cold anyway.
    let elapsed = 0
    let from = 0
    for (const to of round === 1 ? sampleStops(trace) : [trace.events]) {
      const start = process.hrtime.bigint()
      stopped = stage.player.play(from, to)
      elapsed += Number(process.hrtime.bigint() - start)
      if (round === 1) peakResidentBytes = larger(peakResidentBytes, stage.residentBytes())
      if (stopped !== null) break
      from = to
    }
    times.push(elapsed / Math.max(1, stopped === null ? trace.events : stopped.event))
    stage.player.freeAll()
    options.onRound?.(round)
  }
  return reportOf(trace, options, times, { ...stage.finish(), stopped, peakResidentBytes, threads: 1 })
}

/** The report of a replay whose rounds took `times`, in nanoseconds per event. */
export function reportOf(
  trace: Trace,
  options: ReplayOptions,
  times: readonly number[],
  figures: Figures
): ReplayReport {
  return {
    schemaVersion: 2,
    node: process.versions.node,
    trace: trace.name,
    allocator: options.allocator,
    events: trace.events,
    rounds: times.length,
    nsPerEvent: Math.min(...times),
    coldNsPerEvent: times[0]!,
    touched: options.touch,
    stopped: figures.stopped,
    syscalls: figures.syscalls,
    peakLiveBytes: trace.peakLiveBytes,
    peakMappedBytes: figures.peakMappedBytes,
    endMappedBytes: figures.endMappedBytes,
    peakResidentBytes: figures.peakResidentBytes,
    threads: figures.threads,
  }
}

/** What a heap is made with for a trace, and whether its addresses fit in 32 bits. */
export function heapOptions(trace: Trace, ledger: ReplayOptions['ledger']): { options: HeapOptions; small: boolean } {
  const small = trace.peakLiveBytes <= SMALL_TRACE_BYTES
  return { options: { ledger: ledgerOf(ledger), ...(small ? { limitBytes: SMALL_HEAP_BYTES } : {}) }, small }
}

export function openStage(trace: Trace, options: Pick<ReplayOptions, 'allocator' | 'touch' | 'ledger'>): Stage {
  const { touch } = options
  if (options.allocator === 'buffer') {
    const nothing = { syscalls: null, peakMappedBytes: null, endMappedBytes: null }
    return {
      player: bufferPlayer(trace, touch),
      residentBytes: () => null,
      mappedBytes: () => null,
      systemCalls: () => null,
      finish: () => nothing,
    }
  }
  if (options.allocator === 'direct') {
    const heap = new DirectHeap({ ledger: ledgerOf(options.ledger) })
    const touchBlock = touch ? (address: number, size: number) => heap.touch(address, size, 64) : undefined
    return stageOf(heap, heapPlayer(trace, heap, touchBlock, false))
  }
  const { options: settings, small } = heapOptions(trace, options.ledger)
  const heap = openHeap(options.allocator, settings)
  const touchBlock = touch ? touchThrough(heap, heap.buffer) : undefined
  return stageOf(heap, heapPlayer(trace, heap, touchBlock, small))
}

function openHeap(name: AllocatorName, settings: HeapOptions): Heap | GoHeap | FreeListHeap {
  if (name === 'go') return new GoHeap(settings)
  return name === 'freelist' ? new FreeListHeap(settings) : new Heap(settings)
}

function ledgerOf(file: string | undefined): LedgerOptions {
  return file === undefined ? {} : { file }
}

function stageOf(heap: ReturnType<typeof openHeap> | DirectHeap, player: Player): Stage {
  return {
    player,
    residentBytes: () => heap.residentBytes(),
    mappedBytes: () => {
      const { mappedBytes, metadataBytes } = heap.stats()
      return mappedBytes + metadataBytes
    },
    systemCalls: () => {
      const { mmap, munmap, madvise } = heap.stats().syscalls
      return mmap + munmap + madvise
    },
    finish: () => {
      const { mappedBytes, peakMappedBytes } = heap.stats()
      heap.close()
      return { syscalls: heap.stats().syscalls, peakMappedBytes, endMappedBytes: mappedBytes }
    },
  }
}

/** The events before which the first round stops, the trace's end among them. */
export function sampleStops(trace: Trace): number[] {
  const stops = new Set([trace.events, Math.min(trace.events, trace.peakEvent + 1)])
  for (let i = 1; i < RESIDENT_SAMPLES; i++) stops.add(Math.floor((trace.events * i) / RESIDENT_SAMPLES))
  return [...stops].sort((a, b) => a - b)
}

/** The larger of two figures, of which either may be unknown. */
export function larger(a: number | null, b: number | null): number | null {
  return a === null || b === null ? (a ?? b) : Math.max(a, b)
}
