import test from 'ava'
import { reportOf, runChild } from '../support/child.ts'

test('a thread that is being ended may still call the shim, and the process goes on', async (t) => {
  t.is(reportOf<number>(await runChild('last-calls-of-a-thread')), 5)
})
