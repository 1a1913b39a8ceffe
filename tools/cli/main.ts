#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { types } from 'node:util'
import { Command, CommanderError } from 'commander'
import { AllocatorError } from 'spanheap'
import { PACKAGE_ROOT } from '../package-root.ts'
import { addAdvise } from './advise-command.ts'
import { addBench } from './bench-command.ts'
import { addCompare } from './compare-command.ts'
import { addRecord } from './record-command.ts'
import { addReplay } from './replay-command.ts'

const WRONG_USAGE = 2

function version(): string {
  const text = readFileSync(join(PACKAGE_ROOT, 'package.json'), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

const program = new Command('spanheap')
  .description('Records what programs allocate, replays it on this heap and on others, and measures all of them.')
  .version(version())
  .enablePositionalOptions()
  .exitOverride()

// In the order of the help.
for (const add of [addReplay, addCompare, addRecord, addAdvise, addBench]) add(program)

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
