import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { shippedTrace } from '../../trace/shipped.ts'
import { packageIsThere } from '../framework/packages.ts'
import { type Peer, TRACES } from '../framework/peers.ts'
import { geometricMean } from '../framework/statistics.ts'
import type { Bench, Configuration, MeasuredRow, Medians, Scale, Suite, Verdict } from '../framework/suite.ts'
import { type CallsParameters, measureCalls, straceIsThere } from './traces-calls.ts'
import { measureReplay, type Repetition, type ReplayParameters } from './traces-process.ts'

/** What is verified against, and what is compared with it. */
const OURS = 'spanheap'
const NATIVE = ['glibc', 'gperftools', 'jemalloc', 'mimalloc']
/** What replays whole traces in this language. Buffers take half a second for each replay: they are written to only. */
const WHOLE = [
  { contender: OURS, allocator: 'tcmalloc' },
  { contender: "spanheap's Go heap", allocator: 'go' },
  { contender: "Node's Buffer", allocator: 'buffer' },
] as const
/** What takes a search or a system call for each event, and is shown how fast that is on the start of a trace. */
const START = [
  { contender: OURS, allocator: 'tcmalloc' },
  { contender: "spanheap's free list", allocator: 'freelist' },
  { contender: "spanheap's mmap for each", allocator: 'direct' },
  { contender: '@thi.ng/malloc', allocator: 'thi.ng' },
] as const
/** A first fit over one list takes minutes for a whole trace. */
const START_EVENTS = 5000
const ALL_EVENTS = 2 ** 32 - 1
/** Starts of traces differ little to these designs. */
const START_TRACES = ['jq', 'node', 'gcc']
/**
 * How often a process replays. V8 has compiled all after some ten times, and native allocators have found out by then what to keep: on
 * mimalloc the best of 20 replays of node took half of what the best of 3 did.
 */
const REPEATED: Readonly<Record<Scale, Repetition>> = {
  full: { replays: 20, milliseconds: 450 },
  quick: { replays: 8, milliseconds: 300 },
}
/** What no verdict is about. */
const REPEATED_LITTLE: Repetition = { replays: 20, milliseconds: 60 }
/** The start of a trace is short. */
const REPEATED_START: Repetition = { replays: 400, milliseconds: 150 }
const QUICK_TRACES = ['sqlite', 'perl', 'gcc']
/** Whose live blocks come to 8 MiB: with less, the tables that a heap starts with count for more than how it deals with blocks. */
const LARGE = ['jq', 'perl', 'node']

const startOf = (trace: string) => `${trace}, first ${START_EVENTS}`

/** What real programs asked of malloc, replayed. */
export const traces: Suite<ReplayParameters | CallsParameters> = {
  name: 'traces',
  title: 'Traces of real programs',
  question:
    'What does each allocator take for the very calls that six real programs made? Time, memory over what was live, page faults and system calls.',
  metrics: [
    { name: 'nsPerEvent', title: 'time per event, blocks not written to', unit: 'ns', better: 'less' },
    { name: 'touchedNsPerEvent', title: 'time per event, blocks written to', unit: 'ns', better: 'less' },
    { name: 'coldNsPerEvent', title: 'first replay of a process, blocks not written to', unit: 'ns', better: 'less' },
    { name: 'residentOverLive', title: 'highest resident over highest live', unit: 'ratio', better: 'less' },
    { name: 'mappedOverLive', title: 'highest mapped over highest live', unit: 'ratio', better: 'less' },
    { name: 'faults', title: 'page faults of the first replay', unit: 'count', better: 'less' },
    { name: 'systemCalls', title: 'system calls of the first replay', unit: 'count', better: 'less' },
  ],
  charts: [
    { kind: 'bars', metric: 'nsPerEvent', title: 'Time per event, blocks not written to', logarithmic: true },
    { kind: 'bars', metric: 'touchedNsPerEvent', title: 'Time per event, blocks written to', logarithmic: true },
    { kind: 'bars', metric: 'residentOverLive', title: 'Highest resident over highest live' },
    { kind: 'bars', metric: 'systemCalls', title: 'System calls of the first replay', logarithmic: true },
    {
      kind: 'series',
      series: ['live', 'mapped', 'resident'],
      title: 'Memory over the first replay, blocks written to',
      x: 'event',
      y: 'MiB',
    },
  ],
  configurations,
  measure: (parameters): MeasuredRow[] | Promise<MeasuredRow[]> =>
    parameters.kind === 'calls' ? measureCalls(parameters) : measureReplay(parameters),
  verdicts,
}

function configurations(bench: Bench): readonly Configuration[] {
  const isFull = bench.scale === 'full'
  const names = isFull ? TRACES : QUICK_TRACES
  const paths = new Map(names.map((trace) => [trace, unpack(bench, trace)]))
  const whole = names.flatMap((trace) =>
    [false, true].flatMap((touch) => replaysOf(bench, trace, paths.get(trace)!, touch))
  )
  if (!isFull) return whole
  const designs = START.filter(({ allocator }) => allocator !== 'thi.ng' || packageIsThere('@thi.ng/malloc'))
  const starts = START_TRACES.flatMap((trace) => startsOf(bench, designs, trace, paths.get(trace)!))
  return [...whole, ...starts, ...callsOf(bench, paths)]
}

/** A whole trace on everything that can replay it. */
function replaysOf({ scale, peers }: Bench, trace: string, path: string, touch: boolean): Configuration[] {
  const repeated = REPEATED[scale]
  const [ours, ...others] = WHOLE
  return [
    own({ kind: 'replay', row: trace, ...ours, path, events: null, touch, ...repeated }),
    ...others
      .filter(({ allocator }) => scale === 'full' && (touch || allocator !== 'buffer'))
      .map((other) => own({ kind: 'replay', row: trace, ...other, path, events: null, touch, ...REPEATED_LITTLE })),
    ...peers.map((peer) => native(peer, { row: trace, path, events: null, touch, ...repeated })),
  ]
}

/** The start of a trace on the slow designs, and on what they are judged by. */
function startsOf(
  { peers }: Bench,
  designs: readonly (typeof START)[number][],
  trace: string,
  path: string
): Configuration[] {
  const what = { row: startOf(trace), path, events: START_EVENTS, touch: true, ...REPEATED_START }
  return [
    ...designs.map((design) => own({ kind: 'replay', ...design, ...what })),
    ...peers.filter(({ name }) => name === 'glibc').map((peer) => native(peer, what)),
  ]
}

/** The native allocators' system calls; this project's are told by its ledgers. */
function callsOf(bench: Bench, paths: ReadonlyMap<string, string>): Configuration[] {
  if (!straceIsThere()) {
    console.warn("strace isn't installed: the native allocators' system calls aren't counted")
    return []
  }
  const output = bench.temporary('strace')
  const named = [...paths].map(([row, path]) => ({ row, path }))
  return bench.peers.map((peer) => own({ kind: 'calls', contender: peer.name, peer, output, traces: named }))
}

function own({
  contender,
  ...parameters
}: (ReplayParameters | CallsParameters) & { contender: string }): Configuration {
  const row = parameters.kind === 'replay' ? { row: parameters.row } : {}
  return { contender, ...row, process: { kind: 'own', parameters } }
}

function native(peer: Peer, what: Omit<ReplayParameters, 'kind' | 'allocator'>): Configuration {
  const { row, path, events, touch, replays, milliseconds } = what
  const args = ['row', row, path, events ?? ALL_EVENTS, touch ? 1 : 0, replays, milliseconds].map(String)
  return { contender: peer.name, row, process: { kind: 'native', program: 'replay', arguments: args, peer } }
}

function unpack(bench: Bench, trace: string): string {
  const path = bench.temporary(`${trace}.mtrc`)
  if (!existsSync(path)) writeFileSync(path, gunzipSync(readFileSync(shippedTrace(trace))))
  return path
}

function verdicts(medians: Medians): readonly Verdict[] {
  const claims = [
    ['nsPerEvent', TRACES, 1, 'a replay takes no longer than on the fastest native allocator of each trace'],
    ['touchedNsPerEvent', TRACES, 1, 'nor does it where blocks are written to'],
    ['residentOverLive', LARGE, 1.2, 'no more than a fifth more is resident than with the thriftiest of each trace'],
  ] as const
  return claims.flatMap(([metric, names, most, claim]) => {
    const ratios = overBest(medians, metric, names)
    if (ratios.length === 0) return []
    const detail = ratios.map(({ row, best, ratio }) => `${row} ${ratio.toFixed(2)} of ${best}`).join(', ')
    const value = geometricMean(ratios.map(({ ratio }) => ratio))
    return [{ claim, value, bar: { most }, detail: `geometric mean of: ${detail}` }]
  })
}

/** Our figure in each row over the lowest native one. */
function overBest(medians: Medians, metric: string, rows: readonly string[]) {
  return rows.flatMap((row) => {
    const ours = medians.of(row, OURS, metric)
    const theirs = NATIVE.map((name) => ({
      name,
      value: medians.of(row, name, metric) ?? Number.POSITIVE_INFINITY,
    })).sort((a, b) => a.value - b.value)
    const { name, value } = theirs[0]!
    return ours === undefined || value === Number.POSITIVE_INFINITY ? [] : [{ row, best: name, ratio: ours / value }]
  })
}
