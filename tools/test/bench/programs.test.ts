import { existsSync, readdirSync } from 'node:fs'
import { dirname } from 'node:path'
import test from 'ava'
import { mediansOf } from '../../bench/framework/result.ts'
import type { Bench } from '../../bench/framework/suite.ts'
import { type ProgramParameters, pathOf, programs } from '../../bench/suites/programs/programs.ts'

const bench = { scale: 'quick' } as Bench

test('each program of the recipes is measured as it was, and with the package', (t) => {
  const found = programs.configurations(bench).map(({ row, process }) => {
    const { version } = (process as { parameters: ProgramParameters }).parameters
    t.true(existsSync(pathOf(String(row), version)))
    return `${row}/${version}.js`
  })
  const folder = dirname(dirname(pathOf('frames', 'before')))
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  t.deepEqual(found.sort(), files.filter((name) => /\/(before|after)\.js$/.test(name)).sort())
})

test('a program in threads: its time, its collections, its memory', async (t) => {
  for (const version of ['before', 'after'] as const) {
    const [found] = await programs.measure({ program: 'frames', version, work: 60 })
    t.is(found!.row, 'frames')
    const { wallMs, processorMs, majors, majorMs, peakBytes, residentBytes } = found!.values
    t.true(wallMs! > 0 && processorMs! > 0)
    t.true(majors! >= 0 && majorMs! >= 0)
    t.true(peakBytes! >= residentBytes! && residentBytes! > 2 ** 24)
  }
})

test('a program that fails says why', async (t) => {
  const error = await t.throwsAsync(async () => programs.measure({ program: 'nothing', version: 'before', work: 1 }))
  t.regex(error!.message, /^nothing ended with 1: /)
})

test('a claim is what is left of the figure before', (t) => {
  const of = (contender: string, metric: string, median: number) => ({
    ...{ row: 'uploads', contender, metric, median },
    ...{ low: median, high: median, samples: [median], isNoisy: false },
  })
  const verdicts = programs.verdicts!(
    mediansOf([
      ...[of('as it was', 'wallMs', 1000), of('with spanheap', 'wallMs', 700)],
      ...[of('as it was', 'majors', 100), of('with spanheap', 'majors', 30)],
    ])
  )
  t.deepEqual(
    verdicts.map(({ value, bar }) => [value, bar]),
    [
      [0.7, { most: 0.8 }],
      [0.3, { most: 0.25 }],
    ]
  )
})
