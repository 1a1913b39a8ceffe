import { Heap } from 'spanheap'
import { DirectHeap } from 'spanheap/direct'
import { openMapper } from 'spanheap/testing'
import { median } from '../framework/statistics.ts'

/** As much memory is mapped at each size, one mapping after the other, but for the smallest and the largest: a page may take 10 µs. */
const TOTAL_BYTES = 4 * 2 ** 20
const MOST_REPEATS = 200
/** Pairs of one call, entered often so that V8 compiles it whole; and calls that are measured, after as many to warm up. */
const PAIRS = 1000
const CALLS = 10
const FIRST_WARM_UP_CALLS = 500

/** Nanoseconds; tools/bench/native/syscalls.c prints the same. */
export interface CallTimes extends Record<string, number> {
  mmap: number
  /** Of pages that were touched, as the next. */
  munmap: number
  madvise: number
  /** For each page. */
  fault: number
  /** Nothing touched, and the way to the system and back included. */
  mapAndUnmap: number
  mallocAndFree: number
}

/** How often a size is measured. */
export function repeatsOf(size: number): number {
  return Math.min(MOST_REPEATS, Math.max(1, Math.floor(TOTAL_BYTES / size)))
}

function now(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1e9 + nanoseconds
}

/** What calls take from JavaScript; their own time is the ledger's. Medians for each size. */
export class CallTimer {
  private readonly heap = new Heap()
  private readonly direct = new DirectHeap({ ledger: { ring: 2 } })
  private readonly mapper = openMapper({ ring: 1 })

  constructor() {
    for (let call = 0; call < FIRST_WARM_UP_CALLS; call++) pairs(this.heap, 64)
  }

  times(size: number): CallTimes {
    const touched = Array.from({ length: repeatsOf(size) }, () => this.touchedMapping(size))
    const of = (name: 'mmap' | 'munmap' | 'fault') => median(touched.map((each) => each[name]))
    return {
      mmap: of('mmap'),
      munmap: of('munmap'),
      madvise: this.madvise(size),
      fault: of('fault'),
      mapAndUnmap: median(Array.from({ length: repeatsOf(size) }, () => this.untouchedMapping(size))),
      mallocAndFree: this.mallocAndFree(size),
    }
  }

  private touchedMapping(size: number) {
    const page = this.mapper.systemPageSize
    const address = this.direct.malloc(size)
    const start = now()
    this.direct.touch(address, size, page)
    const first = now()
    // Once more: what this takes is the touching, and the way into the addon.
    this.direct.touch(address, size, page)
    const second = now()
    this.direct.free(address)
    const [mmap, munmap] = this.direct.systemCalls()
    return { mmap: mmap!.ns, munmap: munmap!.ns, fault: (first - start - (second - first)) / (size / page) }
  }

  private untouchedMapping(size: number): number {
    const start = now()
    this.direct.free(this.direct.malloc(size))
    return now() - start
  }

  private madvise(size: number): number {
    const { mapper } = this
    const mapping = mapper.reserve({
      byteLength: size,
      shared: true,
      alignment: mapper.systemPageSize,
      hugePages: true,
    })
    if (typeof mapping === 'number' || mapping.grow(0, size) !== 0) throw new Error(`the system refused ${size} bytes`)
    const bytes = new Int8Array(mapping.buffer)
    const times = Array.from({ length: repeatsOf(size) }, () => {
      for (let at = 0; at < size; at += mapper.systemPageSize) bytes[at] = 1
      mapping.release(0, size)
      return mapper.ring()[0]!.ns
    })
    return median(times)
  }

  private mallocAndFree(size: number): number {
    const { heap } = this
    const times = Array.from({ length: 2 * CALLS }, () => {
      const start = now()
      pairs(heap, size)
      return (now() - start) / PAIRS
    })
    return median(times.slice(CALLS))
  }
}

function pairs(heap: Heap, size: number): void {
  for (let i = 0; i < PAIRS; i++) heap.free(heap.malloc(size))
}
