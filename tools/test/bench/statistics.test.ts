import test from 'ava'
import { estimate, geometricMean, median } from '../../bench/framework/statistics.ts'

test('the median is the middle, or the mean of the middle two, whatever the order', (t) => {
  t.is(median([3, 1, 2]), 2)
  t.is(median([4, 1, 3, 2]), 2.5)
  t.is(median([7]), 7)
})

test('the geometric mean of ratios is that of their inverses, inverted', (t) => {
  t.is(geometricMean([1, 4]), 2)
  t.true(Math.abs(geometricMean([0.5, 3, 7]) * geometricMean([2, 1 / 3, 1 / 7]) - 1) < 1e-12)
})

test('an interval holds the median, is the same again, and shrinks with more samples', (t) => {
  const noisy = (count: number) => Array.from({ length: count }, (_, i) => 100 + ((i * 7919) % 21) - 10)
  const [few, many] = [estimate(noisy(5)), estimate(noisy(200))]
  for (const { median: middle, low, high } of [few, many]) t.true(low <= middle && middle <= high)
  t.true(few.high - few.low > 2 * (many.high - many.low))
  t.deepEqual(estimate(noisy(5)), few)
  t.deepEqual(estimate([5]), { median: 5, low: 5, high: 5 })
})

test('nineteen of twenty intervals hold the median of what the samples come from', (t) => {
  let seed = 1
  const random = () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
    return seed / 2 ** 32
  }
  let held = 0
  const trials = 400
  for (let trial = 0; trial < trials; trial++) {
    const { low, high } = estimate(Array.from({ length: 25 }, () => 50 + 10 * random()))
    if (low <= 55 && 55 <= high) held++
  }
  t.true(held > 0.9 * trials && held < trials, `${held} of ${trials}`)
})
