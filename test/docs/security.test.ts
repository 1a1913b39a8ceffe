import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { ROOT } from '../support/child.ts'

const code = (file: string) => readFileSync(join(ROOT, 'native', file), 'utf8').replace(/\/\/.*/g, '')
const shim = readdirSync(join(ROOT, 'native')).map(code).join('\n')
const guide = readFileSync(join(ROOT, 'SECURITY.md'), 'utf8')
const [table] = /^\| call \| flags[\s\S]*?\n\n/m.exec(guide)!

test('SECURITY.md has each system call for memory that the shim makes, with its flags, and no other', (t) => {
  const system = code('system.cc')
  const made = new Set(
    [...system.matchAll(/\b(mmap|munmap|madvise|mremap|mprotect|mlock|syscall)\(/g)].map(([, name]) => name!)
  )
  const told = new Set([...table.matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name!))
  t.deepEqual([...told].sort(), [...made].sort())

  const flags = (text: string) => [...new Set(text.match(/\b(MAP|PROT|MADV)_(?!FAILED)\w+/g))].sort()
  t.deepEqual(flags(table), flags(system))
  t.true(flags(table).length > 7)
})

test('of what else asks the system for something, SECURITY.md has each function that the shim calls', (t) => {
  // Functions of C and POSIX that the headers which the shim includes declare; those of memory are in the table.
  const asked =
    /\b(f?open|fopen|fprintf|fputs|fflush|fwrite|fclose|fread|read|write|close|sysconf|clock_gettime|dladdr|dlopen|dlsym|getenv|fork|exec\w*|popen|socket|connect|ioctl|kill|unlink|rename)\(/g
  const called = new Set([...shim.matchAll(asked)].map(([, name]) => name!))
  const [paragraph] = /^No page is ever executable[\s\S]*?\n\n/m.exec(guide)!
  const told = new Set([...paragraph.matchAll(/`([a-z_]+)`/g)].map(([, name]) => name!))
  t.deepEqual([...told].sort(), [...called].sort())
  t.false(/PROT_EXEC|MAP_SHARED\b/.test(shim))
})

test('the packages that a program gets with the library are those that SECURITY.md tells of', (t) => {
  const dependenciesOf = (manifest: string) => {
    const { dependencies } = JSON.parse(readFileSync(join(ROOT, manifest), 'utf8')) as {
      dependencies: Record<string, string>
    }
    return Object.entries(dependencies)
  }
  const own = dependenciesOf('package.json')
  t.deepEqual(own.map(([name]) => name).sort(), ['bindings', 'node-addon-api'])
  const lock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { dev?: boolean; link?: boolean; hasInstallScript?: boolean }>
  }
  const [, paragraph] = /^## Dependencies\n\n([\s\S]*)$/m.exec(guide)!
  for (const [name, version] of [...own, ...dependenciesOf('tools/package.json')]) {
    t.true(paragraph!.includes(`\`${name}\``), name)
    t.regex(version, /^\d+\.\d+\.\d+$/, name)
  }
  const installed = Object.entries(lock.packages).filter(
    ([path, { dev, link }]) => path !== '' && dev !== true && link !== true
  )
  t.true(installed.length < 20)
  for (const [path, { hasInstallScript }] of installed) t.not(hasInstallScript, true, path)
})
