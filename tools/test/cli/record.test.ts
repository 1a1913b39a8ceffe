import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import anyTest, { type ExecutionContext } from 'ava'
import { childScript, type Ended, ROOT, run } from '../../../test/support/child.ts'
import type { BufferCounts } from '../../../test/support/counted-buffers.ts'
import { ALLOCATORS } from '../../trace/allocators.ts'
import { replay } from '../../trace/replay.ts'
import { Operation, readTrace, type Trace } from '../../trace/trace.ts'

/** One after the other: each runs two processes at least. */
const test = anyTest.serial

const folder = mkdtempSync(join(tmpdir(), 'spanheap-record-test-'))
anyTest.after.always(() => rmSync(folder, { recursive: true }))

const main = join(ROOT, 'dist/tools/cli/main.js')
const hasCompiler = spawnSync('cc', ['--version']).status === 0
const native = process.platform === 'linux' && hasCompiler ? test : anyTest.skip
let traces = 0

const newPath = () => join(folder, `trace-${traces++}.mtrc.gz`)

/** Records a program, and reads what was written. */
async function record(options: string[], program: string[]): Promise<{ ended: Ended; trace: Trace }> {
  const path = newPath()
  const ended = await run(process.execPath, [main, 'record', '-o', path, ...options, '--', ...program], 120)
  if (!existsSync(path)) throw new Error(`no trace was written:\n${ended.stderr}`)
  return { ended, trace: readTrace(path) }
}

/** The events of a trace that are of blocks whose sizes the test knows. */
function countsOf(trace: Trace, isOwn: (size: number) => boolean = () => true): BufferCounts {
  const own = new Set<number>()
  const counts = { allocations: 0, frees: 0, reallocations: 0 }
  for (let event = 0; event < trace.events; event++) {
    const slot = trace.slot[event]!
    if (trace.operation[event] === Operation.Free) {
      if (own.delete(slot)) counts.frees++
    } else if (trace.operation[event] === Operation.Realloc) {
      if (own.has(slot)) counts.reallocations++
    } else if (isOwn(trace.size[event]!)) {
      own.add(slot)
      counts.allocations++
    }
  }
  return counts
}

function replays(t: ExecutionContext, path: string): void {
  const trace = readTrace(path)
  for (const allocator of ALLOCATORS)
    t.is(replay(trace, { allocator, rounds: 1, touch: false }).stopped, null, allocator)
}

for (const [name, args, threads] of [
  ['a program of one thread', [], 1],
  ['a program with workers', ['workers'], 4],
] as const) {
  test(`${name}: the trace has just the events that the program counts`, async (t) => {
    const { ended, trace } = await record([], [process.execPath, '--expose-gc', childScript('record-buffers'), ...args])
    t.is(ended.status, 0, ended.stderr)
    const counted = JSON.parse(ended.stdout) as BufferCounts
    t.true(counted.allocations > 1000 && counted.frees > counted.allocations / 2)
    t.deepEqual(countsOf(trace), counted)
    t.is(trace.threads, threads)
    t.regex(ended.stderr, /garbage collector found/)
    t.notRegex(ended.stderr, /lost|without the recorder|never saw/)
  })
}

test('ArrayBuffers that are transferred keep their block', async (t) => {
  const script = join(folder, 'transfer.mjs')
  writeFileSync(
    script,
    `const a = new ArrayBuffer(10); const b = a.transfer(20); const c = b.transferToFixedLength()
    setImmediate(() => { gc(); setTimeout(() => process.stdout.write(String(c.byteLength)), 20) })`
  )
  const flags = 'transfer' in ArrayBuffer.prototype ? [] : ['--harmony-rab-gsab-transfer']
  const { ended, trace } = await record([], [process.execPath, '--expose-gc', ...flags, script])
  t.is(ended.stdout, '20', ended.stderr)
  t.deepEqual(countsOf(trace), { allocations: 1, frees: 0, reallocations: 2 })
})

test('a CommonJS program sees nothing of the recorder', async (t) => {
  const script = childScript('record-commonjs').replace(/\.js$/, '.cjs')
  const more = Buffer.allocUnsafe(1).buffer.byteLength - Buffer.poolSize
  const args = [script, ...[Buffer.poolSize, more].map(String)]
  const plain = await run(process.execPath, args)
  t.is(plain.stdout, '[]', plain.stderr)
  const { ended } = await record([], [process.execPath, ...args])
  t.is(ended.stdout, '[]', ended.stderr)
  t.is(ended.status, 0)
})

for (const [ending, status, events, said] of [
  ['none', 0, 100, /^[^\n]*100 events/],
  ['status', 7, 100, /100 events/],
  ['exit', 0, 101, /101 events/],
  ['throw', 1, 100, /on purpose/],
  ['child', 0, 100, /100 events/],
  ['other-environment', 0, 100, /1 worker ran without the recorder/],
  ['kill', 1, 100, /spanheap: [^\n]*SIGKILL[^\n]*\n$/],
] as const) {
  test(`Node, ending: ${ending}: the trace is whole, and the status is passed on`, async (t) => {
    const { ended, trace } = await record([], [process.execPath, childScript('record-endings'), ending])
    t.is(ended.status, status, ended.stderr)
    t.is(trace.events, events)
    t.regex(ended.stderr, said)
  })
}

/** Records a program that says when it is ready, and then sends the command a signal. */
function interrupt(program: string[], options: string[], signal: NodeJS.Signals): Promise<Ended & { trace: Trace }> {
  const path = newPath()
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [main, 'record', '-o', path, ...options, '--', ...program], {
      timeout: 300_000,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text
      if (text.includes('\n')) child.kill(signal)
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text
    })
    child.once('error', reject)
    child.once('close', (status, endedBy) => {
      resolve({ status, signal: endedBy, stdout, stderr, trace: readTrace(path) })
    })
  })
}

for (const [ending, options, signal, status] of [
  ['wait', [], 'SIGINT', 0],
  ['wait', [], 'SIGTERM', 0],
  ['handler', [], 'SIGINT', 5],
  ['handler', ['--signal', 'INT'], 'SIGTERM', 5],
] as const) {
  test(`${signal} to the command, ${ending} ${options.join(' ')}: it ends well, with the trace`, async (t) => {
    const program = [process.execPath, childScript('record-endings'), ending]
    const { trace, ...ended } = await interrupt(program, [...options], signal)
    t.is(ended.status, status, ended.stderr)
    t.is(trace.events, 100)
  })
}

test('--events ends the recording, not the program', async (t) => {
  const script = childScript('record-endings')
  const { ended, trace } = await record(['--events', '10'], [process.execPath, script, 'status'])
  t.is(ended.status, 7)
  t.is(trace.events, 10)
  t.regex(ended.stderr, /ended with event 10/)
})

/** Where the C program's blocks begin: nothing else in its process is as large. */
const OWN_BYTES = 100_003

const program = join(folder, 'calls')
anyTest.before(() => {
  if (hasCompiler) spawnSync('cc', ['-O1', '-pthread', '-o', program, join(ROOT, 'tools/test/record/calls.c')])
})

for (const [ending, status] of [
  ['return', 0],
  ['_exit', 7],
  ['fork', 0],
  ['exec', 0],
  ['kill', 1],
  ['abort', 1],
] as const) {
  native(`a C program, ending: ${ending}: the trace has just the events that it counts`, async (t) => {
    const { ended, trace } = await record([], [program, ending])
    t.is(ended.status, status, ended.stderr)
    const counted = JSON.parse(ended.stdout) as BufferCounts
    t.deepEqual(
      countsOf(trace, (size) => size >= OWN_BYTES),
      counted
    )
    t.is(trace.threads, 4)
    t.notRegex(ended.stderr, /lost|never saw|handed out/)
    const alignments = new Set(trace.alignmentLog2)
    for (const log2 of [0, 5, 6, 8]) t.true(alignments.has(log2), `an alignment of 2^${log2}`)
  })
}

native('a C program that is interrupted: the trace is whole', async (t) => {
  const { trace, ...ended } = await interrupt([program, 'wait'], [], 'SIGTERM')
  t.is(ended.status, 0, ended.stderr)
  t.deepEqual(
    countsOf(trace, (size) => size >= OWN_BYTES),
    JSON.parse(ended.stdout)
  )
})

for (const command of [
  ['ls', '/'],
  ['sort', join(ROOT, 'package.json')],
  ['sh', '-c', 'true; exec ls /'],
  ['perl', '-e', 'my %h; $h{$_} = "x" x $_ for 1..1000; print scalar(keys %h)'],
  ['sqlite3', ':memory:', 'create table t(a); insert into t values (1); select * from t'],
]) {
  native(`${command[0]} is recorded and replayed`, async (t) => {
    const plain = await run('sh', ['-c', '"$@"', 'sh', ...command])
    if (plain.status === 127) return t.pass('it isn’t installed')
    const path = newPath()
    const ended = await run(process.execPath, [main, 'record', '-o', path, '--', ...command])
    t.is(ended.status, plain.status, ended.stderr)
    t.is(ended.stdout, plain.stdout)
    t.true(readTrace(path).events > 20)
    t.notRegex(ended.stderr, /lost|never saw|handed out/)
    replays(t, path)
  })
}

native('--native records Node’s own malloc', async (t) => {
  const { ended, trace } = await record(['--native', '--events', '20000'], [process.execPath, '-e', '0'])
  t.is(ended.status, 0, ended.stderr)
  t.is(trace.events, 20_000)
})

test('a trace of a Node program replays on every allocator', async (t) => {
  const path = newPath()
  await run(process.execPath, [main, 'record', '-o', path, process.execPath, childScript('record-endings'), 'exit'])
  replays(t, path)
})

const notExecutable = join(folder, 'notes.txt')
writeFileSync(notExecutable, 'text')
chmodSync(notExecutable, 0o644)

for (const [title, args, message] of [
  ['a program that isn’t there', ['no-such-program'], /there is no program no-such-program/],
  ['a file that isn’t executable', [notExecutable], /notes\.txt is not executable/],
  ['a folder', [folder], /there is no program/],
  ['a trace in a folder that isn’t there', ['-o', join(folder, 'none/a.gz'), 'true'], /can't be written/],
] as const) {
  test(`${title}: status 1, and one line`, async (t) => {
    const ended = await run(process.execPath, [main, 'record', ...args])
    t.is(ended.status, 1)
    t.regex(ended.stderr, /^spanheap: [^\n]+\n$/)
    t.regex(ended.stderr, message)
  })
}

native('no compiler: status 1, and one line', async (t) => {
  const ended = await run('env', ['CC=/no/such/cc', process.execPath, main, 'record', '-o', newPath(), 'ls'])
  t.is(ended.status, 1)
  t.regex(ended.stderr, /^spanheap: [^\n]*C compiler[^\n]*\n$/)
})

for (const [title, args] of [
  ['no program', []],
  ['no events', ['--events', '0', 'ls']],
  ['more events than can be', ['--events', '100000000', 'ls']],
  ['an unknown signal', ['--signal', 'NONE', 'ls']],
  ['an unknown option', ['--fast', 'ls']],
] as const) {
  test(`${title} is wrong usage: status 2`, async (t) => {
    const ended = await run(process.execPath, [main, 'record', ...args])
    t.is(ended.status, 2, ended.stderr)
    t.not(ended.stderr, '')
  })
}
