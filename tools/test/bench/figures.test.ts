import test from 'ava'
import { digits, estimated, figure, rowName, tableOf } from '../../bench/framework/figures.ts'
import { resultOf } from './fake-result.ts'

test('figures have three digits that count, and a unit', (t) => {
  for (const [value, unit, expected] of [
    [0, 'ns', '0 ns'],
    [5.678, 'ns', '5.68 ns'],
    [56.78, 'ns', '56.8 ns'],
    [567.8, 'ns', '568 ns'],
    [12_345, 'ns', '12.3 µs'],
    [1.5, 'ms', '1.50 ms'],
    [2500, 'ms', '2.50 s'],
    [512, 'bytes', '512 B'],
    [1536, 'bytes', '1.50 KiB'],
    [64 * 2 ** 20, 'bytes', '64 MiB'],
    [1.0789, 'ratio', '1.08'],
    [0.0789, 'ratio', '0.079'],
    [1_234_567, 'count', '1 234 567'],
    [12_345_678.9, 'ops/s', '12 345 679/s'],
  ] as const)
    t.is(figure(value, unit), expected)
  t.is(digits(999), '999')
})

test('a median is told with its interval, and that it is noise', (t) => {
  const steady = resultOf([100, 101, 99, 100, 102]).suites[0]!.measurements[1]!
  t.regex(estimated(steady, 'ns'), /^100 ns ±[12] %$/)
  const noisy = resultOf([100, 150, 80, 130, 100]).suites[0]!.measurements[1]!
  t.regex(estimated(noisy, 'ns'), /^100 ns ±\d\d %, noise$/)
  t.is(estimated(resultOf([100]).suites[0]!.measurements[1]!, 'ns'), '100 ns')
  t.is(estimated({ ...noisy, median: 0, low: 0, high: 3 }, 'count'), '0 to 3, noise')
})

test('a table has a line for each row and contender, rows in order, and a dash where nothing was measured', (t) => {
  const suite = resultOf([100, 100]).suites[0]!
  const { head, lines } = tableOf(suite)
  t.deepEqual(head, ['size', '', 'time for one', 'speed'])
  t.deepEqual(lines, [
    ['64 B', 'spanheap', '100 ns', '10 000 000/s'],
    ['64 B', 'glibc', '10 ns', '–'],
    ['4 KiB', 'spanheap', '100 ns', '–'],
  ])
  t.is(rowName(1000, { title: '', unit: 'count' }), '1 000')
  t.is(rowName('jq', undefined), 'jq')
})
