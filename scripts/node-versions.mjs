// Runs the whole test suite in other versions of Node than the one that runs this, each with an addon of its own.
//
//     node scripts/node-versions.mjs [--only test/struct,test/os/refusal] [--quick] [MAJOR]...
//
// Without a major version it takes all that it knows. The binaries come from npm's packages node-PLATFORM-ARCHITECTURE, which
// have the headers as well, and stay in node_modules/.cache. Each version has a copy of the project in a temporary folder, so
// that the build of the running Node stays as it is. `--only` names folders or files of test/, with commas between. Anything
// that the tests take from the environment (SPANHEAP_…) is passed on.
//
// The last line is "N passed, N failed" of all versions. The exit status is 1 where a test failed, or a version couldn't be run.
import { execFileSync, spawn } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join, relative } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const PINNED = { 22: '22.23.3', 24: '24.21.0', 26: '26.10.0' }
const PROJECT = fileURLToPath(new URL('../', import.meta.url))
const CACHE = join(PROJECT, 'node_modules/.cache/spanheap-node')
const NOT_COPIED = ['.git', 'build', 'node_modules']
/** ava waits without end for a worker that never returns. The whole suite takes 4 minutes on two cores. */
const RUN_MS = 20 * 60_000

const { values, positionals } = parseArgs({
  options: { only: { type: 'string' }, quick: { type: 'boolean', default: false } },
  allowPositionals: true,
})
const majors = positionals.length > 0 ? positionals : Object.keys(PINNED)
for (const major of majors) {
  if (!(major in PINNED)) throw new Error(`Node ${major} is none of ${Object.keys(PINNED).join(', ')}`)
}
const only = (values.only?.split(',') ?? []).map((path) =>
  path.endsWith('.ts') ? `dist/${path.replace(/ts$/, 'js')}` : `dist/${path}/**/*.test.js`
)

/** The folder with bin/node and include/node of a version. */
function nodeOf(version) {
  const name = `node-${process.platform}-${process.arch}`
  const folder = join(CACHE, `${name}-${version}`)
  if (existsSync(folder)) return folder
  mkdirSync(CACHE, { recursive: true })
  const unpacked = mkdtempSync(`${folder}-`)
  try {
    execFileSync('npm', ['pack', `${name}@${version}`, '--silent', '--pack-destination', unpacked], { stdio: 'ignore' })
    execFileSync('tar', ['-xzf', join(unpacked, `${name}-${version}.tgz`), '-C', unpacked])
    renameSync(join(unpacked, 'package'), folder)
  } finally {
    rmSync(unpacked, { recursive: true })
  }
  return folder
}

/** A copy of the project with an addon for the Node of this folder, and the environment that it is built and tested in. */
function projectFor(nodeFolder) {
  const folder = mkdtempSync(join(tmpdir(), 'spanheap-node-'))
  cpSync(PROJECT, folder, {
    recursive: true,
    filter: (from) => !NOT_COPIED.includes(relative(PROJECT, from)),
  })
  symlinkSync(join(PROJECT, 'node_modules'), join(folder, 'node_modules'))
  // In the environment and not as an option: node-gyp lets npm's settings, which npx puts into the environment, win.
  const env = {
    ...process.env,
    PATH: join(nodeFolder, 'bin') + delimiter + process.env.PATH,
    npm_config_nodedir: nodeFolder,
  }
  execFileSync(join(nodeFolder, 'bin/node'), ['node_modules/node-gyp/bin/node-gyp.js', 'rebuild'], {
    cwd: folder,
    env,
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  return { folder, env }
}

/** Runs ava and prints what failed. A skipped test is "ok … # SKIP", one to be written "not ok … # TODO": they don't count. */
async function runTests(node, { folder, env }) {
  const ava = spawn(node, ['node_modules/ava/entrypoints/cli.mjs', '--tap', ...only], {
    cwd: folder,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: RUN_MS,
    killSignal: 'SIGKILL',
  })
  const ended = new Promise((resolve) => ava.once('close', (status, signal) => resolve(signal ?? status)))
  let complaints = ''
  ava.stderr.setEncoding('utf8').on('data', (text) => {
    complaints += text
  })
  const counts = { passed: 0, failed: 0 }
  let failing = false
  for await (const line of createInterface({ input: ava.stdout })) {
    if (/^(not )?ok \d+ - /.test(line)) {
      failing = line.startsWith('not ok') && !line.endsWith(' # TODO')
      if (failing) counts.failed++
      else if (!/ # (SKIP|TODO)$/.test(line)) counts.passed++
    }
    if (failing) console.log(line)
  }
  const status = await ended
  if (counts.failed > 0 || status !== 0 || counts.passed === 0) {
    console.log(`${complaints}ava ended with ${status}`)
    counts.failed = Math.max(1, counts.failed)
  }
  return counts
}

const total = { passed: 0, failed: 0 }
for (const major of majors) {
  const start = Date.now()
  const nodeFolder = nodeOf(PINNED[major])
  const project = projectFor(nodeFolder)
  try {
    const { passed, failed } = await runTests(join(nodeFolder, 'bin/node'), project)
    const seconds = Math.round((Date.now() - start) / 1000)
    console.log(`Node ${PINNED[major]}: ${passed} passed, ${failed} failed, ${seconds} s`)
    total.passed += passed
    total.failed += failed
  } finally {
    rmSync(project.folder, { recursive: true })
  }
}
console.log(`${total.passed} passed, ${total.failed} failed`)
process.exitCode = total.failed > 0 ? 1 : 0
