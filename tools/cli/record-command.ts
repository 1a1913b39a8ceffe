import { constants } from 'node:os'
import { basename } from 'node:path'
import { getSystemErrorName } from 'node:util'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { failed, findProgram, isNode } from '../record/program.ts'
import { DEFAULT_EVENTS, endOf, MOST_EVENTS, type RecordResult, record } from '../record/record.ts'
import { positiveInteger } from './options.ts'

/** The options, as the command line has checked them. */
interface RecordCommandOptions {
  output?: string
  native: boolean
  events: number
  signal?: NodeJS.Signals
}

/** Adds `spanheap record`: runs a program, writes the trace, and ends with the program's status. What it says goes to stderr. */
export function addRecord(program: Command): void {
  program
    .command('record')
    .description(
      'runs a program and writes a trace of what it allocates: Node’s buffers, or malloc (docs/recording.md)'
    )
    .argument('<program>', 'what to run; for Node its Buffers and ArrayBuffers are recorded, for all else malloc')
    .argument('[args...]', 'its arguments')
    .option('-o, --output <file>', 'the trace; by default the program’s name with .mtrc.gz')
    .option('--native', 'record malloc, even of Node', false)
    .addOption(new Option('--events <n>', 'only the first N events').argParser(eventsToRecord).default(DEFAULT_EVENTS))
    .addOption(
      new Option(
        '--signal <name>',
        'what to send the program on Ctrl-C or SIGTERM, in place of the same signal'
      ).argParser(signalName)
    )
    .passThroughOptions()
    .action(runRecord)
}

function eventsToRecord(value: string): number {
  const number = positiveInteger(value)
  if (number > MOST_EVENTS) throw new InvalidArgumentError(`It must be ${MOST_EVENTS} at most.`)
  return number
}

function signalName(value: string): NodeJS.Signals {
  const name = `SIG${value.toUpperCase().replace(/^SIG/, '')}`
  if (!(name in constants.signals)) throw new InvalidArgumentError('There is no such signal.')
  return name as NodeJS.Signals
}

async function runRecord(command: string, args: string[], options: RecordCommandOptions): Promise<void> {
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
