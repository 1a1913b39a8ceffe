import { constants, type PerformanceEntry, PerformanceObserver } from 'node:perf_hooks'

/** Garbage collections of a process by kind: how many, and the milliseconds they took. */
export interface Collections {
  minor: { count: number; ms: number }
  /** Of the old space: pauses of mark-compact. */
  major: { count: number; ms: number }
  /** Steps of incremental marking, which belong to a major one to come. */
  incremental: { count: number; ms: number }
  /** Callbacks of what was weak: buffers whose memory goes back. */
  weak: { count: number; ms: number }
}

const KINDS: Record<number, keyof Collections> = {
  [constants.NODE_PERFORMANCE_GC_MINOR]: 'minor',
  [constants.NODE_PERFORMANCE_GC_MAJOR]: 'major',
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL]: 'incremental',
  [constants.NODE_PERFORMANCE_GC_WEAKCB]: 'weak',
}
/** An observer is told by way of the event loop; after so many milliseconds it has heard of all. */
const SETTLE_MS = 50

/** Counts the collections of this thread from its construction on. */
export class CollectionCounter {
  private readonly found: Collections = {
    minor: { count: 0, ms: 0 },
    major: { count: 0, ms: 0 },
    incremental: { count: 0, ms: 0 },
    weak: { count: 0, ms: 0 },
  }
  private until = Number.POSITIVE_INFINITY
  private readonly observer = new PerformanceObserver((list) => this.add(list.getEntries()))

  constructor() {
    this.observer.observe({ entryTypes: ['gc'] })
  }

  /** What there was until now; counts no more, also of what the wait for the last ones brings on. */
  async end(): Promise<Collections> {
    this.until = performance.now()
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS))
    this.add(this.observer.takeRecords())
    this.observer.disconnect()
    return this.found
  }

  private add(entries: PerformanceEntry[]): void {
    // Node's types know nothing of `detail`.
    for (const { detail, duration, startTime } of entries as (PerformanceEntry & { detail: { kind: number } })[]) {
      if (startTime > this.until) continue
      const kind = this.found[KINDS[detail.kind] ?? 'minor']
      kind.count++
      kind.ms += duration
    }
  }
}

/** Milliseconds of all kinds. */
export function totalMs(collections: Collections): number {
  return Object.values(collections).reduce((sum, { ms }) => sum + ms, 0)
}

/** Collections of all kinds. Steps of marking aren't any. */
export function totalCount({ minor, major }: Collections): number {
  return minor.count + major.count
}
