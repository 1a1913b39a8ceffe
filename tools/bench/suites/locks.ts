import { availableParallelism } from 'node:os'
import { Heap } from 'spanheap'
import { Crew } from '../framework/crew.ts'
import type { MeasuredRow, Scale, Suite } from '../framework/suite.ts'

/** Workers that are at it at the same time. */
const WORKERS: Readonly<Record<Scale, readonly number[]>> = { full: [1, 2, 4], quick: [1, 2] }
const SECONDS: Readonly<Record<Scale, number>> = { full: 0.15, quick: 0.1 }
const WARM_UP_SECONDS = 0.1

/** Who is held against whom: with caches of their own or without, and what they play. A quick run has the first two. */
const CONTENDERS = [
  { contender: 'thread caches', cached: true, pattern: 'pair' },
  { contender: 'one lock', cached: false, pattern: 'pair' },
  { contender: 'thread caches, sizes at random', cached: true, pattern: 'replace' },
  { contender: 'a lock for each class, sizes at random', cached: false, pattern: 'replace' },
  { contender: 'nothing shared', cached: true, pattern: 'control' },
] as const

export interface LocksParameters {
  readonly cached: boolean
  readonly pattern: 'pair' | 'replace' | 'control'
  readonly workers: readonly number[]
  readonly seconds: number
}

async function measure({ cached, pattern, workers, seconds }: LocksParameters): Promise<MeasuredRow[]> {
  await using crew = await Crew.of(Math.max(...workers), new Heap(cached ? {} : { cacheBytes: 0 }))
  const rows: MeasuredRow[] = []
  for (const count of workers) {
    const threads = Array.from({ length: count }, (_, thread) => thread)
    await crew.run(threads, { pattern, seconds: WARM_UP_SECONDS })
    const { operations, nanoseconds } = await crew.time(threads, { pattern, seconds })
    const total = nanoseconds / operations
    rows.push({ row: count, values: { nsPerPair: total * count, nsPerPairOfAll: total } })
  }
  return rows
}

export const locks: Suite<LocksParameters> = {
  name: 'locks',
  title: 'Thread caches and locks',
  question: `What do thread caches save, where several workers use one heap on ${availableParallelism()} cores? Without caches a malloc and its free take the lock of their size class twice: one lock for all where all blocks are of 64 bytes, and many where sizes of 16 to 4096 are replaced at random.`,
  metrics: [
    { name: 'nsPerPair', title: 'a malloc and its free, for the worker that does it', unit: 'ns', better: 'less' },
    { name: 'nsPerPairOfAll', title: 'a malloc and its free, of all workers together', unit: 'ns', better: 'less' },
  ],
  charts: [
    { kind: 'lines', metric: 'nsPerPair', title: 'For a worker', x: 'workers', logarithmic: 'y' },
    { kind: 'lines', metric: 'nsPerPairOfAll', title: 'All workers together', x: 'workers', logarithmic: 'y' },
  ],
  configurations: ({ scale }) =>
    CONTENDERS.slice(0, scale === 'quick' ? 2 : undefined).map(({ contender, cached, pattern }) => {
      const parameters: LocksParameters = { cached, pattern, workers: WORKERS[scale], seconds: SECONDS[scale] }
      return { contender, process: { kind: 'own', parameters } }
    }),
  measure,
}
