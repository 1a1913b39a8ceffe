import { Buffer } from 'node:buffer'
import test from 'ava'
import fc from 'fast-check'
import { BufferReader, BufferWriter, Heap, type Lease } from '../../lib/index.ts'
import { VALUE_KINDS, type ValueKind, varint } from '../support/written-values.ts'

/** Messages in all. Longer by hand: SPANHEAP_PROPERTY_MESSAGES=1000000 npx ava --timeout=10h dist/test/binary/model.test.js */
const MESSAGES = Number(process.env.SPANHEAP_PROPERTY_MESSAGES ?? 1500)
/** To repeat a run: the seed that a failure reported. */
const SEED = process.env.SPANHEAP_PROPERTY_SEED

interface Part {
  readonly name: string
  readonly kind: ValueKind
  readonly value: never
}

const parts: fc.Arbitrary<Part> = fc.oneof(
  ...[...VALUE_KINDS].map(([name, kind]) => kind.values.map((value) => ({ name, kind, value })))
)
/** What is done besides, between values. */
const others = fc.oneof(
  fc.record({ do: fc.constant('reserve' as const), bytes: fc.integer({ min: 0, max: 40 }) }),
  fc.record({ do: fc.constant('align' as const), bytes: fc.integer({ min: 1, max: 64 }) }),
  fc.record({ do: fc.constant('patch' as const), at: fc.nat(2000), value: fc.integer({ min: 0, max: 0xffff_ffff }) }),
  fc.record({ do: fc.constant('patchBytes' as const), at: fc.nat(2000), bytes: fc.uint8Array({ maxLength: 30 }) }),
  fc.record({ do: fc.constant('inner' as const), parts: fc.array(parts, { maxLength: 12 }) }),
  fc.record({ do: fc.constant('reset' as const) })
)
type Other = typeof others extends fc.Arbitrary<infer T> ? T : never

const messages = fc.record({
  sizeHint: fc.oneof(fc.constant(1024), fc.nat(300), fc.constant(0)),
  steps: fc.array(fc.oneof({ weight: 5, arbitrary: parts }, { weight: 1, arbitrary: others }), { maxLength: 60 }),
})

/** The bytes that a writer should have written. */
class Model {
  bytes: Buffer = Buffer.alloc(0)

  add(...more: Uint8Array[]): void {
    this.bytes = Buffer.concat([this.bytes, ...more])
  }
}

function play(other: Other, writer: BufferWriter, model: Model, t: { is(a: unknown, b: unknown): void }): void {
  const { length } = model.bytes
  switch (other.do) {
    case 'reserve':
      t.is(writer.reserve(other.bytes), length)
      model.add(Buffer.alloc(other.bytes))
      return
    case 'align':
      writer.align(other.bytes)
      model.add(Buffer.alloc((other.bytes - (length % other.bytes)) % other.bytes))
      return
    case 'patch': {
      const { at, value } = other
      const patches = [
        ['UInt8', 1],
        ['UInt16LE', 2],
        ['UInt16BE', 2],
        ['UInt32LE', 4],
        ['UInt32BE', 4],
      ] as const
      const [name, size] = patches[value % patches.length]!
      if (at + size > length) return
      const fitting = value % 2 ** (8 * size)
      writer[`patch${name}`](at, fitting)
      model.bytes[`write${name}`](fitting, at)
      return
    }
    case 'patchBytes':
      if (other.at + other.bytes.length > length) return
      writer.patchBytes(other.at, other.bytes)
      model.bytes.set(other.bytes, other.at)
      return
    case 'inner': {
      const at = writer.reserve(1)
      const inner = other.parts.map(({ kind, value }) => kind.bytes(value))
      for (const { kind, value } of other.parts) kind.write(writer, value)
      writer.patchVarintLength(at)
      const bytes = Buffer.concat(inner)
      model.add(varint(BigInt(bytes.length)), bytes)
      return
    }
    case 'reset':
      writer.reset()
      model.bytes = Buffer.alloc(0)
  }
}

for (const debug of [false, true]) {
  test(`messages of any values are what Buffer makes of them, and read back${debug ? ', in debug mode' : ''}`, (t) => {
    const heap = new Heap({ limitBytes: 2 ** 30, debug })
    const writers = new Map<number, BufferWriter>()
    const leases: [Lease, Buffer][] = []
    const property = fc.property(messages, ({ sizeHint, steps }) => {
      const writer = writers.get(sizeHint) ?? new BufferWriter({ heap, sizeHint })
      writers.set(sizeHint, writer)
      const model = new Model()
      let read: Part[] = []
      let isPlain = true
      for (const step of steps) {
        if ('do' in step) {
          play(step, writer, model, {
            is: (a, b) => {
              if (a !== b) throw new Error(`${a} is not ${b}`)
            },
          })
          if (step.do === 'reset') [read, isPlain] = [[], true]
          else isPlain = false
        } else {
          step.kind.write(writer, step.value)
          model.add(step.kind.bytes(step.value))
          read.push(step)
        }
        if (writer.length !== model.bytes.length)
          throw new Error(`length is ${writer.length}, not ${model.bytes.length}`)
      }
      const lease = writer.finish()
      if (writer.length !== 0) throw new Error('a finished writer is not empty')
      if (Buffer.compare(lease.buffer, model.bytes) !== 0) throw new Error('other bytes')
      if (isPlain) readBack(lease, read)
      leases.push([lease, model.bytes])
      if (leases.length > 20) end(leases.splice(0, 10))
    })
    fc.assert(property, {
      numRuns: debug ? MESSAGES / 5 : MESSAGES,
      ...(SEED === undefined ? {} : { seed: Number(SEED) }),
    })
    end(leases)
    for (const writer of writers.values()) writer.close()
    t.is(heap.stats().liveBytes, 0)
    heap.audit()
    heap.close()
  })
}

function readBack(lease: Lease, parts: readonly Part[]): void {
  for (const source of [lease, new Uint8Array(lease.buffer)]) {
    using reader = new BufferReader(source)
    for (const { name, kind, value } of parts) {
      const got = kind.read(reader, value)
      const wanted = kind.readAs === undefined ? value : kind.readAs(value)
      const isSame = Buffer.isBuffer(got) ? Buffer.compare(got, wanted as Buffer) === 0 : Object.is(got, wanted)
      if (!isSame && got !== wanted) throw new Error(`${name}: ${String(value)} was read as ${String(got)}`)
    }
    if (reader.remaining !== 0) throw new Error('something is left')
  }
}

/** No later message has changed any of these. */
function end(leases: readonly [Lease, Buffer][]): void {
  for (const [lease, bytes] of leases) {
    if (Buffer.compare(lease.buffer, bytes) !== 0) throw new Error('a later message has written into it')
    lease.release()
  }
}
