import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { ROOT, reportOf, run } from '../../../test/support/child.ts'
import type { Advice } from '../../advise/advice.ts'
import { type TraceEvent, writeTrace } from '../support/trace-file.ts'

const folder = mkdtempSync(join(tmpdir(), 'spanheap-advise-'))
test.after.always(() => rmSync(folder, { recursive: true }))

const main = join(ROOT, 'dist/tools/cli/main.js')
const advise = (...args: string[]) => run(process.execPath, [main, 'advise', ...args])

/** So many blocks of each of some sizes, each freed when its slot is needed again. */
function churn(name: string, sizes: readonly number[], rounds: number): string {
  const events: TraceEvent[] = []
  const slots = 50
  for (let at = 0; at < rounds; at++) {
    if (at >= slots) events.push(['free', at % slots])
    events.push(['malloc', at % slots, sizes[at % sizes.length]!])
  }
  return writeTrace(join(folder, name), slots, events)
}

const large = churn('large.mtrc.gz', [65_536], 3000)
const mixed = churn('mixed.mtrc.gz', [5000, 40_000, 7777, 100_000], 3000)
const small = churn('small.mtrc.gz', [30, 60, 90], 30_000)

const KEYS = [
  'schemaVersion',
  'node',
  'trace',
  'events',
  'threads',
  'peakLiveBytes',
  'verdict',
  'savedNanoseconds',
  'replays',
  'profile',
  'settings',
  'classes',
]

test('--json: one object with just the keys that were promised', async (t) => {
  const ended = await advise(mixed, '--json', '--rounds', '2')
  t.is(ended.stdout.indexOf('\n'), ended.stdout.length - 1, 'one line')
  const advice = reportOf<Advice>(ended)
  t.deepEqual(Object.keys(advice), KEYS)
  t.like(advice, { schemaVersion: 2, trace: 'mixed', events: 5950, threads: 1 })
  t.is(advice.replays.tcmalloc.allocator, 'tcmalloc')
  t.is(advice.replays.buffer.allocator, 'buffer')
  const [published, heap, fitted] = advice.classes.rows
  t.true(published!.used === 4 && heap!.used === 4 && fitted!.used === 4)
  t.true(fitted!.waste < heap!.waste && fitted!.saved > 0)
  t.deepEqual(fitted!.sizes, [5008, 7792, 40_000, 100_000])
})

test('buffers of one size: a BufferPool of it', async (t) => {
  const { verdict, settings, savedNanoseconds } = reportOf<Advice>(await advise(large, '--json', '--rounds', '2'))
  t.is(
    verdict.use,
    savedNanoseconds > 0 ? 'yes' : 'no',
    'as the times of these two rounds have it, which on a busy machine are chance'
  )
  t.like(
    settings.find(({ name }) => name.startsWith('BufferPool')),
    { value: 65_536 }
  )
})

test('buffers of several sizes: a PoolSet of them', async (t) => {
  const { settings } = reportOf<Advice>(await advise(mixed, '--json', '--rounds', '2'))
  const set = settings.find(({ name }) => name.startsWith('PoolSet'))
  t.deepEqual(set?.value, [5008, 7792, 40_000, 100_000])
})

test('small blocks that soon die: not with this', async (t) => {
  const { verdict, settings } = reportOf<Advice>(await advise(small, '--json', '--rounds', '2'))
  t.is(verdict.use, 'no')
  t.false(settings.some(({ name }) => name.includes('Pool')))
})

test('the text has every part', async (t) => {
  const { status, stdout, stderr } = await advise(mixed, '--rounds', '2')
  t.is(status, 0, stderr)
  t.is(stderr, '')
  for (const part of [/per event/, /Sizes/, /Lives/, /Settings/, /limitBytes/, /fitted, as many/]) t.regex(stdout, part)
})

test('an empty trace has advice too', async (t) => {
  const { status, stderr } = await advise(writeTrace(join(folder, 'empty.mtrc'), 0, []), '--rounds', '1')
  t.is(status, 0, stderr)
})

const cut = join(folder, 'cut.mtrc.gz')
writeFileSync(cut, readFileSync(large).subarray(0, 200))

for (const [title, path, message] of [
  ['a trace that is cut short', cut, /cut\.mtrc\.gz.*cut short/],
  ['a file that isn’t there', join(folder, 'none'), /none/],
] as const) {
  test(`${title}: status 1, and one line`, async (t) => {
    const { status, stdout, stderr } = await advise(path)
    t.is(status, 1)
    t.is(stdout, '')
    t.regex(stderr, /^spanheap: [^\n]+\n$/)
    t.regex(stderr, message)
  })
}

test('no trace is wrong usage: status 2', async (t) => {
  t.is((await advise()).status, 2)
  t.is((await advise(large, '--fast')).status, 2)
})
