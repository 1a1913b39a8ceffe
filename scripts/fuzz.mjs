// Fuzzes the trace reader, the tokens of `attach` and the shim's functions (test/fuzz/), for as long as it is told. Build first.
//
//     node scripts/fuzz.mjs [--minutes 10] [--only trace,token,shim] [--seed N]
//
// Each round is a process of its own, so that a crash, or a case that never ends, is seen: what it was at is printed, with the
// seed that plays it again. The exit status is 1 where anything was found.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const CASES = { trace: 2000, token: 10_000, shim: 50_000 }
/** Of a round, which takes some seconds. */
const MOST_MS = 120_000

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    only: { type: 'string', default: Object.keys(CASES).join(',') },
    seed: { type: 'string', default: '1' },
  },
})
const targets = values.only.split(',')
for (const target of targets) if (!(target in CASES)) throw new Error(`${target} is none of ${Object.keys(CASES)}`)

const child = fileURLToPath(new URL('../dist/test/children/fuzz.js', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'spanheap-fuzz-'))
const file = join(folder, 'case')
const played = Object.fromEntries(targets.map((target) => [target, 0]))
const end = performance.now() + Number(values.minutes) * 60_000
let found = 0
for (let seed = Number(values.seed); performance.now() < end; seed++) {
  for (const target of targets) {
    const args = [child, target, String(seed), String(CASES[target]), file]
    const { status, signal, stderr } = spawnSync(process.execPath, args, { timeout: MOST_MS, encoding: 'utf8' })
    played[target] += CASES[target]
    if (status === 0) continue
    found++
    console.log(`${readFileSync(file, 'utf8').trim()}: ended with ${signal ?? status}\n${stderr}`)
  }
}
rmSync(folder, { recursive: true })
for (const target of targets) console.log(`${target}: ${played[target]} cases, seeds from ${values.seed}`)
console.log(`${found} found`)
process.exitCode = found > 0 ? 1 : 0
