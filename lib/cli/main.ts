#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import { AllocatorError } from '../errors.ts'
import { ALLOCATORS } from '../trace/replay.ts'
import type { BenchOptions } from './bench-command.ts'
import { runCompare } from './compare.ts'
import { runReplay } from './replay-command.ts'

const WRONG_USAGE = 2

function positiveInteger(value: string): number {
  const number = Number(value)
  if (!Number.isSafeInteger(number) || number < 1)
    throw new InvalidArgumentError('It must be a whole number from 1 on.')
  return number
}

function version(): string {
  const text = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

const memory = () => new Option('--memory <kind>', 'kind of memory').choices(['shared', 'private']).default('shared')
const rounds = (count: number) =>
  new Option('--rounds <n>', 'rounds; the best one counts').argParser(positiveInteger).default(count)
const events = () => new Option('--events <n>', 'only the first N events').argParser(positiveInteger)
const touch = () => new Option('--touch', 'write one byte in every 64 of each block').default(false)

const program = new Command('spanheap')
  .description('Replays what real programs asked of malloc, on this heap and on others, and measures all of them.')
  .version(version())
  .exitOverride()

program
  .command('replay')
  .description('replays one trace on one allocator')
  .argument('<trace>', 'a trace file (docs/traces.md)')
  .addOption(new Option('--allocator <name>', 'what to replay on').choices(ALLOCATORS).makeOptionMandatory())
  .addOption(memory())
  .addOption(rounds(5))
  .addOption(events())
  .addOption(touch())
  .option('--threads', 'a worker for each thread of the trace, all on one heap (tcmalloc, shared memory)', false)
  .option('--json', 'print one JSON object', false)
  .option('--ledger <file>', 'write a line of JSON for every system call')
  .action(runReplay)

program
  .command('compare')
  .description('replays all traces on all allocators, each in a process of its own, and prints a table')
  .argument('[traces...]', 'trace files; by default those of this package')
  .addOption(memory())
  .addOption(rounds(20))
  .addOption(events())
  .addOption(touch())
  .action(runCompare)

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
    const expected = error instanceof AllocatorError || (error instanceof Error && 'syscall' in error)
    process.stderr.write(`spanheap: ${expected ? (error as Error).message : (error as Error).stack}\n`)
  }
}
