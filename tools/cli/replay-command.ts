import { SingleBar } from 'cli-progress'
import { type Command, Option } from 'commander'
import { ALLOCATORS, type AllocatorName } from '../trace/allocators.ts'
import type { ReplayOptions, ReplayReport } from '../trace/replay.ts'
import { traceFile } from '../trace/shipped.ts'
import { readTrace, type Trace } from '../trace/trace.ts'
import { events, rounds, touch } from './options.ts'
import { endWithParent } from './replay-child.ts'
import { bytes, nanoseconds } from './units.ts'

/** The options, as the command line has checked them. */
interface ReplayCommandOptions {
  allocator: AllocatorName
  rounds: number
  events?: number
  touch: boolean
  threads: boolean
  json: boolean
  ledger?: string
}

/** Adds `spanheap replay`: one trace, one allocator, this process. */
export function addReplay(program: Command): void {
  program
    .command('replay')
    .description('replays one trace on one allocator')
    .argument('<trace>', 'a trace file, or the name of a trace of this package: jq', traceFile)
    .addOption(new Option('--allocator <name>', 'what to replay on').choices(ALLOCATORS).makeOptionMandatory())
    .addOption(rounds(5))
    .addOption(events())
    .addOption(touch())
    .option('--threads', 'a worker for each thread of the trace, all on one heap (tcmalloc)', false)
    .option('--json', 'print one JSON object', false)
    .option('--ledger <file>', 'write a line of JSON for every system call')
    .action(runReplay)
}

async function runReplay(path: string, options: ReplayCommandOptions, command: Command): Promise<void> {
  if (options.threads && options.allocator !== 'tcmalloc') command.error('error: --threads is for tcmalloc only')
  const trace = readTrace(path, options.events)
  const bar =
    options.json || !process.stderr.isTTY
      ? undefined
      : new SingleBar({ format: `${trace.name} {bar} {value}/{total} rounds` })
  bar?.start(options.rounds, 0)
  const settings: ReplayOptions = {
    allocator: options.allocator,
    rounds: options.rounds,
    touch: options.touch,
    ledger: options.ledger,
    onRound: (round) => {
      bar?.update(round)
      endWithParent()
    },
  }
  let report: ReplayReport
  try {
    report = await play(trace, settings, options.threads)
  } finally {
    bar?.stop()
  }
  process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : describe(report))
}

/** Here and not above: other commands do without all the heaps. */
async function play(trace: Trace, settings: ReplayOptions, threads: boolean): Promise<ReplayReport> {
  if (threads) return (await import('../trace/replay-threads.ts')).replayThreads(trace, settings)
  return (await import('../trace/replay.ts')).replay(trace, settings)
}

function describe(report: ReplayReport): string {
  const { syscalls, stopped } = report
  const lines = [
    `${report.trace} on ${report.allocator}: ${report.events} events, ${report.rounds} rounds${report.threads > 1 ? `, ${report.threads} threads` : ''}`,
    `  per event     ${nanoseconds(report.nsPerEvent)} best, ${nanoseconds(report.coldNsPerEvent)} cold`,
    `  peak live     ${bytes(report.peakLiveBytes)}`,
  ]
  if (report.peakMappedBytes !== null) lines.push(`  peak mapped   ${bytes(report.peakMappedBytes)}`)
  if (report.peakResidentBytes !== null) lines.push(`  peak resident ${bytes(report.peakResidentBytes)}`)
  if (syscalls !== null) {
    lines.push(`  system calls  mmap ${syscalls.mmap}, munmap ${syscalls.munmap}, madvise ${syscalls.madvise}`)
  }
  if (stopped !== null) lines.push(`  stopped at event ${stopped.event}: ${stopped.errno}`)
  return `${lines.join('\n')}\n`
}
