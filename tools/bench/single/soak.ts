/**
 * A server's memory for some seconds: 1 GiB of buffers of 4 to 256 KiB, replaced at random, each filled by the system, with a turn
 * of the event loop after every millisecond of work; then nine tenths are dropped, and it is quiet but for timers. Each contender
 * in a process of its own, in turn, medians of several rounds: operations per second, time in collections, resident memory
 * at the peak and at the end, and the event loop's delay (while buffers are replaced and dropped). In the middle of the quiet time
 * spanheap is told once to give free memory back, as an idle server would; what was resident just before is shown too. For the
 * others, so is what a collection by force leaves at the end: a program can't ask for one without a flag.
 *
 *     node dist/tools/bench/single/soak.js [--rounds N] [--operations N] [--live MIB] [--quiet SECONDS] [--json FILE] [--svg FILE]
 *
 * Draws the rounds of median throughput into docs/soak.svg. NODE_ENV is taken away first: leaks are watched for as by default.
 */
import { openSync, readSync, writeFileSync } from 'node:fs'
import { freemem } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setImmediate as turn, setTimeout as wait } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import Table from 'cli-table3'
import { Heap, PoolSet } from 'spanheap'
import { PACKAGE_ROOT } from '../../package-root.ts'
import { CollectionCounter, type Collections, totalMs } from '../framework/collections.ts'
import { runOurs } from '../framework/peers.ts'
import { median } from '../framework/statistics.ts'
import { type Line, soakPicture } from './soak-picture.ts'

const MIB = 2 ** 20
const LEAST = 4096
/** Sizes are spread evenly over so many doublings. */
const DOUBLINGS = 6
const SLICE_MS = 1
/** Operations between two looks at the clock. */
const UNWATCHED = 8
const SAMPLE_MS = 50
const DROPPED = 0.9
/** Resident after the drop, over that of either contender of Node's. */
const RESIDENT_BAR = 0.3
/** Elsewhere spanheap is to be the best, or as near as that. */
const NEAR = 0.05

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    operations: { type: 'string', default: '300000' },
    live: { type: 'string', default: '1024' },
    quiet: { type: 'string', default: '4' },
    json: { type: 'string' },
    svg: { type: 'string', default: join(PACKAGE_ROOT, '../docs/soak.svg') },
    child: { type: 'string' },
  },
})

/** How a contender gets buffers, and gives them up. */
interface Memory {
  take(size: number): Buffer
  give(buffer: Buffer): void
  /** What an idle server calls. */
  trim?(): void
}

const CONTENDERS: Record<string, () => Memory> = {
  spanheap: () => {
    const heap = new Heap()
    return {
      take: (size) => heap.allocBuffer(size) as unknown as Buffer,
      give: (buffer) => heap.freeBuffer(buffer),
      trim: () => heap.releaseFreeMemory(),
    }
  },
  'spanheap PoolSet': () => {
    const pools = new PoolSet()
    return {
      take: (size) => pools.acquire(size) as unknown as Buffer,
      give: (buffer) => pools.release(buffer),
      trim: () => pools.heap.releaseFreeMemory(),
    }
  },
  allocUnsafeSlow: () => ({ take: (size) => Buffer.allocUnsafeSlow(size), give: () => {} }),
  /** What people write: lists by powers of two, which keep everything. */
  'free lists of those': () => {
    const free: Buffer[][] = Array.from({ length: 32 }, () => [])
    return {
      take: (size) => {
        const power = 32 - Math.clz32(size - 1)
        return free[power]!.pop() ?? Buffer.allocUnsafeSlow(2 ** power)
      },
      give: (buffer) => {
        free[31 - Math.clz32(buffer.length)]!.push(buffer)
      },
    }
  },
}
const OURS = (name: string) => name.startsWith('spanheap')

/** What one process measured. */
interface Soak {
  perSecond: number
  collections: Collections
  peak: number
  /** Resident in the middle of the quiet time, before spanheap was told to give memory back. */
  untrimmed: number
  /** How long that took. */
  trimMs: number
  end: number
  /** Resident after a collection by force. */
  forced: number
  delayMs: number
  points: Line['points']
}

function generator(): (below: number) => number {
  let seed = 1
  return (below) => {
    seed ^= seed << 13
    seed ^= seed >>> 17
    seed ^= seed << 5
    return ((seed >>> 0) / 2 ** 32) * below
  }
}

async function soak(memory: Memory, operations: number, liveBytes: number, quietMs: number): Promise<Soak> {
  const random = generator()
  const points: Line['points'] = []
  let sampled = 0
  const sample = (now: number) => {
    points.push([now, process.memoryUsage.rss()])
    sampled = now
  }
  const make = () => {
    const size = Math.floor(LEAST * 2 ** random(DOUBLINGS))
    const buffer = memory.take(size)
    // Filled by the system, as a socket's or a file's bytes are.
    readSync(zeros, buffer, 0, size, 0)
    return buffer
  }
  const zeros = openSync('/dev/zero', 'r')
  let sliceEnd = 0
  /** Gives the event loop a turn, where a slice is over. */
  const breathe = async () => {
    const now = performance.now()
    if (now < sliceEnd) return
    if (now > sampled + SAMPLE_MS) sample(now)
    await turn()
    sliceEnd = performance.now() + SLICE_MS
  }

  const live: (Buffer | undefined)[] = []
  for (let bytes = 0; bytes < liveBytes; ) {
    const buffer = make()
    // Not buffer.length, which may be a longer one's.
    bytes += (LEAST * (2 ** DOUBLINGS - 1)) / (DOUBLINGS * Math.LN2)
    live.push(buffer)
    if (live.length % UNWATCHED === 0) await breathe()
  }
  const counter = new CollectionCounter()
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  const start = performance.now()
  for (let operation = 0; operation < operations; operation++) {
    const at = Math.floor(random(live.length))
    memory.give(live[at]!)
    // Otherwise the old one lives until the new one is there.
    live[at] = undefined
    live[at] = make()
    if (operation % UNWATCHED === 0) await breathe()
  }
  const elapsed = performance.now() - start
  const dropStart = performance.now()
  sample(dropStart)
  for (const [at, buffer] of live.entries()) {
    if (random(1) < DROPPED) {
      memory.give(buffer!)
      live[at] = undefined
    }
    if (at % UNWATCHED === 0) await breathe()
  }
  delay.disable()
  const quiet = async () => {
    for (const end = performance.now() + quietMs / 2; performance.now() < end; ) {
      await wait(SAMPLE_MS)
      sample(performance.now())
    }
    return process.memoryUsage.rss()
  }
  const untrimmed = await quiet()
  const trimStart = performance.now()
  memory.trim?.()
  const trimMs = performance.now() - trimStart
  const end = await quiet()
  const collections = await counter.end()
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  for (let time = 0; time < 3; time++) {
    collect()
    await wait(100)
  }
  const forced = process.memoryUsage.rss()
  // What remains has lived until here.
  if (live.length === 0) throw new Error('nothing was live')
  return {
    perSecond: (operations / elapsed) * 1000,
    collections,
    peak: process.resourceUsage().maxRSS * 1024,
    untrimmed,
    trimMs,
    end,
    forced,
    delayMs: delay.percentile(99.9) / 1e6,
    points: points.map(([ms, bytes]) => [(ms - dropStart) / 1000, bytes]),
  }
}

/** Bytes to keep live: what was asked for, or half and half again until the machine has room for it and for what piles up beside it. */
function liveBytes(): number {
  const asked = Number(values.live) * MIB
  const most = Math.min(freemem(), process.constrainedMemory() || Number.POSITIVE_INFINITY)
  let bytes = asked
  while (bytes * 3 > most) bytes /= 2
  if (bytes < asked) console.warn(`too little memory is free: ${bytes / MIB} MiB live, instead of ${asked / MIB}`)
  return bytes
}

/** The medians of a contender's rounds. */
function medians(rounds: Soak[]) {
  const of = (figure: (soak: Soak) => number) => median(rounds.map(figure))
  return {
    perSecond: of((soak) => soak.perSecond),
    collectionsMs: of(({ collections }) => totalMs(collections)),
    minor: { count: of((soak) => soak.collections.minor.count), ms: of((soak) => soak.collections.minor.ms) },
    major: { count: of((soak) => soak.collections.major.count), ms: of((soak) => soak.collections.major.ms) },
    othersMs: of(({ collections }) => collections.incremental.ms + collections.weak.ms),
    peak: of((soak) => soak.peak),
    untrimmed: of((soak) => soak.untrimmed),
    trimMs: of((soak) => soak.trimMs),
    end: of((soak) => soak.end),
    forced: of((soak) => soak.forced),
    delayMs: of((soak) => soak.delayMs),
  }
}
type Medians = ReturnType<typeof medians>

/** Lines that say of each of ours how it stands to Node's. */
function verdicts(all: Map<string, Medians>): string[] {
  const theirs = [...all].filter(([name]) => !OURS(name)).map(([, figures]) => figures)
  const better: [string, (figures: Medians) => number][] = [
    ['time for an operation', ({ perSecond }) => 1 / perSecond],
    ['time in collections', ({ collectionsMs }) => collectionsMs],
    ['resident at the peak', ({ peak }) => peak],
    ['delay of the event loop', ({ delayMs }) => delayMs],
  ]
  return [...all]
    .filter(([name]) => OURS(name))
    .flatMap(([name, figures]) => {
      const share = figures.end / Math.min(...theirs.map(({ end }) => end))
      const yes = (is: boolean) => (is ? 'yes' : 'NO')
      const resident = `resident at the end ${share.toFixed(2)} of the lesser of Node's, <= ${RESIDENT_BAR}: ${yes(share <= RESIDENT_BAR)}`
      const others = better.map(([what, figure]) => {
        const ratio = figure(figures) / Math.min(...theirs.map(figure))
        return `${what} ${ratio.toFixed(2)} of the best of Node's, <= ${1 + NEAR}: ${yes(ratio <= 1 + NEAR)}`
      })
      const released = `${((figures.untrimmed - figures.end) / MIB).toFixed(0)} MiB given back in ${figures.trimMs.toFixed(0)} ms`
      return [resident, ...others, released].map((line) => `${name}: ${line}`)
    })
}

function report(found: Map<string, Soak[]>, live: number): void {
  const mib = (bytes: number) => (bytes / MIB).toFixed(0)
  const table = new Table({
    head: [
      ...['', 'operations/s', 'collections, ms', 'minor', 'major', 'marking and weak', 'peak, MiB', 'before release'],
      ...['end, MiB', 'after gc()', 'delay 99.9 %, ms'],
    ],
    style: { head: [], border: [], compact: true },
  })
  const all = new Map([...found].map(([name, rounds]) => [name, medians(rounds)]))
  for (const [name, figures] of all) {
    const { minor, major } = figures
    table.push([
      ...[name, figures.perSecond.toFixed(0), figures.collectionsMs.toFixed(1)],
      ...[minor, major].map(({ count, ms }) => `${count}: ${ms.toFixed(1)} ms`),
      ...[`${figures.othersMs.toFixed(1)} ms`, mib(figures.peak), OURS(name) ? mib(figures.untrimmed) : ''],
      ...[mib(figures.end), mib(figures.forced), figures.delayMs.toFixed(2)],
    ])
  }
  console.log(`${table}\n${verdicts(all).join('\n')}`)
  if (values.json !== undefined) {
    const options = { liveBytes: live, operations: Number(values.operations), quietSeconds: Number(values.quiet) }
    const contenders = [...found].map(([name, rounds]) => ({ name, medians: all.get(name), rounds }))
    writeFileSync(values.json, `${JSON.stringify({ node: process.version, ...options, contenders })}\n`)
  }
  const lines = [...found].map(([name, rounds]) => {
    const middle = rounds.toSorted((a, b) => a.perSecond - b.perSecond)[rounds.length >> 1]!
    const mark = name === 'spanheap' ? { seconds: Number(values.quiet) / 2, label: 'given back' } : undefined
    return { name, points: middle.points, mark }
  })
  const title = `The same ${Number(values.operations)} replacements in ${mib(live)} MiB of buffers`
  writeFileSync(values.svg, soakPicture(title, lines))
}

if (values.child !== undefined) {
  const [name, live] = values.child.split(',') as [string, string]
  const quietMs = Number(values.quiet) * 1000
  console.log(JSON.stringify(await soak(CONTENDERS[name]!(), Number(values.operations), Number(live), quietMs)))
  process.exit()
}
delete process.env.NODE_ENV
const live = liveBytes()
const found = new Map<string, Soak[]>(Object.keys(CONTENDERS).map((name) => [name, []]))
for (let round = 0; round < Number(values.rounds); round++) {
  for (const [name, rounds] of found) {
    const options = ['--operations', values.operations, '--quiet', values.quiet]
    rounds.push(runOurs<Soak>(import.meta.url, '--child', `${name},${live}`, ...options))
  }
}
report(found, live)
