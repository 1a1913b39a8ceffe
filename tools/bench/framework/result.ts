import { readFileSync } from 'node:fs'
import type { Machine } from './machine.ts'
import { type Estimate, estimate } from './statistics.ts'
import type { Chart, MeasuredRow, Medians, Metric, Points, RowKey, Scale, Suite, Verdict } from './suite.ts'

/** An interval that is wider than this share of its median to either side: the row is noise. */
const NOISE = 0.1

/** One figure of one contender in one row, over all rounds. */
export interface Measurement extends Estimate {
  readonly row: RowKey
  readonly contender: string
  readonly metric: string
  readonly samples: readonly number[]
  /** Whether its interval is too wide to say much. */
  readonly isNoisy: boolean
}

/** Something that is drawn, of the last round. */
export interface DrawnSeries {
  readonly row: RowKey
  readonly contender: string
  readonly name: string
  readonly points: Points
}

/** A process that came to nothing. */
export interface Failure {
  readonly contender: string
  readonly row: RowKey | undefined
  readonly message: string
}

/** What a suite measured, and what it is to be shown by. */
export interface SuiteResult {
  readonly name: string
  readonly title: string
  readonly question: string
  readonly rows: Suite['rows']
  readonly metrics: readonly Metric[]
  readonly charts: readonly Chart[]
  readonly measurements: readonly Measurement[]
  readonly series: readonly DrawnSeries[]
  readonly failures: readonly Failure[]
  readonly verdicts: readonly Verdict[]
}

/** All that a run found: the JSON file. */
export interface BenchResult {
  readonly schemaVersion: 1
  readonly startedAt: string
  readonly seconds: number
  readonly scale: Scale
  readonly rounds: number
  readonly machine: Machine
  /** Native allocators that were found, and those that were looked for in vain. */
  readonly peers: readonly { readonly name: string; readonly isFound: boolean }[]
  readonly suites: readonly SuiteResult[]
}

/** Collects what processes printed, round by round. */
export class SuiteRecorder {
  private readonly suite: Suite
  private readonly samples = new Map<string, { row: RowKey; contender: string; metric: string; values: number[] }>()
  private readonly series = new Map<string, DrawnSeries>()
  private readonly failures = new Map<string, Failure>()

  constructor(suite: Suite) {
    this.suite = suite
  }

  add(contender: string, rows: readonly MeasuredRow[]): void {
    for (const { row, values, series } of rows) {
      for (const { name } of this.suite.metrics) {
        const value = values[name]
        if (typeof value !== 'number' || !Number.isFinite(value)) continue
        const key = JSON.stringify([row, contender, name])
        const found = this.samples.get(key) ?? { row, contender, metric: name, values: [] }
        found.values.push(value)
        this.samples.set(key, found)
      }
      for (const [name, points] of Object.entries(series ?? {}))
        this.series.set(JSON.stringify([row, contender, name]), { row, contender, name, points })
    }
  }

  fail(contender: string, row: RowKey | undefined, message: string): void {
    this.failures.set(JSON.stringify([contender, row]), { contender, row, message })
  }

  result(): SuiteResult {
    const { name, title, question, rows, metrics, charts } = this.suite
    const measurements = [...this.samples.values()].map(({ row, contender, metric, values }) => {
      const found = estimate(values)
      return { row, contender, metric, samples: values, ...found, isNoisy: isNoisy(found, values) }
    })
    const verdicts = this.suite.verdicts?.(mediansOf(measurements)) ?? []
    const [series, failures] = [[...this.series.values()], [...this.failures.values()]]
    return { name, title, question, rows, metrics, charts, measurements, series, failures, verdicts }
  }
}

/** A figure that was taken once has no interval, and so nothing is known of its noise. */
function isNoisy({ median, low, high }: Estimate, samples: readonly number[]): boolean {
  return samples.length < 2 || high - median > NOISE * Math.abs(median) || median - low > NOISE * Math.abs(median)
}

export function mediansOf(measurements: readonly Measurement[]): Medians {
  const found = new Map(
    measurements.map((each) => [JSON.stringify([each.row, each.contender, each.metric]), each.median])
  )
  return {
    rows: [...new Set(measurements.map(({ row }) => row))],
    contenders: [...new Set(measurements.map(({ contender }) => contender))],
    of: (row, contender, metric) => found.get(JSON.stringify([row, contender, metric])),
  }
}

/** Whether a verdict's value keeps to its bar. */
export function holds({ value, bar }: Verdict): boolean {
  return 'most' in bar ? value <= bar.most : value >= bar.least
}

/** Reads the file of a run. @throws Error with one line that says what is wrong */
export function readResult(path: string): BenchResult {
  let found: unknown
  try {
    found = JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    throw Object.assign(new Error(`${path}: ${(error as Error).message}`), { syscall: 'read' })
  }
  const { schemaVersion, suites } = (found ?? {}) as Partial<BenchResult>
  if (schemaVersion !== 1 || !Array.isArray(suites))
    throw Object.assign(new Error(`${path}: not the JSON file of a run of this benchmark`), { syscall: 'read' })
  return found as BenchResult
}
