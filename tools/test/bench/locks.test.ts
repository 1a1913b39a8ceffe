import test from 'ava'
import { locks } from '../../bench/suites/locks.ts'

test('two workers with caches of their own, and at one lock', async (t) => {
  for (const cached of [true, false]) {
    const rows = await locks.measure({ cached, pattern: 'pair', workers: [1, 2], seconds: 0.02 })
    t.deepEqual(
      rows.map(({ row }) => row),
      [1, 2]
    )
    for (const { row, values } of rows) t.is(values.nsPerPair, values.nsPerPairOfAll! * Number(row))
  }
})
