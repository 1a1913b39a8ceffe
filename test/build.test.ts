import { readdirSync, readFileSync } from 'node:fs'
import test from 'ava'

const compiled = new URL('../lib/', import.meta.url)

test('enums are compiled into literals: an enum object would be loaded and checked at every use', (t) => {
  const files = readdirSync(compiled, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.js'))
  t.true(files.length > 20)
  for (const name of files) {
    const code = readFileSync(new URL(name, compiled), 'utf8')
    t.notRegex(code, /var (\w+);\s*\(function \(\1\)/, name)
  }
})

test('fields are set in constructors only: V8 takes a field that is written once for a constant', (t) => {
  const code = readFileSync(new URL('tcmalloc/thread-cache.js', compiled), 'utf8')
  const body = code.slice(code.indexOf('export class ThreadCache'))
  t.notRegex(body, /^ {4}\w+;$/m)
  t.regex(body, /this\.states = /)
})
