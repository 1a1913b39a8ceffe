import { writeFileSync } from 'node:fs'
import { SingleBar } from 'cli-progress'
import type { Command } from 'commander'
import { compareResults } from '../bench/framework/comparison.ts'
import { htmlReport } from '../bench/framework/html-report.ts'
import { readResult } from '../bench/framework/result.ts'
import { type Progress, runBench } from '../bench/framework/run.ts'
import { SUITES } from '../bench/framework/suites.ts'
import { textReport } from '../bench/framework/text-report.ts'

/** The options of `spanheap bench`, as the command line has checked them. */
export interface BenchOptions {
  quick: boolean
  /** Names of suites; all by default. */
  only?: string[]
  rounds?: number
  html: string
  json: string
  compare?: string
}

/** Measures, prints tables, and writes a report and all figures. */
export async function measure(options: BenchOptions, command: Command): Promise<void> {
  const names = SUITES.map(({ name }) => name)
  const unknown = options.only?.find((name) => !names.includes(name))
  if (unknown !== undefined) command.error(`error: there is no suite '${unknown}'; there are ${names.join(', ')}`)
  const suites = SUITES.filter(({ name }) => options.only?.includes(name) ?? true)
  // Before the run: nobody waits a quarter of an hour to be told that a file isn't there.
  const before = options.compare === undefined ? undefined : readResult(options.compare)
  for (const file of [options.html, options.json]) writeFileSync(file, '', { flag: 'a' })
  const bar = new SingleBar({ format: '{bar} {value}/{total} {left} {job}', noTTYOutput: false, hideCursor: true })
  const report = (progress: Progress) => {
    const { done, total, suite, contender, secondsLeft } = progress
    if (done === 0) bar.start(total, 0, { job: '', left: '' })
    bar.update(done, { job: `${suite}: ${contender}`, left: secondsLeft === undefined ? '' : timeLeft(secondsLeft) })
  }
  const result = await runBench(suites, options.quick ? 'quick' : 'full', options.rounds, report)
  bar.update(bar.getTotal(), { job: '', left: '' })
  bar.stop()
  const comparison = before === undefined ? undefined : compareResults(before, result)
  writeFileSync(options.json, `${JSON.stringify(result)}\n`)
  writeFileSync(options.html, htmlReport(result, comparison))
  process.stdout.write(
    `${textReport(result, comparison)}\n\nThe report: ${options.html}; all figures: ${options.json}\n`
  )
}

function timeLeft(seconds: number): string {
  const minutes = Math.floor(seconds / 60)
  const rest = String(Math.round(seconds % 60)).padStart(2, '0')
  return `${minutes}:${rest} left`
}
