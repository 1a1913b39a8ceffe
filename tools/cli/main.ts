#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { types } from 'node:util'
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import { AllocatorError } from 'spanheap'
import { PACKAGE_ROOT } from '../package-root.ts'
import { DEFAULT_EVENTS, MOST_EVENTS } from '../record/record.ts'
import { ALLOCATORS } from '../trace/replay.ts'
import { traceFile } from '../trace/shipped.ts'

import { runAdvise } from './advise-command.ts'
import type { BenchOptions } from './bench-command.ts'

import { runCompare } from './compare.ts'
import { runRecord } from './record-command.ts'
import { runReplay } from './replay-command.ts'

const WRONG_USAGE = 2

function positiveInteger(value: string): number {
  const number = Number(value)
  if (!Number.isSafeInteger(number) || number < 1)
    throw new InvalidArgumentError('It must be a whole number from 1 on.')
  return number
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

function version(): string {
  const text = readFileSync(join(PACKAGE_ROOT, 'package.json'), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

const rounds = (count: number) =>
  new Option('--rounds <n>', 'rounds; the best one counts').argParser(positiveInteger).default(count)
const events = () => new Option('--events <n>', 'only the first N events').argParser(positiveInteger)
const touch = () => new Option('--touch', 'write one byte in every 64 of each block').default(false)

const program = new Command('spanheap')
  .description('Records what programs allocate, replays it on this heap and on others, and measures all of them.')
  .version(version())
  .enablePositionalOptions()
  .exitOverride()

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

program
  .command('compare')
  .description('replays all traces on all allocators, each in a process of its own, and prints a table')
  .argument('[traces...]', 'trace files, or names of traces of this package; by default all of those')
  .addOption(rounds(20))
  .addOption(events())
  .addOption(touch())
  .action(runCompare)

program
  .command('record')
  .description('runs a program and writes a trace of what it allocates: Node’s buffers, or malloc (docs/recording.md)')
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

program
  .command('advise')
  .description('says what the program that a trace is of would gain or lose with this heap, and by which settings')
  .argument('<trace>', 'a trace file, such as `record` writes, or the name of a trace of this package', traceFile)
  .addOption(rounds(5))
  .addOption(events())
  .option('--json', 'print one JSON object', false)
  .action(runAdvise)

program
  .command('bench')
  .description('measures this package, Node and native allocators, and writes a report')
  .option('--quick', 'what fits in a minute; otherwise a quarter of an hour', false)
  .option('--only <suites...>', 'only these suites')
  .addOption(new Option('--rounds <n>', 'rounds, in each of which all has its turn').argParser(positiveInteger))
  .option('--html <file>', 'where the report goes', 'spanheap-bench.html')
  .option('--json <file>', 'where all figures go', 'spanheap-bench.json')
  .option('--compare <file>', 'the figures of an earlier run: what moved beyond noise')
  .action(async (options: BenchOptions, command: Command) => {
    // Here and not above: the benchmark is more than all other commands together.
    const { runBenchCommand } = await import('./bench-command.ts')
    await runBenchCommand(options, (message) => command.error(message, { exitCode: WRONG_USAGE }))
  })

try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : WRONG_USAGE
  } else {
    process.exitCode = 1
    const expected = error instanceof AllocatorError || (types.isNativeError(error) && 'syscall' in error)
    process.stderr.write(`spanheap: ${expected ? (error as Error).message : (error as Error).stack}\n`)
  }
}
