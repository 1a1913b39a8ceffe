import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { GoPrograms } from './go-programs.ts'
import { thisMachine } from './machine.ts'
import { NativePrograms } from './native-programs.ts'
import { environmentOf, findPeers, LIBRARIES } from './peers.ts'
import { type BenchResult, SuiteRecorder } from './result.ts'
import type { Bench, Configuration, MeasuredRow, Scale, Suite } from './suite.ts'

/** Rounds, each of which runs every configuration once. */
const ROUNDS: Readonly<Record<Scale, number>> = { full: 5, quick: 2 }
/** What a run takes at most, what is compiled and the last round included: a slow machine makes fewer rounds. */
const MOST_SECONDS = 14 * 60
/** Fewer say nothing of how steady a figure is. */
const LEAST_ROUNDS = 2
/** A process that takes longer is given up. */
const TIMEOUT_MS = 120_000
const OUTPUT_BYTES = 64 * 2 ** 20

/** How a run goes on. */
export interface Progress {
  /** Processes that have ended, and all. */
  readonly done: number
  readonly total: number
  /** What is running now. */
  readonly suite: string
  readonly contender: string
  /** Seconds until the end, by what the same process took in the round before; undefined in the first round. */
  readonly secondsLeft: number | undefined
}

const run = promisify(execFile)

/**
 * Runs suites, each configuration in a process of its own. In a round every configuration of every suite has its turn, so that a slow
 * minute of the machine hits one sample of all of them and not all samples of one.
 */
export async function runBench(
  suites: readonly Suite[],
  scale: Scale,
  rounds: number | undefined,
  report: (progress: Progress) => void
): Promise<BenchResult> {
  const startedAt = new Date()
  const seconds = () => (Date.now() - startedAt.getTime()) / 1000
  const folder = mkdtempSync(join(tmpdir(), 'spanheap-bench-'))
  try {
    const programs = { native: new NativePrograms(folder), go: new GoPrograms(folder) }
    const peers = NativePrograms.areAvailable() ? findPeers() : []
    const machine = thisMachine()
    const bench: Bench = { scale, machine, peers, temporary: (name) => join(folder, name) }
    const recorders = new Map(suites.map((suite) => [suite, new SuiteRecorder(suite)]))
    const turns = suites.flatMap((suite) =>
      suite.configurations(bench).map((configuration) => ({ suite, configuration }))
    )
    const count = rounds ?? ROUNDS[scale]
    const milliseconds = new Map<Configuration, number>()
    const given = new Set<Configuration>()
    let round = 0
    for (; round < count; round++) {
      if (rounds === undefined && !isTimeFor(round, seconds(), secondsLeft(turns, milliseconds, 0, 0))) break
      for (const [at, { suite, configuration }] of turns.entries()) {
        const { contender, row } = configuration
        report({
          done: round * turns.length + at,
          total: count * turns.length,
          suite: suite.name,
          contender,
          secondsLeft: round === 0 ? undefined : secondsLeft(turns, milliseconds, at, count - round - 1),
        })
        // What has failed once would fail again, and take as long.
        if (given.has(configuration)) continue
        const start = performance.now()
        try {
          recorders.get(suite)!.add(contender, await measure(suite, configuration, scale, programs))
        } catch (error) {
          given.add(configuration)
          recorders.get(suite)!.fail(contender, row, messageOf(error as Error))
        }
        milliseconds.set(configuration, performance.now() - start)
      }
    }
    const isFound = (name: string) => peers.some((peer) => peer.name === name)
    return {
      schemaVersion: 1,
      startedAt: startedAt.toISOString(),
      seconds: Math.round(seconds()),
      scale,
      rounds: round,
      machine,
      peers: ['glibc', ...LIBRARIES.map(({ name }) => name)].map((name) => ({ name, isFound: isFound(name) })),
      suites: [...recorders.values()].map((recorder) => recorder.result()),
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Whether another round is made, after so many, which have taken `seconds`; the last one took `lastSeconds`. */
export function isTimeFor(round: number, seconds: number, lastSeconds: number): boolean {
  return round < LEAST_ROUNDS || seconds + lastSeconds <= MOST_SECONDS
}

/** The rest of this round, and so many more. */
function secondsLeft(
  turns: readonly { configuration: Configuration }[],
  milliseconds: ReadonlyMap<Configuration, number>,
  at: number,
  roundsAfter: number
): number {
  const sum = (some: typeof turns) =>
    some.reduce((total, { configuration }) => total + (milliseconds.get(configuration) ?? 0), 0)
  return (sum(turns.slice(at)) + roundsAfter * sum(turns)) / 1000
}

async function measure(
  suite: Suite,
  configuration: Configuration,
  scale: Scale,
  programs: { native: NativePrograms; go: GoPrograms }
): Promise<readonly MeasuredRow[]> {
  const { process: what, row } = configuration
  const options = { timeout: TIMEOUT_MS, maxBuffer: OUTPUT_BYTES }
  let output: string
  if (what.kind === 'own') {
    const child = fileURLToPath(new URL('./suite-process.js', import.meta.url))
    const args = [...(what.nodeArguments ?? []), child, suite.name, scale, JSON.stringify(what.parameters)]
    // Leaks are watched for as they are by default.
    const { NODE_ENV: _, ...env } = process.env
    output = (await run(process.execPath, args, { ...options, env })).stdout
  } else if (what.kind === 'go') {
    output = (await run(programs.go.path(what.program), what.arguments, options)).stdout
  } else {
    const env = environmentOf(what.peer)
    output = (await run(programs.native.path(what.program), what.arguments, { ...options, env })).stdout
  }
  const found = JSON.parse(output) as MeasuredRow[] | MeasuredRow['values']
  if (Array.isArray(found)) return found
  if (row === undefined) throw new Error('the process printed the values of one row, but not of which')
  return [{ row, values: found as MeasuredRow['values'] }]
}

/** One line. */
function messageOf(error: Error & { stderr?: string; killed?: boolean }): string {
  if (error.killed === true) return `it took more than ${TIMEOUT_MS / 1000} s`
  return (error.stderr?.trim() || error.message).split('\n')[0]!
}
