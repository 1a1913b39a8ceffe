// What isn't there, or isn't allowed: each way ends in the fallback, or in an error, with one line that says what to do.
import { cpSync, mkdirSync, realpathSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import test from 'ava'
import { findBuildTools } from '../../lib/os/build-tools.ts'
import { prebuiltPath } from '../../lib/os/prebuilt.ts'
import { ROOT } from '../support/child.ts'
import { BUILT_ADDON, Installation } from '../support/installation.ts'

const installation = new Installation()
const PERMISSION = process.allowedNodeEnvironmentFlags.has('--permission')
  ? '--permission'
  : '--experimental-permission'
const REPORT = `
  const { Heap } = await import('spanheap')
  try {
    const heap = new Heap()
    heap.free(heap.malloc(100))
    console.log(heap.stats().system)
  } catch ({ code, message }) {
    console.log(code, message)
  }`

/** A project in which the package is installed, and what the installation said. */
async function projectWith(name: string, prebuilt: boolean, ...flags: string[]) {
  const project = installation.project(name)
  writeFileSync(join(project, 'main.mjs'), REPORT)
  const ended = await installation.install(project, await installation.pack({ prebuilt }), ...flags)
  if (ended.status !== 0) throw new Error(ended.stderr)
  return project
}

let whole: string
let bare: string

test.before(async (t) => {
  t.timeout(300_000)
  whole = await projectWith('whole', true, '--ignore-scripts')
  bare = await projectWith('bare', false)
})

test.after.always(() => installation.remove())

test('--ignore-scripts: a prebuilt binary needs none', async (t) => {
  const { stdout, stderr } = await installation.node(whole, 'main.mjs')
  t.is(stdout, 'native\n')
  t.is(stderr, '')
})

test('no compiler and no prebuilt binary: installed all the same, and a warning says what to install and to run', async (t) => {
  const { stdout, stderr } = await installation.shell(bare, 'node main.mjs')
  t.is(stdout, 'growable\n')
  t.is(stderr.match(/^.*SpanheapWarning: .*$/gm)?.length, 1)
  const { platform, arch, version, versions } = process
  const none = `none is prebuilt for ${platform}-${arch} and Node ${version} (ABI ${versions.modules}), and none was built`
  const remedy = `install a C++ compiler, make and Python 3, then run \`node "${scriptIn(bare)}"\``
  t.true(
    stderr.includes(`no addon (${none}): heaps give no memory back to the system. To change that, ${remedy}\n`),
    stderr
  )
})

test('the command that the warning names builds the addon, or says what it lacks', async (t) => {
  t.timeout(240_000)
  const project = installation.project('built from source')
  cpSync(join(bare, 'node_modules'), join(project, 'node_modules'), { recursive: true, verbatimSymlinks: true })
  writeFileSync(join(project, 'main.mjs'), REPORT)
  const { stderr } = await installation.node(project, 'main.mjs')
  const [, command] = /To change that, run `(.*)`$/m.exec(stderr)!
  const lacking = await installation.shell(project, command!)
  t.is(lacking.status, 1)
  t.is(lacking.stderr, 'spanheap: no addon was built: that takes a C++ compiler, make and Python 3\n')
  // Without optimizing, which is a third of the time.
  const built = await installation.shell(project, command!, {
    ...process.env,
    CXXFLAGS: `${process.env.CXXFLAGS ?? ''} -O0`,
  })
  t.is(built.status, 0, built.stderr)
  t.is((await installation.node(project, 'main.mjs')).stdout, 'native\n')
})

test('each tool that isn’t there is named', (t) => {
  const folder = installation.project('tools')
  const missing = (...programs: string[]) => {
    for (const program of programs) writeFileSync(join(folder, program), '')
    return findBuildTools({ PATH: folder }).missing
  }
  t.deepEqual(missing(), ['a C++ compiler', 'make', 'Python 3'])
  t.deepEqual(missing('g++', 'python3'), ['make'])
  t.deepEqual(missing('make'), [])
  t.deepEqual(findBuildTools({ CXX: 'g++-14', PYTHON: '/opt/python' }).missing, ['make'])
})

test('npm rebuild runs nothing: what is installed is compiled, and asks for no compiler', async (t) => {
  const { status, stdout, stderr } = await installation.rebuild(bare)
  t.is(status, 0, stdout + stderr)
  t.notRegex(stdout + stderr, /^> /m)
})

test('what was built here is taken before a prebuilt binary, and a prebuilt one if that doesn’t load', async (t) => {
  const project = installation.project('built')
  cpSync(join(bare, 'node_modules'), join(project, 'node_modules'), { recursive: true, verbatimSymlinks: true })
  writeFileSync(join(project, 'main.mjs'), REPORT)
  const spanheap = join(project, 'node_modules/spanheap')
  mkdirSync(join(spanheap, 'build/Release'), { recursive: true })
  cpSync(BUILT_ADDON, join(spanheap, 'build/Release/spanheap.node'))
  t.is((await installation.node(project, 'main.mjs')).stdout, 'native\n')
  // One for a newer C library ends like this one, which is no library at all.
  const prebuilt = prebuiltIn(project)
  mkdirSync(dirname(prebuilt), { recursive: true })
  writeFileSync(prebuilt, 'no ELF file')
  t.is((await installation.node(project, 'main.mjs')).stdout, 'native\n')
  cpSync(BUILT_ADDON, prebuilt)
  writeFileSync(join(spanheap, 'build/Release/spanheap.node'), 'no ELF file')
  t.is((await installation.node(project, 'main.mjs')).stdout, 'native\n')
  writeFileSync(prebuilt, 'no ELF file')
  renameSync(join(spanheap, 'build'), join(spanheap, 'away'))
  const { stdout, stderr } = await installation.node(project, 'main.mjs')
  t.is(stdout, 'growable\n')
  t.true(stderr.includes(`no addon (${prebuilt}: `), stderr)
})

test('a prebuilt binary of another version of Node is refused, with what to do about it', async (t) => {
  const project = installation.project('stranger')
  cpSync(join(whole, 'node_modules'), join(project, 'node_modules'), { recursive: true, verbatimSymlinks: true })
  // Another Node isn't at hand here: this one claims to be one, and finds its own binary under the other's name.
  const pretend = "Object.defineProperty(process, 'versions', { value: { ...process.versions, modules: '1' } })"
  writeFileSync(join(project, 'main.mjs'), `${pretend}\n${REPORT}`)
  const prebuilt = prebuiltIn(project)
  renameSync(dirname(prebuilt), join(dirname(prebuilt), '../node-1'))
  const { stdout } = await installation.node(project, 'main.mjs')
  t.is(
    stdout,
    `ERR_HEAP_UNSUPPORTED the addon was built for another Node (ABI ${process.versions.modules}, this is 1): run \`node "${scriptIn(project)}"\`\n`
  )
})

test('--no-addons: the fallback', async (t) => {
  const { stdout, stderr } = await installation.node(whole, '--no-addons', 'main.mjs')
  t.is(stdout, 'growable\n')
  t.regex(stderr, /no addon \(addons are disabled\): .* To change that, start Node without --no-addons$/m)
})

test('--permission: the fallback, which no more than reading needs; the addon where it is allowed', async (t) => {
  const allowed = [PERMISSION, `--allow-fs-read=${whole}/*`]
  const confined = await installation.node(whole, ...allowed, 'main.mjs')
  t.is(confined.stdout, 'growable\n', confined.stderr)
  t.regex(confined.stderr, /no addon \(Node’s permission model forbids addons\): .* start Node with --allow-addons$/m)
  const free = await installation.node(whole, ...allowed, '--allow-addons', 'main.mjs')
  t.is(free.stdout, 'native\n', free.stderr)
  t.notRegex(free.stderr, /SpanheapWarning/)
})

/** The script that builds the addon of a project's package. */
function scriptIn(project: string): string {
  return realpathSync(join(project, 'node_modules/spanheap/scripts/build-addon.mjs'))
}

/** Where the prebuilt binary of a project's package is, or would be. */
function prebuiltIn(project: string): string {
  return prebuiltPath().replace(ROOT, `${realpathSync(join(project, 'node_modules/spanheap'))}/`)
}
