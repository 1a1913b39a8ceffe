/**
 * Two threads of one heap: what attaching costs the usual path, whether two do twice as much as one, the patterns by which
 * allocators of several threads are usually held against each other (beside gperftools and mimalloc), and whether memory stays
 * bounded where one thread allocates and another frees. Processes in turn, and the best of each counts.
 *
 *     node dist/bench/threads.js [--only attached,scaling,patterns,handover] [--seconds N] [--processes N] [--blocks N]
 *
 * `--only` also takes one pattern's name: larson, xmalloc-64, xmalloc-random, mstress, cache-thrash.
 */
import { once } from 'node:events'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import Table from 'cli-table3'
import { Heap } from '../lib/heap.ts'
import type { HeapOptions } from '../lib/heap-options.ts'
import { findPeers, runOurs, Yardstick } from './peers.ts'
import { type Order, type Report, type ThreadData, Word } from './threads-worker.ts'

const PATTERNS = ['larson', 'xmalloc-64', 'xmalloc-random', 'mstress', 'cache-thrash']
const WARM_UP_SECONDS = 0.3
/** Turns are short: on a machine that does other things too, some of them have the cores for themselves. */
const TURN_SECONDS = 0.01
const MEBIBYTE = 2 ** 20
const BAR = { attached: 1.1, scaling: 0.9, xmalloc: 0.5, live: 1.25, slack: 40 * MEBIBYTE }

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: 'attached,scaling,patterns,handover' },
    seconds: { type: 'string', default: '1' },
    processes: { type: 'string', default: '3' },
    blocks: { type: 'string', default: '10000000' },
    child: { type: 'string' },
  },
})
const seconds = Number(values.seconds)

/** Threads that one process runs, and what they are told. */
class Crew {
  private readonly words = new SharedArrayBuffer(4 * Word.Count)
  private readonly workers: Worker[]

  /** @param token whether the heap is made here and attached to, or each makes its own */
  private constructor(workers: number, heap: Heap | undefined, options: HeapOptions) {
    this.workers = Array.from({ length: workers }, (_, thread) => {
      const workerData: ThreadData = { thread, words: this.words, token: heap?.share(), options }
      return new Worker(new URL('threads-worker.js', import.meta.url), { workerData })
    })
  }

  static async of(workers: number, heap: Heap | undefined, options: HeapOptions = {}): Promise<Crew> {
    const crew = new Crew(workers, heap, options)
    await Promise.all(crew.workers.map((worker) => once(worker, 'online')))
    return crew
  }

  /** The threads of these numbers do it at the same time, the others wait for messages. */
  async run(threads: number[], order: Omit<Order, 'parties'>): Promise<Report[]> {
    new Int32Array(this.words).fill(0, 0, Word.Stop + 1)
    new Int32Array(this.words).fill(0, Word.Rounds, Word.Transfer)
    const reports = threads.map((thread) => once(this.workers[thread]!, 'message'))
    for (const thread of threads) this.workers[thread]!.postMessage({ ...order, parties: threads.length })
    return (await Promise.all(reports)).map(([report]) => report as Report)
  }

  /** Operations a second of all threads together, from the first one's start to the last one's end. */
  async speed(threads: number[], pattern: string, time = seconds): Promise<number> {
    const reports = await this.run(threads, { pattern, seconds: time })
    const operations = reports.reduce((sum, report) => sum + report.operations, 0)
    const start = Math.min(...reports.map((report) => report.start))
    return (1000 * operations) / (Math.max(...reports.map(({ end }) => end)) - start)
  }
}

/** Best operations a second by name. */
type Speeds = Record<string, number>

/** What a child does, by its name; each prints one line of JSON. */
const children: Record<string, (pattern: string) => Promise<Speeds | Report>> = {
  /** The heap is made in the thread that uses it, and nobody else has it. */
  alone: async () => usualPath(await Crew.of(1, undefined)),
  /** The heap is made in the main thread, and two attach: one works, one is idle. */
  attached: async () => {
    const crew = await Crew.of(2, new Heap())
    await crew.speed([1], 'replace', 0.05)
    return usualPath(crew)
  },
  scaling: async () => {
    const crew = await Crew.of(2, new Heap())
    const best: Speeds = {}
    for (const pattern of ['replace', 'control']) await crew.speed([0, 1], pattern, WARM_UP_SECONDS)
    for (let turn = 0; turn < seconds / TURN_SECONDS; turn++) {
      for (const pattern of ['replace', 'control']) {
        note(best, `${pattern} alone`, await crew.speed([turn & 1], pattern, TURN_SECONDS))
        note(best, `${pattern} both`, await crew.speed([0, 1], pattern, TURN_SECONDS))
      }
    }
    return best
  },
  cached: (pattern) => playPattern(pattern, true),
  uncached: (pattern) => playPattern(pattern, false),
  handover: async () => {
    const crew = await Crew.of(2, new Heap())
    const [report] = await crew.run([0, 1], { pattern: 'handover', seconds: 0, blocks: Number(values.blocks) })
    return report!
  },
}

function note(best: Speeds, name: string, speed: number): void {
  best[name] = Math.max(best[name] ?? 0, speed)
}

async function usualPath(crew: Crew): Promise<Speeds> {
  const best: Speeds = {}
  for (const pattern of ['pair', 'replace']) await crew.speed([0], pattern, WARM_UP_SECONDS)
  for (let turn = 0; turn < seconds / TURN_SECONDS; turn++)
    for (const pattern of ['pair', 'replace']) note(best, pattern, await crew.speed([0], pattern, TURN_SECONDS))
  return best
}

async function playPattern(pattern: string, threadCache: boolean): Promise<Speeds> {
  const crew = await Crew.of(2, new Heap({ threadCache }))
  await crew.speed([0, 1], pattern, WARM_UP_SECONDS)
  return { [pattern]: await crew.speed([0, 1], pattern) }
}

function runChild<T>(child: string): T {
  const args = ['--child', child, '--seconds', values.seconds, '--blocks', values.blocks]
  return runOurs<T>('dist/bench/threads.js', ...args)
}

/** The best speeds of several processes of each of these kinds, in turn. */
function inTurn(...kinds: string[]): Speeds[] {
  const best = kinds.map((): Speeds => ({}))
  for (let process = 0; process < Number(values.processes); process++) {
    for (const [at, kind] of kinds.entries()) {
      for (const [name, speed] of Object.entries(runChild<Speeds>(kind))) note(best[at]!, name, speed)
    }
  }
  return best
}

const style = { head: [], border: [], compact: true }
const verdict = (good: boolean) => (good ? 'yes' : 'NO')
const millions = (speed: number | undefined) => (speed === undefined ? '' : (speed / 1e6).toFixed(2))
const nanoseconds = (speed: number) => (1e9 / speed).toFixed(2)

function attached(): void {
  const [alone, two] = inTurn('alone', 'attached') as [Speeds, Speeds]
  const rows = new Table({ head: ['ns per operation', 'alone', 'attached', 'ratio', `<= ${BAR.attached}`], style })
  for (const name of Object.keys(alone)) {
    const ratio = alone[name]! / two[name]!
    rows.push([
      name,
      nanoseconds(alone[name]!),
      nanoseconds(two[name]!),
      ratio.toFixed(3),
      verdict(ratio <= BAR.attached),
    ])
  }
  console.log(`attached by two threads, one of them idle, over a heap that one thread has\n${rows}`)
}

function scaling(): void {
  const [best] = inTurn('scaling') as [Speeds]
  const rows = new Table({ head: ['million operations/s', 'one thread', 'two', 'speed-up'], style })
  const speedUp = (name: string) => best[`${name} both`]! / best[`${name} alone`]!
  for (const name of ['replace', 'control'])
    rows.push([name, millions(best[`${name} alone`]), millions(best[`${name} both`]), speedUp(name).toFixed(3)])
  const ratio = speedUp('replace') / speedUp('control')
  rows.push([`ratio >= ${BAR.scaling}`, '', verdict(ratio >= BAR.scaling), ratio.toFixed(3)])
  console.log(`two threads with live sets of their own; the control shares nothing\n${rows}`)
}

function patterns(names: string[]): void {
  const yardstick = new Yardstick('threads.c')
  const peers = findPeers().filter(({ name }) => name === 'gperftools' || name === 'mimalloc')
  const ours = { spanheap: 'cached', 'no thread cache': 'uncached' }
  const columns = [...Object.keys(ours), ...peers.map(({ name }) => name)]
  const rows = new Table({
    head: ['million operations/s', ...columns, '/ gperftools', 'no cache / gperftools', 'bar'],
    style,
  })
  for (const pattern of names) {
    const best: Speeds = {}
    for (let process = 0; process < Number(values.processes); process++) {
      for (const [name, kind] of Object.entries(ours))
        note(best, name, runChild<Speeds>(`${kind} ${pattern}`)[pattern]!)
      for (const peer of peers) note(best, peer.name, 1e9 / yardstick.run(peer, pattern, values.seconds).nsPerEvent)
    }
    const ratio = best.spanheap! / (best.gperftools ?? Number.NaN)
    const uncached = best['no thread cache']! / (best.gperftools ?? Number.NaN)
    const bar = pattern.startsWith('xmalloc') ? `>= ${BAR.xmalloc}: ${verdict(ratio >= BAR.xmalloc)}` : ''
    rows.push([pattern, ...columns.map((name) => millions(best[name])), ratio.toFixed(2), uncached.toFixed(3), bar])
  }
  console.log(`two threads, both together; of xmalloc each malloc and each free counts\n${rows}`)
}

function handover(): void {
  const rows = new Table({
    head: [
      'blocks',
      'peak in flight',
      'peak live',
      'mapped at half',
      'at the end',
      'bounded',
      'no growth',
      'ns a block',
    ],
    style,
  })
  for (let process = 0; process < Number(values.processes); process++) {
    const report = runChild<Report>('handover')
    const [half, end, peak] = [report.mappedAtHalf!, report.mappedAtEnd!, report.peakBytes!]
    const mebibytes = (bytes: number) => `${(bytes / MEBIBYTE).toFixed(2)} MiB`
    rows.push([
      report.operations,
      report.peakBlocks,
      mebibytes(peak),
      mebibytes(half),
      mebibytes(end),
      verdict(end <= BAR.live * peak + BAR.slack),
      verdict(end <= half),
      (((report.end - report.start) * 1e6) / report.operations).toFixed(1),
    ])
  }
  console.log(`one thread allocates (16 to 512 bytes), another frees; every run is shown\n${rows}`)
}

if (values.child !== undefined) {
  const [kind, pattern] = values.child.split(' ') as [string, string]
  console.log(JSON.stringify(await children[kind]!(pattern)))
  process.exit()
}
console.log(
  `processes in turn, the best of ${values.processes} each; other work on the machine makes figures provisional\n`
)
const only = values.only.split(',')
if (only.includes('attached')) attached()
if (only.includes('scaling')) scaling()
const chosen = only.includes('patterns') ? PATTERNS : PATTERNS.filter((name) => only.includes(name))
if (chosen.length > 0) patterns(chosen)
if (only.includes('handover')) handover()
