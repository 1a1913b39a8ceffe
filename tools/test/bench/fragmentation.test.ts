import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { Heap } from '../../../lib/heap/heap.ts'
import { NativePrograms } from '../../bench/framework/native-programs.ts'
import type { MeasuredRow } from '../../bench/framework/suite.ts'
import { fragmentation } from '../../bench/suites/fragmentation.ts'
import { ALL_PARTS, LAST_PART, shiftingBlocks } from '../../bench/suites/shifting-sizes.ts'

const LIVE_BYTES = 2 ** 20

test('while sizes shift, live bytes stay as they are, and no block is lost', (t) => {
  using heap = new Heap({ limitBytes: 2 ** 28 })
  const blocks = shiftingBlocks(heap, heap.buffer, LIVE_BYTES)
  for (const { phase, part } of ALL_PARTS) {
    const before = blocks.operations
    blocks.play(phase, part)
    // One large block may do for several parts that replace.
    if (part === 0) t.true(blocks.operations > before)
    t.true(blocks.liveBytes >= LIVE_BYTES && blocks.liveBytes < LIVE_BYTES + 2 ** 18)
    if (part === LAST_PART) heap.audit()
  }
  blocks.dropMost()
  heap.audit()
  t.true(blocks.liveBytes > 0 && blocks.liveBytes < LIVE_BYTES / 4)
  // Usable bytes, which are an eighth more than what was asked for at the most, but for the smallest sizes.
  const { liveBytes } = heap.stats()
  t.true(liveBytes >= blocks.liveBytes && liveBytes < 1.3 * blocks.liveBytes)
})

test('the heaps and the program in C do the same, and hold as much as is live or more', async (t) => {
  const rows: MeasuredRow[] = []
  for (const heap of ['tcmalloc', 'go'] as const)
    rows.push(...(await fragmentation.measure({ row: 'a row', heap, liveBytes: LIVE_BYTES, release: true })))
  if (NativePrograms.areAvailable()) {
    const folder = mkdtempSync(join(tmpdir(), 'spanheap-bench-'))
    try {
      const program = new NativePrograms(folder).path('fragmentation')
      for (const release of ['0', '1'])
        rows.push(...JSON.parse(execFileSync(program, ['a row', String(LIVE_BYTES), release], { encoding: 'utf8' })))
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }
  const live = rows[0]!.series!.live!
  t.is(live.length, ALL_PARTS.length + 1)
  for (const [at, { row, values, series }] of rows.entries()) {
    t.is(row, 'a row')
    t.deepEqual(Object.keys(values).sort(), Object.keys(rows[0]!.values).sort())
    t.deepEqual(
      series!.live!.map(([x, mebibytes]) => [x, Math.round(mebibytes * 1e6)]),
      live.map(([x, mebibytes]) => [x, Math.round(mebibytes * 1e6)])
    )
    t.true(values.nsPerOperation! > 0)
    t.is(typeof values.releaseMs, at === 2 ? 'object' : 'number')
    if (process.platform !== 'linux') continue
    for (const name of ['mappedOverLive', 'worstOverLive', 'meanOverLive', 'restOverLive']) t.true(values[name]! >= 1)
    t.true(values.worstOverLive! >= values.meanOverLive!)
  }
})
