// Builds the addon from its sources, into build/Release/, where the library looks first. In an installed package it is run by hand,
// if no prebuilt addon fits; the library's warning names this command.
//
//     node scripts/build-addon.mjs
//
// The sources are compiled in a temporary folder: make takes no path with spaces, and a failure leaves the
// addon that was there. scripts/prebuild.mjs uses the same for other versions of Node.
import { spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { findBuildTools, inWords } from '../dist/lib/os/build-tools.js'

const PACKAGE = fileURLToPath(new URL('../', import.meta.url))
const BINDING = { targets: [{ target_name: 'spanheap', includes: ['native/spanheap.gypi'] }] }

/**
 * Compiles the addon and puts it at `path`.
 * @param headers the folder with the include/node of the Node that it is for. (Not an option of node-gyp: npm's settings, which are in
 *   the environment of its scripts, win over those.)
 * @throws Error with what went wrong, in a sentence, after what the compiler said
 */
export function buildAddon(path, headers, { options = [], env = process.env } = {}) {
  const { missing, nodeGyp } = findBuildTools(env)
  if (missing.length > 0) throw new Error(`that takes ${inWords(missing)}`)
  const folder = mkdtempSync(join(tmpdir(), 'spanheap-build-'))
  try {
    cpSync(join(PACKAGE, 'native'), join(folder, 'native'), { recursive: true, dereference: true })
    writeFileSync(join(folder, 'binding.gyp'), JSON.stringify(BINDING))
    const wrapper = dirname(createRequire(import.meta.url).resolve('node-addon-api/package.json'))
    cpSync(wrapper, join(folder, 'node_modules/node-addon-api'), { recursive: true, dereference: true })
    const args = [nodeGyp, 'rebuild', '--jobs', 'max', '--loglevel', 'warn', ...options]
    const nodedir = headers && join(folder, 'node')
    if (nodedir) symlinkSync(headers, nodedir)
    const nodeEnv = { ...env }
    if (nodedir) nodeEnv.npm_config_nodedir = nodedir
    // Yarn's Plug'n'Play takes this folder for a package that the project doesn't have.
    if (process.versions.pnp !== undefined) delete nodeEnv.NODE_OPTIONS
    const stdio = ['ignore', 'ignore', 'inherit']
    const { status } = spawnSync(process.execPath, args, { cwd: folder, env: nodeEnv, stdio })
    if (status !== 0) throw new Error('node-gyp failed, as said above')
    mkdirSync(dirname(path), { recursive: true })
    // Renamed into its place: a process that has the old one open keeps it.
    cpSync(join(folder, 'build/Release/spanheap.node'), `${path}.new`)
    renameSync(`${path}.new`, path)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** The running Node's headers are beside it, if they came with it. node-gyp gets them from the network otherwise. */
function ownHeaders() {
  const folder = dirname(dirname(realpathSync(process.execPath)))
  return existsSync(join(folder, 'include/node/node_api.h')) ? folder : undefined
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const path = join(PACKAGE, 'build/Release/spanheap.node')
  try {
    buildAddon(path, process.env.npm_config_nodedir ?? ownHeaders())
    console.log(`spanheap: built ${path}`)
  } catch (error) {
    console.error(`spanheap: no addon was built: ${error.message}`)
    process.exitCode = 1
  }
}
