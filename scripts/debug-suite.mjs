// Runs the tests in debug mode (SPANHEAP_DEBUG=1): nothing may be invented there. Tests of what debug mode changes on purpose fail, and are
// listed, each with the reason, in debug-exempt.mjs: any other failure fails this, and so does an entry of the list that no test goes by.
//
//   node scripts/debug-suite.mjs            all of them: with a slow disk and two cores, some 20 minutes
//   node scripts/debug-suite.mjs pool heap  those of test/pool and test/heap
//   node scripts/debug-suite.mjs pool/pass  one file
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { EXEMPT } from './debug-exempt.mjs'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
/** Debug mode has nothing to do with these: other allocators, tools, packaging, and tests that count machine code or system calls. */
const FOLDERS = ['binary', 'buffers', 'channel', 'heap', 'lifetime', 'pool', 'struct', 'workers']
/** Files of other folders. */
const FILES = [
  'docs/lifetimes',
  'docs/structs',
  'install/two-copies',
  'public-api/unknown-options',
  'tcmalloc/pass-slots',
  'threads/locks-sleep',
]
/** What takes microseconds a call: fewer of them. */
const ENVIRONMENT = { SPANHEAP_DEBUG: '1', SPANHEAP_PROPERTY_OPERATIONS: '20000', SPANHEAP_KILLS: '40' }

const asked = process.argv.slice(2)
let failed = 0
for (const file of (asked.length > 0 ? asked : [...FOLDERS, ...FILES]).flatMap(filesOf)) failed += runFile(file)
for (const file of Object.keys(EXEMPT)) {
  if (existsSync(ROOT + file)) continue
  failed++
  console.error(`debug-exempt.mjs lists ${file}, which isn't there`)
}
console.log(failed === 0 ? 'debug mode has invented nothing' : `${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1

/** The files of tests that a folder of test/ has, or the one file of that name. */
function filesOf(name) {
  if (existsSync(`${ROOT}test/${name}.test.ts`)) return [`test/${name}.test.ts`]
  if (!existsSync(`${ROOT}test/${name}`)) throw new Error(`there is no test/${name}`)
  const files = readdirSync(`${ROOT}test/${name}`).filter((file) => file.endsWith('.test.ts'))
  return files.map((file) => `test/${name}/${file}`)
}

/** Runs a file's tests; how many fail that aren't listed, or are listed and not there. */
function runFile(file) {
  const exempt = EXEMPT[file] ?? []
  const [whole] = exempt.filter(({ tests }) => tests === undefined)
  if (whole !== undefined) {
    console.log(`${file}: exempt`)
    return 0
  }
  const path = `dist/${file.replace(/ts$/, 'js')}`
  const { stdout } = spawnSync('npx', ['ava', '--tap', '--timeout=10m', path], {
    cwd: ROOT,
    encoding: 'utf8',
    env: { ...process.env, ...ENVIRONMENT },
  })
  const tests = [...stdout.matchAll(/^(not ok|ok) \d+ - (.*)$/gm)].map(([, outcome, title]) => ({ outcome, title }))
  const isExempt = (title) => exempt.some(({ tests: titles }) => titles.some((pattern) => pattern.test(title)))
  const wrong = tests.filter(({ outcome, title }) => outcome === 'not ok' && !isExempt(title))
  const unused = exempt
    .flatMap(({ tests: titles }) => titles)
    .filter((pattern) => !tests.some(({ title }) => pattern.test(title)))
  for (const { title } of wrong) console.error(`${file}: ${title}`)
  for (const pattern of unused) console.error(`${file}: debug-exempt.mjs lists ${pattern}, which no test goes by`)
  if (tests.length === 0) console.error(`${file}: no test ran`)
  if (wrong.length > 0 || tests.length === 0) console.error(stdout)
  const passed = tests.filter(({ outcome }) => outcome === 'ok').length
  console.log(`${file}: ${passed} passed, ${tests.length - passed - wrong.length} exempt, ${wrong.length} failed`)
  return wrong.length + unused.length + (tests.length === 0 ? 1 : 0)
}
