import { readdirSync, readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** The layers, lowest first: a file imports from its own, or from one before. Files of lib itself are named one by one. */
const LAYERS: readonly (readonly string[])[] = [
  ['errors.ts', 'allocator.ts', 'warning.ts', 'printed.ts'],
  ['arguments.ts'],
  ['os/'],
  ['memory/'],
  ['tcmalloc/'],
  ['go/'],
  ['freelist/'],
  ['direct/'],
  ['token.ts'],
  ['buffers/'],
  ['debug/'],
  ['lifetime/'],
  ['heap-options.ts'],
  ['heap.ts'],
  ['channel.ts'],
  ['pool/'],
  ['struct/'],
  ['testing/'],
  ['index.ts'],
  ['trace/'],
  ['record/'],
  ['advise/'],
  ['cli/'],
]
/** Folders that don't know each other, whatever their order. */
const STRANGERS = [
  ['go/', 'tcmalloc/'],
  ['freelist/', 'tcmalloc/'],
  ['freelist/', 'go/'],
  ['direct/', 'go/'],
  ['direct/', 'freelist/'],
  ['direct/', 'tcmalloc/'],
  ['direct/', 'memory/'],
  ['advise/', 'record/'],
]

const sources = (folder: string, endings: RegExp) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).filter((name) => endings.test(name))

function layerOf(file: string): number {
  return LAYERS.findIndex((members) =>
    members.some((member) => file === member || (member.endsWith('/') && file.startsWith(member)))
  )
}

function importsOf(file: string): string[] {
  const text = readFileSync(join(root, 'lib', file), 'utf8')
  return [...text.matchAll(/(?:from |import |require\()'([^']+)'/g)].map(([, path]) => path!)
}

test('imports point downwards only', (t) => {
  const files = sources('lib', /\.c?ts$/)
  t.true(files.length > 20)
  for (const file of files) {
    const own = layerOf(file)
    t.not(own, -1, `${file} is in no layer`)
    for (const path of importsOf(file).filter((candidate) => candidate.startsWith('.'))) {
      const target = posix.join(posix.dirname(file), path)
      // The benchmark stands above the library, and the command line above both.
      if (target.startsWith('../bench/')) {
        t.is(file, 'cli/bench-command.ts', target)
        continue
      }
      t.true(layerOf(target) !== -1 && layerOf(target) <= own, `${file} imports ${target}`)
      for (const [one, other] of STRANGERS) {
        t.false(file.startsWith(one!) && target.startsWith(other!), `${file} imports ${target}`)
      }
    }
  }
})

test('one file loads the addon, and the library needs nothing else from outside', (t) => {
  for (const file of sources('lib', /\.c?ts$/)) {
    const text = readFileSync(join(root, 'lib', file), 'utf8')
    t.is(text.includes("'bindings'"), file === 'os/addon.ts', file)
    const outside = importsOf(file).filter((path) => !path.startsWith('.') && !path.startsWith('node:'))
    if (!file.startsWith('cli/'))
      t.deepEqual(
        outside.filter((path) => path !== 'bindings'),
        [],
        file
      )
  }
})

test('what is loaded into a recorded program is little: nothing but itself and Node', (t) => {
  const preloaded = sources('lib/record/preload', /\.cts$/)
  t.true(preloaded.length > 3)
  for (const file of preloaded) {
    const own = importsOf(`record/preload/${file}`).filter((path) => !path.startsWith('node:'))
    for (const path of own) t.regex(path, /^(\.\/[\w-]+\.cts|\.\.\/node-record\.ts)$/, file)
    const compiled = readFileSync(join(root, 'dist/lib/record/preload', file.replace('.cts', '.cjs')), 'utf8')
    t.notRegex(compiled, /require\("\.\.\//, 'the numbers of records are literals, and their file an ES module')
  }
})

test('one file of the shim makes system calls for memory', (t) => {
  for (const file of sources('native', /\.(cc|h)$/)) {
    const code = readFileSync(join(root, 'native', file), 'utf8').replace(/\/\/.*/g, '')
    t.is(/\b(mmap|munmap|madvise|mprotect|mremap|syscall)\(/.test(code), file === 'system.cc', file)
  }
})

test('no source file is longer than 600 lines', (t) => {
  for (const folder of ['lib', 'native', 'recorder', 'bench', 'test']) {
    for (const file of sources(folder, /\.(ts|cts|cc|h|c)$/)) {
      t.true(readFileSync(join(root, folder, file), 'utf8').split('\n').length <= 600, `${folder}/${file}`)
    }
  }
})
