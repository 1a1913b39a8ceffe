import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import test from 'ava'
import { ROOT, run } from '../support/child.ts'

const BUILT_INS = `
  import { Socket } from 'node:net'
  import { AllocatorError } from './errors.ts'
  class Own {}
  const Alias = Object.getPrototypeOf(Uint8Array)
  export const find = (value: unknown) => [
    value instanceof Uint8Array,
    value instanceof AbortSignal,
    value instanceof globalThis.Promise,
    value instanceof Alias,
    value instanceof Socket || value instanceof AllocatorError || value instanceof Own,
  ]
`
const GLOBALS = `
  import { URL } from 'node:url'
  export const made: Buffer[] = [Buffer.alloc(1)]
  export const timer = setInterval(() => made, 1).unref()
  export const url = new URL('file:///')
`

/** Lines in which the linter finds what holds in one realm only. */
async function linesFound(file: string, text: string): Promise<number[]> {
  const folder = mkdtempSync(join(tmpdir(), 'spanheap-lint-'))
  try {
    for (const name of ['biome.json', 'scripts/lint']) cpSync(join(ROOT, name), join(folder, name), { recursive: true })
    mkdirSync(dirname(join(folder, file)), { recursive: true })
    writeFileSync(join(folder, file), text)
    const biome = join(ROOT, 'node_modules/@biomejs/biome/bin/biome')
    const { stdout, stderr } = await run(process.execPath, [biome, 'lint', '--colors=off', file], 60, { cwd: folder })
    const found = `${stdout}${stderr}`.matchAll(new RegExp(`^${file}:(\\d+):\\d+ plugin `, 'gm'))
    return Array.from(found, ([, line]) => Number(line))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

test('no file of the library asks for a built-in by instanceof', async (t) => {
  t.deepEqual(await linesFound('lib/example.ts', BUILT_INS), [7, 8, 9, 10])
  t.deepEqual(await linesFound('tools/bench/example.ts', BUILT_INS), [])
})

test('no file of the library takes a global that an environment for tests replaces', async (t) => {
  t.deepEqual(await linesFound('lib/pool/example.ts', GLOBALS), [3, 4])
  t.deepEqual(await linesFound('tools/record/preload/example.cts', GLOBALS), [])
})
