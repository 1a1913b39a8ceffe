import { GoHeap } from 'spanheap/go'
import { GoPrograms } from '../framework/go-programs.ts'
import { processMemory } from '../framework/process-memory.ts'
import type { Bench, Configuration, MeasuredRow, Medians, Points, Suite, Verdict } from '../framework/suite.ts'
import { goHeapForest } from './go-heap-trees.ts'
import { objectForest } from './object-trees.ts'
import { type Forest, TREE_NODES } from './trees.ts'

const OURS = "spanheap's Go heap"
const SLICED = "spanheap's Go heap, in slices"
const CLOCK = 'nothing but the clock'
/** Its collector takes turns with the program, as ours does. */
const GO = 'Go, one thread'

/** The forests: trees, and operations on them. */
const FORESTS = [
  { row: '100 000 live nodes', trees: 3125, operations: 30_000 },
  { row: '1 000 000 live nodes', trees: 31_250, operations: 40_000 },
] as const
const QUICK_OPERATIONS = 10_000
const SLICE_MICROS = 1000
/** Looks at memory, behind the clock: each takes the system some ten milliseconds. */
const LOOKS = 16
/** Whole collections at the end, of which the best counts. */
const COLLECTIONS = 3
/** What a loop without a heap does for as long as an operation takes. */
const IDLE_MICROS = 2
/** A node has two pointers and a number of 8 bytes; what heaps and languages add to that is theirs. */
const NODE_BYTES = 24

/** New objects by themselves. */
const OBJECT_BYTES = [16, 32, 64]
const OBJECTS = 1_000_000
const OBJECT_ROUNDS = 5
/** Objects of one call: entered often, so that V8 compiles it whole. */
const OBJECTS_OF_A_CALL = 10_000

export type CollectorParameters =
  | { readonly kind: 'objects'; readonly row: string; readonly bytes: number; readonly count: number }
  | {
      readonly kind: 'forest'
      readonly row: string
      readonly heap: 'go' | 'v8'
      readonly trees: number
      readonly operations: number
      /** Of `go`: microseconds of a slice of the collector, where the program advances it; null where it advances by itself. */
      readonly sliceMicros: number | null
    }
  | { readonly kind: 'idle'; readonly row: string; readonly operations: number }

async function measure(parameters: CollectorParameters): Promise<MeasuredRow[]> {
  const { row } = parameters
  switch (parameters.kind) {
    case 'objects':
      return [{ row, values: { nsPerObject: nsPerObject(parameters.bytes, parameters.count) } }]
    case 'idle':
      return [{ row, ...waits(idle(parameters.operations)) }]
    case 'forest': {
      const { heap, trees, operations, sliceMicros } = parameters
      const times = new Float64Array(operations).fill(1)
      const before = processMemory()?.residentBytes
      const forest = heap === 'go' ? goHeapForest(trees, sliceMicros) : objectForest(trees)
      return [{ row, ...(await mutated(forest, times, before)) }]
    }
  }
}

/** Replaces trees, as often as there is room for times. */
async function mutated(
  forest: Forest,
  times: Float64Array,
  residentBefore: number | undefined
): Promise<Omit<MeasuredRow, 'row'>> {
  const operations = times.length
  for (let warmUp = 0; warmUp < operations >> 3; warmUp++) forest.operate()
  const collectorMs = forest.watchCollector()
  const every = Math.ceil(operations / LOOKS)
  let [total, peak] = [0, 0]
  for (let at = 0; at < operations; at++) {
    const start = performance.now()
    forest.operate()
    const elapsed = (performance.now() - start) * 1e6
    times[at] = elapsed
    total += elapsed
    if ((at + 1) % every === 0) peak = Math.max(peak, processMemory()?.residentBytes ?? 0)
  }
  const spentMs = await collectorMs()
  const sum = forest.sum()
  let wholeMs = Number.POSITIVE_INFINITY
  for (let round = 0; round < COLLECTIONS; round++) {
    const start = performance.now()
    forest.collect()
    wholeMs = Math.min(wholeMs, performance.now() - start)
  }
  const { values, series } = waits(times)
  return {
    values: {
      nsPerNode: total / (operations * 2 * TREE_NODES),
      ...values,
      collectorMs: spentMs,
      wholeMs,
      residentOverLive: residentBefore === undefined ? null : (peak - residentBefore) / (sum.nodes * NODE_BYTES),
      ...sum,
    },
    series,
  }
}

/** How long each of so many loops takes that does nothing but look at the clock: what is longer is the machine's. */
function idle(operations: number): Float64Array {
  const times = new Float64Array(operations)
  for (let at = 0; at < operations; at++) {
    const start = performance.now()
    let end = start
    while (end < start + IDLE_MICROS / 1000) end = performance.now()
    times[at] = (end - start) * 1e6
  }
  return times
}

/** How long a program had to wait for its operations, which take nanoseconds. */
export function waits(times: Float64Array): Required<Omit<MeasuredRow, 'row'>> {
  const sorted = times.toSorted()
  const at = (share: number) => sorted[Math.ceil(sorted.length * share) - 1]!
  const values = { medianNs: at(0.5), p99Ns: at(0.99), p999Ns: at(0.999), longestNs: at(1) }
  return { values, series: { operations: histogram(sorted) } }
}

/** Counts of what took from one half power of two of microseconds to the next, by where that begins. */
function histogram(times: Float64Array): Points {
  const counts = new Map<number, number>()
  for (const ns of times) {
    const from = 2 ** (Math.floor(2 * Math.log2(ns / 1000)) / 2)
    counts.set(from, (counts.get(from) ?? 0) + 1)
  }
  return [...counts]
}

/** Nanoseconds of a new object with one pointer in the best of some rounds; what they leave is collected behind the clock. */
function nsPerObject(size: number, count: number): number {
  const heap = new GoHeap({ gcPercent: -1 })
  const type = heap.defineType({ size, pointers: [0] })
  const make = () => {
    for (let i = 0; i < OBJECTS_OF_A_CALL; i++) heap.allocate(type)
  }
  let best = Number.POSITIVE_INFINITY
  for (let round = 0; round < OBJECT_ROUNDS; round++) {
    heap.collect()
    const start = process.hrtime.bigint()
    for (let made = 0; made < count; made += OBJECTS_OF_A_CALL) make()
    best = Math.min(best, Number(process.hrtime.bigint() - start))
  }
  return best / count
}

function configurations({ scale }: Bench): readonly Configuration[] {
  const hasGo = GoPrograms.areAvailable()
  if (!hasGo) console.warn("go isn't installed: Go's own heap is left out")
  const go = (contender: string, row: string, args: readonly (string | number)[]): Configuration[] =>
    hasGo ? [{ contender, row, process: { kind: 'go', program: 'collector', arguments: args.map(String) } }] : []
  const own = (contender: string, parameters: CollectorParameters, nodeArguments: string[] = []): Configuration => ({
    contender,
    row: parameters.row,
    process: { kind: 'own', parameters, nodeArguments },
  })
  const forests = FORESTS.slice(0, scale === 'quick' ? 1 : undefined).flatMap(({ row, trees, ...full }) => {
    const operations = scale === 'quick' ? QUICK_OPERATIONS : full.operations
    const of = { kind: 'forest', row, trees, operations } as const
    const few = [
      own(OURS, { ...of, heap: 'go', sliceMicros: null }),
      own("V8's objects", { ...of, heap: 'v8', sliceMicros: null }, ['--expose-gc']),
      ...go(GO, row, ['forest', row, trees, operations, 1]),
    ]
    if (scale === 'quick') return few
    return [
      ...few,
      own(SLICED, { ...of, heap: 'go', sliceMicros: SLICE_MICROS }),
      own("V8's objects, one thread", { ...of, heap: 'v8', sliceMicros: null }, [
        '--expose-gc',
        '--single-threaded-gc',
      ]),
      ...go('Go', row, ['forest', row, trees, operations, 0]),
      own(CLOCK, { kind: 'idle', row, operations }),
    ]
  })
  const objects = OBJECT_BYTES.slice(0, scale === 'quick' ? 0 : undefined).flatMap((bytes) => {
    const row = objectRow(bytes)
    return [
      own(OURS, { kind: 'objects', row, bytes, count: OBJECTS }),
      ...go(GO, row, ['objects', row, bytes, OBJECTS]),
    ]
  })
  return [...forests, ...objects]
}

const objectRow = (bytes: number) => `objects of ${bytes} bytes`

/** Ours over Go's on one thread, and how long slices are. */
function verdicts(medians: Medians): readonly Verdict[] {
  const [, { row }] = FORESTS
  const overGo = (name: string, metric: string) => {
    const [ours, theirs] = [medians.of(name, OURS, metric), medians.of(name, GO, metric)]
    return ours === undefined || theirs === undefined ? [] : [ours / theirs]
  }
  const objects = OBJECT_BYTES.flatMap((bytes) => overGo(objectRow(bytes), 'nsPerObject'))
  const sliced = medians.of(row, SLICED, 'p999Ns')
  return [
    ...(objects.length === 0
      ? []
      : [
          {
            claim: 'a new object takes at most half as long again as in Go (the worst of three sizes)',
            value: Math.max(...objects),
            bar: { most: 1.5 },
          },
        ]),
    ...overGo(row, 'wholeMs').map((value) => ({
      claim: 'a whole collection of a million nodes takes at most half as long again as in Go on one thread',
      value,
      bar: { most: 1.5 },
    })),
    ...(sliced === undefined
      ? []
      : [
          {
            claim: `99.9 % of the operations on a million nodes take less than two milliseconds, slices of one among them`,
            value: sliced / 1e6,
            bar: { most: 2 },
          },
        ]),
  ]
}

export const collector: Suite<CollectorParameters> = {
  name: 'collector',
  title: 'Garbage collectors',
  question:
    "What does a program pay for a garbage collector: this package's Go heap, V8's own and Go's, while it replaces trees of 32 nodes? Half of the trees are dropped at once. An operation makes two trees, and is as long as it seems to the program, whoever made it wait.",
  metrics: [
    { name: 'nsPerNode', title: 'a new node, with all that follows', unit: 'ns', better: 'less' },
    { name: 'nsPerObject', title: 'a new object, no collection in the clock', unit: 'ns', better: 'less' },
    { name: 'medianNs', title: 'median operation', unit: 'ns', better: 'less' },
    { name: 'p99Ns', title: '99 % of operations within', unit: 'ns', better: 'less' },
    { name: 'p999Ns', title: '99.9 % of operations within', unit: 'ns', better: 'less' },
    { name: 'longestNs', title: 'longest operation', unit: 'ns', better: 'less' },
    { name: 'collectorMs', title: 'time in the collector, by its own account', unit: 'ms', better: 'less' },
    { name: 'wholeMs', title: 'a whole collection', unit: 'ms', better: 'less' },
    { name: 'residentOverLive', title: 'resident over 24 bytes a node', unit: 'ratio', better: 'less' },
  ],
  charts: [
    { kind: 'bars', metric: 'nsPerNode', title: 'A new node, with all that follows', logarithmic: true },
    {
      kind: 'series',
      series: ['operations'],
      title: 'How long operations took',
      x: 'µs and more',
      y: 'operations',
      logarithmic: 'both',
    },
    { kind: 'bars', metric: 'longestNs', title: 'The longest operation', logarithmic: true },
    { kind: 'bars', metric: 'wholeMs', title: 'A whole collection', logarithmic: true },
    { kind: 'bars', metric: 'residentOverLive', title: 'Resident over 24 bytes a node' },
  ],
  configurations,
  measure,
  verdicts,
}
