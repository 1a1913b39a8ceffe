import { SingleBar } from 'cli-progress'
import type { Command } from 'commander'
import { type Advice, adviceOn } from '../advise/advice.ts'
import type { AllocatorName } from '../trace/allocators.ts'
import type { ReplayReport } from '../trace/replay.ts'
import { traceFile } from '../trace/shipped.ts'
import { readTrace } from '../trace/trace.ts'
import { adviceText } from './advice-text.ts'
import { events, rounds } from './options.ts'
import { replayInChild } from './replay-child.ts'

/** The options, as the command line has checked them. */
interface AdviseOptions {
  rounds: number
  events?: number
  json: boolean
}

const ALLOCATORS = ['tcmalloc', 'buffer'] as const satisfies AllocatorName[]

/** Adds `spanheap advise`: what the program that a trace is of would gain or lose, and by which settings. */
export function addAdvise(program: Command): void {
  program
    .command('advise')
    .description('says what the program that a trace is of would gain or lose with this heap, and by which settings')
    .argument('<trace>', 'a trace file, such as `record` writes, or the name of a trace of this package', traceFile)
    .addOption(rounds(5))
    .addOption(events())
    .option('--json', 'print one JSON object', false)
    .action(runAdvise)
}

async function runAdvise(path: string, options: AdviseOptions): Promise<void> {
  const { rounds, events, json } = options
  const trace = readTrace(path, events)
  const bar = json || !process.stderr.isTTY ? undefined : new SingleBar({ format: '{bar} {value}/{total} {job}' })
  bar?.start(ALLOCATORS.length, 0, { job: '' })
  const reports: ReplayReport[] = []
  try {
    for (const allocator of ALLOCATORS) {
      bar?.update(reports.length, { job: `on ${allocator}` })
      reports.push(await replayInChild(path, allocator, { rounds, touch: true, events }))
    }
    bar?.update(ALLOCATORS.length, { job: '' })
  } finally {
    bar?.stop()
  }
  const [tcmalloc, buffer] = reports
  const advice: Advice = adviceOn(trace, tcmalloc!, buffer!)
  process.stdout.write(json ? `${JSON.stringify(advice)}\n` : adviceText(advice))
}
