// The other package managers, as they are set by default: none runs a script for the package, and each gets the native heap.
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { Installation } from '../support/installation.ts'

const USE = `
  import { Heap } from 'spanheap'
  const heap = new Heap()
  heap.free(heap.malloc(100))
  console.log(heap.stats().system)`
const installation = new Installation()
let tarball: string

test.before(async (t) => {
  t.timeout(180_000)
  tarball = await installation.pack({ prebuilt: true })
})

test.after.always(() => installation.remove())

function projectWith(name: string, files: Record<string, string> = {}): string {
  const project = installation.project(name)
  const manifest = { private: true, dependencies: { spanheap: `file:${tarball}` } }
  const all = { 'package.json': JSON.stringify(manifest), 'main.mjs': USE, ...files }
  for (const [file, text] of Object.entries(all)) writeFileSync(join(project, file), text)
  return project
}

test('pnpm: no build script is there to be ignored, and none is missed', async (t) => {
  t.timeout(180_000)
  const project = projectWith('pnpm')
  const store = join(installation.folder, 'pnpm store')
  const { status, stdout, stderr } = await installation.manager(project, 'pnpm/bin/pnpm.cjs', [
    'install',
    '--store-dir',
    store,
  ])
  t.is(status, 0, stdout + stderr)
  t.regex(stdout, /spanheap/)
  t.notRegex(stdout + stderr, /Ignored build scripts/)
  const used = await installation.node(project, 'main.mjs')
  t.is(used.stdout, 'native\n', used.stderr)
  t.is(used.stderr, '')
})

for (const linker of ['pnp', 'node-modules']) {
  test(`Yarn, nodeLinker: ${linker}`, async (t) => {
    t.timeout(180_000)
    const project = projectWith(`yarn ${linker}`, { 'yarn.lock': '', '.yarnrc.yml': `nodeLinker: ${linker}\n` })
    const registry = await installation.shell(project, 'npm config get registry')
    const settings = {
      YARN_GLOBAL_FOLDER: join(installation.folder, 'yarn'),
      YARN_ENABLE_IMMUTABLE_INSTALLS: 'false', // it is true by default in continuous integration
      YARN_ENABLE_TELEMETRY: '0',
      YARN_NPM_REGISTRY_SERVER: registry.stdout.trim(),
    }
    const yarn = (...args: string[]) => installation.manager(project, '@yarnpkg/cli-dist/bin/yarn.js', args, settings)
    const { status, stdout, stderr } = await yarn('install')
    t.is(status, 0, stdout + stderr)
    t.notRegex(stdout, /build scripts|must be built/)
    t.is(existsSync(join(project, '.pnp.cjs')), linker === 'pnp')
    const used = await yarn('node', 'main.mjs')
    t.is(used.stdout, 'native\n', used.stderr)
    t.is(used.stderr, '')
  })
}
