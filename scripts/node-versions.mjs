// Runs the whole test suite in other versions of Node than the one that runs this, each with its prebuilt addon.
//
//     node scripts/node-versions.mjs [--only test/struct,test/os/refusal] [--arch arm64] [MAJOR]...
//
// Without a major version it takes all of scripts/node-releases.mjs but the running one. Each version has a copy of the project
// in a temporary folder, so that the build of the running Node stays as it is. `--only` names folders or files of test/, with
// commas between. `--arch` names another architecture, whose Node runs in QEMU's emulator (Debian's package qemu-user-static): only tests
// that start no processes work there, slowly, and they say nothing of the order in which an arm64's cores see each other's stores. Anything
// that the tests take from the environment (SPANHEAP_…) is passed on.
//
// The last line is "N passed, N failed" of all versions. The exit status is 1 where a test failed, or a version couldn't be run.
import { spawn } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { environmentOf, majorsOf, nodeFolderOf, PROJECT, RELEASES } from './node-releases.mjs'
import { prebuild, runnerOf } from './prebuild.mjs'

const NOT_COPIED = ['.git', 'build', 'node_modules', 'prebuilds']
/** ava waits without end for a worker that never returns. The whole suite takes 4 minutes on two cores. */
const RUN_MS = 20 * 60_000

const { values, positionals } = parseArgs({
  options: { only: { type: 'string' }, arch: { type: 'string', default: process.arch } },
  allowPositionals: true,
})
const running = process.versions.node.split('.', 1)[0]
const majors = majorsOf(
  positionals,
  Object.keys(RELEASES).filter((major) => values.arch !== process.arch || major !== running)
)
const only = (values.only?.split(',') ?? []).map((path) =>
  path.endsWith('.ts') ? `dist/${path.replace(/ts$/, 'js')}` : `dist/${path}/**/*.test.js`
)

/** A copy of the project with an addon for a major version of Node. */
function projectFor(major) {
  const folder = mkdtempSync(join(tmpdir(), 'spanheap-node-'))
  cpSync(PROJECT, folder, {
    recursive: true,
    filter: (from) => !NOT_COPIED.includes(relative(PROJECT, from)),
  })
  symlinkSync(join(PROJECT, 'node_modules'), join(folder, 'node_modules'))
  cpSync(prebuild(major, values.arch), join(folder, 'build/Release/spanheap.node'))
  return folder
}

/** Runs ava and prints what failed. A skipped test is "ok … # SKIP", one to be written "not ok … # TODO": they don't count. */
async function runTests(folder, env, [program, ...args]) {
  const ava = spawn(program, [...args, 'node_modules/ava/entrypoints/cli.mjs', '--tap', ...only], {
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
  const nodeFolder = nodeFolderOf(RELEASES[major], values.arch)
  const env = environmentOf(nodeFolder)
  const folder = projectFor(major)
  try {
    const { passed, failed } = await runTests(folder, env, runnerOf(nodeFolder, values.arch))
    const seconds = Math.round((Date.now() - start) / 1000)
    console.log(`Node ${RELEASES[major]}, ${values.arch}: ${passed} passed, ${failed} failed, ${seconds} s`)
    total.passed += passed
    total.failed += failed
  } finally {
    rmSync(folder, { recursive: true })
  }
}
console.log(`${total.passed} passed, ${total.failed} failed`)
process.exitCode = total.failed > 0 ? 1 : 0
