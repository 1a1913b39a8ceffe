// Every kind of project that the package is for, each with nothing but the package in it, installed from the tarball.
import { cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { type Ended, ROOT, run } from '../support/child.ts'
import { Installation } from '../support/installation.ts'

const USE = 'const heap = new Heap(); heap.free(heap.malloc(100)); console.log(heap.stats().system)'
const installation = new Installation()
let installed: string

test.before(async (t) => {
  t.timeout(240_000)
  installed = installation.project('installed')
  const tarballs = [await installation.pack({ prebuilt: true }), await installation.packTools()]
  const { status, stderr } = await installation.install(installed, tarballs)
  if (status !== 0) throw new Error(stderr)
})

test.after.always(() => installation.remove())

/** A copy of the project that the package was installed into, with files of its own. */
function projectWith(name: string, files: Record<string, string>): string {
  const project = installation.project(name)
  cpSync(join(installed, 'node_modules'), join(project, 'node_modules'), { recursive: true, verbatimSymlinks: true })
  for (const [file, text] of Object.entries(files)) writeFileSync(join(project, file), text)
  return project
}

const tool = (name: string) => join(ROOT, 'node_modules', name)
const outcome = ({ status, stdout, stderr }: Ended) => ({ status, stdout: stdout.trim(), stderr })
const NATIVE = { status: 0, stdout: 'native', stderr: '' }

test('with a prebuilt binary that fits, nothing is built, and nothing but runtime dependencies comes along', (t) => {
  t.false(existsSync(join(installed, 'node_modules/spanheap/build')))
  const there = readdirSync(join(installed, 'node_modules'))
  for (const manifest of ['package.json', 'tools/package.json']) {
    const { dependencies } = JSON.parse(readFileSync(join(ROOT, manifest), 'utf8'))
    for (const name of Object.keys(dependencies)) t.true(there.includes(name), name)
  }
  t.false(there.includes('esbuild') || there.includes('typescript'))
})

test('ES modules: every entry point', async (t) => {
  const project = projectWith('esm', {
    'main.mjs': `
      import { Heap } from 'spanheap'
      import { DirectHeap } from 'spanheap/direct'
      import { FreeListHeap } from 'spanheap/freelist'
      import { GoHeap } from 'spanheap/go'
      for (const Other of [DirectHeap, FreeListHeap, GoHeap]) {
        const heap = new Other()
        heap.free(heap.malloc(100))
        heap.close()
      }
      ${USE}`,
  })
  t.deepEqual(outcome(await installation.node(project, 'main.mjs')), NATIVE)
})

test('require', async (t) => {
  const project = projectWith('commonjs', {
    'main.cjs': `require('spanheap/package.json'); const { Heap } = require('spanheap'); ${USE}`,
  })
  t.deepEqual(outcome(await installation.node(project, 'main.cjs')), NATIVE)
})

test('TypeScript: nodenext and bundler, strict, with the types of libraries checked', async (t) => {
  const project = projectWith('typescript', {
    'main.mts': `
      import { BufferPool, Heap, type HeapStats } from 'spanheap'
      import { struct } from 'spanheap/struct'
      import { DirectHeap } from 'spanheap/direct'
      import { FreeListHeap } from 'spanheap/freelist'
      import { GoHeap } from 'spanheap/go'
      const heap: Heap = new Heap()
      const buffer: SharedArrayBuffer = heap.buffer
      const stats: HeapStats = heap.stats()
      // @ts-expect-error: an address is a number
      export const wrong = () => heap.free('1')
      const all = [BufferPool, struct, DirectHeap, FreeListHeap, GoHeap].length
      console.log(all === 5 && buffer.byteLength > 0 ? stats.system : '')`,
  })
  for (const name of ['@types/node', 'undici-types']) {
    cpSync(tool(name), join(project, 'node_modules', name), { recursive: true })
  }
  const options = ['--target', 'es2022', '--strict', '--skipLibCheck', 'false', '--types', 'node']
  for (const resolution of [
    ['--module', 'esnext', '--moduleResolution', 'bundler', '--noEmit'],
    ['--module', 'nodenext'],
  ]) {
    const checked = await installation.node(project, tool('typescript/bin/tsc'), ...resolution, ...options, 'main.mts')
    t.deepEqual(outcome(checked), { status: 0, stdout: '', stderr: '' })
  }
  t.deepEqual(outcome(await installation.node(project, 'main.mjs')), NATIVE)
})

for (const [format, extension] of [
  ['esm', 'mjs'],
  ['cjs', 'cjs'],
] as const) {
  test(`bundled by esbuild as ${format}: whole with spanheap as external, else in the fallback, with a line that says so`, async (t) => {
    const project = projectWith(`bundled-${format}`, { 'main.mjs': `import { Heap } from 'spanheap'\n${USE}` })
    const bundle = async (name: string, ...flags: string[]) => {
      const options = ['--bundle', '--platform=node', `--format=${format}`, '--log-level=error', `--outfile=${name}`]
      const built = await run(tool('esbuild/bin/esbuild'), ['main.mjs', ...options, ...flags], 60, { cwd: project })
      t.is(built.status, 0, built.stderr)
      return installation.node(project, name)
    }
    t.deepEqual(outcome(await bundle(`external.${extension}`, '--external:spanheap')), NATIVE)
    const whole = await bundle(`whole.${extension}`)
    t.is(whole.stdout.trim(), 'growable', whole.stderr)
    t.regex(whole.stderr, /no addon .* mark spanheap as external/)
  })
}

test('workers, on one heap', async (t) => {
  const project = projectWith('worker', {
    'main.mjs': `
      import { Worker } from 'node:worker_threads'
      import { Heap } from 'spanheap'
      const heap = new Heap()
      const worker = new Worker(new URL('worker.mjs', import.meta.url), { workerData: heap.share() })
      worker.once('message', (address) => {
        const [byte] = heap.view(address)
        heap.free(address)
        if (byte === 7) console.log(heap.stats().system)
      })`,
    'worker.mjs': `
      import { parentPort, workerData } from 'node:worker_threads'
      import { Heap } from 'spanheap'
      const heap = Heap.attach(workerData)
      const address = heap.malloc(100)
      heap.view(address).fill(7)
      parentPort.postMessage(address)`,
  })
  t.deepEqual(outcome(await installation.node(project, 'main.mjs')), NATIVE)
})

test('under c8', async (t) => {
  const project = projectWith('coverage', { 'main.mjs': `import { Heap } from 'spanheap'\n${USE}` })
  const args = [tool('c8/bin/c8.js'), '--reporter=json', process.execPath, 'main.mjs']
  t.deepEqual(outcome(await installation.node(project, ...args)), NATIVE)
  const covered = Object.keys(JSON.parse(readFileSync(join(project, 'coverage/coverage-final.json'), 'utf8')))
  t.deepEqual(covered, [join(project, 'main.mjs')])
})

test('the command of spanheap-tools, without what only developers have', async (t) => {
  t.timeout(180_000)
  const project = projectWith('command', {
    'app.mjs': 'for (let i = 0; i < 1000; i++) Buffer.alloc(1000 + i)',
  })
  const spanheap = async (...args: string[]) => {
    const ended = await installation.node(project, 'node_modules/.bin/spanheap', ...args)
    t.is(ended.status, 0, `${args.join(' ')}: ${ended.stderr}`)
    return ended.stdout
  }
  const few = ['--events', '2000', '--rounds', '1']
  t.regex(await spanheap('compare', 'sqlite', ...few), /sqlite/)
  await spanheap('record', '-o', 'app.mtrc.gz', '--', 'node', 'app.mjs')
  t.regex(await spanheap('replay', 'app.mtrc.gz', '--allocator', 'tcmalloc', ...few), /\d/)
  t.regex(await spanheap('advise', 'app.mtrc.gz', ...few), /\d/)
  if (process.platform === 'linux')
    await spanheap('record', '--native', '-o', 'native.mtrc.gz', '--', 'node', '--version')
  t.regex(await spanheap('bench', '--quick', '--only', 'locks', '--rounds', '1'), /locks/)
  t.regex(readFileSync(join(project, 'spanheap-bench.html'), 'utf8'), /<style>[\s\S]*<script>/)
})
