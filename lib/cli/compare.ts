import { execFile } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { SingleBar } from 'cli-progress'
import Table from 'cli-table3'
import { AllocatorError } from '../errors.ts'
import { isAddon, loadAddon } from '../os/addon.ts'
import type { MemoryKind } from '../os/mapper.ts'
import { ALLOCATORS, type AllocatorName, type ReplayReport } from '../trace/replay.ts'
import { nanoseconds } from './units.ts'

/** The options of `spanheap compare`, as the command line has checked them. */
export interface CompareOptions {
  memory: MemoryKind
  rounds: number
  events?: number
  touch: boolean
}

/** With one or two system calls an event, a round of it takes a hundred times as long; it needs no warm-up either. */
const MOST_DIRECT_ROUNDS = 2

const run = promisify(execFile)

/** `spanheap compare`: every trace on every allocator, each in a process of its own, then one table. */
export async function runCompare(paths: string[], options: CompareOptions): Promise<void> {
  const traces = paths.length > 0 ? paths : ownTraces()
  const allocators = ALLOCATORS.filter((allocator) => allocator !== 'direct' || isAddon(loadAddon()))
  const jobs = traces.flatMap((path) => allocators.map((allocator) => ({ path, allocator })))
  const bar = process.stderr.isTTY ? new SingleBar({ format: '{bar} {value}/{total} {job}' }) : undefined
  bar?.start(jobs.length, 0, { job: '' })
  const reports: ReplayReport[] = []
  for (const job of jobs) {
    bar?.update(reports.length, { job: `${basename(job.path)} on ${job.allocator}` })
    reports.push(await replayInChild(job.path, job.allocator, options))
  }
  bar?.update(jobs.length, { job: '' })
  bar?.stop()
  process.stdout.write(`${table(reports)}\n${legend(options)}\n`)
}

function ownTraces(): string[] {
  const folder = fileURLToPath(new URL('../../../traces', import.meta.url))
  return readdirSync(folder)
    .filter((name) => name.endsWith('.mtrc.gz'))
    .sort()
    .map((name) => join(folder, name))
}

async function replayInChild(path: string, allocator: AllocatorName, options: CompareOptions): Promise<ReplayReport> {
  const main = fileURLToPath(new URL('./main.js', import.meta.url))
  const args = [main, 'replay', path, '--allocator', allocator, '--memory', options.memory, '--json']
  args.push('--rounds', String(allocator === 'direct' ? Math.min(options.rounds, MOST_DIRECT_ROUNDS) : options.rounds))
  if (options.events !== undefined) args.push('--events', String(options.events))
  if (options.touch) args.push('--touch')
  try {
    const { stdout } = await run(process.execPath, args)
    return JSON.parse(stdout) as ReplayReport
  } catch (error) {
    const { stderr } = error as { stderr?: string }
    if (stderr === undefined) throw error
    throw new AllocatorError('ERR_TRACE_INVALID', stderr.replace(/^spanheap: /, '').trim(), { cause: error })
  }
}

function table(reports: ReplayReport[]): string {
  const rows = new Table({
    head: ['trace', 'allocator', 'best', 'cold', 'mmap', 'munmap', 'madvise', 'mapped/live', 'resident/live', ''],
    colAligns: ['left', 'left', 'right', 'right', 'right', 'right', 'right', 'right', 'right', 'left'],
    style: { head: [], border: [], compact: true },
  })
  for (const report of reports) {
    const { syscalls, stopped } = report
    rows.push([
      report.trace,
      report.allocator,
      nanoseconds(report.nsPerEvent),
      nanoseconds(report.coldNsPerEvent),
      count(syscalls?.mmap),
      count(syscalls?.munmap),
      count(syscalls?.madvise),
      ratio(report.peakMappedBytes, report),
      ratio(report.peakResidentBytes, report),
      stopped === null ? '' : `${stopped.errno} at event ${stopped.event}`,
    ])
  }
  return rows.toString()
}

function count(value: number | undefined): string {
  return value === undefined ? '–' : String(value)
}

/** Over the peak of what was live: where a replay was stopped before it reached that, the ratio would say nothing. */
function ratio(value: number | null, { peakLiveBytes, stopped }: ReplayReport): string {
  return value === null || stopped !== null ? '–' : (value / peakLiveBytes).toFixed(2)
}

function legend({ rounds, touch }: CompareOptions): string {
  return [
    `Time per event of the best of ${rounds} rounds (direct: ${Math.min(rounds, MOST_DIRECT_ROUNDS)}), and of the first (cold). System calls of all rounds, construction to close.`,
    `Mapped and resident bytes at their peak over the peak of live bytes; blocks were ${touch ? 'written to' : 'not written to (--touch does)'}.`,
    'direct: one mmap per allocation. buffer: Buffer.allocUnsafeSlow, garbage collection included.',
  ].join('\n')
}
