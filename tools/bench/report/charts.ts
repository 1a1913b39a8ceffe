/**
 * Draws the charts of a report, in the page that it is bundled into. Whatever has no colour of its own takes the page's, so both colour
 * schemes are served.
 */
import * as Plot from '@observablehq/plot'
import { digits, figure, rowName } from '../framework/figures.ts'
import type { BenchResult, Measurement, SuiteResult } from '../framework/result.ts'
import type { Chart, Metric, RowKey } from '../framework/suite.ts'

/** Colours that are legible on white and on near black, the most different first. */
const COLOURS = [
  '#4269d0',
  '#ff725c',
  '#3ca951',
  '#c99400',
  '#a463f2',
  '#00a8b5',
  '#e8559f',
  '#8c7a6b',
  '#6f9bff',
  '#9c6b4e',
  '#7d8ca0',
  '#b5179e',
]
/** This project's allocators come first, in the report's main colour where there is one. */
const OURS = /^spanheap|^Heap|^Pool/
/** Beyond so many, an axis has a tick for each power of ten only. */
const MOST_DECADES = 3
const PANEL = { width: 340, height: 200 }

const element = document.getElementById('result')!
const result = JSON.parse(element.textContent!) as BenchResult

for (const place of document.querySelectorAll<HTMLElement>('figure[data-suite]')) {
  const suite = result.suites.find(({ name }) => name === place.dataset.suite)!
  const chart = suite.charts[Number(place.dataset.chart)]!
  for (const drawn of draw(suite, chart, place.clientWidth)) place.append(drawn)
}

function draw(suite: SuiteResult, chart: Chart, width: number): Element[] {
  if (chart.kind === 'series') return drawSeries(suite, chart)
  const metric = suite.metrics.find(({ name }) => name === chart.metric)!
  const measurements = suite.measurements.filter((each) => each.metric === chart.metric)
  if (measurements.length === 0) return [nothing()]
  const contenders = contendersOf(measurements)
  return [
    keys(contenders),
    chart.kind === 'bars'
      ? drawDots(suite, measurements, metric, contenders, chart.logarithmic === true, width)
      : drawLines(suite, measurements, metric, contenders, chart, width),
  ]
}

/** A line for each row, and on it a dot with its interval for each contender. */
function drawDots(
  suite: SuiteResult,
  measurements: readonly Measurement[],
  metric: Metric,
  contenders: readonly string[],
  logarithmic: boolean,
  width: number
): Element {
  const rows = sortedRows(measurements)
  const name = (row: RowKey) => rowName(row, suite.rows)
  const marginLeft = 20 + 7.2 * Math.max(...rows.map((row) => name(row).length))
  const y = (each: Measurement) => name(each.row)
  return Plot.plot({
    width,
    marginLeft,
    height: 80 + 34 * rows.length,
    marginBottom: 44,
    style: { background: 'transparent', fontSize: '12px' },
    x: {
      ...scaleOf(measurements, metric, logarithmic),
      grid: true,
      label: `${metric.title}, ${metric.better} is better`,
      labelOffset: 40,
    },
    y: { domain: rows.map(name), label: null, grid: true },
    color: { domain: [...contenders], range: COLOURS },
    marks: [
      Plot.ruleY(measurements, { x1: 'low', x2: 'high', y, stroke: 'contender', strokeWidth: 2, strokeOpacity: 0.5 }),
      Plot.dot(measurements, { x: 'median', y, fill: 'contender', r: 5, fillOpacity: 0.9 }),
      Plot.tip(
        measurements,
        Plot.pointer({ x: 'median', y, title: (each: Measurement) => tipOf(each, metric), ...TIP })
      ),
    ],
  })
}

function drawLines(
  suite: SuiteResult,
  measurements: readonly Measurement[],
  metric: Metric,
  contenders: readonly string[],
  chart: Extract<Chart, { kind: 'lines' }>,
  width: number
): Element {
  const { logarithmic } = chart
  const x = (value: number) => (suite.rows?.unit === 'bytes' ? figure(value, 'bytes') : digits(value))
  const lines = measurements.toSorted((a, b) => Number(a.row) - Number(b.row))
  return Plot.plot({
    width,
    height: 380,
    marginLeft: 70,
    marginBottom: 44,
    style: { background: 'transparent', fontSize: '12px' },
    x: {
      type: logarithmic === 'y' ? 'linear' : 'log',
      base: suite.rows?.unit === 'bytes' ? 2 : 10,
      ticks: sortedRows(measurements) as number[],
      tickFormat: x,
      label: chart.x,
      labelOffset: 40,
      grid: true,
    },
    y: {
      ...scaleOf(measurements, metric, logarithmic !== 'x'),
      label: `${metric.title}, ${metric.better} is better`,
      grid: true,
    },
    color: { domain: [...contenders], range: COLOURS },
    marks: [
      Plot.ruleX(lines, { x: 'row', y1: 'low', y2: 'high', stroke: 'contender', strokeOpacity: 0.4 }),
      Plot.line(lines, { x: 'row', y: 'median', stroke: 'contender', strokeWidth: 2 }),
      Plot.dot(lines, { x: 'row', y: 'median', fill: 'contender', r: 3 }),
      Plot.tip(
        lines,
        Plot.pointer({ x: 'row', y: 'median', title: (each: Measurement) => tipOf(each, metric), ...TIP })
      ),
    ],
  })
}

/** A small picture for each row; the first series is drawn solid, the others with ever shorter dashes. */
function drawSeries(suite: SuiteResult, chart: Extract<Chart, { kind: 'series' }>): Element[] {
  const drawn = suite.series.filter(({ name }) => chart.series.includes(name))
  if (drawn.length === 0) return [nothing()]
  const contenders = contendersOf(drawn)
  const panels = document.createElement('div')
  panels.className = 'panels'
  for (const row of sortedRows(drawn)) {
    const marks = drawn
      .filter((each) => each.row === row)
      .map(({ contender, name, points }) =>
        Plot.line(points as [number, number][], {
          stroke: COLOURS[contenders.indexOf(contender) % COLOURS.length]!,
          strokeWidth: 1.5,
          strokeDasharray: ['', '5 3', '2 2'][chart.series.indexOf(name)] ?? '',
        })
      )
    const logarithmic = (axis: 'x' | 'y') => chart.logarithmic === axis || chart.logarithmic === 'both'
    panels.append(
      Plot.plot({
        ...PANEL,
        marginLeft: 50,
        title: rowName(row, suite.rows),
        style: { background: 'transparent', fontSize: '11px' },
        x: { label: chart.x, ticks: 4, tickFormat: 's', type: logarithmic('x') ? 'log' : 'linear' },
        y: { label: chart.y, ticks: 5, grid: true, zero: !logarithmic('y'), type: logarithmic('y') ? 'log' : 'linear' },
        marks,
      })
    )
  }
  const dashes = chart.series.length < 2 ? [] : [dashKeys(chart.series)]
  return [keys(contenders), ...dashes, panels]
}

/** The scale of a metric's axis: a logarithmic one has its ticks at 1, 2 and 5 of each power of ten, or at the powers where they are many. */
function scaleOf(measurements: readonly Measurement[], metric: Metric, logarithmic: boolean): Plot.ScaleOptions {
  const tickFormat = (value: number) => figure(value, metric.unit)
  const least = Math.min(...measurements.map(({ low }) => low).filter((low) => low > 0))
  const most = Math.max(...measurements.map(({ high }) => high))
  if (!logarithmic || !Number.isFinite(least)) return { type: 'linear', zero: true, ticks: 8, tickFormat }
  const [from, to] = [Math.floor(Math.log10(least)), Math.ceil(Math.log10(most))]
  const steps = to - from > MOST_DECADES ? [1] : [1, 2, 5]
  const powers = Array.from({ length: to - from + 1 }, (_, at) => 10 ** (from + at))
  const ticks = powers.flatMap((power) => steps.map((step) => power * step))
  const domain = [ticks.findLast((tick) => tick <= least)!, ticks.find((tick) => tick >= most)!]
  return { type: 'log', domain, ticks: ticks.filter((tick) => tick >= domain[0]! && tick <= domain[1]!), tickFormat }
}

/** How tips look, which stand out from either ground. */
const TIP = { fill: 'var(--panel)', stroke: 'var(--line)' } as const

function tipOf(each: Measurement, metric: Metric): string {
  const interval = `${figure(each.low, metric.unit)} to ${figure(each.high, metric.unit)}`
  const noise = each.isNoisy ? '\nnoise' : ''
  return `${each.contender}\n${figure(each.median, metric.unit)} (${interval})${noise}`
}

function contendersOf(some: readonly { contender: string }[]): string[] {
  const all = [...new Set(some.map(({ contender }) => contender))]
  return [...all.filter((name) => OURS.test(name)), ...all.filter((name) => !OURS.test(name))]
}

function sortedRows(some: readonly { row: RowKey }[]): RowKey[] {
  const rows = [...new Set(some.map(({ row }) => row))]
  return rows.every((row) => typeof row === 'number') ? rows.sort((a, b) => Number(a) - Number(b)) : rows
}

function keys(contenders: readonly string[]): Element {
  const list = document.createElement('div')
  list.className = 'keys'
  for (const [at, contender] of contenders.entries()) {
    const key = document.createElement('span')
    key.textContent = contender
    key.style.setProperty('--key', COLOURS[at % COLOURS.length]!)
    list.append(key)
  }
  return list
}

function dashKeys(names: readonly string[]): Element {
  const line = document.createElement('p')
  const how = ['solid', 'dashed', 'dotted']
  line.textContent = names.map((name, at) => `${name}: ${how[at] ?? 'solid'}`).join(', ')
  return line
}

function nothing(): Element {
  const line = document.createElement('p')
  line.textContent = 'Nothing was measured.'
  return line
}
