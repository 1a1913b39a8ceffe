import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { AllocatorError } from '../../lib/base/errors.ts'
import { shippedTrace } from '../../tools/trace/shipped.ts'
import { readTrace } from '../../tools/trace/trace.ts'

const HEADER_BYTES = 32
const RECORD_BYTES = 12
/** A case has at most some thousand events: more would take more than this only by a fault. */
const MOST_MS = 2000
const MOST_BYTES = 200 * 2 ** 20

/** The first events of real traces, with a header that promises just them. */
function realTraces(): Buffer[] {
  return ['jq', 'node', 'redis'].map((name) => {
    const events = 2000
    const whole = gunzipSync(readFileSync(shippedTrace(name)))
    const bytes = Buffer.from(whole.subarray(0, HEADER_BYTES + events * RECORD_BYTES))
    bytes.writeUInt32LE(events, 16)
    return bytes
  })
}

const word = fc.oneof(
  fc.constantFrom(0, 1, 2, 3, 4, 5, 255, 256, 2 ** 16, 2 ** 20, 2 ** 24, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1),
  fc.nat({ max: 2 ** 32 - 1 })
)

/** A trace of a few events that do what they may: each slot is empty before it is taken, and full before it is freed. */
const small = fc.array(fc.tuple(fc.nat({ max: 3 }), fc.nat({ max: 7 }), word), { maxLength: 40 }).map((wishes) => {
  const full = new Set<number>()
  const records = wishes.flatMap(([operation, slot, size]) => {
    const takes = operation === 0 || operation === 3
    if (takes === full.has(slot)) return []
    if (takes) full.add(slot)
    if (operation === 1) full.delete(slot)
    return [operation, slot, operation === 1 ? 0 : size]
  })
  return Buffer.from(Uint32Array.from([0x4352544d, 1, 1, 8, records.length / 3, 0, 0, 0, ...records]).buffer)
})

const place = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })

/** A change to some bytes: a word, a byte, a bit, an end that is missing, something more. */
const damage = fc.oneof(
  fc.record({ kind: fc.constant('word' as const), at: place, value: word }),
  fc.record({ kind: fc.constant('header' as const), at: place, value: word }),
  fc.record({ kind: fc.constant('byte' as const), at: place, value: fc.nat({ max: 255 }) }),
  fc.record({ kind: fc.constant('bit' as const), at: place, value: fc.nat({ max: 7 }) }),
  fc.record({ kind: fc.constant('cut' as const), at: place, value: fc.constant(0) }),
  fc.record({ kind: fc.constant('more' as const), at: place, value: fc.nat({ max: 5000 }) })
)
type Damage = typeof damage extends fc.Arbitrary<infer T> ? T : never

function damaged(bytes: Buffer, { kind, at, value }: Damage): Buffer {
  const copy = Buffer.from(bytes)
  const offset = Math.floor(at * copy.length)
  if (kind === 'cut') return copy.subarray(0, offset)
  if (kind === 'more') return Buffer.concat([copy, Buffer.alloc(value, Math.floor(at * 256))])
  if (offset >= copy.length) return copy
  if (kind === 'byte') copy[offset] = value
  if (kind === 'bit') copy[offset]! ^= 1 << value
  const wordAt = kind === 'header' ? Math.floor(at * 8) * 4 : offset - (offset % 4)
  if ((kind === 'word' || kind === 'header') && wordAt + 4 <= copy.length) copy.writeUInt32LE(value, wordAt)
  return copy
}

/** Damaged traces are read: as traces, or refused with `ERR_TRACE_INVALID`, in little time and memory. */
export function fuzzTrace(seed: number, cases: number, note: (text: string) => void): void {
  const real = realTraces()
  const source = fc.oneof(small, fc.constantFrom(...real), fc.uint8Array({ maxLength: 200 }).map(Buffer.from))
  const changes = fc.array(damage, { maxLength: 4 })
  const sample = fc.sample(fc.tuple(source, changes, fc.boolean(), changes), { seed, numRuns: cases })
  const folder = mkdtempSync(join(tmpdir(), 'spanheap-fuzz-'))
  try {
    for (const [index, [bytes, inside, isPacked, outside]] of sample.entries()) {
      note(`trace, seed ${seed}, case ${index}`)
      const plain = inside.reduce(damaged, bytes)
      const file = isPacked ? outside.reduce(damaged, gzipSync(plain)) : plain
      const path = join(folder, 'case.mtrc')
      writeFileSync(path, file)
      checkRead(path, `${inside.length + outside.length} changes`)
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function checkRead(path: string, what: string): void {
  const start = performance.now()
  const before = process.memoryUsage().arrayBuffers
  try {
    const trace = readTrace(path)
    if (trace.slot.length !== trace.events || trace.size.length !== trace.events) throw new Error('a column is short')
  } catch (error) {
    if (!(error instanceof AllocatorError) || error.code !== 'ERR_TRACE_INVALID') throw error
  }
  const taken = performance.now() - start
  const held = process.memoryUsage().arrayBuffers - before
  if (taken > MOST_MS) throw new Error(`it took ${taken} ms to read (${what})`)
  if (held > MOST_BYTES) throw new Error(`it took ${held} bytes to read (${what})`)
}
