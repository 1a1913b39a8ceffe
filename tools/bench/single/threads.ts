/**
 * Two threads of one heap: what attaching costs the usual path, whether two do twice as much as one, and whether memory stays
 * bounded where one thread allocates and another frees. Processes in turn, and the best of each counts. The patterns by which
 * allocators are usually held against each other are a suite (tools/bench/suites/patterns.ts).
 *
 *     node dist/tools/bench/single/threads.js [--only attached,scaling,handover] [--seconds N] [--processes N] [--blocks N]
 */
import { parseArgs } from 'node:util'
import Table from 'cli-table3'
import { Heap } from 'spanheap'
import { Crew, type Report } from '../framework/crew.ts'
import { runOurs } from '../framework/peers.ts'

const WARM_UP_SECONDS = 0.3
/** Turns are short: on a machine that does other things too, some of them have the cores for themselves. */
const TURN_SECONDS = 0.01
const MEBIBYTE = 2 ** 20
const BAR = { attached: 1.1, scaling: 0.9, live: 1.25, slack: 40 * MEBIBYTE }

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: 'attached,scaling,handover' },
    seconds: { type: 'string', default: '1' },
    processes: { type: 'string', default: '3' },
    blocks: { type: 'string', default: '10000000' },
    child: { type: 'string' },
  },
})
const seconds = Number(values.seconds)

/** Best operations a second by name. */
type Speeds = Record<string, number>

/** What a child does, by its name; each prints one line of JSON. */
const children: Record<string, () => Promise<Speeds | Report>> = {
  /** The heap is made in the thread that uses it, and nobody else has it. */
  alone: async () => usualPath(await Crew.of(1, undefined)),
  /** The heap is made in the main thread, and two attach: one works, one is idle. */
  attached: async () => {
    const crew = await Crew.of(2, new Heap())
    await crew.speed([1], { pattern: 'replace', seconds: 0.05 })
    return usualPath(crew)
  },
  scaling: async () => {
    const crew = await Crew.of(2, new Heap())
    const best: Speeds = {}
    for (const pattern of ['replace', 'control']) await crew.speed([0, 1], { pattern, seconds: WARM_UP_SECONDS })
    for (let turn = 0; turn < seconds / TURN_SECONDS; turn++) {
      for (const pattern of ['replace', 'control']) {
        note(best, `${pattern} alone`, await crew.speed([turn & 1], { pattern, seconds: TURN_SECONDS }))
        note(best, `${pattern} both`, await crew.speed([0, 1], { pattern, seconds: TURN_SECONDS }))
      }
    }
    return best
  },
  handover: async () => {
    const crew = await Crew.of(2, new Heap())
    const [report] = await crew.run([0, 1], { pattern: 'handover', blocks: Number(values.blocks) })
    return report!
  },
}

function note(best: Speeds, name: string, speed: number): void {
  best[name] = Math.max(best[name] ?? 0, speed)
}

async function usualPath(crew: Crew): Promise<Speeds> {
  const best: Speeds = {}
  for (const pattern of ['pair', 'replace']) await crew.speed([0], { pattern, seconds: WARM_UP_SECONDS })
  for (let turn = 0; turn < seconds / TURN_SECONDS; turn++)
    for (const pattern of ['pair', 'replace'])
      note(best, pattern, await crew.speed([0], { pattern, seconds: TURN_SECONDS }))
  return best
}

function runChild<T>(child: string): T {
  const args = ['--child', child, '--seconds', values.seconds, '--blocks', values.blocks]
  return runOurs<T>(import.meta.url, ...args)
}

/** The best speeds of several processes of each of these kinds, in turn. */
function inTurn(...kinds: string[]): Speeds[] {
  const best = kinds.map((): Speeds => ({}))
  for (let process = 0; process < Number(values.processes); process++) {
    for (const [at, kind] of kinds.entries()) {
      for (const [name, speed] of Object.entries(runChild<Speeds>(kind))) note(best[at]!, name, speed)
    }
  }
  return best
}

const style = { head: [], border: [], compact: true }
const verdict = (good: boolean) => (good ? 'yes' : 'NO')
const millions = (speed: number | undefined) => (speed === undefined ? '' : (speed / 1e6).toFixed(2))
const nanoseconds = (speed: number) => (1e9 / speed).toFixed(2)

function attached(): void {
  const [alone, two] = inTurn('alone', 'attached') as [Speeds, Speeds]
  const rows = new Table({ head: ['ns per operation', 'alone', 'attached', 'ratio', `<= ${BAR.attached}`], style })
  for (const name of Object.keys(alone)) {
    const ratio = alone[name]! / two[name]!
    rows.push([
      name,
      nanoseconds(alone[name]!),
      nanoseconds(two[name]!),
      ratio.toFixed(3),
      verdict(ratio <= BAR.attached),
    ])
  }
  console.log(`attached by two threads, one of them idle, over a heap that one thread has\n${rows}`)
}

function scaling(): void {
  const [best] = inTurn('scaling') as [Speeds]
  const rows = new Table({ head: ['million operations/s', 'one thread', 'two', 'speed-up'], style })
  const speedUp = (name: string) => best[`${name} both`]! / best[`${name} alone`]!
  for (const name of ['replace', 'control'])
    rows.push([name, millions(best[`${name} alone`]), millions(best[`${name} both`]), speedUp(name).toFixed(3)])
  const ratio = speedUp('replace') / speedUp('control')
  rows.push([`ratio >= ${BAR.scaling}`, '', verdict(ratio >= BAR.scaling), ratio.toFixed(3)])
  console.log(`two threads with live sets of their own; the control shares nothing\n${rows}`)
}

function handover(): void {
  const rows = new Table({
    head: [
      'blocks',
      'peak in flight',
      'peak live',
      'mapped at half',
      'at the end',
      'bounded',
      'no growth',
      'ns a block',
    ],
    style,
  })
  for (let process = 0; process < Number(values.processes); process++) {
    const report = runChild<Report>('handover')
    const [half, end, peak] = [report.mappedAtHalf!, report.mappedAtEnd!, report.peakBytes!]
    const mebibytes = (bytes: number) => `${(bytes / MEBIBYTE).toFixed(2)} MiB`
    rows.push([
      report.operations,
      report.peakBlocks,
      mebibytes(peak),
      mebibytes(half),
      mebibytes(end),
      verdict(end <= BAR.live * peak + BAR.slack),
      verdict(end <= half),
      (((report.end - report.start) * 1e6) / report.operations).toFixed(1),
    ])
  }
  console.log(`one thread allocates (16 to 512 bytes), another frees; every run is shown\n${rows}`)
}

if (values.child !== undefined) {
  console.log(JSON.stringify(await children[values.child]!()))
  process.exit()
}
console.log(
  `processes in turn, the best of ${values.processes} each; other work on the machine makes figures provisional\n`
)
const only = values.only.split(',')
if (only.includes('attached')) attached()
if (only.includes('scaling')) scaling()
if (only.includes('handover')) handover()
