import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { FreeListHeap, type FreeListHeapOptions } from '../../lib/freelist/index.ts'
import { BufferPool, Heap } from '../../lib/index.ts'
import { Page } from '../../lib/memory/page.ts'
import { openMapper } from '../../lib/os/open-mapper.ts'
import { checkPoolOptions, POOL_OPTIONS } from '../../lib/pool/pool-options.ts'
import { Control, HeapWord, PageWord } from '../../lib/tcmalloc/control.ts'
import { ObjectState } from '../../lib/tcmalloc/object-state.ts'
import { generateSizeClasses } from '../../lib/tcmalloc/size-class.ts'
import { SpanEntry } from '../../lib/tcmalloc/span.ts'
import { TCMalloc } from '../../lib/tcmalloc/tcmalloc.ts'
import { readTrace } from '../../tools/trace/trace.ts'
import { ROOT, run } from '../support/child.ts'

const KIB = 2 ** 10
/** Each by its own name, since an enum of constants isn't there when the program runs. */
const STATES = {
  None: ObjectState.None,
  Free: ObjectState.Free,
  Live: ObjectState.Live,
  Watched: ObjectState.Watched,
  Transfer: ObjectState.Transfer,
  Pooled: ObjectState.Pooled,
  Chunk: ObjectState.Chunk,
  Passed: ObjectState.Passed,
  Isolated: ObjectState.Isolated,
  Collected: ObjectState.Collected,
  Quarantined: ObjectState.Quarantined,
}
const MIB = 2 ** 20

function textOf(document: string): string {
  return readFileSync(join(ROOT, document), 'utf8')
}

/** The cells of the rows of a table that begins with such a head; thousands may be apart. */
function rowsOf(document: string, head: string): string[][] {
  const lines = textOf(document).split('\n')
  const start = lines.findIndex((line) => line.startsWith(head)) + 2
  const end = lines.findIndex((line, i) => i >= start && !line.startsWith('|'))
  const cells = (line: string) =>
    line
      .slice(1, -1)
      .split('|')
      .map((cell) => cell.trim())
  return lines.slice(start, end).map((line) => cells(line.replace(/(?<=\d) (?=\d{3}\b)/g, '')))
}

/** What a sentence of a document says, as numbers. */
function said(t: ExecutionContext, document: string, sentence: RegExp): number[] {
  const found = sentence.exec(
    textOf(document)
      .replace(/\s+/g, ' ')
      .replace(/(?<=\d) (?=\d{3}\b)/g, '')
  )
  t.truthy(found, `${document}: ${sentence}`)
  return found!.slice(1).map(Number)
}

test('the table of size classes is what its script prints, and the text says the worst of it', (t) => {
  const printed = execFileSync(process.execPath, ['scripts/size-class-table.mjs'], { cwd: ROOT, encoding: 'utf8' })
  t.true(textOf('docs/size-classes.md').includes(printed.trim()))
  const classes = generateSizeClasses()
  t.deepEqual(said(t, 'docs/size-classes.md', /The rule gives (\d+) classes/), [classes.length])
  const tails = classes.map(({ size, pages, objects }) => 1 - (objects * size) / (pages * 8192))
  const tail = tails.indexOf(Math.max(...tails))
  t.deepEqual(said(t, 'docs/size-classes.md', /The worst tail is (\d+) % \((\d+) bytes\)/), [
    Math.round(100 * tails[tail]!),
    classes[tail]!.size,
  ])
  // Of a request that is a byte longer than the class before.
  const lost = classes.map(({ size }, i) => (i === 0 || size <= 128 ? 0 : 1 - (classes[i - 1]!.size + 1) / size))
  const percent = lost.map((part) => Math.round(1000 * part) / 10)
  const worst = Math.max(...percent)
  const sizes = classes.filter((_, i) => percent[i] === worst).map(({ size }) => size)
  t.deepEqual(said(t, 'docs/size-classes.md', /rounding above 128 bytes is (\d+) % \((\d+) and (\d+) bytes\)/), [
    Math.round(worst),
    ...sizes,
  ])
})

test('the table of traces is right', (t) => {
  const mebibytes = (bytes: number) => `${(bytes / MIB).toFixed(bytes < 100 * MIB ? 1 : 0)} MiB`
  const rows = rowsOf('docs/traces.md', '| file | what ran |')
  t.is(rows.length, 6)
  for (const [file, , ...figures] of rows) {
    const trace = readTrace(join(ROOT, 'tools/traces', file!.replaceAll('`', '')))
    let asked = 0
    let live = 0
    const byThread = new Array<number>(trace.threads).fill(0)
    for (let event = 0; event < trace.events; event++) {
      asked += trace.size[event]!
      byThread[trace.thread[event]!]!++
      if (trace.operation[event] === 1) live--
      else if (trace.operation[event] !== 2) live++
    }
    const expected = [trace.events, trace.threads, trace.slots, mebibytes(trace.peakLiveBytes), mebibytes(asked), live]
    t.deepEqual(figures, expected.map(String), file)
    const most = Math.round((100 * Math.max(...byThread)) / trace.events)
    if (trace.name === 'node') t.deepEqual(said(t, 'docs/traces.md', /node \((\d+) % of its events/), [most])
    if (trace.name === 'redis') t.deepEqual(said(t, 'docs/traces.md', /redis \((\d+) %\)/), [most])
  }
})

test('the story’s replays make the calls that it says', async (t) => {
  const lines = [
    ...textOf('docs/the-story.md').matchAll(/^npx spanheap (replay .*?) +# mmap (\d+), (munmap|madvise) (\d+)$/gm),
  ]
  t.is(lines.length, 2)
  for (const [, command, mmap, other, count] of lines) {
    const { stdout, stderr } = await run(
      process.execPath,
      ['dist/tools/cli/main.js', ...command!.split(' '), '--json'],
      120
    )
    t.is(stderr, '')
    t.like(JSON.parse(stdout).syscalls, { mmap: Number(mmap), [other!]: Number(count) }, command)
  }
})

test('what limitBytes reserves, and growth asks for, is what the document on tuning says', (t) => {
  for (const [limit, reserved, resident] of rowsOf('docs/tuning.md', '| `limitBytes` | addresses')) {
    const [amount, unit] = limit!.split(' ')
    using heap = new Heap({ limitBytes: Number(amount) * (unit === 'GiB' ? 2 ** 30 : MIB) })
    t.is(`${Math.round(heap.stats().reservedBytes / MIB)} MiB`, reserved, limit)
    // Systems differ by a few pages.
    const [most, residentUnit] = resident!.split(' ')
    t.is(residentUnit, 'KiB')
    t.true(heap.residentBytes()! > 0 && heap.residentBytes()! <= Number(most) * KIB, limit)
  }
  for (const [growth, calls] of rowsOf('docs/tuning.md', '| `growth` | `mmap`')) {
    const value = growth!
      .replaceAll('`', '')
      .replace('1 MiB', String(MIB))
      .replaceAll("'", '"')
      .replace(/(\w+):/g, '"$1":')
    const options: FreeListHeapOptions = { limitBytes: 2 ** 28, growth: JSON.parse(value) }
    using heap = new FreeListHeap(options)
    for (let i = 0; i < 2000; i++) heap.malloc(i % KIB)
    t.is(String(heap.stats().syscalls.mmap), calls, growth)
  }
  for (const [bytes, , kept] of rowsOf('docs/tuning.md', '| `chunkBytes` | ns')) {
    using heap = new Heap({ limitBytes: 2 ** 28 })
    const [amount, unit] = bytes!.split(' ')
    const arena = heap.arena({ chunkBytes: Number(amount) * (unit === 'MiB' ? MIB : KIB) })
    arena.malloc(64)
    t.is(`${heap.stats().liveBytes / KIB} KiB`, kept, bytes)
    arena.dispose()
  }
})

test('the options of a pool, and what its statistics say, are those of the guide', (t) => {
  using heap = new Heap()
  const rows = rowsOf('docs/pools.md', '| option of `BufferPool` |')
  const defaults = new Map(rows.map(([name, value]) => [name!.replaceAll('`', ''), value!.replaceAll('`', '')]))
  t.deepEqual([...defaults.keys()].sort(), Object.keys(POOL_OPTIONS).sort())
  const checked = checkPoolOptions({ size: 4096, heap })
  t.is(defaults.get('max'), `${checked.shape.most}; ${checked.mostWhenShared} once it is shared`)
  t.is(defaults.get('min'), String(checked.min))
  const [, mebibytes, buffers] = /^(\d+) MiB, but room for (\d+)$/.exec(defaults.get('idleBytes')!)!
  t.is(checked.idleMost * 4096, Number(mebibytes) * MIB)
  t.is(checkPoolOptions({ size: 2 ** 30, heap }).idleMost, Number(buffers))
  t.is(defaults.get('trimMs'), String(checked.trimMs))
  t.regex(checked.tag, /^pool \d+$/)
  t.is(defaults.get('tag'), 'pool 1, pool 2, …')
  t.deepEqual([checked.shape.zero, defaults.get('zero')], [0, 'false'])
  t.is(defaults.get('alignment'), '16')
  using pool = new BufferPool({ size: 10, heap })
  const shown = /pool\.stats\(\)\) +\/\/ \{ ([^}]+) \}/.exec(textOf('docs/pools.md'))
  t.deepEqual(shown![1]!.split(', '), Object.keys(pool.stats()))
})

test('the tables are laid out, and as long, as the text on architecture draws them', (t) => {
  const text = textOf('ARCHITECTURE.md')
  const units = { KiB: KIB, MiB: MIB, GiB: 2 ** 30 }
  const drawn = [...text.matchAll(/^ +│ (\S[^│]+?) +│ +(\d+) (KiB|MiB|GiB) /gm)]
  const ends = new Map<string, number>()
  let end = 0
  for (const [, name, amount, unit] of drawn) {
    end += Number(amount) * units[unit as 'KiB']
    ends.set(name!, end)
  }
  const own = { isDefault: false, shared: false, debug: false }
  const tiers = TCMalloc.create(openMapper({}), { limitBytes: 2 ** 35, cacheBytes: 0, releaseRate: 0, ...own })
  t.teardown(() => tiers.member.close())
  const { tables } = tiers
  const starts = {
    "thread slots' words": tables.pageClass.byteOffset,
    'class per page': tables.pagePast.byteOffset,
    'slot areas': tables.passes.byteOffset,
    'pass slots': tables.spans.byteOffset,
    'span entries': tables.states.byteOffset,
    'object states': tables.states.byteOffset + tables.states.byteLength,
  }
  for (const [name, start] of Object.entries(starts)) t.is(ends.get(name), Math.ceil(start / 2 ** 16) * 2 ** 16, name)
  t.is(drawn.length, Object.keys(starts).length + 2)
  const perPage = [Page.Granules, SpanEntry.Bytes, Page.Granules + SpanEntry.Bytes + 2]
  t.deepEqual(
    said(
      t,
      'ARCHITECTURE.md',
      /take (\d+) bytes of states, (\d+) of span entry, 1 of class and 1 of dirt: (\d+) bytes/
    ),
    perPage
  )
})

test('the words of the control section, and the states, are those that the text on architecture lists', (t) => {
  const own = { isDefault: false, shared: false, debug: false }
  const tiers = TCMalloc.create(openMapper({}), { limitBytes: 2 ** 35, cacheBytes: 0, releaseRate: 0, ...own })
  t.teardown(() => tiers.member.close())
  const { arenaWords, sharedWords, quarantineWords } = tiers
  const words = [0, HeapWord.Magic, PageWord.End, Control.CentralCache, Control.Budget, Control.Peaks]
  words.push(Control.TransferLengths, Control.Locks, Control.Transfer)
  words.push(arenaWords.byteOffset / 4, sharedWords.byteOffset / 4, quarantineWords.byteOffset / 4)
  t.deepEqual(
    rowsOf('ARCHITECTURE.md', '| from word |').map(([from]) => Number(from)),
    words
  )
  const listed = rowsOf('ARCHITECTURE.md', '| value | name').filter(([, name]) => !name!.startsWith('`FirstSlot`'))
  t.deepEqual(Object.fromEntries(listed.map(([value, name]) => [name!.replaceAll('`', ''), Number(value)])), STATES)
})

test('the calls of a new heap and of its first growth are those that the text on the tiers says', (t) => {
  const numbers = ['none', 'one', 'two', 'three', 'four']
  const text = textOf('docs/tiers.md').replace(/\s+/g, ' ')
  const [, ...words] =
    /A new heap makes (\w+) calls to `mmap` .*?and (\w+) to `madvise` .*? The first growth makes (\w+) and (\w+)\./.exec(
      text
    )!
  using heap = new Heap({ limitBytes: 2 ** 35 })
  const made = heap.stats().syscalls
  heap.malloc(100)
  const { mmap, madvise } = heap.stats().syscalls
  const calls = [made.mmap, made.madvise, mmap - made.mmap, madvise - made.madvise]
  t.deepEqual(
    words,
    calls.map((count) => numbers[count])
  )
})

test('ARCHITECTURE is at most 20 KiB', (t) => {
  t.true(Buffer.byteLength(textOf('ARCHITECTURE.md')) <= 20 * KIB)
})

test('a member of a class that the texts on the inside name is in the source of that class', (t) => {
  const sources = readdirSync(join(ROOT, 'lib'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => textOf(`lib/${name}`))
  const names = [
    'ARCHITECTURE.md',
    'docs/tiers.md',
    'docs/protocol.md',
    'docs/owners.md',
    'docs/memory-order.md',
  ].flatMap((document) => [...textOf(document).matchAll(/`([A-Z]\w+)\.(\w+)(?:\(\))?`/g)])
  let count = 0
  for (const [name, owner, member] of names) {
    if (owner! in globalThis) continue
    const declares = new RegExp(`\\b(class|enum|interface) ${owner}\\b`)
    const has = new RegExp(`^ +(?!(//|\\*)).*\\b${member}\\b`, 'm')
    t.true(
      sources.some((source) => declares.test(source) && has.test(source)),
      name
    )
    count++
  }
  t.true(count > 50)
})
