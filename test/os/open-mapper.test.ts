import test from 'ava'
import type { FallbackReport } from '../children/open-mapper.ts'
import { reportOf, runChild } from '../support/child.ts'

test('without the addon a heap works over memory of JavaScript’s own, gives nothing back, and says so once', async (t) => {
  const ended = await runChild('open-mapper', [], ['--no-addons'])
  const { own, shared, strangers, alignment, direct } = reportOf<FallbackReport>(ended)
  t.like(own, { buffer: 'ArrayBuffer', share: 'ERR_HEAP_NOT_SHARED', released: 0, keptBytes: [0] })
  t.like(own.stats, { system: 'growable', pageHeapReleasedBytes: 0, syscalls: { mmap: 0, munmap: 0, madvise: 0 } })
  t.true(own.stats.pageHeapFreeBytes > 0)
  t.like(own.closed, { liveBytes: 0, mappedBytes: 0 })
  t.deepEqual(shared, { buffer: 'SharedArrayBuffer', isSameMemory: true, freed: 'no error', liveBytes: 0 })
  const refused = Array(2).fill('ERR_HEAP_INVALID_ADDRESS')
  t.deepEqual(strangers, { heap: refused, part: refused, pool: Array(2).fill('ERR_POOL_FOREIGN_BUFFER') })
  t.is(alignment, 'ERR_HEAP_UNSUPPORTED')
  t.is(direct, 'ERR_HEAP_UNSUPPORTED')
  t.is(ended.stderr.match(/SpanheapWarning: /g)?.length, 1, ended.stderr)
  t.regex(ended.stderr, /no addon .*: heaps give no memory back to the system/)
})

test('with the addon nothing is said, and the system is the real one', async (t) => {
  const ended = await runChild('open-mapper')
  t.regex(ended.stdout, /"system":"native"/)
  t.is(ended.stderr, '')
})
