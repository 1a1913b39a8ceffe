import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import test from 'ava'
import { GoPrograms } from '../../bench/framework/go-programs.ts'
import type { MeasuredRow } from '../../bench/framework/suite.ts'
import { collector, waits } from '../../bench/suites/collector.ts'
import { goHeapForest } from '../../bench/suites/go-heap-trees.ts'
import { TREE_NODES } from '../../bench/suites/trees.ts'

const TREES = 40
const OPERATIONS = 400

// What a process of the suite is started with.
setFlagsFromString('--expose-gc')
globalThis.gc ??= (await import('node:vm')).runInNewContext('gc')

test('waits are told by percentiles, and by counts from one half power of two of microseconds to the next', (t) => {
  const times = Float64Array.from({ length: 1000 }, (_, at) => (at < 990 ? 1000 : at < 999 ? 3000 : 1_000_000))
  const { values, series } = waits(times)
  t.deepEqual(values, { medianNs: 1000, p99Ns: 1000, p999Ns: 3000, longestNs: 1_000_000 })
  t.deepEqual(series.operations, [
    [1, 990],
    [2 ** 1.5, 9],
    [2 ** 9.5, 1],
  ])
})

test('a forest is the same on every heap, and whatever collects it', async (t) => {
  const of = { kind: 'forest', row: 'a row', trees: TREES, operations: OPERATIONS } as const
  const rows: MeasuredRow[] = [
    ...(await collector.measure({ ...of, heap: 'go', sliceMicros: null })),
    ...(await collector.measure({ ...of, heap: 'go', sliceMicros: 50 })),
    ...(await collector.measure({ ...of, heap: 'v8', sliceMicros: null })),
  ]
  if (GoPrograms.areAvailable()) {
    const folder = mkdtempSync(join(tmpdir(), 'spanheap-bench-'))
    try {
      const program = new GoPrograms(folder).path('collector')
      const run = (...args: (string | number)[]) =>
        JSON.parse(execFileSync(program, args.map(String), { encoding: 'utf8' })) as MeasuredRow[]
      for (const processors of [0, 1]) rows.push(...run('forest', 'a row', TREES, OPERATIONS, processors))
      const [objects] = run('objects', 'another', 32, 1000)
      t.is(objects!.row, 'another')
      t.true(objects!.values.nsPerObject! > 0)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }
  for (const { row, values, series } of rows) {
    t.is(row, 'a row')
    t.deepEqual(Object.keys(values).sort(), Object.keys(rows[0]!.values).sort())
    t.is(values.nodes, TREES * TREE_NODES)
    t.is(values.checksum, rows[0]!.values.checksum)
    t.true(values.nsPerNode! > 0 && values.wholeMs! > 0)
    t.true(values.medianNs! <= values.p99Ns! && values.p99Ns! <= values.p999Ns! && values.p999Ns! <= values.longestNs!)
    t.is(
      series!.operations!.reduce((sum, [, count]) => sum + count, 0),
      OPERATIONS
    )
  }
})

test('a program that advances the collector itself gets through cycles', (t) => {
  const forest = goHeapForest(TREES, 50)
  const spent = forest.watchCollector()
  t.is(spent(), 0)
  for (let at = 0; at < OPERATIONS; at++) forest.operate()
  t.true((spent() as number) > 0)
})

test('new objects by themselves, and a loop without a heap', async (t) => {
  const [objects] = await collector.measure({ kind: 'objects', row: 'a row', bytes: 32, count: 10_000 })
  t.true(objects!.values.nsPerObject! > 0)
  const [clock] = await collector.measure({ kind: 'idle', row: 'a row', operations: 100 })
  t.true(clock!.values.medianNs! > 1999)
})
