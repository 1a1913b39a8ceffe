import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { holds, mediansOf, readResult } from '../../bench/framework/result.ts'
import { resultOf } from './fake-result.ts'

test('samples of all rounds become a median each, and what has no value none', (t) => {
  const [suite] = resultOf([10, 12, 11]).suites
  const found = suite!.measurements.map(({ row, contender, metric, median, samples }) => [
    row,
    contender,
    metric,
    median,
    samples.length,
  ])
  t.deepEqual(found, [
    [4096, 'spanheap', 'time', 11, 3],
    [64, 'spanheap', 'time', 11, 3],
    [64, 'spanheap', 'speed', 1e9 / 11, 3],
    [64, 'glibc', 'time', 10, 3],
  ])
  const medians = mediansOf(suite!.measurements)
  t.is(medians.of(64, 'glibc', 'time'), 10)
  t.is(medians.of(64, 'glibc', 'speed'), undefined)
  t.deepEqual(suite!.failures, [{ contender: 'jemalloc', row: 64, message: 'no such <library>' }])
  t.deepEqual(
    suite!.series.map(({ name, points }) => [name, points[0]]),
    [
      ['live', [0, 2]],
      ['resident', [0, 3]],
    ],
    'the last round’s'
  )
})

test('a figure whose interval is wide, or that was taken once, is noise', (t) => {
  const noisy = (times: number[]) => resultOf(times).suites[0]!.measurements[1]!.isNoisy
  t.false(noisy([100, 101, 99, 100, 102]))
  t.true(noisy([100, 150, 80, 130, 100]))
  t.true(noisy([100]))
})

test('a verdict holds up to its bar', (t) => {
  const verdict = { claim: '', value: 1 }
  t.true(holds({ ...verdict, bar: { most: 1 } }))
  t.false(holds({ ...verdict, bar: { most: 0.99 } }))
  t.true(holds({ ...verdict, bar: { least: 1 } }))
  t.false(holds({ ...verdict, bar: { least: 1.01 } }))
  t.false(holds({ ...verdict, value: Number.NaN, bar: { most: 1 } }))
})

test('a file is read back, and another kind of file is told in one line', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'spanheap-test-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'run.json')
  const result = resultOf([1, 2])
  writeFileSync(path, JSON.stringify(result))
  t.deepEqual(readResult(path), JSON.parse(JSON.stringify(result)))
  for (const [text, message] of [
    ['{"schemaVersion":2,"suites":[]}', /not the JSON file of a run/],
    ['null', /not the JSON file of a run/],
    ['{', /run\.json: .+/],
  ] as const) {
    writeFileSync(path, text)
    const error = t.throws(() => readResult(path), { message })
    t.false(error.message.includes('\n'))
  }
  t.throws(() => readResult(join(folder, 'none')), { message: /ENOENT/ })
})
