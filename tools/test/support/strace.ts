import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Ended, ROOT, reportOf, run } from '../../../test/support/child.ts'
import { type Call, parseStrace, type TracedCall } from '../../bench/framework/strace.ts'
import type { ReplayReport } from '../../trace/replay.ts'
import { shippedTrace } from '../../trace/shipped.ts'

const ARGUMENTS = ['-f', '-e', 'trace=mmap,munmap,madvise', '-e', 'signal=none']
/**
 * For stacks strace takes 65 ms of processor time a call, and a start and an end of Node are 450. So it comes to a program that has started,
 * is ready for it, and has no threads or new pages of V8's that can be done without. The shell that starts the program becomes strace, since a
 * system may let only a parent trace a process that runs.
 */
const ATTACHED = `"$@" & while [ ! -e "$ready" ] && kill -0 $!; do sleep 0.05; done; exec strace -qq -k ${ARGUMENTS.join(' ')} -o "$output" -p $!`
const QUIET = ['--single-threaded', '--max-semi-space-size=1']
/** How the library reserves addresses, and nothing else in Node: V8 reserves with PROT_NONE. */
const RESERVATION = 'PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE'

/** Runs a program under strace, which writes to `output`. @throws Error where strace can't be had */
async function strace(output: string, args: readonly string[]): Promise<Ended> {
  try {
    return await run('strace', [...ARGUMENTS, '--seccomp-bpf', '-o', output, process.execPath, ...args], 600)
  } catch (cause) {
    throw new Error('strace must be installed for this (Debian: apt-get install strace)', { cause })
  }
}

/** Those of the calls that reserve memory as the library does, or are about addresses in such a reservation. */
export function callsOnReservations(calls: readonly TracedCall[]): TracedCall[] {
  const ends = new Map<number, number>()
  return calls.filter(({ call, address, length, mapping, errno }) => {
    const start = Number(address)
    if (mapping === RESERVATION) {
      if (errno === undefined) ends.set(start, start + length)
      return true
    }
    if (call === 'mmap' && !mapping?.includes('MAP_FIXED')) return false
    for (const [from, end] of ends) {
      if (start < from || start >= end) continue
      if (call === 'munmap' && start === from && errno === undefined) ends.delete(from)
      return true
    }
    return false
  })
}

/** A replay whose ledger and trace are at hand. */
export interface TracedReplay {
  report: ReplayReport
  /** What strace saw the library do, in order. */
  traced: TracedCall[]
  /** What the ledger file says, in order. */
  ledger: Call[]
}

/** What is replayed, as the command line has it. */
export interface ReplayRequest {
  trace: string
  allocator?: string
  events?: number
  rounds?: number
  /** Whether the library's calls are told by the stacks that they come from, and not by their addresses. */
  stacks?: boolean
}

/** Replays a trace of this package under strace; files go to `folder`. */
export async function straceReplay(folder: string, request: ReplayRequest): Promise<TracedReplay> {
  const { trace, allocator = 'tcmalloc', events, rounds = 2, stacks = false } = request
  const file = join(folder, `${trace}-${allocator}-${stacks}`)
  const [output, ledger, ready] = ['strace', 'ledger', 'ready'].map((kind) => `${file}.${kind}`) as [
    string,
    string,
    string,
  ]
  let ended: Ended
  if (stacks) {
    const script = join(ROOT, 'dist/tools/test/support/traced-replay.js')
    const values = [shippedTrace(trace), allocator, events ?? Number.POSITIVE_INFINITY, rounds, ledger].map(String)
    const program = [process.execPath, ...QUIET, script, ready, ...values]
    ended = await run('sh', ['-c', ATTACHED, 'sh', ...program], 600, { env: { ...process.env, ready, output } })
  } else {
    ended = await strace(output, [
      join(ROOT, 'dist/tools/cli/main.js'),
      'replay',
      shippedTrace(trace),
      ...['--allocator', allocator, '--rounds', String(rounds), '--json'],
      ...['--ledger', ledger],
      ...(events === undefined ? [] : ['--events', String(events)]),
    ])
  }
  const report = reportOf<ReplayReport>(ended)
  const calls = parseStrace(readFileSync(output, 'utf8'))
  return {
    report,
    traced: stacks ? calls.filter(({ from }) => from.endsWith('/spanheap.node')) : callsOnReservations(calls),
    ledger: readFileSync(ledger, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Call),
  }
}

/** The first place where ledger and trace differ, in words; undefined where they are the same, call by call. */
export function firstDifference(replay: TracedReplay): string | undefined {
  const [traced, ledger] = [ordered(replay.traced), ordered(replay.ledger)]
  const tell = (call: Call | undefined) =>
    call === undefined ? 'nothing' : `${call.call}(${call.address}, ${call.length})`
  for (let i = 0; i < Math.max(traced.length, ledger.length); i++) {
    const [seen, written] = [tell(traced[i]), tell(ledger[i])]
    if (seen !== written) return `call ${i + 1}: strace saw ${seen}, the ledger has ${written}`
    if ((traced[i]!.errno === undefined) !== (ledger[i]!.errno === undefined))
      return `call ${i + 1} failed in one of them`
  }
  return undefined
}

/**
 * The calls of munmap that end a run in the order of their addresses: when a closed heap's views are collected, V8 lets its memory go in
 * several threads at once, and the ledger may have two such calls in another order than strace.
 */
function ordered(calls: readonly Call[]): Call[] {
  const end = calls.findLastIndex(({ call }) => call !== 'munmap') + 1
  return [...calls.slice(0, end), ...calls.slice(end).sort((a, b) => Number(a.address) - Number(b.address))]
}
