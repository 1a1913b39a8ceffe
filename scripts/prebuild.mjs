// Builds the addon for each release of Node that it is prebuilt for, stripped, into prebuilds/, which `npm pack` takes along.
// Compile first. What is there of the same sources is left as it is.
//
//     node scripts/prebuild.mjs [--arch x64,arm64] [MAJOR]...
//     node scripts/prebuild.mjs --running
//     node scripts/prebuild.mjs --check FILE
//
// Without a major version it takes all of scripts/node-releases.mjs. Another architecture than this machine's takes gcc for it on
// Debian (the packages g++-aarch64-linux-gnu and g++-x86-64-linux-gnu). `--running` is for machines for which npm has no Node (musl): the
// addon is built for the Node that runs this, and node-gyp gets the headers. What is in prebuilds/ of other platforms stays;
// docs/installing.md tells how those are made. `--check` says whether an addon asks for newer libraries than it may.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { programNamed } from '../dist/lib/os/build-tools.js'
import { prebuiltPath } from '../dist/lib/os/prebuilt.js'
import { buildAddon } from './build-addon.mjs'
import { majorsOf, nodeFolderOf, PROJECT, RELEASES } from './node-releases.mjs'

/** Node's own builds ask for the first; the second came with gcc 8, as in Debian 10 and RHEL 8, the oldest systems with that glibc. */
const NEWEST = { GLIBC: '2.28', GLIBCXX: '3.4.25', CXXABI: '1.3.11' }
/** Debian's names of compilers and emulators. */
const TRIPLETS = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' }
const EMULATORS = { x64: 'qemu-x86_64-static', arm64: 'qemu-aarch64-static' }

/** The program and its arguments by which Node of that architecture runs here; undefined if it can't. */
export function runnerOf(nodeFolder, arch) {
  const node = join(nodeFolder, 'bin/node')
  if (arch === process.arch) return [node]
  const emulator = EMULATORS[arch]
  return programNamed(emulator) ? [emulator, '-L', `/usr/${TRIPLETS[arch]}`, node] : undefined
}

/**
 * The path of the prebuilt addon for a major version of Node, built now if it isn't there, or was built from other sources.
 * @throws Error with the reason, if it can't be built, can't be loaded or asks for newer libraries than it may
 */
export function prebuild(major, arch = process.arch) {
  const nodeFolder = nodeFolderOf(RELEASES[major], arch)
  const header = readFileSync(join(nodeFolder, 'include/node/node_version.h'), 'utf8')
  const [, modules] = /#define NODE_MODULE_VERSION (\d+)/.exec(header)
  const path = prebuiltPath(modules, arch, join(nodeFolder, 'bin/node'))
  if (!isStale(path)) return path
  build(path, arch, nodeFolder)
  const runner = runnerOf(nodeFolder, arch)
  if (runner === undefined)
    console.log(`${relative(PROJECT, path)} was not loaded: there is no ${EMULATORS[arch]} here`)
  else checkLoads(path, modules, runner)
  stamp(path)
  return path
}

function prebuildRunning() {
  const path = prebuiltPath()
  build(path, process.arch)
  checkLoads(path, process.versions.modules, [process.execPath])
  stamp(path)
  return path
}

/** All prebuilt addons that were built from other sources than these. */
export function stalePrebuilds() {
  const folder = join(PROJECT, 'prebuilds')
  if (!existsSync(folder)) return []
  const files = readdirSync(folder, { recursive: true }).filter((name) => name.endsWith('.node'))
  return files.map((name) => join(folder, name)).filter(isStale)
}

/** What isn't checked has no stamp, and so counts as stale. */
function build(path, arch, nodeFolder) {
  const prefix = arch === process.arch ? '' : `${TRIPLETS[arch]}-`
  const env = { ...process.env }
  rmSync(stampOf(path), { force: true })
  if (prefix !== '') {
    if (programNamed(`${prefix}g++`) === undefined)
      throw new Error(`there is no ${prefix}g++: on Debian install g++-${prefix.slice(0, -1).replace('_', '-')}`)
    Object.assign(env, { CC: `${prefix}gcc`, CXX: `${prefix}g++`, LINK: `${prefix}g++`, AR: `${prefix}ar` })
  }
  buildAddon(path, nodeFolder, { options: ['--arch', arch], env })
  execFileSync(`${prefix}strip`, process.platform === 'darwin' ? ['-x', path] : [path])
  if (process.platform === 'linux' && !path.includes('-musl/')) checkLibraries(path, `${prefix}objdump`)
}

/** Compares the versions of symbols that it asks for with the newest that it may. */
function checkLibraries(path, objdump) {
  const symbols = execFileSync(objdump, ['-T', path], { encoding: 'utf8' })
  for (const [line, library, version] of symbols.matchAll(/^.*\*UND\*.*\((GLIBC|GLIBCXX|CXXABI)_([\d.]+)\).*$/gm)) {
    const isNewer = version.localeCompare(NEWEST[library], 'en', { numeric: true }) > 0
    if (isNewer) throw new Error(`${path} asks for more than ${library}_${NEWEST[library]}: ${line.trim()}`)
  }
}

function checkLoads(path, modules, [program, ...args]) {
  const script = `require(${JSON.stringify(path)}).builtForModules`
  const builtFor = execFileSync(program, [...args, '-p', script], { encoding: 'utf8' }).trim()
  if (builtFor !== modules) throw new Error(`the addon is for ABI ${builtFor}, and Node's is ${modules}`)
}

/** Beside each addon is the hash of the sources that it was built from. */
const stampOf = (path) => join(dirname(path), 'sources.sha256')

function isStale(path) {
  return !existsSync(path) || !existsSync(stampOf(path)) || readFileSync(stampOf(path), 'utf8') !== sourcesHash()
}

function stamp(path) {
  writeFileSync(stampOf(path), sourcesHash())
}

function sourcesHash() {
  const hash = createHash('sha256')
  for (const name of readdirSync(join(PROJECT, 'native')).sort())
    hash.update(`${name}\n`).update(readFileSync(join(PROJECT, 'native', name)))
  return hash.digest('hex')
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const { values, positionals } = parseArgs({
    options: {
      arch: { type: 'string', default: process.arch },
      running: { type: 'boolean', default: false },
      check: { type: 'string' },
    },
    allowPositionals: true,
  })
  const each = values.arch
    .split(',')
    .flatMap((arch) => majorsOf(positionals).map((major) => () => prebuild(major, arch)))
  if (values.check !== undefined) checkLibraries(values.check, 'objdump')
  for (const make of values.check !== undefined ? [] : values.running ? [prebuildRunning] : each) {
    const start = performance.now()
    const path = make()
    const seconds = ((performance.now() - start) / 1000).toFixed(1)
    console.log(`${relative(PROJECT, path)}: ${statSync(path).size} bytes, ${seconds} s`)
  }
}
