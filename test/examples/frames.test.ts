import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { run } from '../support/child.ts'

test('frames go through three workers into a file, and none is left', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'spanheap-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'frames.rgb')
  const { status, stdout, stderr } = await run(process.execPath, ['examples/frames.js', file, '20'])
  t.is(status, 0, stderr)
  t.regex(stdout, /^20 frames of 691200 bytes; .* 0 bytes left/)
  t.is(statSync(file).size, 20 * 691_200)
})
