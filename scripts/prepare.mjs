// npm runs this after `npm ci` and `npm install` in a clone. It compiles the TypeScript and builds the addon. If there is no C++
// compiler, everything works all the same, with heaps in the fallback.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const cwd = fileURLToPath(new URL('../', import.meta.url))
const run = (command) => spawnSync(command, { cwd, stdio: 'inherit', shell: true }).status

process.exitCode = run('npm run compile') ?? 1
if (process.exitCode === 0) run('node scripts/build-addon.mjs')
