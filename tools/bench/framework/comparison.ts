import type { BenchResult, Measurement } from './result.ts'
import type { Metric } from './suite.ts'

/** A change must be at least this, besides being beyond noise: intervals of few samples are narrower than they should be. */
const LEAST_CHANGE = 0.03

/** A figure that is another than in an earlier run. */
export interface Change {
  readonly suite: string
  readonly before: Measurement
  readonly after: Measurement
  readonly metric: Metric
  /** The later median over the earlier one. */
  readonly ratio: number
  readonly isBetter: boolean
}

/** What moved between two runs beyond noise. */
export interface Comparison {
  readonly before: BenchResult
  readonly changes: readonly Change[]
  /** Figures that both runs have. */
  readonly compared: number
  /** Reasons why the runs may not be comparable: other machines, other versions. */
  readonly differences: readonly string[]
}

/** Compares what both runs measured. A figure moved where the intervals have nothing in common. */
export function compareResults(before: BenchResult, after: BenchResult): Comparison {
  const earlier = new Map(
    before.suites.flatMap((suite) => suite.measurements.map((each) => [keyOf(suite.name, each), each] as const))
  )
  const changes: Change[] = []
  let compared = 0
  for (const suite of after.suites) {
    for (const measurement of suite.measurements) {
      const old = earlier.get(keyOf(suite.name, measurement))
      const metric = suite.metrics.find(({ name }) => name === measurement.metric)
      if (old === undefined || metric === undefined) continue
      compared++
      const ratio = measurement.median / old.median
      const overlap = measurement.low <= old.high && old.low <= measurement.high
      if (overlap || !(Math.abs(ratio - 1) >= LEAST_CHANGE)) continue
      const isBetter = metric.better === 'less' ? ratio < 1 : ratio > 1
      changes.push({ suite: suite.name, before: old, after: measurement, metric, ratio, isBetter })
    }
  }
  return { before, changes, compared, differences: differencesOf(before, after) }
}

function keyOf(suite: string, { row, contender, metric }: Measurement): string {
  return JSON.stringify([suite, row, contender, metric])
}

function differencesOf(before: BenchResult, after: BenchResult): string[] {
  const names = Object.keys(after.machine) as (keyof BenchResult['machine'])[]
  const others = names
    .filter((name) => before.machine[name] !== after.machine[name])
    .map((name) => `${name}: ${before.machine[name]} before, ${after.machine[name]} now`)
  return before.scale === after.scale ? others : [...others, `scale: ${before.scale} before, ${after.scale} now`]
}
