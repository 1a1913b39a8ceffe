import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { ROOT, run } from '../support/child.ts'

/** Runs an example, which ends by itself and complains of nothing, and returns what it prints. */
async function printedBy(t: ExecutionContext, example: string, ...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await run(process.execPath, [join('examples', example), ...args])
  t.is(stderr, '')
  t.is(status, 0)
  return stdout
}

function folderOf(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'spanheap-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  return folder
}

/** Bytes of no period that divides a buffer's length. */
const bytesOf = (length: number) => Buffer.from(Uint8Array.from({ length }, (_, i) => (i * 31) % 251))

test('every client of the echo server gets its bytes back, and the pool its buffers', async (t) => {
  const printed = await printedBy(t, 'echo-server.js', '2', '3')
  t.regex(printed, /^3 clients got 6 MiB back, \d+ MiB a second\n/)
  t.regex(printed, /acquired: 0,\n\s+leased: 0,/)
})

test('a file is copied by a few buffers', async (t) => {
  const folder = folderOf(t)
  const [from, to] = [join(folder, 'from'), join(folder, 'to')]
  const bytes = bytesOf(3_000_001)
  writeFileSync(from, bytes)
  const printed = await printedBy(t, 'copy.js', from, to)
  t.regex(printed, /^3000001 bytes in [\d.]+ ms, by [1-8] buffers of 262144 bytes\n$/)
  t.true(readFileSync(to).equals(bytes))
})

test('uploads wait for each other, and all arrive', async (t) => {
  const folder = folderOf(t)
  const printed = await printedBy(t, 'upload.js', folder, '20')
  const buffers = /^20 uploads, 80 MiB, \d+ MiB a second, through (\d+) buffers: \d+ bytes\n$/.exec(printed)?.[1]
  t.true(Number(buffers) >= 1 && Number(buffers) <= 16, printed)
  t.is(readdirSync(folder).length, 20)
})

test('a page cache has as many buffers as it was told, and finds some of the pages', async (t) => {
  const file = join(folderOf(t), 'file')
  writeFileSync(file, bytesOf(100 * 8192 - 1))
  const printed = await printedBy(t, 'page-cache.js', file, '16', '2000')
  const rate = /^2000 reads of 100 pages, ([\d.]+) % from the cache, by 16 buffers: 131072 bytes\n$/.exec(printed)?.[1]
  t.true(Number(rate) > 10 && Number(rate) < 100, printed)
})

test('a page cache sees the right pages of a file that it makes', async (t) => {
  t.regex(await printedBy(t, 'page-cache.js'), /^50000 reads of 4096 pages, .* by 512 buffers: 4194304 bytes\n$/)
})

test('a file goes through a transform in the buffers that it was read into', async (t) => {
  const folder = folderOf(t)
  const [from, to] = [join(folder, 'from'), join(folder, 'to')]
  writeFileSync(from, 'Hello, Nobody! [@`{] 09\n'.repeat(100_000))
  const printed = await printedBy(t, 'transform.js', from, to)
  const [, buffers, idle] =
    /^2400000 bytes in .*, by ([1-8]) buffers, of which ([1-8]) are idle again\n$/.exec(printed) ?? []
  t.truthy(buffers, printed)
  t.is(idle, buffers)
  t.is(readFileSync(to, 'latin1'), 'Uryyb, Abobql! [@`{] 09\n'.repeat(100_000))
})

test("piscina's workers get blocks of a shared pool, and give them back", async (t) => {
  const printed = await printedBy(t, 'piscina.js', '20')
  const [, buffers, idle] =
    /^20 blocks of 1 MiB hashed by 2 workers, .* there were ([1-8]) blocks, and ([1-8]) are idle\n$/.exec(printed) ?? []
  t.truthy(buffers, printed)
  t.is(idle, buffers)
})

test("the guide's table has every example, each begins with its command, and a test runs it", (t) => {
  const guide = readFileSync(join(ROOT, 'docs/pools.md'), 'utf8')
  const folder = join(ROOT, 'test/examples')
  const tests = readdirSync(folder).map((name) => readFileSync(join(folder, name), 'utf8'))
  for (const name of readdirSync(join(ROOT, 'examples')).filter((file) => file.endsWith('.js'))) {
    const comment = /^(\/\/.*\n)+/.exec(readFileSync(join(ROOT, 'examples', name), 'utf8'))?.[0]
    t.true(comment?.includes(`node examples/${name}`), name)
    t.true(guide.includes(`| \`node examples/${name}`), name)
    t.true(
      tests.some((text) => text.includes(name)),
      name
    )
  }
})
