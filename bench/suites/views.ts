import { isCollected, openSide, round, type Side, type Way } from '../buffer-pairs.ts'
import { CollectionCounter, totalCount } from '../collections.ts'
import { figure } from '../figures.ts'
import { median } from '../statistics.ts'
import type { MeasuredRow, Medians, Scale, Suite, Verdict } from '../suite.ts'

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
const WAYS: readonly Way[] = ['at once', 'ring']
/** How many times as fast as `Buffer.allocUnsafe` the README says that a heap is, by bytes. */
const CLAIMS = [
  [64, 1],
  [4096, 5],
  [65536, 15],
  [2 ** 20, 25],
] as const
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
    for (const way of WAYS) play(way, first, FIRST_WARM_UP_MS)
  const rows: MeasuredRow[] = []
  for (const size of sizes) {
    // Rows begin alike, without what those before have left.
    global.gc?.()
    const counter = new CollectionCounter()
    const [atOnce, ring] = WAYS.map((way) => play(way, size, WARM_UP_MS, ...Array(ROUNDS).fill(milliseconds)))
    const made = [...atOnce!, ...ring!].reduce((sum, { pairs }) => sum + pairs, 0)
    const collections = (totalCount(await counter.end()) * 1e6) / made
    const [atOnceNs, ringNs] = [atOnce!, ring!].map(([, ...rounds]) =>
      median(rounds.map(({ ns, pairs }) => ns / pairs))
    )
    rows.push({ row: size, values: { atOnce: atOnceNs!, ring: ringNs!, collections } })
  }
  return rows
}

function verdicts(medians: Medians): Verdict[] {
  const claims = CLAIMS.flatMap(([size, least]): Verdict[] => {
    const ratios = (['atOnce', 'ring'] as const).map((metric) => {
      const [ours, theirs] = [OURS, THEIRS].map((contender) => medians.of(size, contender, metric))
      return ours === undefined || theirs === undefined ? undefined : theirs / ours
    })
    const [atOnce, ring] = ratios
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
    "What does a buffer of each size take, from its allocation until its memory is free again? Node's are garbage: their collections are part of their time. Nothing is written to any of them, but for those that are zeroed.",
  rows: { title: 'bytes', unit: 'bytes' },
  metrics: [
    { name: 'atOnce', title: 'allocated, and given up at once', unit: 'ns', better: 'less' },
    { name: 'ring', title: 'one of 64 live ones replaced (64 MiB of them at most)', unit: 'ns', better: 'less' },
    { name: 'collections', title: 'collections in a million of both', unit: 'count', better: 'less' },
  ],
  charts: [
    { kind: 'lines', metric: 'atOnce', title: 'Given up at once', x: 'bytes', logarithmic: 'both' },
    { kind: 'lines', metric: 'ring', title: 'One of a ring replaced', x: 'bytes', logarithmic: 'both' },
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
