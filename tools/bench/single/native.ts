/**
 * spanheap beside the native allocators, on the same traces in the same run: interleaved, so that a slow minute hits all
 * alike. Every allocator gets five processes in turn, in each of which a trace is replayed twenty times, and the best counts
 * (V8 takes some replays until all is compiled; the first one is shown apart). Ratios are what carries over to other machines.
 *
 *     npm run bench:native -- [--processes N] [--rounds N] [--traces jq,perl] [--untouched] [--second-heap]
 */

import { parseArgs } from 'node:util'
import Table from 'cli-table3'
import { shippedTrace } from '../../trace/shipped.ts'
import { better, type Figures, findPeers, type Peer, runOurs, TRACES, Yardstick } from '../framework/peers.ts'
import { geometricMean } from '../framework/statistics.ts'

const OURS = 'spanheap'
const REFERENCE = 'gperftools'

const { values } = parseArgs({
  options: {
    processes: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '20' },
    traces: { type: 'string', default: TRACES.join(',') },
    'second-heap': { type: 'boolean', default: false },
    untouched: { type: 'boolean', default: false },
  },
})

const peers = findPeers()
const yardstick = new Yardstick()
const traces = values.traces.split(',')

/** Best figures by trace, then by allocator. */
type Results = Map<string, Map<string, Figures>>

function measure(touch: boolean): Results {
  const results: Results = new Map()
  for (const trace of traces) {
    const unpacked = yardstick.unpack(trace)
    const path = shippedTrace(trace)
    const replayArguments = ['replay', path, '--allocator', 'tcmalloc', '--json', '--rounds', values.rounds]
    if (touch) replayArguments.push('--touch')
    const best = new Map<string, Figures>()
    const note = (name: string, figures: Figures) => best.set(name, better(best.get(name), figures))
    for (let process = 0; process < Number(values.processes); process++) {
      note(OURS, runOurs(new URL('../../cli/main.js', import.meta.url), ...replayArguments))
      if (values['second-heap'])
        note(
          'second heap',
          runOurs(new URL('second-heap.js', import.meta.url), trace, touch ? '1' : '0', values.rounds)
        )
      for (const peer of peers)
        note(peer.name, yardstick.run(peer, 'trace', unpacked, values.rounds, touch ? '1' : '0'))
    }
    results.set(trace, best)
  }
  return results
}

type Figure = 'nsPerEvent' | 'coldNsPerEvent'

function table(results: Results, figure: Figure): string {
  const names = [...results.values().next().value!.keys()]
  const rows = new Table({
    head: ['trace', ...names, `/ ${REFERENCE}`, '/ fastest'],
    style: { head: [], border: [], compact: true },
  })
  const toReference: number[] = []
  const toFastest: number[] = []
  for (const [trace, best] of results) {
    const ns = (name: string) => best.get(name)![figure]!
    const reference = best.has(REFERENCE) ? ns(OURS) / ns(REFERENCE) : Number.NaN
    const fastest = ns(OURS) / Math.min(...peers.map(({ name }: Peer) => ns(name)))
    toReference.push(reference)
    toFastest.push(fastest)
    rows.push([trace, ...names.map((name) => ns(name).toFixed(1)), reference.toFixed(2), fastest.toFixed(2)])
  }
  rows.push([
    'geometric mean',
    ...names.map(() => ''),
    geometricMean(toReference).toFixed(3),
    geometricMean(toFastest).toFixed(3),
  ])
  return rows.toString()
}

function residentTable(results: Results): string {
  const rows = new Table({ head: ['trace', OURS, REFERENCE, 'ratio'], style: { head: [], border: [], compact: true } })
  for (const [trace, best] of results) {
    const ours = best.get(OURS)!.peakResidentBytes!
    const theirs = best.get(REFERENCE)!.peakResidentBytes!
    rows.push([
      trace,
      `${(ours / 2 ** 20).toFixed(1)} MiB`,
      `${(theirs / 2 ** 20).toFixed(1)} MiB`,
      (ours / theirs).toFixed(2),
    ])
  }
  return rows.toString()
}

for (const touch of values.untouched ? [false] : [false, true]) {
  const results = measure(touch)
  const blocks = touch ? 'blocks written to' : 'blocks untouched'
  console.log(
    `ns per event, ${blocks}, best of ${values.rounds} replays in each of ${values.processes} processes\n${table(results, 'nsPerEvent')}`
  )
  console.log(`the same, first round of a process (cold)\n${table(results, 'coldNsPerEvent')}`)
  if (touch && peers.some(({ name }) => name === REFERENCE))
    console.log(`resident at the peak, tables included\n${residentTable(results)}`)
}
