/**
 * Holds the ledger against strace: every system call that strace sees the library make must be in the ledger, and no other,
 * in the same order. All events of all traces; tools/test/trace/ledger-strace.test.ts has the start of each.
 *
 *     node dist/tools/test/trace/ledger-strace.js [--traces jq,perl] [--allocator tcmalloc|go|freelist] [--events N] [--rounds N]
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import Table from 'cli-table3'
import { TRACES } from '../../bench/framework/peers.ts'
import { firstDifference, straceReplay } from '../support/strace.ts'

const { values } = parseArgs({
  options: {
    traces: { type: 'string', default: TRACES.join(',') },
    allocator: { type: 'string', default: 'tcmalloc' },
    events: { type: 'string' },
    rounds: { type: 'string', default: '3' },
  },
})

const folder = mkdtempSync(join(tmpdir(), 'spanheap-bench-'))
process.once('exit', () => rmSync(folder, { recursive: true, force: true }))

const rows = new Table({
  head: ['trace', 'mmap', 'munmap', 'madvise', 'releases', 'in the ledger', ''],
  style: { head: [], border: [], compact: true },
})
for (const trace of values.traces.split(',')) {
  const rounds = Number(values.rounds)
  const events = values.events === undefined ? {} : { events: Number(values.events) }
  const replay = await straceReplay(folder, { trace, allocator: values.allocator, rounds, ...events })
  const difference = firstDifference(replay)
  if (difference !== undefined) process.exitCode = 1
  const count = (name: string) => replay.traced.filter(({ call }) => call === name).length
  rows.push([
    trace,
    count('mmap'),
    count('munmap'),
    count('madvise'),
    replay.traced.filter(({ advice }) => advice === 'MADV_DONTNEED').length,
    replay.ledger.length,
    difference ?? 'the same',
  ])
}
console.log(`System calls of a replay as strace sees them, and the ledger beside them\n${rows.toString()}`)
