import { appendFileSync, closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import fc from 'fast-check'
import { createNativeLog, readNativeLog } from '../../record/native-log.ts'
import { Recording } from '../../record/recording.ts'
import { readTrace } from '../../trace/trace.ts'

const folder = mkdtempSync(join(tmpdir(), 'spanheap-log-'))
test.after.always(() => rmSync(folder, { recursive: true }))

/** As in tools/record/recorder/recorder.c. */
const KINDS = { lost: 0, malloc: 1, free: 2, begins: 3, ends: 4, calloc: 5, exec: 6 } as const

interface Raw {
  kind: keyof typeof KINDS
  address?: number
  size?: number
  thread?: number
}

let logs = 0

function logOf(records: readonly Raw[]): string {
  const path = join(folder, `log-${logs++}`)
  createNativeLog(path, 1000)
  const words = Buffer.alloc(records.length * 16)
  records.forEach(({ kind, address = 0, size = 0, thread = 0 }, at) => {
    words.writeBigUInt64LE((BigInt(address) << 16n) | BigInt(KINDS[kind]), at * 16)
    words.writeUInt32LE(size, at * 16 + 8)
    words.writeUInt32LE(thread, at * 16 + 12)
  })
  appendFileSync(path, words)
  const claimed = Buffer.alloc(8)
  claimed.writeBigUInt64LE(BigInt(records.length))
  const file = openSync(path, 'r+')
  writeSync(file, claimed, 0, 8, 24)
  closeSync(file)
  return path
}

async function recorded(records: readonly Raw[], most = 1000) {
  const recording = new Recording(most)
  readNativeLog(logOf(records), recording)
  const path = join(folder, `trace-${logs}.mtrc`)
  await recording.writer.write(path)
  return { counts: recording.counts(), trace: readTrace(path) }
}

test('slots are used again, and addresses beyond 32 bits are told apart', async (t) => {
  const { counts, trace } = await recorded([
    { kind: 'malloc', address: 0x7f00_0000_1000, size: 10 },
    { kind: 'calloc', address: 0x7e00_0000_1000, size: 20 },
    { kind: 'free', address: 0x7f00_0000_1000 },
    { kind: 'malloc', address: 0x7d00_0000_1000, size: 30 },
  ])
  t.like(counts, { events: 4, allocations: 3, frees: 1, live: 2, unseenFrees: 0 })
  t.deepEqual([...trace.slot], [0, 1, 0, 0])
})

test('an address that another thread gets while a realloc is on its way is a block of its own', async (t) => {
  const { counts, trace } = await recorded([
    { kind: 'malloc', address: 0x1000, size: 10 },
    { kind: 'begins', address: 0x1000 },
    { kind: 'malloc', address: 0x1000, size: 5, thread: 1 },
    { kind: 'ends', address: 0x2000, size: 100 },
    { kind: 'free', address: 0x2000 },
    { kind: 'free', address: 0x1000, thread: 1 },
  ])
  t.like(counts, { events: 5, reallocations: 1, missedFrees: 0, live: 0 })
  t.deepEqual([...trace.slot], [0, 1, 0, 0, 1])
})

test('a realloc to nothing is a free, one that failed is nothing, one of an unseen block is a malloc', async (t) => {
  const { counts, trace } = await recorded([
    { kind: 'malloc', address: 0x1000, size: 10 },
    { kind: 'begins', address: 0x1000 },
    { kind: 'ends', address: 0, size: 2 ** 31 },
    { kind: 'begins', address: 0x1000 },
    { kind: 'ends', address: 0, size: 0 },
    { kind: 'begins', address: 0x5000 },
    { kind: 'ends', address: 0x6000, size: 7 },
  ])
  t.like(counts, { events: 3, allocations: 2, frees: 1, reallocations: 0, live: 1 })
  t.deepEqual([...trace.operation], [0, 1, 0])
})

test('what was never seen, what was lost and what an exec ended is counted', async (t) => {
  const { counts } = await recorded([
    { kind: 'free', address: 0x9000 },
    { kind: 'lost' },
    { kind: 'malloc', address: 0x1000, size: 10 },
    { kind: 'malloc', address: 0x1000, size: 10 },
    { kind: 'begins', address: 0x1000 },
    { kind: 'exec' },
    { kind: 'malloc', address: 0x1000, size: 10 },
  ])
  t.like(counts, { events: 5, unseenFrees: 1, lostRecords: 1, missedFrees: 1, endedByExec: 1, live: 1 })
})

test('no more events than were asked for', async (t) => {
  const records: Raw[] = [1, 2, 3, 4].map((address) => ({ kind: 'malloc', address, size: 1 }))
  const { counts, trace } = await recorded(records, 3)
  t.like(counts, { events: 3, isFull: true })
  t.is(trace.events, 3)
})

const anyRaw: fc.Arbitrary<Raw> = fc.record({
  kind: fc.constantFrom(...(Object.keys(KINDS) as (keyof typeof KINDS)[])),
  address: fc.nat(8),
  size: fc.oneof(fc.constant(0), fc.nat(1000)),
  thread: fc.nat(300),
})

test('whatever a log holds, its trace is one that can be read, with as many events as were counted', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyRaw, { maxLength: 60 }), fc.integer({ min: 1, max: 60 }), async (records, most) => {
      const { counts, trace } = await recorded(records, most)
      t.is(trace.events, counts.events)
      t.is(counts.events, counts.allocations + counts.frees + counts.reallocations)
      t.true(counts.events <= most)
      const live = [...trace.operation].reduce((sum, kind) => sum + (kind === 1 ? -1 : kind === 2 ? 0 : 1), 0)
      if (!counts.isFull) t.is(live, counts.live)
    }),
    { numRuns: 1000 }
  )
})
