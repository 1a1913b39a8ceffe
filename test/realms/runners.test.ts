// What programs do with the library in their own tests, in each environment that these run in: project/spanheap.test.mjs.
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import test from 'ava'
import { ROOT, run } from '../support/child.ts'
import { BUILT_ADDON } from '../support/installation.ts'

/** What vitest needs on an idle machine is 10 s, Jest 4. */
const RUN_SECONDS = 240
/** The tests of the file: one that isn't found is no failure to a runner. */
const TESTS = 51

/** A project that has the package as npm installs it: not as a link, by which runners take it for a part of the project. */
const project = realpathSync(mkdtempSync(join(tmpdir(), 'spanheap-realms-')))

test.before(() => {
  cpSync(join(ROOT, 'test/realms/project'), project, { recursive: true })
  const copies = {
    'dist/lib': 'dist/lib',
    'package.json': 'package.json',
    [BUILT_ADDON]: 'build/Release/spanheap.node',
  }
  for (const [from, to] of Object.entries(copies)) {
    const copy = join(project, 'node_modules/spanheap', to)
    mkdirSync(dirname(copy), { recursive: true })
    cpSync(from === BUILT_ADDON ? from : join(ROOT, from), copy, { recursive: true })
  }
  for (const name of ['bindings', 'file-uri-to-path', 'jest-environment-jsdom', 'jest-environment-node', 'vitest'])
    symlinkSync(join(ROOT, 'node_modules', name), join(project, 'node_modules', name))
})

test.after.always(() => rmSync(project, { recursive: true, force: true }))

interface Report {
  testResults: {
    message: string
    assertionResults: { status: string; ancestorTitles: string[]; failureMessages: string[] }[]
  }[]
}

/** Runs the project's tests. What has passed in each place that they ran in, and what has failed. */
async function outcomes(program: string, ...args: string[]) {
  const path = join(project, `${program.split('/')[0]}.json`)
  const command = [join(ROOT, 'node_modules', program), ...args, `--outputFile=${path}`]
  const { status, stderr } = await run(process.execPath, ['--experimental-vm-modules', ...command], RUN_SECONDS, {
    cwd: project,
  })
  if (!existsSync(path)) throw new Error(stderr)
  const { testResults } = JSON.parse(readFileSync(path, 'utf8')) as Report
  const results = testResults.flatMap(({ assertionResults }) => assertionResults)
  const passed: Record<string, number> = {}
  for (const { ancestorTitles } of results.filter(({ status }) => status === 'passed'))
    passed[ancestorTitles[0]!] = (passed[ancestorTitles[0]!] ?? 0) + 1
  // A file fails by itself where what is done after its tests does.
  const failed = [...testResults.map(({ message }) => message), ...results.flatMap((result) => result.failureMessages)]
  return { status, passed, failed: failed.filter((message) => message !== '') }
}

const ofEach = (...places: string[]) => Object.fromEntries(places.map((place) => [place, TESTS]))

test.serial('Jest, with the environments node and jsdom', async (t) => {
  t.timeout(RUN_SECONDS * 1000)
  t.deepEqual(await outcomes('jest/bin/jest.js', '--runInBand', '--json'), {
    status: 0,
    passed: ofEach('a realm of its own, the main thread, node', 'a realm of its own, the main thread, jsdom'),
    failed: [],
  })
})

test.serial('vitest, with the pools threads, forks and vmThreads, each with node and jsdom', async (t) => {
  t.timeout(RUN_SECONDS * 1000)
  t.deepEqual(await outcomes('vitest/vitest.mjs', 'run', '--reporter=json'), {
    status: 0,
    passed: ofEach(
      'the main realm, a worker, node',
      'the main realm, a worker, jsdom',
      'the main realm, the main thread, node',
      'the main realm, the main thread, jsdom',
      'a realm of its own, a worker, node',
      'a realm of its own, a worker, jsdom'
    ),
    failed: [],
  })
})
