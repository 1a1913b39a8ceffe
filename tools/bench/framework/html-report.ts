import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { PACKAGE_ROOT } from '../../package-root.ts'
import type { Comparison } from './comparison.ts'
import { barText, digits, figure, rowName, tableOf } from './figures.ts'
import { type BenchResult, holds, type SuiteResult } from './result.ts'

/**
 * A run as one page that needs nothing else: style, figures, and what draws them are in it, and its policy forbids it to ask anybody
 * for more. All figures stand in tables too, which need no script.
 */
export function htmlReport(result: BenchResult, comparison: Comparison | undefined): string {
  const style = readFileSync(join(PACKAGE_ROOT, 'bench/report/style.css'), 'utf8')
  const script = readFileSync(new URL('../report/charts.js', import.meta.url), 'utf8')
  const policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
  const body = [
    header(result),
    verdicts(result),
    comparison === undefined ? '' : comparisonSection(comparison),
    ...result.suites.map(suiteSection),
  ]
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<link rel="icon" href="data:,">
<title>spanheap: what memory costs on this machine</title>
<style>${style}</style>
</head>
<body>
<main>
${body.join('\n')}
</main>
<script type="application/json" id="result">${embedded(result)}</script>
<script>${script.replaceAll('</script', '<\\/script')}</script>
</body>
</html>
`
}

/** JSON in a page: what would end the element it is in, or begin a comment, is written another way. */
function embedded(result: BenchResult): string {
  return JSON.stringify(result).replaceAll('<', '\\u003c')
}

function header({ machine, startedAt, seconds, scale, rounds, peers, suites }: BenchResult): string {
  const missing = peers.filter(({ isFound }) => !isFound).map(({ name }) => name)
  const facts: [string, string][] = [
    ['measured', `${startedAt.slice(0, 16).replace('T', ' ')} UTC, in ${seconds} s, ${rounds} rounds (${scale})`],
    ['processor', `${machine.processor}, ${machine.cores} cores`],
    ['memory', figure(machine.memoryBytes, 'bytes')],
    ['system', machine.system],
    ['versions', `spanheap ${machine.spanheap}, Node ${machine.node}, V8 ${machine.v8}`],
    ['not found here', missing.join(', ') || 'nothing'],
  ]
  const links = suites.map(({ name, title }) => `<a href="#${text(name)}">${text(title)}</a>`)
  return `<header>
<h1>What memory costs on this machine</h1>
<p>Medians over rounds. An interval says where a median would lie, nineteen times in twenty, if all were measured again; where it
reaches further than a tenth from the median, the row says that it is noise.</p>
<dl>${facts.map(([name, value]) => `<dt>${name}</dt><dd>${text(value)}</dd>`).join('')}</dl>
<nav>${links.join(' ')}</nav>
</header>`
}

function verdicts({ suites }: BenchResult): string {
  const all = suites.flatMap((suite) => suite.verdicts)
  if (all.length === 0) return ''
  const lines = all.map((verdict) => [
    text(verdict.claim) + (verdict.detail === undefined ? '' : `<small>${text(verdict.detail)}</small>`),
    digits(verdict.value),
    barText(verdict),
    holds(verdict) ? '<b class="yes">yes</b>' : '<b class="no">no</b>',
  ])
  return section('claims', 'What the project claims', '', table(['claim', 'found', 'bar', 'holds'], lines))
}

function comparisonSection({ before, changes, compared, differences }: Comparison): string {
  const lead = `Since the run of ${before.startedAt}: ${changes.length} of ${compared} figures moved beyond noise.`
  const warnings = differences.map((difference) => `<p class="warning">Not the same: ${text(difference)}</p>`)
  const lines = changes.map(({ suite, before: old, after, metric, ratio, isBetter }) => [
    ...[suite, String(after.row), after.contender, metric.title].map(text),
    ...[figure(old.median, metric.unit), figure(after.median, metric.unit), ratio.toFixed(2)],
    isBetter ? '<b class="yes">better</b>' : '<b class="no">worse</b>',
  ])
  const head = ['suite', 'row', '', 'figure', 'before', 'now', 'ratio', '']
  return section('comparison', 'What moved', lead, `${warnings.join('')}${lines.length > 0 ? table(head, lines) : ''}`)
}

function suiteSection(suite: SuiteResult): string {
  const figures = suite.charts.map(
    ({ title }, chart) =>
      `<figure data-suite="${text(suite.name)}" data-chart="${chart}"><figcaption>${text(title)}</figcaption></figure>`
  )
  const failures = suite.failures.map(({ contender, row, message }) => {
    const who = row === undefined ? contender : `${contender}, ${rowName(row, suite.rows)}`
    return `<p class="warning">${text(`${who}: nothing was measured: ${message}`)}</p>`
  })
  const { head, lines } = tableOf(suite)
  const cells = lines.map((line) => line.map((cell) => text(cell).replace(/, noise$/, ' <i>noise</i>')))
  const all = `<details><summary>All figures</summary>${table(head, cells)}</details>`
  return section(suite.name, suite.title, suite.question, [...figures, ...failures, all].join('\n'))
}

function section(id: string, title: string, lead: string, content: string): string {
  const paragraph = lead === '' ? '' : `<p>${text(lead)}</p>`
  return `<section id="${text(id)}"><h2>${text(title)}</h2>${paragraph}${content}</section>`
}

/** @param lines cells that are HTML already */
function table(head: readonly string[], lines: readonly (readonly string[])[]): string {
  const row = (cells: readonly string[], tag: string) =>
    `<tr>${cells.map((cell) => `<${tag}>${cell}</${tag}>`).join('')}</tr>`
  const body = lines.map((cells) => row(cells, 'td')).join('\n')
  return `<div class="wide"><table><thead>${row(head.map(text), 'th')}</thead><tbody>${body}</tbody></table></div>`
}

function text(value: string): string {
  return value.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}
