import Table from 'cli-table3'
import type { Comparison } from './comparison.ts'
import { barText, digits, figure, rowName, tableOf } from './figures.ts'
import { type BenchResult, holds, type SuiteResult } from './result.ts'

const style = { head: [], border: [], compact: true }

/** All of a run, as tables for a terminal. */
export function textReport(result: BenchResult, comparison: Comparison | undefined): string {
  const parts = result.suites.map(suiteText)
  const verdicts = result.suites.flatMap((suite) => suite.verdicts)
  if (verdicts.length > 0) parts.push(verdictText(verdicts))
  if (comparison !== undefined) parts.push(comparisonText(comparison))
  return parts.join('\n\n')
}

function suiteText(suite: SuiteResult): string {
  const { head, lines } = tableOf(suite)
  const table = new Table({
    head,
    style,
    colAligns: head.map((_, column) => (column < 2 ? 'left' : 'right')),
    wordWrap: true,
  })
  table.push(...lines)
  const failures = suite.failures.map(
    ({ contender, row, message }) =>
      `${[contender, row === undefined ? [] : rowName(row, suite.rows)].flat().join(', ')}: nothing was measured: ${message}`
  )
  return [`${suite.title}. ${suite.question}`, table.toString(), ...failures].join('\n')
}

function verdictText(verdicts: SuiteResult['verdicts']): string {
  const table = new Table({ head: ['claim', 'found', '', 'holds'], style })
  for (const verdict of verdicts)
    table.push([verdict.claim, digits(verdict.value), barText(verdict), holds(verdict) ? 'yes' : 'NO'])
  return table.toString()
}

function comparisonText({ before, changes, compared, differences }: Comparison): string {
  const since = `Since the run of ${before.startedAt}: ${changes.length} of ${compared} figures moved beyond noise.`
  const warnings = differences.map((difference) => `not the same: ${difference}`)
  if (changes.length === 0) return [since, ...warnings].join('\n')
  const table = new Table({ head: ['suite', 'row', '', 'figure', 'before', 'now', 'ratio', ''], style })
  for (const { suite, before: old, after, metric, ratio, isBetter } of changes) {
    const figures = [figure(old.median, metric.unit), figure(after.median, metric.unit)]
    table.push([
      ...[suite, String(after.row), after.contender, metric.title],
      ...[...figures, ratio.toFixed(2), isBetter ? 'better' : 'WORSE'],
    ])
  }
  return [since, ...warnings, table.toString()].join('\n')
}
