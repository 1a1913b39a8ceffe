import { digits, figure } from '../framework/figures.ts'
import { packageIsThere } from '../framework/packages.ts'
import { geometricMean } from '../framework/statistics.ts'
import type { Bench, Configuration, Medians, Scale, Suite, Verdict } from '../framework/suite.ts'
import { type Growing, measureReplacement, type ReplacementParameters } from './random-replacement.ts'

const [MIB, GIB] = [2 ** 20, 2 ** 30]
const OURS = 'spanheap'
const POOL = '@thi.ng/malloc'
/** The pool searches lists from their start: with more objects it takes seconds. */
const POOL_ROWS: Readonly<Record<Scale, readonly number[]>> = { full: [1e3, 1e4], quick: [1e3] }
const POOL_OPERATIONS = 1000
const OBJECTS: Readonly<Record<Scale, readonly number[]>> = {
  full: [1e3, 1e4, 1e5, 1e6, 1e7],
  quick: [1e3, 1e6],
}
/** What a small object takes at most, with all that is written down of it. */
const OBJECT_BYTES = 256
const BYTES: Readonly<Record<Scale, readonly number[]>> = {
  full: [MIB, 4 * MIB, 16 * MIB, 64 * MIB, 256 * MIB, GIB, 4 * GIB, 16 * GIB],
  quick: [MIB, GIB],
}
/** Operations of a round: by which a round with much memory takes some ten milliseconds. */
const OPERATIONS: Readonly<Record<Growing, number>> = { objects: 100_000, bytes: 20_000 }
/** How many times as much as the native allocators' cost this project's may grow. */
const MOST_GROWTH = 1.3
/** How many times as fast as the pool it is with ten thousand objects. */
const LEAST_OVER_POOL = 20

const METRICS = [
  { name: 'nsPerOperation', title: 'a free and a malloc', unit: 'ns', better: 'less' },
] as const satisfies Suite['metrics']

/** The same rows on this project's heap and on the native allocators, whose processors miss the same places of memory. */
function configurations({ peers }: Bench, growing: Growing, rows: readonly number[]): Configuration[] {
  const operations = OPERATIONS[growing]
  const args = [growing, operations, ...rows].map(String)
  return [
    { contender: OURS, process: { kind: 'own', parameters: { growing, rows, operations } } },
    ...peers.map((peer) => ({
      contender: peer.name,
      process: { kind: 'native' as const, program: 'growth' as const, arguments: args, peer },
    })),
  ]
}

function verdicts(medians: Medians): Verdict[] {
  return [...ofNative(medians), ...ofPool(medians)]
}

/** How many times as fast as the pool this heap is; none where the pool wasn't there. */
function ofPool(medians: Medians): Verdict[] {
  const row = POOL_ROWS.full.at(-1)!
  const [ours, theirs] = [OURS, POOL].map((contender) => medians.of(row, contender, METRICS[0].name))
  if (ours === undefined || theirs === undefined) return []
  const claim = `with ${digits(row)} live objects an operation is so many times as fast as ${POOL}'s`
  return [{ claim, value: theirs / ours, bar: { least: LEAST_OVER_POOL } }]
}

/** How many times as much our costs grow as those of the native allocators do; none where a run hadn't both ends of the scale. */
function ofNative(medians: Medians): Verdict[] {
  const [from, to] = [OBJECTS.full[0]!, OBJECTS.full.at(-1)!]
  const all = medians.contenders.flatMap((contender) => {
    const [first, last] = [from, to].map((row) => medians.of(row, contender, METRICS[0].name))
    return first === undefined || last === undefined ? [] : [{ contender, last, growth: last / first }]
  })
  const ours = all.find(({ contender }) => contender === OURS)
  const theirs = all.filter(({ contender }) => contender !== OURS)
  if (ours === undefined || theirs.length === 0) return []
  const grown = all.map(
    ({ contender, growth, last }) => `${contender} ${growth.toFixed(1)} times, to ${figure(last, 'ns')}`
  )
  return [
    {
      claim: `from ${digits(from)} to ${digits(to)} live objects an operation's cost grows no faster than native allocators' do`,
      value: ours.growth / geometricMean(theirs.map(({ growth }) => growth)),
      bar: { most: MOST_GROWTH },
      detail: `over the geometric mean of the native ones: ${grown.join(', ')}`,
    },
  ]
}

/** Ever more small objects. */
export const growth: Suite<ReplacementParameters> = {
  name: 'growth',
  title: 'Ever more live objects',
  question:
    'What does an operation cost with a thousand live objects, and what with ten million? An object of 16 to 128 bytes is freed at random, and another is allocated. With more objects than a cache of the processor holds, all allocators miss it: it is by the native ones that growth is judged.',
  rows: { title: 'live objects', unit: 'count' },
  metrics: METRICS,
  charts: [
    { kind: 'lines', metric: 'nsPerOperation', title: 'A free and a malloc', x: 'live objects', logarithmic: 'both' },
  ],
  configurations: (bench) => {
    const { memoryBytes } = bench.machine
    const rows = OBJECTS[bench.scale].filter((count) => count * OBJECT_BYTES <= memoryBytes)
    const parameters = { growing: 'objects', isPool: true, rows: POOL_ROWS[bench.scale], operations: POOL_OPERATIONS }
    const pool: Configuration = { contender: POOL, process: { kind: 'own', parameters } }
    return [...configurations(bench, 'objects', rows), ...(packageIsThere(POOL) ? [pool] : [])]
  },
  measure: measureReplacement,
  verdicts,
}

/** Ever more mapped memory. */
export const mapped: Suite<ReplacementParameters> = {
  name: 'mapped',
  title: 'Ever more mapped memory',
  question:
    'What does an operation cost in a mebibyte of blocks, and what in 16 gibibytes, all mapped, and none written to? A block is freed at random and another allocated, of 16 bytes to 1 MiB, each doubling as likely: size classes, spans and the page heap all have their share.',
  rows: { title: 'bytes of live blocks', unit: 'bytes' },
  metrics: METRICS,
  charts: [
    { kind: 'lines', metric: 'nsPerOperation', title: 'A free and a malloc', x: 'live blocks', logarithmic: 'both' },
  ],
  configurations: (bench) => {
    const { memoryBytes } = bench.machine
    return configurations(
      bench,
      'bytes',
      BYTES[bench.scale].filter((bytes) => bytes < memoryBytes)
    )
  },
  measure: measureReplacement,
}
