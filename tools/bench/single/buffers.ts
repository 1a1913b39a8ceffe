/**
 * `heap.freeBuffer(heap.allocBuffer(size))` beside `Buffer.allocUnsafe(size)`, whose collections are part of its time: each buffer
 * given up at once, and a ring of 64 live ones that are replaced in turn. Then a pool's `release(acquire())`, with the
 * collections of 10 million pairs; while leaks are watched for, one buffer in 8192 is noted with a stack, and so not quite none.
 * Nothing is written to the buffers.
 * Processes in turn, and the best of them, since others who use the same memory make all of this up to twice as slow for seconds;
 * of each process the median of its rounds of 100 ms, so that collections weigh what they weigh, but
 * the best round of a pool.
 * NODE_ENV is taken away first, so that leaks are watched for as they are by default; a column is without (`leaks: 'off'`, what
 * NODE_ENV=production means).
 *
 *     node dist/tools/bench/single/buffers.js [--only buffers,pool] [--processes N] [--sizes BYTES,BYTES]
 */
import { parseArgs } from 'node:util'
import Table from 'cli-table3'
import { CollectionCounter, totalCount } from '../framework/collections.ts'
import { runOurs } from '../framework/peers.ts'
import { median } from '../framework/statistics.ts'
import { openSide, type Pairs, round, type Side, type Way } from '../suites/buffer-pairs.ts'

/** How many times as fast as allocUnsafe the heap has to be, and is wanted to be. */
const BARS = new Map([
  [64, { bar: 1, goal: 1.5 }],
  [4096, { bar: 5, goal: 10 }],
  [65536, { bar: 15, goal: 30 }],
  [2 ** 20, { bar: 25, goal: 50 }],
])
const POOL_SIDES = ['pool', 'unwatched pool'] as const
const POOL = { size: 65536, pairs: 10_000_000, barNs: 10, goalNs: 4 }
const ROUND_MS = 100
const ROUNDS = 5
const WARM_UP_MS = 300

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: 'buffers,pool' },
    processes: { type: 'string', default: '7' },
    sizes: { type: 'string', default: [...BARS.keys()].join() },
    child: { type: 'string' },
  },
})
const processes = Number(values.processes)

/** Nanoseconds for each pair, round by round. */
function rounds(pairs: Pairs): number[] {
  round(pairs, WARM_UP_MS)
  return Array.from({ length: ROUNDS }, () => {
    const { ns, pairs: count } = round(pairs, ROUND_MS)
    return ns / count
  })
}

interface PoolFigures {
  ns: number
  collections: number
  /** What V8's heap grew by. */
  grown: number
}

async function measurePool(side: Side, way: Way): Promise<PoolFigures> {
  const pairs = openSide(side)(way, POOL.size)
  const ns = Math.min(...rounds(pairs))
  const counter = new CollectionCounter()
  const before = process.memoryUsage().heapUsed
  for (let done = 0; done < POOL.pairs; done += pairs.perTurn) pairs.turn()
  const grown = process.memoryUsage().heapUsed - before
  return { ns, collections: totalCount(await counter.end()), grown }
}

const style = { head: [], border: [], compact: true }

function runChild<T>(...what: (string | number)[]): T {
  return runOurs<T>(import.meta.url, '--child', what.join())
}

function verdict(value: number, { bar, goal }: { bar: number; goal: number }): string {
  return `>= ${bar}: ${value >= bar ? 'yes' : 'NO'}${value >= goal ? `, >= ${goal} too` : ''}`
}

function buffers(): void {
  const table = new Table({
    head: ['ns', 'bytes', 'allocUnsafe', 'heap', 'times', 'unwatched', 'times', 'bar'],
    style,
  })
  const sides: Side[] = ['allocUnsafe', 'heap', 'unwatched']
  for (const size of values.sizes.split(',').map(Number)) {
    for (const way of ['at once', 'ring'] as const) {
      const best = sides.map(() => Number.POSITIVE_INFINITY)
      for (let process = 0; process < processes; process++)
        for (const [i, side] of sides.entries()) best[i] = Math.min(best[i]!, runChild<number>(side, way, size))
      const [theirs, ...ours] = best as [number, number, number]
      const cells = ours.flatMap((ns) => [ns.toFixed(1), (theirs / ns).toFixed(2)])
      const bar = BARS.get(size)
      table.push([way, size, theirs.toFixed(1), ...cells, bar === undefined ? '' : verdict(theirs / ours[0]!, bar)])
    }
  }
  console.log(`${table}\n"times" is how many times as fast as allocUnsafe; unwatched: leaks 'off'`)
}

function pool(): void {
  const table = new Table({
    head: ['ns per pair', '', 'ns', '', `collections in ${POOL.pairs} pairs`, 'V8 heap grew by'],
    style,
  })
  for (const side of POOL_SIDES) {
    for (const way of ['at once', 'ring'] as const) {
      const found = Array.from({ length: processes }, () => runChild<PoolFigures>(side, way, POOL.size))
      const ns = Math.min(...found.map((figures) => figures.ns))
      // Of these the worst process counts: there must be none at all.
      const collections = Math.max(...found.map((figures) => figures.collections))
      const grown = Math.max(...found.map((figures) => figures.grown))
      const within = `<= ${POOL.barNs}: ${ns <= POOL.barNs ? 'yes' : 'NO'}${ns <= POOL.goalNs ? `, <= ${POOL.goalNs} too` : ''}`
      const none = `${collections} ${collections === 0 ? 'yes' : 'NO'}`
      table.push([way, side, ns.toFixed(2), within, none, `${(grown / 1024).toFixed(0)} KiB`])
    }
  }
  console.log(`${table}`)
}

if (values.child !== undefined) {
  const [side, way, size] = values.child.split(',') as [Side, Way, string]
  const isPool = (POOL_SIDES as readonly Side[]).includes(side)
  const figures = isPool ? await measurePool(side, way) : median(rounds(openSide(side)(way, Number(size))))
  console.log(JSON.stringify(figures))
  process.exit()
}
delete process.env.NODE_ENV
if (values.only.includes('buffers')) buffers()
if (values.only.includes('pool')) pool()
