// Fuzzes pool.read and pool.write over all of Node's streams and those of npm's packages (test/support/stream-kinds.ts), for as long as
// it is told. Build first.
//
//     node scripts/fuzz-streams.mjs [--minutes 10] [--only KIND] [--seed N]
//
// Each batch of rounds is a process of its own. What it finds is printed with the seed that plays that round again:
//
//     node dist/test/children/stream-fuzz.js 1 SEED KIND
//
// The exit status is 1 if anything was found.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

/** Rounds of a process, some for each kind: a minute or less. */
const ROUNDS = 250
const MOST_MS = 600_000

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    only: { type: 'string' },
    seed: { type: 'string', default: '1' },
  },
})
const child = fileURLToPath(new URL('../dist/test/children/stream-fuzz.js', import.meta.url))
const end = performance.now() + Number(values.minutes) * 60_000
const total = {}
let found = 0
for (let seed = Number(values.seed); performance.now() < end; seed += ROUNDS) {
  const args = [child, String(ROUNDS), String(seed), ...(values.only === undefined ? [] : [values.only])]
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, args, { timeout: MOST_MS, encoding: 'utf8' })
  if (status !== 0) {
    found++
    console.log(`seeds from ${seed}: ended with ${signal ?? status}\n${stderr}`)
    continue
  }
  for (const [name, { rounds, whole }] of Object.entries(JSON.parse(stdout))) {
    total[name] ??= { rounds: 0, whole: 0 }
    total[name].rounds += rounds
    total[name].whole += whole
  }
}
console.table(total)
console.log(`${found} found`)
process.exitCode = found > 0 ? 1 : 0
