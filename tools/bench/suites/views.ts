import { CollectionCounter, totalCount } from '../framework/collections.ts'
import { figure } from '../framework/figures.ts'
import { median } from '../framework/statistics.ts'
import type { MeasuredRow, Medians, Scale, Suite, Verdict } from '../framework/suite.ts'
import { isCollected, openSide, round, type Side, type Way } from './buffer-pairs.ts'

const SIZES: Readonly<Record<Scale, readonly number[]>> = {
  full: Array.from({ length: 11 }, (_, at) => 16 * 4 ** at),
  quick: [64, 4096, 65536, 2 ** 20],
}
const SIDES = {
  'Heap: allocBuffer, freeBuffer': 'heap',
  "Heap: the same, leaks 'off'": 'unwatched',
  'Heap: the same, zeroed': 'zeroed',
  'Pool: acquire, release': 'pool',
  'Buffer.allocUnsafe': 'allocUnsafe',
  'Buffer.allocUnsafeSlow': 'allocUnsafeSlow',
  'Buffer.alloc, zeroed': 'alloc',
  'new Uint8Array, zeroed': 'Uint8Array',
} as const satisfies Record<string, Side>
type Contender = keyof typeof SIDES
const [OURS, POOL, THEIRS]: Contender[] = [
  'Heap: allocBuffer, freeBuffer',
  'Pool: acquire, release',
  'Buffer.allocUnsafe',
] as const
const QUICK: readonly string[] = [OURS, POOL, THEIRS]
/** Of several rounds the median counts: the collector comes in most of them, the machine's hiccups and V8's compiler in few. */
const ROUNDS = 5
const MILLISECONDS = 4
const WARM_UP_MS = 10
const FIRST_WARM_UP_MS = 30
const WAYS = [
  ['at once', 'atOnce'],
  ['ring', 'ring'],
  ['filled', 'filled'],
  ['copied into', 'copied'],
] as const satisfies readonly (readonly [Way, string])[]
/** How many times as fast as `Buffer.allocUnsafe` the README says that a heap is, by bytes. */
const CLAIMS = [
  [64, 1],
  [4096, 5],
  [65536, 15],
  [2 ** 20, 25],
] as const
/** And how many times as fast they are if all bytes are written before the free: 64 KiB. */
const WRITTEN = { size: 65536, least: 3 }
/** In a million pairs of a pool: none, but that one buffer in 8192 is watched for leaks, with a stack. */
const MOST_POOL_COLLECTIONS = 0.1

export interface ViewsParameters {
  readonly side: Side
  readonly sizes: readonly number[]
  readonly milliseconds: number
}

/** One side in a process: it compiles for that, and others' garbage isn't its own. */
async function measure({ side, sizes, milliseconds }: ViewsParameters): Promise<MeasuredRow[]> {
  const pairsOf = openSide(side)
  const play = (way: Way, size: number, ...ms: number[]) => {
    const pairs = pairsOf(way, size)
    const rounds = ms.map((each) => round(pairs, each))
    pairs.end()
    return rounds
  }
  // Sizes take several paths in a heap. A path that is new to compiled code has V8 compile again, which takes longer than a row does.
  // What the collector takes back has one path, and large ones would have it come more often in the rows of small ones.
  for (const first of isCollected(side) ? sizes.slice(0, 1) : sizes)
    for (const [way] of WAYS) play(way, first, FIRST_WARM_UP_MS)
  const rows: MeasuredRow[] = []
  for (const size of sizes) {
    // Rows begin alike, without what those before have left.
    global.gc?.()
    const counter = new CollectionCounter()
    const values: Record<string, number> = {}
    let made = 0
    for (const [way, metric] of WAYS) {
      const rounds = play(way, size, WARM_UP_MS, ...Array(ROUNDS).fill(milliseconds))
      made += rounds.reduce((sum, { pairs }) => sum + pairs, 0)
      values[metric] = median(rounds.slice(1).map(({ ns, pairs }) => ns / pairs))
    }
    values.collections = (totalCount(await counter.end()) * 1e6) / made
    rows.push({ row: size, values })
  }
  return rows
}

/** How many times as fast as `Buffer.allocUnsafe` the heap is. */
function timesAsFast(medians: Medians, size: number, metric: string): number | undefined {
  const [ours, theirs] = [OURS, THEIRS].map((contender) => medians.of(size, contender, metric))
  return ours === undefined || theirs === undefined ? undefined : theirs / ours
}

function verdicts(medians: Medians): Verdict[] {
  const claims = CLAIMS.flatMap(([size, least]): Verdict[] => {
    const [atOnce, ring] = ['atOnce', 'ring'].map((metric) => timesAsFast(medians, size, metric))
    if (atOnce === undefined || ring === undefined) return []
    return [
      {
        claim: `${figure(size, 'bytes')} are allocated and freed so many times as fast as with Buffer.allocUnsafe`,
        value: Math.min(atOnce, ring),
        bar: { least },
        detail: `the lesser of: ${atOnce.toFixed(2)} given up at once, ${ring.toFixed(2)} in a ring of live ones`,
      },
    ]
  })
  const [filled, copied] = ['filled', 'copied'].map((metric) => timesAsFast(medians, WRITTEN.size, metric))
  if (filled !== undefined && copied !== undefined)
    claims.push({
      claim: `${figure(WRITTEN.size, 'bytes')} are allocated, written and freed so many times as fast as with Buffer.allocUnsafe`,
      value: Math.min(filled, copied),
      bar: { least: WRITTEN.least },
      detail: `the lesser of: ${filled.toFixed(2)} filled, ${copied.toFixed(2)} copied into`,
    })
  const pooled = medians.rows.flatMap((row) => medians.of(row, POOL, 'collections') ?? [])
  if (pooled.length === 0) return claims
  return [
    ...claims,
    {
      claim: 'a million pairs of a pool bring on no collection, whatever the size',
      value: Math.max(...pooled),
      bar: { most: MOST_POOL_COLLECTIONS },
    },
  ]
}

/** Buffers of a heap and of a pool beside Node's own. */
export const views: Suite<ViewsParameters> = {
  name: 'views',
  title: 'Buffers',
  question:
    "What does a buffer of each size take, from its allocation until its memory is free again? Node's are garbage: their collections are part of their time. Where it doesn't say so nothing is written to any of them, but for those that are zeroed.",
  rows: { title: 'bytes', unit: 'bytes' },
  metrics: [
    { name: 'atOnce', title: 'allocated, and given up at once', unit: 'ns', better: 'less' },
    { name: 'ring', title: 'one of 64 live ones replaced (64 MiB of them at most)', unit: 'ns', better: 'less' },
    { name: 'filled', title: 'filled with a byte, and given up', unit: 'ns', better: 'less' },
    { name: 'copied', title: 'copied into, all of it, and given up', unit: 'ns', better: 'less' },
    { name: 'collections', title: 'collections in a million of all', unit: 'count', better: 'less' },
  ],
  charts: [
    { kind: 'lines', metric: 'atOnce', title: 'Given up at once', x: 'bytes', logarithmic: 'both' },
    { kind: 'lines', metric: 'ring', title: 'One of a ring replaced', x: 'bytes', logarithmic: 'both' },
    { kind: 'lines', metric: 'filled', title: 'Filled and given up', x: 'bytes', logarithmic: 'both' },
  ],
  configurations: ({ scale }) =>
    Object.entries(SIDES)
      .filter(([contender]) => scale === 'full' || QUICK.includes(contender))
      .map(([contender, side]) => {
        const parameters: ViewsParameters = { side, sizes: SIZES[scale], milliseconds: MILLISECONDS }
        return { contender, process: { kind: 'own', parameters, nodeArguments: ['--expose-gc'] } }
      }),
  measure,
  verdicts,
}
