import test from 'ava'
import { reportOf, runChild } from '../support/child.ts'

test('who waits a second for a lock sleeps most of it, and then gets it', async (t) => {
  const { early, distinct, share } = reportOf<{ early: number; distinct: number; share: number }>(
    await runChild('locks-sleep')
  )
  t.is(early, 0)
  t.is(distinct, 4)
  t.log(`a waiter used ${(100 * share).toFixed(2)} % of a processor`)
  t.true(share < 0.05)
})
