import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { parseStrace } from '../../bench/framework/strace.ts'
import { callsOnReservations, firstDifference, type ReplayRequest, straceReplay } from '../support/strace.ts'

/** Enough for growth and releases. SPANHEAP_LEDGER_EVENTS=2000000 plays all of every trace, which takes minutes. */
const EVENTS = Number(process.env.SPANHEAP_LEDGER_EVENTS ?? 30_000)
/** A first fit over one list takes minutes for more. */
const FREELIST_EVENTS = 5000
/** Two processes at a time, as strace's stack traces take a processor each. */
const AT_A_TIME = 2

const TRACES = ['jq', 'sqlite', 'perl', 'node', 'redis', 'gcc']
/** Those that the other designs replay; SPANHEAP_LEDGER_EVENTS has them replay all. */
const OTHER_TRACES = process.env.SPANHEAP_LEDGER_EVENTS === undefined ? ['node', 'gcc'] : TRACES

test.serial('the ledger has just the calls that strace sees the library make, in order, on every trace', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'spanheap-test-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const requests = TRACES.map((trace): ReplayRequest => ({ trace, events: EVENTS }))
  for (const trace of OTHER_TRACES) {
    requests.push({ trace, allocator: 'go', events: EVENTS, rounds: 1 })
    requests.push({
      trace,
      allocator: 'freelist',
      events: Math.min(EVENTS, FREELIST_EVENTS),
      rounds: 1,
    })
  }
  // Told by stacks, which sees calls anywhere. The direct allocator maps blocks as the C library does, which leaves no other way.
  requests.push({ trace: 'gcc', events: EVENTS, stacks: true })
  requests.push({ trace: 'gcc', allocator: 'direct', events: 50, rounds: 1, stacks: true })
  let releases = 0
  const work = async () => {
    for (let request = requests.pop(); request !== undefined; request = requests.pop()) {
      // Not `releases += await …`: what the other one adds meanwhile would be lost.
      const released = await compare(t, folder, request)
      releases += released
    }
  }
  await Promise.all(Array.from({ length: AT_A_TIME }, work))
  t.true(releases > 0, 'nothing was released before the heaps were closed')
})

/** Replays under strace and compares; how often the heap released pages before its close. */
async function compare(t: ExecutionContext, folder: string, request: ReplayRequest): Promise<number> {
  const name = `${request.trace}, ${request.allocator ?? 'tcmalloc'}${request.stacks ? ', stacks' : ''}`
  const replay = await straceReplay(folder, request)
  t.is(firstDifference(replay), undefined, name)
  const counts = { mmap: 0, munmap: 0, madvise: 0 }
  for (const { call, errno } of replay.ledger) if (errno === undefined) counts[call as keyof typeof counts]++
  // What unmaps reservations comes after the close, if V8 collects the views before the process ends; the report is of the close.
  if (request.allocator !== 'direct') counts.munmap = 0
  t.deepEqual(replay.report.syscalls, counts, name)
  t.true(counts.mmap > 2, name)
  // The close gives back the heap at once, and its tables in up to three parts (nine of Go's).
  const released = replay.traced.filter(({ advice }) => advice === 'MADV_DONTNEED').length
  t.log(
    `${name}: mmap ${counts.mmap}, munmap ${counts.munmap}, madvise ${counts.madvise}, ${released} of them releases`
  )
  return Math.max(0, released - (request.allocator === 'go' ? 10 : 4))
}

test('calls that another thread interrupts, that failed, or whose stack starts in the C library are understood', (t) => {
  const output = [
    '100 mmap(NULL, 8192, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0 <unfinished ...>',
    '101 madvise(0x7f0000002000, 4096, MADV_DONTNEED) = 0',
    ' > /usr/lib/libc.so.6(__madvise+0x7) [0x1]',
    ' > /somewhere/spanheap.node(spanheap::system::Release()+0x1) [0x2]',
    ' > /usr/bin/node(_start+0x2e) [0x3]',
    '100 <... mmap resumed>)               = 0x7f0000000000',
    ' > /usr/lib/ld-linux-x86-64.so.2(_dl_catch_error+0x1) [0x4]',
    '101 mmap(NULL, 1125899906842624, PROT_READ, MAP_PRIVATE, -1, 0) = -1 ENOMEM (Cannot allocate memory)',
    ' > /usr/bin/node(main+0x2e) [0x5]',
    '101 munmap(0x7f0000002000, 4096)      = 0',
    '102 munmap(0x7f0000003000, 8192 <unfinished ...>',
    '101 +++ exited with 0 +++',
    '102 <... munmap resumed>)             = 0',
    ' > /somewhere/spanheap.node(spanheap::system::Unmap()+0x1) [0x6]',
  ].join('\n')
  t.deepEqual(parseStrace(output), [
    {
      call: 'madvise',
      address: '0x7f0000002000',
      length: 4096,
      advice: 'MADV_DONTNEED',
      mapping: undefined,
      from: '/somewhere/spanheap.node',
    },
    {
      call: 'mmap',
      address: '0x7f0000000000',
      length: 8192,
      advice: undefined,
      mapping: 'PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS',
      from: '',
    },
    {
      call: 'mmap',
      address: '0x0',
      length: 2 ** 50,
      errno: 'ENOMEM',
      advice: undefined,
      mapping: 'PROT_READ, MAP_PRIVATE',
      from: '/usr/bin/node',
    },
    { call: 'munmap', address: '0x7f0000002000', length: 4096, advice: undefined, mapping: undefined, from: '' },
    {
      call: 'munmap',
      address: '0x7f0000003000',
      length: 8192,
      advice: undefined,
      mapping: undefined,
      from: '/somewhere/spanheap.node',
    },
  ])
})

test('calls of the library are told by the addresses that it reserved, as long as it has them', (t) => {
  const reservation = 'PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE, -1, 0'
  const fixed = 'PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_FIXED|MAP_ANONYMOUS, -1, 0'
  const own = [
    `100 mmap(NULL, 65536, ${reservation}) = 0x7f0000000000`,
    `100 mmap(0x7f0000001000, 4096, ${fixed}) = 0x7f0000001000`,
    '100 madvise(0x7f0000001000, 4096, MADV_DONTNEED) = 0',
    '100 munmap(0x7f0000000000, 65536) = 0',
    `100 mmap(NULL, 1125899906842624, ${reservation}) = -1 ENOMEM (Cannot allocate memory)`,
  ]
  const others = [
    '101 mmap(NULL, 65536, PROT_NONE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE, -1, 0) = 0x7f0000010000',
    `101 mmap(0x7f0000010000, 4096, ${fixed}) = 0x7f0000010000`,
    '101 madvise(0x7effffff0000, 4096, MADV_DONTNEED) = 0',
    '101 madvise(0x7f0000001000, 4096, MADV_DONTNEED) = 0',
  ]
  const [first, second, third, fourth, fifth] = own
  const output = [first, others[0], others[1], second, others[2], third, fourth, others[3], fifth].join('\n')
  t.deepEqual(callsOnReservations(parseStrace(output)), parseStrace(own.join('\n')))
})
