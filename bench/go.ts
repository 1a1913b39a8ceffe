/**
 * Go's heap in this package beside Go's own: a new object of 16, 32 and 64 bytes with one pointer (collections outside the clock),
 * and a whole collection of linked nodes of 64 bytes. Then what a program notices: the longest slices of a cycle over
 * a graph of 4 million objects that changes meanwhile; and the traces on this heap, blocks freed as they say, beside TCMalloc's.
 * Processes in turn, the best round of each counts; of slices, percentiles of each process (the best counts), beside those of a
 * loop that does nothing but look at the clock: what is longer there is the machine's.
 *
 *     node dist/bench/go.js [--only objects,collect,slices,traces] [--processes N] [--nodes N]
 *
 * Needs `go` in the PATH (Debian: golang-go).
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import Table from 'cli-table3'
import { GoHeap } from '../lib/go/index.ts'
import { ROOT, runOurs, TRACES } from './peers.ts'
import { geometricMean } from './statistics.ts'

const SIZES = [16, 32, 64]
const OBJECTS = 1_000_000
/** Objects of one call: entered often, so that V8 compiles it whole. */
const CHUNK = 10_000
const ROUNDS = 10
const SLICE_OBJECTS = 4_000_000
const SLICE_MICROS = 1000
const BAR = { objects: 1.5, collect: 1.5, sliceMs: 2, traces: 1.5 }
const TRACE_ROUNDS = '20'

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: 'objects,collect,slices,traces' },
    processes: { type: 'string', default: '3' },
    nodes: { type: 'string', default: '1000000' },
    child: { type: 'string' },
  },
})
const nodes = Number(values.nodes)

/** What a child measures, by its name; each prints one line of JSON. */
const children: Record<string, (argument: number) => unknown> = {
  /** Nanoseconds of the best round. */
  objects: (size) => {
    const heap = new GoHeap({ gcPercent: -1 })
    const type = heap.defineType({ size, pointers: [0] })
    const make = () => {
      for (let i = 0; i < CHUNK; i++) heap.allocate(type)
    }
    return best(() => {
      heap.collect()
      return clocked(() => {
        for (let made = 0; made < OBJECTS; made += CHUNK) make()
      })
    }, OBJECTS)
  },
  collect: (count) => {
    const heap = new GoHeap({ gcPercent: -1 })
    link(heap, count)
    return best(() => clocked(() => heap.collect()), 1)
  },
  slices: (count) => slices(count),
  /** The same slices, but of nothing. */
  idle: (count) => {
    const times: number[] = []
    for (let slice = 0; slice < count; slice++) {
      const start = performance.now()
      while (performance.now() < start + SLICE_MICROS / 1000);
      times.push(performance.now() - start)
    }
    return percentile999(times)
  },
}

function clocked(work: () => void): number {
  const start = process.hrtime.bigint()
  work()
  return Number(process.hrtime.bigint() - start)
}

function best(round: () => number, units: number): number {
  return Math.min(...Array.from({ length: ROUNDS }, round)) / units
}

/** A list of nodes of 64 bytes, each the newest when it is made, and linked to the one before; a root keeps it. */
function link(heap: GoHeap, count: number): void {
  const type = heap.defineType({ size: 64, pointers: [0] })
  let head = heap.allocate(type)
  let root = heap.addRoot(head)
  for (let i = 1; i < count; i++) {
    const node = heap.allocate(type)
    heap.setPointer(node, 0, head)
    const next = heap.addRoot(node)
    heap.removeRoot(root)
    root = next
    head = node
  }
}

/** Percentiles of the slices of five cycles in milliseconds, while a program changes the graph between any two of them. */
function slices(count: number): { first: boolean; slices: number; p999: number; longest: number } {
  const heap = new GoHeap({ gcPercent: -1 })
  const node = heap.defineType({ size: 48, pointers: [0, 8, 16] })
  const table = heap.defineType({ size: 8, pointers: [0] })
  const all = heap.allocate(table, count)
  heap.addRoot(all)
  const addresses = new Float64Array(count)
  let seed = 1
  const random = (most: number) => {
    seed ^= seed << 13
    seed ^= seed >>> 17
    seed ^= seed << 5
    return (seed >>> 0) % most
  }
  for (let i = 0; i < count; i++) {
    addresses[i] = heap.allocate(node)
    heap.setPointer(all, i * 8, addresses[i]!)
    for (const offset of [0, 8, 16]) heap.setPointer(addresses[i]!, offset, addresses[random(i + 1)]!)
  }
  const times: number[] = []
  let first = true
  for (let cycle = 0; cycle < 5; cycle++) {
    for (let done = false, slice = 0; !done; slice++) {
      const start = performance.now()
      done = heap.collectStep(SLICE_MICROS)
      times.push(performance.now() - start)
      if (slice === 0) first &&= !done
      for (let change = 0; change < 100; change++) {
        const at = random(count)
        addresses[at] = heap.allocate(node)
        heap.setPointer(all, at * 8, addresses[at]!)
        heap.setPointer(addresses[at]!, 0, addresses[random(count)]!)
      }
    }
  }
  return { first, slices: times.length, ...percentile999(times) }
}

function percentile999(times: number[]): { p999: number; longest: number } {
  times.sort((a, b) => a - b)
  return { p999: times[Math.ceil(times.length * 0.999) - 1]!, longest: times.at(-1)! }
}

function runChild<T>(name: string, argument: number): T {
  return runOurs<T>('dist/bench/go.js', '--child', `${name} ${argument}`)
}

/** Go's program, built; its best round. */
class GoYardstick {
  private readonly folder = mkdtempSync(join(tmpdir(), 'spanheap-go-'))
  private readonly program = join(this.folder, 'heap')

  constructor() {
    process.once('exit', () => rmSync(this.folder, { recursive: true, force: true }))
    const env = { ...process.env, GOFLAGS: '-mod=mod', GO111MODULE: 'off' }
    execFileSync('go', ['build', '-o', this.program, join(ROOT, 'bench/native/heap.go')], { stdio: 'inherit', env })
  }

  run(...args: (string | number)[]): number {
    const lines = execFileSync(this.program, args.map(String), { encoding: 'utf8' }).trim().split('\n')
    return Math.min(...lines.map(Number))
  }
}

const style = { head: [], border: [], compact: true }

/** Best of both sides, in turn. */
function beside(ours: () => number, theirs: () => number): [number, number] {
  let [one, other] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]
  for (let process = 0; process < Number(values.processes); process++) {
    one = Math.min(one, ours())
    other = Math.min(other, theirs())
  }
  return [one, other]
}

function compare(): void {
  const go = new GoYardstick()
  const rows = new Table({ head: ['', 'spanheap/go', 'Go', 'ratio', ''], style })
  const row = (name: string, ours: number, theirs: number, unit: string, divisor: number, bar: number) => {
    const cell = (value: number) => `${(value / divisor).toFixed(2)} ${unit}`
    const ratio = ours / theirs
    rows.push([name, cell(ours), cell(theirs), ratio.toFixed(2), `<= ${bar}: ${ratio <= bar ? 'yes' : 'NO'}`])
  }
  if (values.only.includes('objects')) {
    for (const size of SIZES) {
      const [ours, theirs] = beside(
        () => runChild<number>('objects', size),
        () => go.run('allocate', size, OBJECTS)
      )
      row(`a new object of ${size} bytes`, ours, theirs, 'ns', 1, BAR.objects)
    }
  }
  if (values.only.includes('collect')) {
    const [ours, theirs] = beside(
      () => runChild<number>('collect', nodes),
      () => go.run('collect', nodes)
    )
    row(`a collection of ${nodes} linked nodes`, ours, theirs, 'ms', 1e6, BAR.collect)
  }
  console.log(`${rows}`)
}

function traces(): void {
  const rows = new Table({ head: ['ns per event', 'go', 'tcmalloc', 'ratio'], style })
  const ratios: number[] = []
  for (const trace of TRACES) {
    const replayed = (allocator: string) => () =>
      runOurs(
        'dist/lib/cli/main.js',
        ...['replay', join(ROOT, `traces/${trace}.mtrc.gz`), '--allocator', allocator],
        ...['--json', '--rounds', TRACE_ROUNDS]
      ).nsPerEvent
    const [go, tcmalloc] = beside(replayed('go'), replayed('tcmalloc'))
    ratios.push(go / tcmalloc)
    rows.push([trace, go.toFixed(2), tcmalloc.toFixed(2), (go / tcmalloc).toFixed(2)])
  }
  const mean = geometricMean(ratios)
  rows.push(['geometric mean', '', `<= ${BAR.traces}: ${mean <= BAR.traces ? 'yes' : 'NO'}`, mean.toFixed(2)])
  console.log(`${rows}`)
}

if (values.child !== undefined) {
  const [name, argument] = values.child.split(' ') as [string, string]
  console.log(JSON.stringify(children[name]!(Number(argument))))
  process.exit()
}
if (/objects|collect/.test(values.only)) compare()
if (values.only.includes('slices')) {
  const rounds = Array.from({ length: Number(values.processes) }, () => {
    const busy = runChild<ReturnType<typeof slices>>('slices', SLICE_OBJECTS)
    return { ...busy, idle: runChild<ReturnType<typeof percentile999>>('idle', busy.slices) }
  })
  rounds.sort((a, b) => a.p999 - b.p999)
  const table = new Table({
    head: [`slices of ${SLICE_MICROS} µs, ms`, '99.9 %', 'longest', 'of nothing: 99.9 %', 'longest'],
    style,
  })
  for (const { slices: count, p999, longest, idle } of rounds)
    table.push([count, ...[p999, longest, idle.p999, idle.longest].map((ms) => ms.toFixed(2))])
  const [best] = rounds
  console.log(
    `${table}\n${SLICE_OBJECTS} objects; the first slice of a cycle returned ${!rounds.every(({ first }) => first)}; ` +
      `99.9 % of the best process within ${best!.p999.toFixed(2)} ms, <= ${BAR.sliceMs}: ${best!.p999 <= BAR.sliceMs ? 'yes' : 'NO'}`
  )
}
if (values.only.includes('traces')) traces()
