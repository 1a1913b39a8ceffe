import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { shippedTrace } from '../../trace/shipped.ts'

const folder = mkdtempSync(join(tmpdir(), 'spanheap-cli-'))
test.after.always(() => rmSync(folder, { recursive: true }))

const main = fileURLToPath(new URL('../../cli/main.js', import.meta.url))
const sqlite = shippedTrace('sqlite')

function run(...args: string[]) {
  return spawnSync(process.execPath, [main, ...args], { encoding: 'utf8' })
}

/** An unpacked trace of these records. */
function traceOf(name: string, slots: number, records: number[][]): string {
  const path = join(folder, name)
  const words = [0x4352544d, 1, 1, slots, records.length, 0, 0, 0, ...records.flat()]
  writeFileSync(path, Uint8Array.from(Buffer.from(Uint32Array.from(words).buffer)))
  return path
}

const KEYS = [
  ...['schemaVersion', 'node', 'trace', 'allocator', 'events', 'rounds', 'nsPerEvent', 'coldNsPerEvent'],
  ...['touched', 'stopped', 'syscalls', 'peakLiveBytes', 'peakMappedBytes', 'endMappedBytes', 'peakResidentBytes'],
  'threads',
]

for (const touch of [[], ['--touch']]) {
  test(`a replay on tcmalloc reports as JSON: ${touch.join('')}`, (t) => {
    const options = ['--rounds', '2', '--events', '20000', '--json', ...touch]
    const { stdout, stderr, status } = run('replay', sqlite, '--allocator', 'tcmalloc', ...options)
    t.is(status, 0, stderr)
    const report = JSON.parse(stdout)
    t.deepEqual(Object.keys(report), KEYS)
    t.like(report, {
      schemaVersion: 2,
      node: process.versions.node,
      trace: 'sqlite',
      allocator: 'tcmalloc',
      events: 20_000,
      rounds: 2,
      touched: touch.length > 0,
      stopped: null,
    })
    t.true(report.nsPerEvent > 0 && report.nsPerEvent <= report.coldNsPerEvent)
    t.true(report.peakMappedBytes >= report.peakLiveBytes && report.endMappedBytes <= report.peakMappedBytes)
    t.true(report.syscalls.mmap >= 5)
    t.true(touch.length === 0 || report.peakResidentBytes >= report.peakLiveBytes)
  })
}

test('direct makes one mmap and one munmap for each block', (t) => {
  const trace = traceOf('pairs.mtrc', 2, [
    [0, 0, 10],
    [3, 1, 9000],
    [1, 0, 0],
    [0, 0, 5],
    [1, 1, 0],
  ])
  const report = JSON.parse(run('replay', trace, '--allocator', 'direct', '--rounds', '3', '--json').stdout)
  t.deepEqual(report.syscalls, { mmap: 9, munmap: 9, madvise: 0 })
  t.is(report.endMappedBytes, 0)
  t.is(report.peakLiveBytes, 9010)
})

test('Node’s buffers have no system calls to tell of', (t) => {
  const report = JSON.parse(
    run('replay', sqlite, '--allocator', 'buffer', '--events', '5000', '--rounds', '1', '--json').stdout
  )
  t.like(report, { syscalls: null, peakMappedBytes: null, endMappedBytes: null, peakResidentBytes: null })
})

test('the ledger has a line for every call, from construction to close', (t) => {
  const ledger = join(folder, 'ledger.jsonl')
  const args = ['--allocator', 'tcmalloc', '--rounds', '2', '--json', '--ledger', ledger]
  const report = JSON.parse(run('replay', sqlite, ...args).stdout)
  const calls = readFileSync(ledger, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  for (const call of calls) {
    t.deepEqual(Object.keys(call), ['call', 'address', 'length', 'ns'])
    t.regex(call.address, /^0x[0-9a-f]+$/)
    t.true(call.length > 0)
  }
  const count = (name: string) => calls.filter(({ call }) => call === name).length
  // The addresses may be unmapped before the process ends, which is after the close and so not in the report.
  t.deepEqual({ mmap: count('mmap'), munmap: 0, madvise: count('madvise') }, report.syscalls)
  t.true(count('munmap') <= 2)
})

test('without --json it is told in words', (t) => {
  const { stdout, status } = run('replay', sqlite, '--allocator', 'tcmalloc', '--events', '1000', '--rounds', '1')
  t.is(status, 0)
  t.regex(stdout, /sqlite on tcmalloc: 1000 events, 1 rounds/)
  t.regex(stdout, /system calls {2}mmap \d+/)
})

test('bad input: status 1, and one line that says what and where', (t) => {
  const notATrace = join(folder, 'text')
  writeFileSync(notATrace, 'this is no trace, but it is long enough for a header')
  const short = join(folder, 'short.mtrc.gz')
  writeFileSync(short, readFileSync(sqlite).subarray(0, 5000))
  const cases: [string, RegExp][] = [
    [join(folder, 'missing'), /no such file/],
    [folder, /directory/],
    [notATrace, /at offset 0: it is no trace/],
    [short, /at offset \d+: the packed file is cut short/],
    [traceOf('free.mtrc', 4, [[1, 2, 0]]), /at offset 32: event 0 frees slot 2, which is empty/],
  ]
  for (const [path, message] of cases) {
    const { stdout, stderr, status } = run('replay', path, '--allocator', 'tcmalloc', '--json')
    t.is(status, 1, path)
    t.is(stdout, '')
    t.regex(stderr, message)
    t.is(stderr.trimEnd().split('\n').length, 1, stderr)
  }
})

test('wrong usage: status 2', (t) => {
  const cases = [
    ['replay'],
    ['replay', sqlite],
    ['replay', sqlite, '--allocator', 'nope'],
    ['replay', sqlite, '--allocator', 'tcmalloc', '--rounds', '0'],
    ['replay', sqlite, '--allocator', 'tcmalloc', '--events', 'ten'],
    ['replay', sqlite, '--allocator', 'tcmalloc', '--memory', 'shared'],
    ['replay', sqlite, '--allocator', 'tcmalloc', '--what'],
    ['nonsense'],
  ]
  for (const args of cases) t.is(run(...args).status, 2, args.join(' '))
  t.is(run('--version').status, 0)
  t.is(run('replay', '--help').status, 0)
})

test('compare prints a line for each trace and allocator', (t) => {
  const trace = traceOf('tiny.mtrc', 3, [
    [0, 0, 100],
    [0, 1, 5000],
    [2, 0, 300],
    [1, 0, 0],
    [3, 2, 64],
  ])
  const { stdout, stderr, status } = run('compare', trace, '--rounds', '1')
  t.is(status, 0, stderr)
  for (const allocator of ['tcmalloc', 'direct', 'buffer']) t.regex(stdout, new RegExp(`tiny.*${allocator}.*[nµ]s`))
  t.is(run('compare', join(folder, 'missing')).status, 1)
})
