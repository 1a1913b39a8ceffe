import { mkdtempSync, rmSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { childScript, ROOT, reportOf, run } from '../support/child.ts'

const MADV_NOHUGEPAGE = 15

test('a sandbox that refuses advice on huge pages refuses no heap', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'spanheap-advice-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const refuse = join(folder, 'refuse-advice')
  const compiled = await run('cc', ['-o', refuse, join(ROOT, 'test/os/refuse-advice.c')])
  t.is(compiled.status, 0, compiled.stderr)
  for (const errno of [constants.errno.EPERM, constants.errno.ENOSYS]) {
    const ended = await run(refuse, [
      String(MADV_NOHUGEPAGE),
      String(errno),
      process.execPath,
      childScript('refused-advice'),
    ])
    t.deepEqual(reportOf(ended), { isZero: true, refused: [`madvise ${errno}`] })
  }
})
