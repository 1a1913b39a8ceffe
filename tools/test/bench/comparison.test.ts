import test from 'ava'
import { compareResults } from '../../bench/framework/comparison.ts'
import { resultOf } from './fake-result.ts'

test('what moved is told where the intervals have nothing in common, with its direction', (t) => {
  const before = resultOf([100, 101, 99, 100, 102], [200, 201, 199, 200, 202])
  const after = resultOf([80, 81, 79, 80, 82], [200, 202, 198, 201, 200])
  const { changes, compared, differences } = compareResults(before, after)
  t.is(compared, 4)
  t.deepEqual(
    changes.map(({ after: { row, metric }, ratio, isBetter }) => [row, metric, ratio, isBetter]),
    [
      [64, 'time', 0.8, true],
      [64, 'speed', 1.25, true],
    ]
  )
  t.deepEqual(differences, [])
  t.deepEqual(
    compareResults(after, before).changes.map(({ isBetter }) => isBetter),
    [false, false]
  )
})

test('noise moves nothing, nor does a change of one per cent', (t) => {
  const noise = [100, 140, 90, 120, 80]
  t.deepEqual(compareResults(resultOf(noise), resultOf([110, 150, 95, 125, 82])).changes, [])
  t.deepEqual(compareResults(resultOf([100, 100, 100]), resultOf([101, 101, 101])).changes, [])
})

test('runs on other machines or versions say so', (t) => {
  const { differences } = compareResults(resultOf([1, 1]), { ...resultOf([1, 1], [1, 1], '24.1.0'), scale: 'full' })
  t.deepEqual(differences, ['node: 20.0.0 before, 24.1.0 now', 'scale: quick before, full now'])
})
