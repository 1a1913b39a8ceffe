import { readdirSync, readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'

const root = fileURLToPath(new URL('../../../', import.meta.url))

const sources = (folder: string, endings: RegExp) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).filter((name) => endings.test(name))

/** The floor of each room of a folder, as the folder's README.md has them. */
function readFloors(folder: string): Map<string, number> {
  const rows = readFileSync(join(root, folder, 'README.md'), 'utf8').matchAll(/^\| (\d+) \| \[(\w+)\/\]\(\2\) \| \S/gm)
  return new Map([...rows].map(([, floor, room]) => [room!, Number(floor)]))
}

function importsOf(folder: string, file: string): string[] {
  // Comments have imports in their examples.
  const text = readFileSync(join(root, folder, file), 'utf8').replace(/^ *\*.*$/gm, '')
  return [...text.matchAll(/(?:from |import |require\()'([^']+)'/g)].map(([, path]) => path!)
}

/** The files of a folder, but its tests, and which of its files each of them imports, for types too. */
function readGraph(folder: string): Map<string, string[]> {
  const files = sources(folder, /\.c?ts$/).filter((file) => !/^(test|dist)\//.test(file))
  return new Map(
    files.map((file) => [
      file,
      importsOf(folder, file)
        .filter((path) => path.startsWith('.'))
        .map((path) => posix.join(posix.dirname(file), path)),
    ])
  )
}

/** Folders with rooms: which files lie beside these, and on which floor, and which folders are no rooms. */
const HOUSES: readonly [folder: string, beside: Readonly<Record<string, number>>, apart: readonly string[]][] = [
  ['lib', { 'index.ts': Number.POSITIVE_INFINITY }, []],
  ['tools', { 'package-root.ts': 0 }, ['test', 'traces', 'dist']],
]

for (const [folder, beside, apart] of HOUSES) {
  test(`every room of ${folder} is in ${folder}/README.md, and imports from itself or a lower floor`, (t) => {
    const floors = readFloors(folder)
    const folders = readdirSync(join(root, folder), { withFileTypes: true }).filter((entry) => entry.isDirectory())
    const rooms = folders.map(({ name }) => name).filter((name) => !apart.includes(name))
    t.deepEqual(rooms.sort(), [...floors.keys()].sort())
    const ascending = [...floors.values()].sort((a, b) => a - b)
    t.deepEqual([...floors.values()], ascending, 'lowest first')
    const graph = readGraph(folder)
    t.true(graph.size > 20)
    const floorOf = (file: string) =>
      beside[file] ?? (file.includes('/') ? floors.get(file.split('/', 1)[0]!) : undefined)
    for (const [file, targets] of graph) {
      const own = floorOf(file)
      t.not(own, undefined, `${file} is in no room`)
      const room = file.slice(0, file.indexOf('/') + 1)
      for (const target of targets) {
        const isInside = room !== '' && target.startsWith(room)
        t.true(isInside || floorOf(target)! < own!, `${file} imports ${target}`)
      }
    }
  })

  test(`no file of ${folder} is part of a circle of imports`, (t) => {
    const graph = readGraph(folder)
    const done = new Set<string>()
    const visit = (file: string, path: readonly string[]): void => {
      t.false(path.includes(file), [...path.slice(path.indexOf(file)), file].join(' > '))
      if (done.has(file) || path.includes(file)) return
      for (const target of graph.get(file) ?? []) visit(target, [...path, file])
      done.add(file)
    }
    for (const file of graph.keys()) visit(file, [])
  })
}

test('every folder of test has the name of a room of lib, or is in test/README.md', (t) => {
  const rows = readFileSync(join(root, 'test/README.md'), 'utf8').matchAll(/^\| \[([\w-]+)\/\]\(\1\) \| \S/gm)
  const apart = [...rows].map(([, folder]) => folder!)
  const rooms = readFloors('lib')
  t.deepEqual(apart, [...apart].sort(), 'in the order of the alphabet')
  t.deepEqual(
    apart.filter((folder) => rooms.has(folder)),
    [],
    'a room needs no words'
  )
  const entries = readdirSync(join(root, 'test'), { withFileTypes: true })
  const folders = entries.filter((entry) => entry.isDirectory()).map(({ name }) => name)
  t.deepEqual(
    folders.filter((folder) => !rooms.has(folder)),
    apart
  )
  const files = entries.filter((entry) => !entry.isDirectory()).map(({ name }) => name)
  t.deepEqual(files, ['README.md'])
})

test('the tools take of the library what it exports', (t) => {
  for (const file of sources('tools', /\.c?ts$/).filter((name) => !/^(test|dist)\//.test(name))) {
    for (const path of importsOf('tools', file)) t.false(/\/lib\//.test(path), `${file} imports ${path}`)
  }
})

test('one file loads the addon, and the library needs nothing else from outside', (t) => {
  for (const file of sources('lib', /\.c?ts$/)) {
    const text = readFileSync(join(root, 'lib', file), 'utf8')
    t.is(text.includes("'bindings'"), file === 'os/addon.ts', file)
    const outside = importsOf('lib', file).filter((path) => !path.startsWith('.') && !path.startsWith('node:'))
    t.deepEqual(
      outside.filter((path) => path !== 'bindings'),
      [],
      file
    )
  }
})

test('what is loaded into a recorded program is little: nothing but itself and Node', (t) => {
  const preloaded = sources('tools/record/preload', /\.cts$/)
  t.true(preloaded.length > 3)
  for (const file of preloaded) {
    const own = importsOf('tools/record/preload', file).filter((path) => !path.startsWith('node:'))
    for (const path of own) t.regex(path, /^(\.\/[\w-]+\.cts|\.\.\/node-record\.ts)$/, file)
    const compiled = readFileSync(join(root, 'dist/tools/record/preload', file.replace('.cts', '.cjs')), 'utf8')
    t.notRegex(compiled, /require\("\.\.\//, 'the numbers of records are literals, and their file an ES module')
  }
})

test('one file of the shim makes system calls for memory', (t) => {
  for (const file of sources('native', /\.(cc|h)$/)) {
    const code = readFileSync(join(root, 'native', file), 'utf8').replace(/\/\/.*/g, '')
    t.is(/\b(mmap|munmap|madvise|mprotect|mremap|syscall)\(/.test(code), file === 'system.cc', file)
  }
})

/** Files that may be longer, each with the reason. */
const LONG: Readonly<Record<string, string>> = {
  'lib/pool/buffer-pool.ts':
    'one class, by which a program does all that it does with a pool: a third of it says what each call does',
}

test('no source file is longer than 600 lines, but those that say why', (t) => {
  const long: string[] = []
  for (const folder of ['lib', 'native', 'test', 'tools']) {
    for (const file of sources(folder, /\.(ts|cts|cc|h|c)$/).filter((name) => !name.startsWith('dist/'))) {
      if (readFileSync(join(root, folder, file), 'utf8').split('\n').length > 600) long.push(`${folder}/${file}`)
    }
  }
  t.deepEqual(long.sort(), Object.keys(LONG).sort())
})
