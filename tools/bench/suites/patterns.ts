import { Heap } from 'spanheap'
import { Crew, type Timed } from '../framework/crew.ts'
import { geometricMean } from '../framework/statistics.ts'
import type { Bench, Configuration, Medians, Suite, Verdict } from '../framework/suite.ts'

/**
 * Calls of each pattern (see bench/patterns): of all contenders the same number, by which most of them take a tenth of a second. The
 * slowest take ten times as long.
 */
const CHUNKS: Readonly<Record<string, number>> = {
  larson: 300,
  mstress: 40,
  rptest: 300,
  'xmalloc-test': 20_000,
  sh6bench: 300,
  sh8bench: 250,
  'alloc-test': 800,
  'cache-scratch': 1500,
  'cache-thrash': 1500,
  'glibc-simple': 200,
  'malloc-large': 10,
}
/** Calls of the loop that shares nothing: some ten milliseconds. */
const CONTROL_CHUNKS = 800
/** What fits in a quick run, and the part of the calls that does. */
const QUICK = { rows: ['larson 2', 'xmalloc-test 2', 'sh6bench 1'], share: 0.25 }
/** Calls before those that count: V8 compiles meanwhile, and the native program does half as many, once. */
const WARM_UPS = 2
/** Blocks lie at the start of a heap: a view of this much is as fast as a view of 64 KiB. */
const LIMIT_BYTES = 2 ** 30

/** A row: a pattern, and how many threads play it. */
export interface Play {
  readonly pattern: string
  readonly threads: 1 | 2
  readonly chunks: number
}

/** What was measured of a play; with two threads also what the control took, once by one and once by both. */
export interface Played extends Timed {
  readonly controlAlone?: number
  readonly controlBoth?: number
}

/** How many times as much two threads do as one where they share nothing: 2, or less where they don't have a core each. */
export function controlOf({ controlAlone, controlBoth }: Played): number | null {
  if (controlAlone === undefined || controlBoth === undefined) return null
  return Math.min(2, (2 * controlAlone) / controlBoth)
}

/** tools/bench/native/patterns.c prints the same. */
export function valuesOf(played: Played, threads: number): Record<string, number | null> {
  const { operations, nanoseconds } = played
  const control = controlOf(played)
  // What an operation takes its thread, without what the cores withheld.
  const cores = control ?? threads
  return {
    nsPerOperation: (nanoseconds * cores) / operations,
    operationsPerSecond: (operations * 1e9) / nanoseconds,
    control,
  }
}

function rowOf({ pattern, threads }: Play): string {
  return `${pattern}, ${threads === 1 ? '1 thread' : `${threads} threads`}`
}

export function playsOf(scale: Bench['scale']): Play[] {
  const plays = Object.entries(CHUNKS).flatMap(([pattern, chunks]) =>
    ([1, 2] as const).map((threads) => ({ pattern, threads, chunks }))
  )
  if (scale === 'full') return plays
  return plays
    .filter(({ pattern, threads }) => QUICK.rows.includes(`${pattern} ${threads}`))
    .map((play) => ({ ...play, chunks: Math.ceil(play.chunks * QUICK.share) }))
}

async function play({ pattern, threads, chunks }: Play): Promise<Played> {
  const all = Array.from({ length: threads }, (_, thread) => thread)
  await using crew = await Crew.of(threads, new Heap({ limitBytes: LIMIT_BYTES }))
  for (let warmUp = 0; warmUp < WARM_UPS; warmUp++) await crew.run(all, { pattern, chunks: Math.ceil(chunks / 2) })
  if (threads === 1) return await crew.time(all, { pattern, chunks })
  const control = { pattern: 'control', chunks: CONTROL_CHUNKS }
  for (const some of [[0], [1], all]) await crew.run(some, control)
  const [alone, both] = [await crew.time([0], control), await crew.time(all, control)]
  const played = await crew.time(all, { pattern, chunks })
  const [aloneAfter, bothAfter] = [await crew.time([1], control), await crew.time(all, control)]
  return {
    ...played,
    controlAlone: alone.nanoseconds + aloneAfter.nanoseconds,
    controlBoth: both.nanoseconds + bothAfter.nanoseconds,
  }
}

/** Beside the fastest native allocator, pattern by pattern. */
function verdictOf(medians: Medians, threads: 1 | 2): Verdict | undefined {
  const ratios = Object.keys(CHUNKS).flatMap((pattern) => {
    const row = rowOf({ pattern, threads, chunks: 0 })
    const ours = medians.of(row, 'spanheap', 'nsPerOperation')
    const theirs = medians.contenders
      .filter((contender) => contender !== 'spanheap')
      .map((contender) => medians.of(row, contender, 'nsPerOperation'))
      .filter((ns) => ns !== undefined)
    return ours === undefined || theirs.length === 0 ? [] : [{ pattern, ratio: ours / Math.min(...theirs) }]
  })
  if (ratios.length === 0) return undefined
  return {
    claim: `${threads === 1 ? 'one thread takes' : 'two threads take'} no longer than with the fastest native allocator of each pattern (geometric mean)`,
    value: geometricMean(ratios.map(({ ratio }) => ratio)),
    bar: { most: 1 },
    detail: ratios.map(({ pattern, ratio }) => `${pattern} ${ratio.toFixed(2)}`).join(', '),
  }
}

export const patterns: Suite<Play> = {
  name: 'patterns',
  title: 'Patterns of one and two threads',
  question:
    'How long do the patterns take by which allocators are usually held against each other, written anew in TypeScript and in C with the same sizes, random numbers and operations? What a loop that shares nothing loses on two threads is taken off.',
  metrics: [
    { name: 'nsPerOperation', title: 'a malloc and its free, for the thread that does it', unit: 'ns', better: 'less' },
    { name: 'operationsPerSecond', title: 'all threads together, as measured', unit: 'ops/s', better: 'more' },
    { name: 'control', title: 'two threads that share nothing, as many times one', unit: 'ratio', better: 'more' },
  ],
  charts: [{ kind: 'bars', metric: 'nsPerOperation', title: 'A malloc and its free', logarithmic: true }],
  configurations: ({ scale, peers }) =>
    playsOf(scale).flatMap((parameters): Configuration[] => {
      const { pattern, threads, chunks } = parameters
      const row = rowOf(parameters)
      const args = [pattern, threads, chunks, CONTROL_CHUNKS].map(String)
      return [
        { contender: 'spanheap', row, process: { kind: 'own', parameters } },
        ...peers.map((peer) => ({
          contender: peer.name,
          row,
          process: { kind: 'native' as const, program: 'patterns' as const, arguments: args, peer },
        })),
      ]
    }),
  async measure(parameters) {
    return [{ row: rowOf(parameters), values: valuesOf(await play(parameters), parameters.threads) }]
  },
  verdicts: (medians) => ([1, 2] as const).flatMap((threads) => verdictOf(medians, threads) ?? []),
}
