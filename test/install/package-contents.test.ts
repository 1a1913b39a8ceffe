import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import test from 'ava'
import { ROOT, run } from '../support/child.ts'
import { BUILT_ADDON, Installation } from '../support/installation.ts'

const installation = new Installation()
let tarball: string
let files: string[]
let tools: string[]

async function listed(packed: string): Promise<string[]> {
  const { stdout } = await run('tar', ['-tzf', packed])
  const names = stdout.trim().split('\n')
  return names.map((name) => name.replace(/^package\//, '')).sort()
}

test.before(async (t) => {
  t.timeout(180_000)
  tarball = await installation.pack({ prebuilt: true })
  files = await listed(tarball)
  tools = await listed(await installation.packTools())
})

test.after.always(() => installation.remove())

const inFolder = (folder: string) =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .map((name) => `${folder}/${name}`)
    .filter((name) => statSync(join(ROOT, name)).isFile())

/** The compiled file of a source, and its types. */
const compiled = (source: string) => `dist/${source.replace(/ts$/, 'js')}`
const types = (source: string) => source.replace(/\.(c?)ts$/, '.d.$1ts')

test('the package holds what is needed, and nothing else', (t) => {
  const library = inFolder('lib').filter((source) => source.endsWith('ts'))
  const expected = [
    ...library.map(compiled),
    ...library.map((source) => `dist/${types(source)}`),
    ...['native', 'docs', 'examples'].flatMap(inFolder),
    'scripts/build-addon.mjs',
    'package.json',
    'README.md',
    'LICENSE',
    'ARCHITECTURE.md',
    'CHANGELOG.md',
    'SECURITY.md',
  ].sort()
  const prebuilt = files.filter((name) => name.startsWith('prebuilds/'))
  t.regex(prebuilt.join(), /^prebuilds\/[a-z]+-\w+(-musl)?\/node-\d+\/spanheap\.node$/)
  t.deepEqual(
    files.filter((name) => !prebuilt.includes(name)),
    expected
  )
})

test('the package asks for no script to be run when it is installed, and for being unpacked', (t) => {
  const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  const unasked = ['preinstall', 'install', 'postinstall', 'prepublish', 'preprepare', 'prepare', 'postprepare']
  t.deepEqual(
    unasked.filter((name) => name in manifest.scripts),
    []
  )
  // npm publish would put a script of its own in, since the clone has a binding.gyp.
  t.is(manifest.gypfile, false)
  t.is(manifest.preferUnplugged, true)
})

test('the tarball is small: at most 600 KB without prebuilt addons, 4 MB with eight', (t) => {
  const addon = gzipSync(readFileSync(BUILT_ADDON)).length
  const rest = statSync(tarball).size - addon
  t.true(rest <= 600_000, `${rest} bytes`)
  t.true(rest + 8 * addon <= 4_000_000, `${addon} bytes each`)
})

test('the package of tools holds what is needed, and nothing else', (t) => {
  const sources = inFolder('tools').map((name) => name.slice('tools/'.length))
  const expected = [
    ...sources.filter((name) => /^(?!test\/|dist\/|bench\/report\/).*\.c?ts$/.test(name)).map(compiled),
    ...sources.filter((name) => /^(bench\/native|record\/recorder|traces)\//.test(name)),
    'bench/README.md',
    'bench/report/style.css',
    'dist/bench/report/charts.js',
    'README.md',
    'LICENSE',
    'package.json',
  ].sort()
  t.deepEqual(tools, expected)
})

test('no file that is packed refers to a source map, since none is', (t) => {
  for (const name of files.filter((file) => /\.c?js$/.test(file))) {
    t.false(readFileSync(join(ROOT, name), 'utf8').includes('sourceMappingURL'), name)
  }
})

test('every document that a packed document links to is packed', (t) => {
  for (const name of files.filter((file) => file.endsWith('.md'))) {
    const text = readFileSync(join(ROOT, name), 'utf8')
    for (const [, link] of text.matchAll(/\]\((?!https?:|#)([^)#]+)/g)) {
      const target = join(name, '..', link!)
      t.true(files.includes(target), `${name}: ${link}`)
    }
  }
})

for (const [tool, args] of [
  ['publint', ['--strict']],
  ['attw', ['--profile', 'esm-only']],
] as const) {
  test(`${tool} finds nothing`, async (t) => {
    const { status, stdout, stderr } = await run(join(ROOT, 'node_modules/.bin', tool), [tarball, ...args])
    t.is(status, 0, stdout + stderr)
  })
}
