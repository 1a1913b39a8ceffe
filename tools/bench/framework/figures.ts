import type { Measurement, SuiteResult } from './result.ts'
import type { Metric, RowKey, Verdict } from './suite.ts'

/** Units of bytes, each 1024 times the one before. */
const BYTES = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
/** Units of time, each 1000 times the one before. */
const TIMES = ['ns', 'µs', 'ms', 's']

/** A number with three digits that count, in the largest unit that leaves at least one before the point. */
function scaled(value: number, units: readonly string[], step: number): string {
  let unit = 0
  while (Math.abs(value) >= step && unit < units.length - 1) {
    value /= step
    unit++
  }
  return `${digits(value)} ${units[unit]}`
}

/** Three digits that count, but no fraction of what is counted in hundreds. */
export function digits(value: number): string {
  if (value === 0 || Number.isInteger(value)) return grouped(value)
  const size = Math.abs(value)
  if (size >= 100) return grouped(Math.round(value))
  return value.toFixed(size >= 10 ? 1 : size >= 1 ? 2 : 3)
}

/** With thin gaps between thousands, as tables of numbers have them. */
function grouped(value: number): string {
  return value.toFixed(0).replace(/\B(?=(\d{3})+$)/g, ' ')
}

/** A value with its unit. */
export function figure(value: number, unit: Metric['unit']): string {
  if (unit === 'bytes') return scaled(value, BYTES, 1024)
  if (unit === 'ns') return scaled(value, TIMES, 1000)
  if (unit === 'ms') return scaled(value * 1e6, TIMES, 1000)
  if (unit === 'ops/s') return `${digits(value)}/s`
  return digits(value)
}

/** A median with half of its interval's width in per cent; a row that is noise says so. */
export function estimated({ median, low, high, isNoisy, samples }: Measurement, unit: Metric['unit']): string {
  const text = figure(median, unit)
  if (samples.length < 2 || low === high) return text
  // Of nothing there is no share.
  if (median === 0) return `${text} to ${figure(high, unit)}${isNoisy ? ', noise' : ''}`
  const width = Math.round((50 * (high - low)) / Math.abs(median))
  return `${text} ±${width} %${isNoisy ? ', noise' : ''}`
}

/** What a row is called. */
export function rowName(row: RowKey, rows: SuiteResult['rows']): string {
  if (typeof row === 'string') return row
  return rows?.unit === 'bytes' ? figure(row, 'bytes') : digits(row)
}

/** What a verdict's value is held against. */
export function barText({ bar }: Verdict): string {
  return 'most' in bar ? `at most ${bar.most}` : `at least ${bar.least}`
}

/** A suite's measurements as a table: a line for each row and contender, a column for each metric that has any. */
export function tableOf(suite: SuiteResult): { head: string[]; lines: string[][] } {
  const metrics = suite.metrics.filter(({ name }) => suite.measurements.some(({ metric }) => metric === name))
  const found = new Map<string, { row: RowKey; contender: string; cells: Map<string, Measurement> }>()
  for (const measurement of suite.measurements) {
    const { row, contender, metric } = measurement
    const key = JSON.stringify([row, contender])
    const line = found.get(key) ?? { row, contender, cells: new Map() }
    line.cells.set(metric, measurement)
    found.set(key, line)
  }
  const order = [...new Set(suite.measurements.map(({ row }) => row))]
  if (order.every((row) => typeof row === 'number')) order.sort((a, b) => Number(a) - Number(b))
  const lines = [...found.values()]
    .sort((a, b) => order.indexOf(a.row) - order.indexOf(b.row))
    .map(({ row, contender, cells }) => [
      rowName(row, suite.rows),
      contender,
      ...metrics.map(({ name, unit }) => (cells.has(name) ? estimated(cells.get(name)!, unit) : '–')),
    ])
  return { head: [suite.rows?.title ?? '', '', ...metrics.map(({ title }) => title)], lines }
}
