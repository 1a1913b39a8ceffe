import { basename } from 'node:path'
import { SingleBar } from 'cli-progress'
import Table from 'cli-table3'
import type { Command } from 'commander'
import { openMapper } from 'spanheap/testing'
import { ALLOCATORS, type AllocatorName } from '../trace/allocators.ts'
import type { ReplayReport } from '../trace/replay.ts'
import { shippedTraces, traceFile } from '../trace/shipped.ts'
import { events, rounds, touch } from './options.ts'
import { type ChildReplayOptions, replayInChild } from './replay-child.ts'
import { nanoseconds } from './units.ts'

/** The options, as the command line has checked them. */
interface CompareOptions {
  rounds: number
  events?: number
  touch: boolean
}

/**
 * Designs that take a hundred times as long, by a system call for each event, or by a search of all blocks. They replay the start of a
 * trace, once: no warm-up shows there, and a whole trace takes up to twenty seconds by system calls, and minutes by searches.
 */
const SLOW: readonly AllocatorName[] = ['freelist', 'direct']
const SLOW_EVENTS = 20_000
const BESIDE_SLOW: readonly AllocatorName[] = ['tcmalloc', 'go']
/** The most rounds of a design, where that is fewer than all get. Each round of Node's buffers has collections enough. */
const MOST_ROUNDS: Partial<Readonly<Record<AllocatorName, number>>> = { buffer: 5, direct: 1, freelist: 1 }

/** Adds `spanheap compare`: every trace on every allocator, each in a process of its own, then one table. */
export function addCompare(program: Command): void {
  program
    .command('compare')
    .description('replays all traces on all allocators, each in a process of its own, and prints a table')
    .argument('[traces...]', 'trace files, or names of traces of this package; by default all of those')
    .addOption(rounds(20))
    .addOption(events())
    .addOption(touch())
    .action(runCompare)
}

async function runCompare(paths: string[], options: CompareOptions): Promise<void> {
  const traces = paths.length > 0 ? paths.map(traceFile) : shippedTraces()
  const jobs = jobsFor(traces, options)
  const bar = process.stderr.isTTY ? new SingleBar({ format: '{bar} {value}/{total} {job}' }) : undefined
  bar?.start(jobs.length, 0, { job: '' })
  const reports: ReplayReport[] = []
  for (const job of jobs) {
    bar?.update(reports.length, { job: `${basename(job.path)} on ${job.allocator}` })
    reports.push(await replayInChild(job.path, job.allocator, settingsOf(job, options)))
  }
  bar?.update(jobs.length, { job: '' })
  bar?.stop()
  process.stdout.write(`${table(reports)}\n${legend(options)}\n`)
}

/** One replay. */
interface Job {
  path: string
  allocator: AllocatorName
  events: number | undefined
}

/** Every trace on the designs that can replay all of it; then, where it is longer than the others can take, its start on those. */
function jobsFor(traces: string[], { events }: CompareOptions): Job[] {
  const allocators = ALLOCATORS.filter((allocator) => allocator !== 'direct' || openMapper({}).name === 'native')
  const isShort = events !== undefined && events <= SLOW_EVENTS
  const whole = allocators.filter((name) => isShort || !SLOW.includes(name))
  const starts = allocators.filter((name) => !isShort && (SLOW.includes(name) || BESIDE_SLOW.includes(name)))
  return traces.flatMap((path) => [
    ...whole.map((allocator) => ({ path, allocator, events })),
    ...starts.map((allocator) => ({ path, allocator, events: SLOW_EVENTS })),
  ])
}

function settingsOf({ allocator, events }: Job, { rounds, touch }: CompareOptions): ChildReplayOptions {
  return { rounds: roundsOf(allocator, rounds), touch, events }
}

function roundsOf(allocator: AllocatorName, rounds: number): number {
  return Math.min(rounds, MOST_ROUNDS[allocator] ?? rounds)
}

function table(reports: ReplayReport[]): string {
  const rows = new Table({
    head: [
      'trace',
      'events',
      'allocator',
      'best',
      'cold',
      'mmap',
      'munmap',
      'madvise',
      'mapped/live',
      'resident/live',
      '',
    ],
    colAligns: ['left', 'right', 'left', 'right', 'right', 'right', 'right', 'right', 'right', 'right', 'left'],
    style: { head: [], border: [], compact: true },
  })
  for (const report of reports) {
    const { syscalls, stopped } = report
    rows.push([
      report.trace,
      report.events,
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
  const fewer = (Object.keys(MOST_ROUNDS) as AllocatorName[]).map((name) => `${name}: ${roundsOf(name, rounds)}`)
  return [
    `Time per event of the best of ${rounds} rounds (${fewer.join(', ')}), and of the first (cold). System calls of all rounds, construction to close.`,
    `Mapped and resident bytes at their peak over the peak of live bytes; blocks were ${touch ? 'written to' : 'not written to (--touch does)'}.`,
    'direct: one mmap per allocation. buffer: Buffer.allocUnsafeSlow, garbage collection included. freelist: one list of all blocks, first fit.',
    `direct and freelist replay the first ${SLOW_EVENTS} events of a trace, and the others beside them the same.`,
  ].join('\n')
}
