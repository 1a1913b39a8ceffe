import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import test from 'ava'
import { prebuiltPath } from '../../lib/os/prebuilt.ts'
import { run } from '../support/child.ts'
import { BUILT_ADDON } from '../support/installation.ts'

const check = (file: string, PATH = process.env.PATH) =>
  run(process.execPath, ['scripts/prebuild.mjs', '--check', file], 60, { env: { ...process.env, PATH } })

test('the addon asks for no newer libraries than the oldest systems have that Node runs on', async (t) => {
  if (process.platform !== 'linux' || prebuiltPath().includes('-musl/'))
    return t.pass('another platform than Linux with glibc')
  const { status, stderr } = await check(BUILT_ADDON)
  t.is(status, 0, stderr)
})

test('one that asks for more is refused, by the symbol', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'spanheap-objdump-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const objdump = join(folder, 'objdump')
  const symbols = (...lines: string[]) => {
    const printed = lines.map((line) => `0000000000000000      DF *UND*\t0000000000000000  ${line}`).join('\n')
    writeFileSync(objdump, `#!/bin/sh\ncat <<'END'\n${printed}\nEND\n`)
    chmodSync(objdump, 0o755)
    return check('spanheap.node', folder + delimiter + process.env.PATH)
  }
  const old = ['(GLIBC_2.2.5) malloc', '(GLIBC_2.28) fcntl64', '(GLIBCXX_3.4.9) one', '(GLIBCXX_3.4.25) two']
  t.is((await symbols(...old)).status, 0)
  for (const [newer, newest] of [
    ['(GLIBC_2.34) dlopen', 'GLIBC_2.28'],
    ['(GLIBCXX_3.4.29) three', 'GLIBCXX_3.4.25'],
  ] as const) {
    const { status, stderr } = await symbols(...old, newer)
    t.is(status, 1)
    t.true(stderr.includes(`asks for more than ${newest}: `) && stderr.includes(newer), stderr)
  }
})
