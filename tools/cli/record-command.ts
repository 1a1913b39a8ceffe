import { basename } from 'node:path'
import { getSystemErrorName } from 'node:util'
import { failed, findProgram, isNode } from '../record/program.ts'
import { endOf, type RecordResult, record } from '../record/record.ts'

/** The options of `spanheap record`, as the command line has checked them. */
export interface RecordCommandOptions {
  output?: string
  native: boolean
  events: number
  signal?: NodeJS.Signals
}

/** `spanheap record`: runs a program, writes the trace, and ends with the program's status. What it says goes to stderr. */
export async function runRecord(command: string, args: string[], options: RecordCommandOptions): Promise<void> {
  const path = options.output ?? `${nameOf(command, args)}.mtrc.gz`
  const result = await record(command, args, path, options)
  const { ending } = result
  process.stderr.write(describe(path, result))
  if (ending.signal === null) process.exitCode = ending.status!
  else if (!ending.wasAsked) throw failed(`${command} ${endOf(ending)}; ${path} holds what it did until then`)
}

/** What a trace is named after: the program, or the script that Node runs. */
function nameOf(command: string, args: readonly string[]): string {
  const script = args.find((arg) => !arg.startsWith('-'))
  const named = script !== undefined && isNode(findProgram(command)) && /^node(js)?$/.test(basename(command))
  return basename(named ? script : command).replace(/\.[cm]?[jt]s$/, '')
}

function describe(path: string, { recorder, counts, unrecordedWorkers, errno }: RecordResult): string {
  const { events, threads, allocations, frees, reallocations, live } = counts
  const lines = [
    `${path}: ${events} events of ${some(threads, 'thread')}: ${some(allocations, 'allocation')}, ${some(frees, 'free')}, ${some(reallocations, 'reallocation')}; ${some(live, 'block')} live at the end`,
  ]
  const note = (count: number, text: string) => {
    if (count > 0) lines.push(`  ${text}`)
  }
  note(
    Number(recorder === 'node'),
    'A free is where the garbage collector found the block, not where the program dropped it.'
  )
  note(Number(counts.isFull), `Recording ended with event ${events} (--events).`)
  note(errno, `Recording ended early: the system refused space for the log (${errno && getSystemErrorName(-errno)}).`)
  note(unrecordedWorkers, `${some(unrecordedWorkers, 'worker')} ran without the recorder.`)
  note(counts.endedByExec, `${some(counts.endedByExec, 'block')} ended by an exec: freed there.`)
  note(counts.unseenFrees, `${some(counts.unseenFrees, 'free')} of blocks that the recorder never saw: left out.`)
  note(counts.missedFrees, `${some(counts.missedFrees, 'block')} handed out again without a free: freed there.`)
  note(counts.clampedSizes, `${some(counts.clampedSizes, 'size')} from 4 GiB on: written as 4 GiB less one byte.`)
  note(counts.lostRecords, `${some(counts.lostRecords, 'record')} lost, where a thread was stopped while it wrote.`)
  return `${lines.join('\n')}\n`
}

function some(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}
