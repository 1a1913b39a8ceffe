import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { ROOT, reportOf, run } from '../../../test/support/child.ts'
import { planThreads, Turn, TurnWord } from '../../trace/plan.ts'
import type { ReplayReport } from '../../trace/replay.ts'
import { replayThreads } from '../../trace/replay-threads.ts'
import { shippedTrace } from '../../trace/shipped.ts'
import { readTrace } from '../../trace/trace.ts'

const folder = mkdtempSync(join(tmpdir(), 'spanheap-test-'))
test.after.always(() => rmSync(folder, { recursive: true }))

const main = join(ROOT, 'dist/tools/cli/main.js')
const start = (...args: string[]) => run(process.execPath, [main, 'replay', ...args, '--json'])

/** An unpacked trace of records `[operation, thread, slot, size]`. */
function traceOf(name: string, threads: number, slots: number, records: number[][]): string {
  const path = join(folder, name)
  const events = records.flatMap(([operation, thread, slot, size]) => [operation! | (thread! << 8), slot!, size!])
  writeFileSync(
    path,
    Buffer.from(Uint32Array.of(0x4352544d, 1, threads, slots, records.length, 0, 0, 0, ...events).buffer)
  )
  return path
}

for (const [name, threads] of [
  ['node', 6],
  ['redis', 3],
  ['sqlite', 1],
] as const) {
  test(`${name} on ${threads} threads`, async (t) => {
    const args = [shippedTrace(name), '--allocator', 'tcmalloc', '--events', '60000', '--rounds', '2']
    const ledger = join(folder, `${name}.jsonl`)
    const together = reportOf<ReplayReport>(await start(...args, '--threads', '--touch', '--ledger', ledger))
    const alone = reportOf<ReplayReport>(await start(...args))
    t.like(together, { threads, events: 60_000, rounds: 2, stopped: null, touched: true })
    t.is(alone.threads, 1)
    t.deepEqual(Object.keys(together), Object.keys(alone))
    t.is(together.peakLiveBytes, alone.peakLiveBytes)
    t.true(together.peakMappedBytes! >= together.endMappedBytes! && together.endMappedBytes! > 0)
    t.true(together.peakMappedBytes! <= 2 * alone.peakMappedBytes! + threads * 2 ** 20)
    t.true(together.nsPerEvent > 0 && together.nsPerEvent <= together.coldNsPerEvent)
    const { mmap, munmap, madvise } = together.syscalls!
    t.true(mmap >= 5 && mmap < 100)
    t.is(readFileSync(ledger, 'utf8').trimEnd().split('\n').length, mmap + munmap + madvise)
  })

  test(`the plan of ${name} keeps each slot's order, and nobody waits in vain`, (t) => {
    const trace = readTrace(shippedTrace(name), 300_000)
    const plans = planThreads(trace)
    t.is(plans.length, threads)
    const told = new Map<number, number>()
    const heard = new Map<number, number>()
    const next = plans.map(() => ({ event: 0, turn: 0 }))
    const lastOnSlot = new Int32Array(trace.slots).fill(-1)
    const before = new Int32Array(trace.events).fill(-1)
    for (let event = 0; event < trace.events; event++) {
      before[event] = lastOnSlot[trace.slot[event]!]!
      lastOnSlot[trace.slot[event]!] = event
    }
    const played = new Uint8Array(trace.events)
    let wrong = 0
    // Each thread in turn goes on as far as it may, the last one first: an order that is as far from the trace's as can be.
    for (let moved = true; moved; ) {
      moved = false
      for (let thread = threads - 1; thread >= 0; thread--) {
        const plan = plans[thread]!
        const at = next[thread]!
        for (;;) {
          if (at.turn < plan.turns.length && plan.turns[at.turn + TurnWord.Before] === at.event) {
            const pair = plan.turns[at.turn + TurnWord.Pair]!
            if (plan.turns[at.turn + TurnWord.Kind] === Turn.Tell) told.set(pair, (told.get(pair) ?? 0) + 1)
            else if ((told.get(pair) ?? 0) > (heard.get(pair) ?? 0)) heard.set(pair, (heard.get(pair) ?? 0) + 1)
            else break
            at.turn += TurnWord.Words
          } else if (at.event < plan.event.length) {
            const event = plan.event[at.event++]!
            if (before[event] !== -1 && played[before[event]!] === 0) wrong++
            played[event] = 1
          } else break
          moved = true
        }
      }
    }
    t.is(wrong, 0)
    t.true(played.every((value) => value === 1))
    t.deepEqual(told, heard)
  })
}

test('blocks go from thread to thread on one slot, round after round', async (t) => {
  const records: number[][] = []
  for (let i = 0; i < 3000; i++) {
    records.push([0, i % 4, i % 3, 100 + i], [2, (i + 1) % 4, i % 3, 300 + i], [1, (i + 2) % 4, i % 3, 0])
  }
  // 2 more are left for the main thread; a fifth thread has nothing to do.
  records.push([3, 3, 0, 5000], [0, 0, 1, 300_000])
  const trace = readTrace(traceOf('ring.mtrc', 5, 3, records))
  const rounds: number[] = []
  const options = { allocator: 'tcmalloc', rounds: 3, touch: true } as const
  const report = await replayThreads(trace, { ...options, onRound: (round) => rounds.push(round) })
  t.like(report, { threads: 5, rounds: 3, stopped: null })
  t.deepEqual(rounds, [1, 2, 3])
})

test('an error of one worker ends the replay, also for those that wait for it', async (t) => {
  // More than the most that a heap may have.
  const large = Array.from({ length: 10 }, (_, slot) => [0, 0, slot, 0xf0000000])
  const path = traceOf('large.mtrc', 2, 10, [...large, [1, 1, 9, 0]])
  const { status, stdout, stderr } = await start(path, '--allocator', 'tcmalloc', '--threads')
  t.is(stdout, '')
  t.is(status, 1, stderr)
  t.regex(stderr, /^spanheap: .*(4026531840 bytes|refused memory)/)
  t.is(stderr.trimEnd().split('\n').length, 1, stderr)
  // A slot that holds what is no block: the heap's own error, with what it knows.
  const trace = readTrace(
    traceOf('twice.mtrc', 2, 1, [
      [0, 0, 0, 64],
      [1, 1, 0, 0],
    ])
  )
  trace.operation[0] = 1
  await t.throwsAsync(replayThreads(trace, { allocator: 'tcmalloc', rounds: 1, touch: false }), {
    name: 'AllocatorError',
    code: 'ERR_HEAP_INVALID_ADDRESS',
  })
})

test('wrong usage: status 2', async (t) => {
  for (const args of [
    ['--allocator', 'direct'],
    ['--allocator', 'buffer'],
  ]) {
    const { status, stderr } = await start(shippedTrace('sqlite'), ...args, '--threads')
    t.is(status, 2, stderr)
    t.regex(stderr, /--threads/)
  }
})
