import type { AllocatorName } from '../../trace/allocators.ts'
import { type Playable, type Player, slotPlayer } from '../../trace/player.ts'
import { openStage, type Stage } from '../../trace/replay.ts'
import { Operation, readTrace, type Trace } from '../../trace/trace.ts'
import { processMemory } from '../framework/process-memory.ts'
import type { MeasuredRow, Points } from '../framework/suite.ts'

/** One trace on one allocator. */
export type ReplayParameters = {
  readonly kind: 'replay'
  readonly row: string
  readonly allocator: AllocatorName | 'thi.ng'
  /** An unpacked trace. */
  readonly path: string
  /** Only the first so many; null for all. */
  readonly events: number | null
  readonly touch: boolean
} & Repetition

/** How often a trace is replayed after the first time: so often, or as often as there is time for, but at least once. */
export interface Repetition {
  readonly replays: number
  readonly milliseconds: number
}

/** How often the first replay of touched blocks stops its clock to look at memory. */
const POINTS = 100
/** A heap with a mapping for each block: the system's list of mappings takes long to read, so it is read less often. */
const DIRECT_POINTS = 10
const LEAST_REPLAYS = 1
const MIB = 2 ** 20

/**
 * Blocks that are not written to: times alone. Blocks that are: memory over the first replay, and times. A process does one of
 * them, since V8 compiles another code for each. tools/bench/native/replay.c does the same.
 */
export async function measureReplay(parameters: ReplayParameters): Promise<MeasuredRow[]> {
  const { row, path, events, touch } = parameters
  const trace = readTrace(path, events ?? undefined)
  const stage = await stageOf(parameters, trace)
  if (!touch) {
    const coldNsPerEvent = timeOf(stage.player, trace)
    return [{ row, values: { coldNsPerEvent, nsPerEvent: bestOf(stage.player, trace, parameters) } }]
  }
  const points = parameters.allocator === 'direct' ? DIRECT_POINTS : POINTS
  const { values, series } = watched(stage, trace, points)
  return [{ row, values: { ...values, touchedNsPerEvent: bestOf(stage.player, trace, parameters) }, series }]
}

/** Nanoseconds per event of one replay, whose blocks are freed behind the clock. */
function timeOf(player: Player, trace: Trace): number {
  const start = process.hrtime.bigint()
  playAll(player, 0, trace.events)
  const elapsed = Number(process.hrtime.bigint() - start)
  player.freeAll()
  return elapsed / trace.events
}

function playAll(player: Player, from: number, to: number): void {
  const stop = player.play(from, to)
  if (stop !== null) throw new Error(`it stopped at event ${stop.event}: ${stop.errno}`)
}

/** The best replay after the first. */
function bestOf(player: Player, trace: Trace, { replays, milliseconds }: Repetition): number {
  let best = Number.POSITIVE_INFINITY
  const end = performance.now() + milliseconds
  for (let replay = 0; replay < replays && (replay < LEAST_REPLAYS || performance.now() < end); replay++)
    best = Math.min(best, timeOf(player, trace))
  return best
}

/** The first replay, with stops to look at memory. */
function watched(stage: Stage, trace: Trace, points: number): Required<Omit<MeasuredRow, 'row'>> {
  const live = liveAfter(trace)
  const lines = { live: [] as Points[number][], mapped: [] as Points[number][], resident: [] as Points[number][] }
  let faults = 0
  let from = 0
  for (const to of stopsOf(trace, points)) {
    const before = process.resourceUsage().minorPageFault
    playAll(stage.player, from, to)
    faults += process.resourceUsage().minorPageFault - before
    from = to
    lines.live.push([to, live[to - 1]! / MIB])
    const [mapped, resident] = [stage.mappedBytes(), stage.residentBytes()]
    if (mapped !== null) lines.mapped.push([to, mapped / MIB])
    if (resident !== null) lines.resident.push([to, resident / MIB])
  }
  const systemCalls = stage.systemCalls()
  stage.player.freeAll()
  const peakOver = (line: Points) =>
    line.length === 0 ? null : (Math.max(...line.map(([, bytes]) => bytes)) * MIB) / trace.peakLiveBytes
  return {
    values: {
      residentOverLive: peakOver(lines.resident),
      mappedOverLive: peakOver(lines.mapped),
      faults,
      systemCalls,
    },
    series: lines,
  }
}

/** The events before which a watched replay stops: evenly, at the peak of live bytes, and at the end. */
export function stopsOf(trace: Pick<Trace, 'events' | 'peakEvent'>, points: number): number[] {
  const stops = new Set([trace.peakEvent + 1, trace.events])
  for (let i = 1; i < points; i++) stops.add(Math.floor((trace.events * i) / points))
  stops.delete(0)
  return [...stops].sort((a, b) => a - b)
}

/** The sum of the sizes asked for, after each event. */
export function liveAfter(trace: Pick<Trace, 'events' | 'slots' | 'slot' | 'size' | 'operation'>): Float64Array {
  const sizes = new Float64Array(trace.slots)
  const live = new Float64Array(trace.events)
  let bytes = 0
  for (let event = 0; event < trace.events; event++) {
    const at = trace.slot[event]!
    const size = trace.operation[event] === Operation.Free ? 0 : trace.size[event]!
    bytes += size - sizes[at]!
    sizes[at] = size
    live[event] = bytes
  }
  return live
}

/**
 * What is no heap of this project's is measured by what the process has more than before, as bytes of its own can't be told from
 * others: what V8 takes meanwhile is in it, some MiB.
 */
async function stageOf({ allocator, touch }: ReplayParameters, trace: Trace): Promise<Stage> {
  if (allocator !== 'thi.ng' && allocator !== 'buffer') return openStage(trace, { allocator, touch })
  const before = processMemory()
  const player = allocator === 'buffer' ? openStage(trace, { allocator, touch }).player : await poolPlayer(trace, touch)
  const more = (name: 'mappedBytes' | 'residentBytes') => () =>
    before === null ? null : Math.max(0, processMemory()![name] - before[name])
  return {
    player,
    residentBytes: more('residentBytes'),
    mappedBytes: more('mappedBytes'),
    systemCalls: () => null,
    finish: () => ({ syscalls: null, peakMappedBytes: null, endMappedBytes: null }),
  }
}

/** How much more than the peak of live bytes the pool has: what isn't used isn't resident. */
const POOL_ROOM = 4
const STRIDE = 64

/** Plays on `MemPool` of @thi.ng/malloc, which knows no alignment but that of all blocks. */
async function poolPlayer(trace: Trace, touch: boolean): Promise<Player> {
  const { MemPool } = await import('@thi.ng/malloc')
  const pool = new MemPool({ buf: new ArrayBuffer(POOL_ROOM * trace.peakLiveBytes + MIB), align: 16 })
  const bytes = new Uint8Array(pool.buf)
  // It gives 0 for a size of 0, and where it has no room.
  const check = (address: number): number => {
    if (address === 0) throw new Error('the pool is full')
    return address
  }
  const adapted: Playable = {
    malloc: (size) => check(pool.malloc(size === 0 ? 1 : size)),
    calloc: (_, size) => check(pool.calloc(size === 0 ? 1 : size)),
    realloc: (address, size) => check(pool.realloc(address, size === 0 ? 1 : size)),
    alignedAlloc: (_, size) => check(pool.malloc(size === 0 ? 1 : size)),
    free: (address) => void pool.free(address),
  }
  const touchBlock = (address: number, size: number) => {
    for (let at = address, end = address + size; at < end; at += STRIDE) bytes[at] = 1
  }
  return slotPlayer(trace, adapted, touch ? touchBlock : undefined, new Int32Array(trace.slots))
}
