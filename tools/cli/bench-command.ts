import { type Command, Option } from 'commander'
import type { BenchOptions } from './bench-run.ts'
import { positiveInteger } from './options.ts'

/** Adds `spanheap bench`: this package, Node and native allocators, measured. */
export function addBench(program: Command): void {
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
      const { measure } = await import('./bench-run.ts')
      await measure(options, command)
    })
}
