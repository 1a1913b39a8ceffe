import { SingleBar } from 'cli-progress'
import type { Command } from 'commander'
import { type AllocatorName, type ReplayOptions, type ReplayReport, replay } from '../trace/replay.ts'
import { replayThreads } from '../trace/replay-threads.ts'
import { readTrace } from '../trace/trace.ts'
import { endWithParent } from './replay-child.ts'
import { bytes, nanoseconds } from './units.ts'

/** The options of `spanheap replay`, as the command line has checked them. */
export interface ReplayCommandOptions {
  allocator: AllocatorName
  rounds: number
  events?: number
  touch: boolean
  threads: boolean
  json: boolean
  ledger?: string
}

/** `spanheap replay`: one trace, one allocator, this process. */
export async function runReplay(path: string, options: ReplayCommandOptions, command: Command): Promise<void> {
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
    report = options.threads ? await replayThreads(trace, settings) : replay(trace, settings)
  } finally {
    bar?.stop()
  }
  process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : describe(report))
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
