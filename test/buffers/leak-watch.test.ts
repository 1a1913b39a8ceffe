import test from 'ava'
import { Heap, type LeakReport } from '../../lib/index.ts'
import { reportOf, runChild } from '../support/child.ts'
import { collectGarbage } from '../support/garbage.ts'

const run = async <T>(task: string): Promise<T> => reportOf<T>(await runChild('leak-watch', [task], ['--expose-gc']))

test('a dropped buffer is told: where it is, how long, whose, and where it was allocated', async (t) => {
  const { address, reports, live, owners } = await run<{
    address: number
    reports: LeakReport[]
    live: number
    owners: unknown[]
  }>('reported')
  t.is(reports.length, 2)
  const [buffer, array] = reports
  t.like(buffer, { kind: 'buffer', address, bytes: 100, tag: 'request' })
  t.like(array, { kind: 'buffer', bytes: 32 })
  for (const { stack } of reports) {
    const [first] = stack!.split('\n')
    t.regex(first!, /test\/children\/leak-watch\.js:\d+:\d+/)
    t.notRegex(stack!, /dist\/lib\//)
  }
  t.true(live > 0, 'it isn’t freed')
  t.deepEqual(owners, [], 'nor counted any more')
})

test('a buffer in a field of an object whose constructor allocated it is told with that', async (t) => {
  t.deepEqual(await run('kept in a field'), ['connection'])
})

test('where nobody listens, the first ten are warnings', async (t) => {
  const warnings = await run<{ code: string; detail: string; message: string }[]>('warnings')
  t.is(warnings.length, 10)
  for (const { code, detail, message } of warnings) {
    t.is(code, 'SPANHEAP_LEAK')
    t.regex(detail, /leak-watch\.js/)
    t.regex(message, /100 bytes at \d+ \(dropped\)/)
  }
  t.regex(warnings[9]!.message, /channel/)
})

test('off: nothing is told', async (t) => {
  t.is(await run('off'), 0)
})

test('sampled: one in 8192 is told, of a heap’s and of a pool’s', async (t) => {
  t.deepEqual(await run('sampled'), { heap: 5, pool: 2 })
})

test('what was freed in whatever way, by whichever thread, is not told', async (t) => {
  t.deepEqual(await run('freed'), { told: 0, owners: [] })
})

test('a realloc that finds no memory leaves the block as it was: watched', async (t) => {
  t.deepEqual(await run('realloc without memory'), { failed: 'ERR_HEAP_OUT_OF_MEMORY', tags: ['still watched'] })
})

test('nothing is told, or given back, of a heap that this thread has closed', async (t) => {
  t.is(await run('closed'), 0)
})

test('a dropped lease, and a dropped buffer of a pool, are told; what was released isn’t', async (t) => {
  const { reports, stats, owners } = await run<{ reports: LeakReport[]; stats: object; owners: unknown }>('pool')
  t.deepEqual(reports.map(({ kind }) => kind).sort(), ['buffer', 'lease'])
  for (const report of reports) {
    t.like(report, { bytes: 300, tag: 'pool' })
    t.regex(report.stack!.split('\n')[0]!, /test\/children\/leak-watch\.js/)
  }
  t.deepEqual(stats, { acquired: 1, leased: 1, idle: 1 })
  t.deepEqual(owners, [{ tag: 'pool', buffers: 3, bytes: 900 }])
})

test('a buffer that another thread has adopted or released is no leak of this one', async (t) => {
  t.deepEqual(await run('adopted'), { told: 0, acquired: 1 })
})

test('what a closed heap watched is left alone when it is collected, while others have the heap open', async (t) => {
  const heap = new Heap({ leaks: 'all' })
  using other = Heap.attach(heap.share())
  for (let i = 0; i < 5; i++) heap.allocBuffer(100)
  heap.close()
  await collectGarbage()
  t.notThrows(() => other.audit())
})
