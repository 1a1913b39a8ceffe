import test from 'ava'
import { reportOf, runChild } from '../support/child.ts'

test('what a debugger evaluates while it has stopped a thread inside the heap changes nothing there', async (t) => {
  const { codes, liveBytes } = reportOf<{ codes: string[]; liveBytes: number }>(await runChild('paused'))
  const busy = 'ERR_HEAP_BUSY'
  t.deepEqual(codes, [busy, busy, 'ok', busy, busy, 'ok', 'ok', 'ok'])
  t.is(liveBytes, 0)
})
