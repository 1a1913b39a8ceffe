/**
 * free(malloc(64)) in a loop, beside gperftools': processes in turn, the best of each. Also above 2 GiB, where addresses are
 * doubles, with the garbage collections that they bring on.
 *
 *     node dist/tools/bench/single/pair.js [--processes N] [--count N]
 */
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import Table from 'cli-table3'
import { Heap } from 'spanheap'
import { CollectionCounter, totalCount } from '../framework/collections.ts'
import { findPeers, Yardstick } from '../framework/peers.ts'

const { values } = parseArgs({
  options: {
    processes: { type: 'string', default: '5' },
    count: { type: 'string', default: '10000000' },
    child: { type: 'string' },
  },
})
const count = Number(values.count)

/** What one process measured: nanoseconds for a pair, and collections in the measured rounds. */
interface Pair {
  nsPerEvent: number
  collections: number
}

function pairs(heap: Heap, times: number): void {
  for (let i = 0; i < times; i++) heap.free(heap.malloc(64))
}

async function measure(heap: Heap): Promise<Pair> {
  for (let warmUp = 0; warmUp < 20; warmUp++) pairs(heap, 100_000)
  const counter = new CollectionCounter()
  let best = Number.POSITIVE_INFINITY
  for (let round = 0; round < 7; round++) {
    const start = process.hrtime.bigint()
    pairs(heap, count)
    best = Math.min(best, Number(process.hrtime.bigint() - start) / count)
  }
  return { nsPerEvent: best, collections: totalCount(await counter.end()) }
}

/** A heap of which the first 2 GiB are taken. */
function highHeap(): Heap {
  const heap = new Heap({ limitBytes: 4 * 2 ** 30 })
  heap.malloc(2 ** 31)
  return heap
}

if (values.child !== undefined) {
  console.log(JSON.stringify(await measure(values.child === 'low' ? new Heap() : highHeap())))
} else {
  const yardstick = new Yardstick()
  const gperftools = findPeers().find(({ name }) => name === 'gperftools')
  const ours = (where: string): Pair =>
    JSON.parse(
      execFileSync(process.execPath, [fileURLToPath(import.meta.url), '--child', where, '--count', values.count], {
        encoding: 'utf8',
      })
    )
  const best = new Map<string, Pair>()
  const note = (name: string, pair: Pair) => {
    if (pair.nsPerEvent < (best.get(name)?.nsPerEvent ?? Number.POSITIVE_INFINITY)) best.set(name, pair)
  }
  for (let process = 0; process < Number(values.processes); process++) {
    note('spanheap below 2 GiB', ours('low'))
    note('spanheap above 2 GiB', ours('high'))
    if (gperftools !== undefined) {
      note('gperftools', { ...yardstick.run(gperftools, 'pair', values.count), collections: 0 })
    }
  }
  const rows = new Table({
    head: ['', 'ns per pair', '/ gperftools', `collections in ${7 * count} pairs`],
    style: { head: [], border: [] },
  })
  const reference = best.get('gperftools')?.nsPerEvent ?? Number.NaN
  for (const [name, { nsPerEvent, collections }] of best) {
    rows.push([name, nsPerEvent.toFixed(2), (nsPerEvent / reference).toFixed(2), collections])
  }
  console.log(rows.toString())
}
