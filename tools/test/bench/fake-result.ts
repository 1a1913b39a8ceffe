import { type BenchResult, SuiteRecorder } from '../../bench/framework/result.ts'
import type { MeasuredRow, Suite } from '../../bench/framework/suite.ts'

/** A suite whose figures are given. */
export const suite: Suite = {
  name: 'fake',
  title: 'What is <made up>',
  question: 'Is "this" & that told?',
  rows: { title: 'size', unit: 'bytes' },
  metrics: [
    { name: 'time', title: 'time for one', unit: 'ns', better: 'less' },
    { name: 'speed', title: 'speed', unit: 'ops/s', better: 'more' },
  ],
  charts: [
    { kind: 'bars', metric: 'time', title: 'Bars', logarithmic: true },
    { kind: 'lines', metric: 'time', title: 'Lines', x: 'bytes', logarithmic: 'both' },
    { kind: 'series', series: ['live', 'resident'], title: 'Series', x: 'event', y: 'MiB' },
  ],
  configurations: () => [],
  measure: () => [],
  verdicts: (medians) => [
    {
      claim: 'as fast as them',
      value: medians.of(64, 'spanheap', 'time')! / 10,
      bar: { most: 1 },
      detail: 'over <64>',
    },
  ],
}

/** A run with these times of `spanheap` at 64 and 4096 bytes, one for each round. */
export function resultOf(small: readonly number[], large: readonly number[] = small, node = '20.0.0'): BenchResult {
  const recorder = new SuiteRecorder(suite)
  for (const [round, time] of small.entries()) {
    const series = {
      live: [
        [0, round],
        [1, 2],
      ] as const,
      resident: [
        [0, 3],
        [1, 4],
      ] as const,
    }
    const rows: MeasuredRow[] = [
      { row: 4096, values: { time: large[round]!, speed: null } },
      { row: 64, values: { time, speed: 1e9 / time, unknown: 1 }, series },
    ]
    recorder.add('spanheap', rows)
    recorder.add('glibc', [{ row: 64, values: { time: 10 } }])
  }
  recorder.fail('jemalloc', 64, 'no such <library>')
  return {
    schemaVersion: 1,
    startedAt: '2026-01-02T03:04:05.000Z',
    seconds: 60,
    scale: 'quick',
    rounds: small.length,
    machine: {
      processor: 'A processor',
      cores: 2,
      memoryBytes: 8 * 2 ** 30,
      system: 'linux 6.1 x64',
      node,
      v8: '11.3',
      spanheap: '1.0.0',
    },
    peers: [
      { name: 'glibc', isFound: true },
      { name: 'jemalloc', isFound: false },
    ],
    suites: [recorder.result()],
  }
}
