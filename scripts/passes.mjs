// Four workers pass blocks of a heap of more than 4 GiB to each other at random, and are killed at random: no block may be lost, doubled, or
// seen by two. Build first. Prints one line of JSON; the exit status is 1 where anything was wrong.
//
//     node scripts/passes.mjs [--passes 10000] [--kills] [--audit] [--debug] [--seed N]
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const child = fileURLToPath(new URL('../dist/test/children/passes.js', import.meta.url))
const { status } = spawnSync(process.execPath, [child, ...process.argv.slice(2)], { stdio: 'inherit' })
process.exitCode = status ?? 1
