import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { ROOT, reportOf, run } from '../../../test/support/child.ts'
import { endsWithParent } from '../../../test/support/orphan.ts'
import type { ReplayReport } from '../../trace/replay.ts'
import { type TraceEvent, writeTrace } from '../support/trace-file.ts'

const folder = mkdtempSync(join(tmpdir(), 'spanheap-test-'))
test.after.always(() => rmSync(folder, { recursive: true }))

const main = join(ROOT, 'dist/tools/cli/main.js')

async function replay(trace: string, ...args: string[]): Promise<ReplayReport> {
  return reportOf<ReplayReport>(await run(process.execPath, [main, 'replay', trace, '--json', ...args]))
}

/** Every operation, sizes of 0, a block above 1 MiB; at the peak 3 000 000 + 2000 + 100 bytes are live. */
const events: TraceEvent[] = [
  ['malloc', 0, 100],
  ['calloc', 1, 1000],
  ['realloc', 1, 2000],
  ['malloc', 2, 3_000_000],
  ['free', 0],
  ['malloc', 0, 0],
  ['free', 2],
  ['free', 1],
]
const trace = writeTrace(join(folder, 'tiny.mtrc.gz'), 3, events)

const KEYS = [
  'schemaVersion',
  'node',
  'trace',
  'allocator',
  'events',
  'rounds',
  'nsPerEvent',
  'coldNsPerEvent',
  'touched',
  'stopped',
  'syscalls',
  'peakLiveBytes',
  'peakMappedBytes',
  'endMappedBytes',
  'peakResidentBytes',
  'threads',
]

for (const allocator of ['tcmalloc', 'direct', 'buffer']) {
  test(`the report of ${allocator} has just the keys that were promised, with their types`, async (t) => {
    const args = ['replay', trace, '--allocator', allocator, '--json']
    const ended = await run(process.execPath, [main, ...args])
    t.is(ended.stderr, '')
    t.is(ended.stdout.indexOf('\n'), ended.stdout.length - 1, 'one line')
    const report = reportOf<ReplayReport>(ended)
    t.deepEqual(Object.keys(report), KEYS)
    t.like(report, {
      schemaVersion: 2,
      node: process.versions.node,
      trace: 'tiny',
      allocator,
      events: events.length,
      rounds: 5,
      touched: false,
      stopped: null,
      peakLiveBytes: 3_002_100,
    } as Partial<ReplayReport>)
    t.true(report.nsPerEvent > 0 && report.nsPerEvent <= report.coldNsPerEvent)
    if (allocator === 'buffer') {
      t.deepEqual([report.syscalls, report.peakMappedBytes, report.endMappedBytes], [null, null, null])
      return
    }
    t.deepEqual(Object.keys(report.syscalls!), ['mmap', 'munmap', 'madvise'])
    for (const figure of [...Object.values(report.syscalls!), report.peakMappedBytes, report.endMappedBytes]) {
      t.true(Number.isSafeInteger(figure))
    }
    t.true(report.peakMappedBytes! >= 3_002_100)
    t.true(report.endMappedBytes! <= report.peakMappedBytes!)
    t.true(report.peakResidentBytes! >= 0)
  })
}

test('--events replays the first ones only, --rounds as many as asked for', async (t) => {
  const some = await replay(trace, '--allocator', 'tcmalloc', '--events', '3', '--rounds', '2')
  t.like(some, { events: 3, rounds: 2, peakLiveBytes: 2100 })
  t.like(await replay(trace, '--allocator', 'tcmalloc', '--events', '1000'), { events: events.length })
})

test('--touch writes to the blocks: their pages are resident at the peak', async (t) => {
  for (const allocator of ['tcmalloc', 'direct']) {
    const untouched = await replay(trace, '--allocator', allocator)
    const touched = await replay(trace, '--allocator', allocator, '--touch')
    t.like([untouched.touched, touched.touched], [false, true])
    t.true(untouched.peakResidentBytes! < 2_000_000, `${allocator}: ${untouched.peakResidentBytes}`)
    t.true(touched.peakResidentBytes! >= 3_000_000, `${allocator}: ${touched.peakResidentBytes}`)
  }
  t.true((await replay(trace, '--allocator', 'buffer', '--touch')).touched)
})

test('--ledger has a line of JSON for every call that the report counts', async (t) => {
  for (const allocator of ['tcmalloc', 'direct']) {
    const ledger = join(folder, `${allocator}.ledger`)
    const { syscalls } = await replay(trace, '--allocator', allocator, '--ledger', ledger)
    const counts = { mmap: 0, munmap: 0, madvise: 0 }
    for (const line of readFileSync(ledger, 'utf8').trimEnd().split('\n')) {
      t.regex(line, /^\{"call":"(mmap|munmap|madvise)","address":"0x[0-9a-f]+","length":\d+,"ns":\d+\}$/)
      counts[(JSON.parse(line) as { call: keyof typeof counts }).call]++
    }
    // A heap's addresses may be unmapped before the process ends, which is after the close and so not in the report.
    t.deepEqual(syscalls, allocator === 'direct' ? counts : { ...counts, munmap: 0 })
  }
})

test('without the addon the report is the same, the ledger is there, and empty', async (t) => {
  const ledger = join(folder, 'no-addon.ledger')
  const args = ['replay', trace, '--allocator', 'tcmalloc', '--json', '--ledger', ledger]
  const report = reportOf<ReplayReport>(await run(process.execPath, ['--no-addons', main, ...args]))
  t.deepEqual(Object.keys(report), KEYS)
  t.like(report, { syscalls: { mmap: 0, munmap: 0, madvise: 0 }, peakResidentBytes: null })
  t.is(readFileSync(ledger, 'utf8'), '')
})

test('where the system refuses direct another mapping, the report says at which event, and the status is 0', async (t) => {
  // Two fit in the limit, which from Node 24 on is that of the addresses too, but not beside what Node itself takes.
  const size = 3.1e9
  const large = writeTrace(join(folder, 'large.mtrc'), 3, [
    ['malloc', 0, 10],
    ['malloc', 1, size],
    ['malloc', 2, size],
  ])
  const args = [process.execPath, main, 'replay', large, '--allocator', 'direct', '--json']
  const ended = await run('sh', ['-c', `ulimit -v ${6 * 2 ** 20} && exec "$@"`, 'sh', ...args])
  const report = reportOf<ReplayReport>(ended)
  t.deepEqual(report.stopped, { event: 2, errno: 'ENOMEM' })
  t.like(report, { events: 3, rounds: 1, endMappedBytes: 0, syscalls: { mmap: 2, munmap: 2 } })
})

test('a replay of a comparison ends when the comparison is killed', (t) =>
  endsWithParent(t, [main, 'compare', '--rounds', '100000']))
