import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import test from 'ava'
import { shippedTrace } from '../../trace/shipped.ts'
import { readTrace } from '../../trace/trace.ts'

const folder = mkdtempSync(join(tmpdir(), 'spanheap-trace-'))
test.after.always(() => rmSync(folder, { recursive: true }))

const recorded = shippedTrace

/** From docs/traces.md. */
const TRACES = [
  { name: 'jq', events: 600_000, threads: 1, slots: 390_131, peakMiB: 31.2 },
  { name: 'sqlite', events: 516_716, threads: 1, slots: 1_246, peakMiB: 4.2 },
  { name: 'perl', events: 600_000, threads: 1, slots: 112_192, peakMiB: 8.1 },
  { name: 'node', events: 1_083_130, threads: 6, slots: 33_667, peakMiB: 65.8 },
  { name: 'redis', events: 1_200_000, threads: 3, slots: 96_281, peakMiB: 7.8 },
  { name: 'gcc', events: 600_000, threads: 1, slots: 6_370, peakMiB: 2.4 },
]

for (const { name, events, threads, slots, peakMiB } of TRACES) {
  test(`${name} is read whole`, (t) => {
    const trace = readTrace(recorded(name))
    t.like(trace, { name, events, threads, slots })
    t.is(Math.round((trace.peakLiveBytes / 2 ** 20) * 10) / 10, peakMiB)
    t.is(trace.size.length, events)
  })
}

const MALLOC = 0
const FREE = 1
const REALLOC = 2

interface Shape {
  magic?: number
  version?: number
  threads?: number
  slots?: number
  events?: number
  records?: number[][]
}

function words({ magic = 0x4352544d, version = 1, threads = 1, slots = 4, events, records = [] }: Shape): Buffer {
  const all = [magic, version, threads, slots, events ?? records.length, 0, 0, 0, ...records.flat()]
  return Buffer.from(Uint32Array.from(all).buffer)
}

let files = 0
function fileOf(bytes: Uint8Array): string {
  const path = join(folder, `${files++}.mtrc`)
  writeFileSync(path, bytes)
  return path
}

test('packed and unpacked files are read, and only as many events as asked for', (t) => {
  const bytes = words({
    records: [
      [MALLOC, 0, 10],
      [REALLOC, 0, 30],
      [FREE, 0, 0],
    ],
  })
  for (const path of [fileOf(bytes), fileOf(gzipSync(bytes))]) {
    t.like(readTrace(path), { events: 3, peakLiveBytes: 30, peakEvent: 1 })
    t.like(readTrace(path, 1), { events: 1, peakLiveBytes: 10 })
  }
})

const FAULTS: { name: string; bytes: () => Uint8Array; offset: number }[] = [
  { name: 'an empty file', bytes: () => Buffer.alloc(0), offset: 0 },
  { name: 'half a header', bytes: () => words({}).subarray(0, 20), offset: 20 },
  { name: 'a wrong magic', bytes: () => words({ magic: 7 }), offset: 0 },
  { name: 'a wrong version', bytes: () => words({ version: 2 }), offset: 4 },
  { name: 'more slots than events could fill', bytes: () => words({ slots: 2 ** 31 }), offset: 12 },
  { name: 'records cut short', bytes: () => words({ events: 2, records: [[MALLOC, 0, 1]] }), offset: 44 },
  { name: 'an unknown operation', bytes: () => words({ records: [[9, 0, 1]] }), offset: 32 },
  { name: 'a thread out of range', bytes: () => words({ records: [[MALLOC | (1 << 8), 0, 1]] }), offset: 32 },
  { name: 'a slot out of range', bytes: () => words({ records: [[MALLOC, 4, 1]] }), offset: 32 },
  { name: 'a silly alignment', bytes: () => words({ records: [[MALLOC | (40 << 16), 0, 1]] }), offset: 32 },
  {
    name: 'a free of an empty slot',
    bytes: () =>
      words({
        records: [
          [MALLOC, 0, 1],
          [FREE, 1, 0],
        ],
      }),
    offset: 44,
  },
  { name: 'a realloc of an empty slot', bytes: () => words({ records: [[REALLOC, 0, 1]] }), offset: 32 },
  {
    name: 'a malloc into a full slot',
    bytes: () =>
      words({
        records: [
          [MALLOC, 0, 1],
          [MALLOC, 0, 1],
        ],
      }),
    offset: 44,
  },
  {
    name: 'a second free',
    bytes: () =>
      words({
        records: [
          [MALLOC, 0, 1],
          [FREE, 0, 0],
          [FREE, 0, 0],
        ],
      }),
    offset: 56,
  },
]

for (const { name, bytes, offset } of FAULTS) {
  test(`${name} is refused, with the place`, (t) => {
    for (const path of [fileOf(bytes()), fileOf(gzipSync(bytes()))]) {
      const error = t.throws(() => readTrace(path), { code: 'ERR_TRACE_INVALID' })
      t.true(error.message.includes(`at offset ${offset}:`), error.message)
      t.false(error.message.includes('\n'))
    }
  })
}

test('a packed file is unpacked as far as its header goes and little further', (t) => {
  const trace = words({ records: [[MALLOC, 0, 10]] })
  t.is(readTrace(fileOf(gzipSync(Buffer.concat([trace, Buffer.alloc(2 ** 20)])))).events, 1)
  const bombs = [Buffer.concat([trace, Buffer.alloc(2 ** 20 + 1)]), Buffer.alloc(2 ** 26)]
  for (const bomb of bombs) {
    const error = t.throws(() => readTrace(fileOf(gzipSync(bomb))), { code: 'ERR_TRACE_INVALID' })
    t.regex(error.message, /at offset 10\d{5}: it goes on far behind its last event/)
  }
})

test('a packed file that is cut short, or damaged, is refused', (t) => {
  const packed = readFileSync(recorded('sqlite'))
  const damaged = Buffer.from(packed)
  damaged.fill(0x55, 2000, 3000)
  for (const bytes of [packed.subarray(0, packed.length / 2), packed.subarray(0, 5), damaged]) {
    t.throws(() => readTrace(fileOf(bytes)), { code: 'ERR_TRACE_INVALID' })
  }
  const cut = t.throws(() => readTrace(fileOf(packed.subarray(0, packed.length / 2))))
  t.regex(cut.message, /at offset [1-9]\d{5,}: the packed file is cut short/)
  const unpacked = gunzipSync(packed)
  t.throws(() => readTrace(fileOf(unpacked.subarray(0, unpacked.length - 1))), { code: 'ERR_TRACE_INVALID' })
})
