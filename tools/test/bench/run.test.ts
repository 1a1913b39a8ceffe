import test from 'ava'
import { isTimeFor } from '../../bench/framework/run.ts'

test('a machine that is too slow for all rounds makes fewer, but two', (t) => {
  t.true(isTimeFor(4, 600, 150))
  t.false(isTimeFor(4, 800, 200))
  t.true(isTimeFor(0, 0, 0))
  t.true(isTimeFor(1, 900, 880))
  t.false(isTimeFor(2, 830, 25))
})
