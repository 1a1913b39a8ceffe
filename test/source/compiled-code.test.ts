import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import test from 'ava'

const compiled = new URL('../../lib/', import.meta.url)

test('enums are compiled into literals: an enum object would be loaded and checked at every use', (t) => {
  const files = readdirSync(compiled, { recursive: true, encoding: 'utf8' }).filter((name) => /\.c?js$/.test(name))
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

/** V8 inlines no function whose bytecode is longer than this (max_inlined_bytecode_size). */
const MOST_INLINED = 460
/** Nor more than this into one function (max_inlined_bytecode_size_cumulative). */
const MOST_INLINED_TOGETHER = 920

/** The length of a method's bytecode, as V8 compiles it when the script runs. */
function bytecodeLength(method: string, script: string): number {
  const { stdout } = spawnSync(
    process.execPath,
    ['--print-bytecode', `--print-bytecode-filter=${method}`, '--input-type=module', '--eval', script],
    // Where coverage is measured, counters in the bytecode make it longer.
    { encoding: 'utf8', maxBuffer: 2 ** 28, env: { ...process.env, NODE_V8_COVERAGE: '' } }
  )
  return Number(/^Bytecode length: (\d+)$/m.exec(stdout)?.[1])
}

for (const [name, path] of [
  ['Heap', 'index.js'],
  ['GoHeap', 'go/index.js'],
] as const) {
  test(`${name}: slow paths are in one function that V8 inlines nowhere: it would leave no room for malloc and free`, (t) => {
    const module = JSON.stringify(fileURLToPath(new URL(path, compiled)))
    const script = `const { ${name} } = await import(${module}); const heap = new ${name}(); heap.free(heap.malloc(1))`
    t.true(bytecodeLength('slow', script) > MOST_INLINED)
    t.true(bytecodeLength('malloc', script) < MOST_INLINED)
  })
}

test('Heap: malloc, free and realloc, with all that they call, find room in one function', (t) => {
  const module = JSON.stringify(fileURLToPath(new URL('index.js', compiled)))
  const script = `const { Heap } = await import(${module}); const heap = new Heap(); heap.free(heap.malloc(1))
    const grown = () => heap.free(heap.realloc(heap.malloc(16), 32)); for (let i = 0; i < 100; i++) grown()`
  const bytes = (...methods: string[]) => methods.reduce((sum, method) => sum + bytecodeLength(method, script), 0)
  const inMallocAndFree = bytes('malloc', 'pop', 'free', 'push')
  t.true(inMallocAndFree + bytes('realloc', 'smallBytes', 'pop', 'copyGranules', 'push') < MOST_INLINED_TOGETHER)
})

test('BufferWriter and BufferReader: seven writes, or as many reads, find room in one function', (t) => {
  const module = JSON.stringify(fileURLToPath(new URL('index.js', compiled)))
  const script = `const { BufferReader, BufferWriter } = await import(${module}); const writer = new BufferWriter()
    writer.writeUInt32LE(1); writer.writeDoubleLE(1); writer.writeVarint(1); writer.writeVarintString('x'); writer.writeBytes(Buffer.alloc(9))
    const reader = new BufferReader(writer.finish()); reader.readUInt32LE(); reader.readDoubleLE(); reader.readVarint()`
  for (const method of ['writeUInt32LE', 'writeDoubleLE', 'writeVarint', 'writeBytes', 'readUInt32LE', 'readDoubleLE'])
    t.true(bytecodeLength(method, script) * 7 < MOST_INLINED_TOGETHER, method)
  t.true(bytecodeLength('writeVarintString', script) < MOST_INLINED)
})
