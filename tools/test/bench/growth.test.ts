import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { thisMachine } from '../../bench/framework/machine.ts'
import { NativePrograms } from '../../bench/framework/native-programs.ts'
import { mediansOf } from '../../bench/framework/result.ts'
import type { Bench, MeasuredRow } from '../../bench/framework/suite.ts'
import { growth, mapped } from '../../bench/suites/growth.ts'
import type { Growing } from '../../bench/suites/random-replacement.ts'

const MIB = 2 ** 20
const benchOf = (scale: Bench['scale'], memoryBytes: number): Bench => ({
  scale,
  machine: { ...thisMachine(), memoryBytes },
  peers: [{ name: 'glibc', library: undefined }],
  temporary: (name) => name,
})

test('both programs replace the same blocks by blocks of the same sizes', async (t) => {
  if (!NativePrograms.areAvailable()) return t.pass('there is no compiler')
  const folder = mkdtempSync(join(tmpdir(), 'spanheap-bench-'))
  try {
    const program = new NativePrograms(folder).path('growth')
    for (const [growing, rows] of [
      ['objects', [10, 1000]],
      ['bytes', [MIB, 20 * MIB]],
    ] as [Growing, number[]][]) {
      const suite = growing === 'bytes' ? mapped : growth
      const ours = await suite.measure({ growing, rows, operations: 2000 })
      const output = execFileSync(program, [growing, '2000', ...rows.map(String)], { encoding: 'utf8' })
      const theirs = JSON.parse(output) as MeasuredRow[]
      const checksums = (some: readonly MeasuredRow[]) => some.map(({ row, values }) => [row, values.checksum])
      t.deepEqual(checksums(ours), checksums(theirs), growing)
      if (growing === 'objects') {
        const pool = await suite.measure({ growing, isPool: true, rows, operations: 2000 })
        t.deepEqual(checksums(pool), checksums(ours))
      }
      t.not(ours[0]!.values.checksum, ours[1]!.values.checksum)
      for (const { values } of [...ours, ...theirs]) t.true(values.nsPerOperation! > 0)
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('a machine measures what it has memory for', (t) => {
  const rowsOf = (suite: typeof growth, bench: Bench) =>
    suite.configurations(bench).map(({ process: what }) => {
      const rows = what.kind === 'own' ? (what.parameters as { rows: number[] }).rows : what.arguments.slice(2)
      return rows.map(Number)
    })
  const expected = [1e3, 1e4, 1e5, 1e6, 1e7]
  t.deepEqual(rowsOf(growth, benchOf('full', 8 * 2 ** 30)), [expected, expected, [1e3, 1e4]])
  t.is(rowsOf(growth, benchOf('full', 2 ** 30))[0]!.at(-1), 1e6)
  t.is(rowsOf(mapped, benchOf('full', 24 * 2 ** 30))[1]!.at(-1), 16 * 2 ** 30)
  t.is(rowsOf(mapped, benchOf('full', 8 * 2 ** 30))[1]!.at(-1), 4 * 2 ** 30)
  t.true(rowsOf(growth, benchOf('quick', 2 ** 40))[0]!.length < 4)
})

test("growth is judged by the geometric mean of the native allocators' own", (t) => {
  const times: [string, number, number][] = [
    ['spanheap', 10, 130],
    ['glibc', 20, 400],
    ['jemalloc', 10, 50],
  ]
  const measurements = times.flatMap(([contender, first, last]) =>
    [
      { row: 1e3, median: first },
      { row: 1e7, median: last },
    ].map(({ row, median }) => ({
      ...{ row, contender, median, low: median, high: median },
      ...{ metric: 'nsPerOperation', samples: [median], isNoisy: false },
    }))
  )
  const [verdict] = growth.verdicts!(mediansOf(measurements))
  t.true(Math.abs(verdict!.value - 1.3) < 1e-9)
  t.regex(verdict!.detail!, /spanheap 13\.0 times, to 130 ns, glibc 20\.0 times, to 400 ns, jemalloc 5\.0 times/)
  t.deepEqual(growth.verdicts!(mediansOf(measurements.filter(({ contender }) => contender !== 'spanheap'))), [])
  t.deepEqual(growth.verdicts!(mediansOf(measurements.filter(({ row }) => row === 1e3))), [])
})

test('the pool is held against with ten thousand objects, where it was measured', (t) => {
  const of = (...times: [string, number][]) =>
    growth.verdicts!(
      mediansOf(
        times.map(([contender, median]) => ({
          ...{ row: 1e4, contender, median, low: median, high: median },
          ...{ metric: 'nsPerOperation', samples: [median], isNoisy: false },
        }))
      )
    )
  t.deepEqual(of(['spanheap', 10]), [])
  const [verdict] = of(['spanheap', 10], ['@thi.ng/malloc', 500])
  t.is(verdict!.value, 50)
  t.deepEqual(verdict!.bar, { least: 20 })
})
