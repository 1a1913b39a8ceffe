// Sees to the addon when the package is installed. Where the package has a binary that this Node can load, nothing is built.
// Where building fails (no compiler, no headers) the installation still succeeds: the library then works over a growable
// SharedArrayBuffer, and says so.
//
//     node scripts/install.mjs [--from-source | --prepare]
//
// `--from-source` deletes the prebuilt binaries, which would be taken first, and builds. `--prepare` is for npm, which runs it in a clone
// and, by `npm rebuild`, in a package that is installed: that is compiled already, and has no compiler.
import { spawnSync } from 'node:child_process'
import { existsSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const PREBUILDS = fileURLToPath(new URL('../prebuilds', import.meta.url))
const SOURCES = fileURLToPath(new URL('../tsconfig.json', import.meta.url))
const flag = { type: 'boolean', default: false }
const { values } = parseArgs({ options: { 'from-source': flag, prepare: flag } })

/** A package with prebuilt binaries is a compiled one: dist/ is there. */
async function prebuiltLoads() {
  try {
    const { prebuiltPath } = await import('../dist/lib/os/prebuilt.js')
    createRequire(import.meta.url)(prebuiltPath())
    return true
  } catch (error) {
    console.log(`spanheap: no prebuilt binary fits (${error.message.split('\n', 1)[0]}), one is built`)
    return false
  }
}

function build() {
  // One string: Node warns of arguments beside a shell.
  if (spawnSync('node-gyp rebuild --jobs max', { stdio: 'inherit', shell: true }).status === 0) return
  console.warn(
    'spanheap: the addon was not built. Heaps will live in a growable SharedArrayBuffer and give no memory back to the ' +
      'system. To change that, install a C++ compiler, make and Python 3, and run `npm rebuild spanheap`.'
  )
}

if (values.prepare) {
  if (existsSync(SOURCES))
    process.exitCode = spawnSync('npm run compile', { stdio: 'inherit', shell: true }).status ?? 1
} else {
  if (values['from-source']) rmSync(PREBUILDS, { recursive: true, force: true })
  if (!existsSync(PREBUILDS) || !(await prebuiltLoads())) build()
}
