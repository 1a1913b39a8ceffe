import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { runChild } from '../support/child.ts'
import { TARGETS } from './targets.ts'

/** A second or two each. `node scripts/fuzz.mjs` goes on for as long as one likes, with other seeds. */
const CASES: Readonly<Record<keyof typeof TARGETS, number>> = { trace: 400, token: 1500, shim: 4000 }
const SEED = 20_260

for (const target of Object.keys(TARGETS)) {
  test.serial(`${target}: whatever is passed is taken or refused, and nothing dies of it`, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'spanheap-fuzz-'))
    t.teardown(() => rmSync(folder, { recursive: true }))
    const file = join(folder, 'case')
    const { status, signal, stderr } = await runChild('fuzz', [target, String(SEED), String(CASES[target]), file])
    t.is(status, 0, `${readFileSync(file, 'utf8')} ended with ${signal ?? status}\n${stderr}`)
    t.regex(readFileSync(file, 'utf8'), new RegExp(`^${target}, seed ${SEED}, case \\d{3,}`))
  })
}
