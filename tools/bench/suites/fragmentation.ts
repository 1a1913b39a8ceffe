import { Heap } from 'spanheap'
import { GoHeap } from 'spanheap/go'
import type { Configuration, MeasuredRow, Points, Scale, Suite } from '../framework/suite.ts'
import { ALL_PARTS, LAST_PART, shiftingBlocks } from './shifting-sizes.ts'

const MIB = 2 ** 20
const LIVE_BYTES: Readonly<Record<Scale, number>> = { full: 64 * MIB, quick: 8 * MIB }
/** Several times what is ever mapped; addresses keep to 32 bits. */
const LIMIT_BYTES = 2 ** 30

/** By itself the heap gives back little in a run this short: as it is by default, and at the highest rate. */
const OURS = [
  { contender: 'spanheap', heap: 'tcmalloc', releaseRate: 1 },
  { contender: 'spanheap, releaseRate 10000', heap: 'tcmalloc', releaseRate: 10_000, isOnlyAlone: true },
  { contender: "spanheap's Go heap", heap: 'go' },
] as const
/** The rows: what allocators give back by themselves, and when they are told to. */
const [ALONE, TOLD] = ['left alone', 'told to release'] as const

export interface FragmentationParameters {
  readonly row: string
  readonly heap: 'tcmalloc' | 'go'
  /** Only of `tcmalloc`; 1 by default. */
  readonly releaseRate?: number
  readonly liveBytes: number
  /** Whether it is told to give free memory back after each part of a phase. */
  readonly release: boolean
}

function measure(parameters: FragmentationParameters): MeasuredRow[] {
  const { row, liveBytes, release } = parameters
  const heap =
    parameters.heap === 'go'
      ? new GoHeap({ limitBytes: LIMIT_BYTES })
      : new Heap({ limitBytes: LIMIT_BYTES, releaseRate: parameters.releaseRate ?? 1 })
  const blocks = shiftingBlocks(heap, heap.buffer, liveBytes)
  const before = blocks.operations
  const lines = { live: [] as Points[number][], mapped: [] as Points[number][], resident: [] as Points[number][] }
  let releaseMs = 0
  const look = (): number | null => {
    if (release) {
      const start = performance.now()
      heap.releaseFreeMemory()
      releaseMs += performance.now() - start
    }
    const { mappedBytes, metadataBytes } = heap.stats()
    const resident = heap.residentBytes()
    const x = blocks.operations - before
    lines.live.push([x, blocks.liveBytes / MIB])
    lines.mapped.push([x, (mappedBytes + metadataBytes) / MIB])
    if (resident !== null) lines.resident.push([x, resident / MIB])
    return resident === null ? null : resident / blocks.liveBytes
  }

  let elapsed = 0
  const atEnds: number[] = []
  for (const { phase, part } of ALL_PARTS) {
    const start = process.hrtime.bigint()
    blocks.play(phase, part)
    elapsed += Number(process.hrtime.bigint() - start)
    const overLive = look()
    if (part === LAST_PART && overLive !== null) atEnds.push(overLive)
  }
  const nsPerOperation = elapsed / (blocks.operations - before)
  blocks.dropMost()
  const restOverLive = look()
  const peak = (line: Points) => Math.max(...line.map(([, bytes]) => bytes))
  const values = {
    nsPerOperation,
    mappedOverLive: peak(lines.mapped) / peak(lines.live),
    worstOverLive: atEnds.length === 0 ? null : Math.max(...atEnds),
    meanOverLive: atEnds.length === 0 ? null : atEnds.reduce((sum, each) => sum + each, 0) / atEnds.length,
    restOverLive,
    releaseMs: release ? releaseMs : null,
  }
  return [{ row, values, series: lines }]
}

export const fragmentation: Suite<FragmentationParameters> = {
  name: 'fragmentation',
  title: 'Fragmentation',
  question:
    'How much memory is held for the same live bytes while their sizes shift, from small to medium, large, small and medium again? Of the blocks of before, one in sixteen outlives each phase; in the end nine tenths go. An allocator is left alone, or told to give free memory back, eight times in each phase and at the end.',
  metrics: [
    { name: 'nsPerOperation', title: 'a malloc or a free, blocks written to', unit: 'ns', better: 'less' },
    { name: 'mappedOverLive', title: 'highest mapped over highest live', unit: 'ratio', better: 'less' },
    {
      name: 'worstOverLive',
      title: 'resident over live at the ends of phases, the worst',
      unit: 'ratio',
      better: 'less',
    },
    { name: 'meanOverLive', title: 'resident over live at the ends of phases, mean', unit: 'ratio', better: 'less' },
    { name: 'restOverLive', title: 'resident over live when nine tenths were freed', unit: 'ratio', better: 'less' },
    { name: 'releaseMs', title: 'time spent giving back when told to', unit: 'ms', better: 'less' },
  ],
  charts: [
    {
      kind: 'series',
      series: ['resident', 'mapped', 'live'],
      title: 'Memory while sizes shift',
      x: 'mallocs and frees',
      y: 'MiB',
    },
    { kind: 'bars', metric: 'meanOverLive', title: 'Resident over live at the ends of phases' },
    { kind: 'bars', metric: 'restOverLive', title: 'Resident over live when nine tenths were freed' },
    { kind: 'bars', metric: 'nsPerOperation', title: 'Time' },
  ],
  configurations: ({ scale, peers }) =>
    (scale === 'quick' ? [TOLD] : [ALONE, TOLD]).flatMap((row): Configuration[] => {
      const [release, liveBytes] = [row === TOLD, LIVE_BYTES[scale]]
      const ours = OURS.filter((each) => !release || !('isOnlyAlone' in each))
      const args = [row, String(liveBytes), release ? '1' : '0']
      return [
        ...ours.map(({ contender, ...what }) => {
          const parameters: FragmentationParameters = { row, ...what, liveBytes, release }
          return { contender, row, process: { kind: 'own' as const, parameters } }
        }),
        ...peers.map((peer) => ({
          contender: peer.name,
          row,
          process: { kind: 'native' as const, program: 'fragmentation' as const, arguments: args, peer },
        })),
      ]
    }),
  measure,
}
