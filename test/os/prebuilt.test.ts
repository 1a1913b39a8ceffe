import { mkdtempSync, openSync, readSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { isForMusl, prebuiltPath } from '../../lib/os/prebuilt.ts'

test('a prebuilt binary is named by platform, architecture and ABI', (t) => {
  const { platform, arch, versions } = process
  const place = `/prebuilds/${platform}-${arch}/node-${versions.modules}/spanheap.node`
  t.true(prebuiltPath().replace('-musl', '').endsWith(place), prebuiltPath())
  t.true(prebuiltPath('999').endsWith('/node-999/spanheap.node'))
})

test('an executable says by its loader whether it is for musl', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'spanheap-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  // This Node's first bytes with the loader of a Node on Alpine in place of its own.
  const start = Buffer.alloc(65_536)
  readSync(openSync(process.execPath, 'r'), start)
  const glibc = '/lib64/ld-linux-x86-64.so.2'
  const at = start.indexOf(glibc)
  if (at === -1) return t.pass('another platform than x64 with glibc')
  const executable = join(folder, 'node')
  writeFileSync(executable, start)
  t.false(isForMusl(executable))
  start.fill(0, at, at + glibc.length)
  start.write('/lib/ld-musl-x86_64.so.1', at)
  writeFileSync(executable, start)
  t.true(isForMusl(executable))
  t.false(isForMusl(join(folder, 'nowhere')))
})
