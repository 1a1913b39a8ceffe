// Builds the addon for each release of Node that it is prebuilt for, stripped, into prebuilds/, which `npm pack` takes along.
// Compile first.
//
//     node scripts/prebuild.mjs [MAJOR]...
//     node scripts/prebuild.mjs --running
//
// Without a major version it takes all of scripts/node-releases.mjs. `--running` is for machines for which npm has no Node
// (musl): the addon is built for the Node that runs this, and node-gyp gets the headers. What is in prebuilds/ from other
// platforms stays; docs/installing.md tells how those are made.
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { parseArgs } from 'node:util'
import { prebuiltPath } from '../dist/lib/os/prebuilt.js'
import { buildAddon, environmentOf, majorsOf, nodeFolderOf, PROJECT, RELEASES } from './node-releases.mjs'

const { values, positionals } = parseArgs({
  options: { running: { type: 'boolean', default: false } },
  allowPositionals: true,
})

/** Builds for the Node that `env` finds; the binary's path. */
function prebuild(env) {
  const copy = mkdtempSync(join(tmpdir(), 'spanheap-prebuild-'))
  try {
    for (const name of ['package.json', 'binding.gyp', 'native']) {
      cpSync(join(PROJECT, name), join(copy, name), { recursive: true })
    }
    symlinkSync(join(PROJECT, 'node_modules'), join(copy, 'node_modules'))
    buildAddon(copy, env)
    const built = join(copy, 'build/Release/spanheap.node')
    execFileSync('strip', process.platform === 'darwin' ? ['-x', built] : [built])
    const modules = execFileSync('node', ['-p', 'process.versions.modules'], { env, encoding: 'utf8' }).trim()
    const builtFor = execFileSync('node', ['-p', `require(${JSON.stringify(built)}).builtForModules`], {
      env,
      encoding: 'utf8',
    }).trim()
    if (builtFor !== modules) throw new Error(`the addon is for ABI ${builtFor}, and Node's is ${modules}`)
    const path = prebuiltPath(modules)
    mkdirSync(dirname(path), { recursive: true })
    cpSync(built, path)
    return path
  } finally {
    rmSync(copy, { recursive: true })
  }
}

const environments = values.running
  ? [process.env]
  : majorsOf(positionals).map((major) => environmentOf(nodeFolderOf(RELEASES[major])))
for (const env of environments) {
  const start = performance.now()
  const path = prebuild(env)
  const seconds = ((performance.now() - start) / 1000).toFixed(1)
  console.log(`${relative(PROJECT, path)}: ${statSync(path).size} bytes, ${seconds} s`)
}
