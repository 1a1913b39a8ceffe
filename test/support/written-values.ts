import { Buffer } from 'node:buffer'
import fc from 'fast-check'
import type { BufferReader, BufferWriter } from '../../lib/index.ts'

/** A kind of value: how it is drawn, written and read, and its bytes as Node's Buffer, or plain arithmetic, has them. */
export interface ValueKind<T = never> {
  readonly values: fc.Arbitrary<T>
  write(writer: BufferWriter, value: T): void
  bytes(value: T): Uint8Array
  read(reader: BufferReader, value: T): unknown
  /** What is read of it. Default: the value. */
  readAs?(value: T): unknown
}

type NumberName = 'UInt8' | 'Int8' | `${'UInt' | 'Int'}${16 | 32}${'LE' | 'BE'}` | `${'Float' | 'Double'}${'LE' | 'BE'}`
type BigName = `Big${'UInt64' | 'Int64'}${'LE' | 'BE'}`
type SafeName = `${'UInt64' | 'Int64'}${'LE' | 'BE'}`

const kindOf = <T>(kind: ValueKind<T>) => kind as unknown as ValueKind

function buffered(name: NumberName, size: number, values: fc.Arbitrary<number>): [string, ValueKind] {
  return [
    name,
    kindOf<number>({
      values,
      write: (writer, value) => writer[`write${name}`](value),
      bytes(value) {
        const bytes = Buffer.alloc(size)
        bytes[`write${name}`](value, 0)
        return bytes
      },
      read: (reader) => reader[`read${name}`](),
      readAs: (value) => (name.startsWith('Float') ? Math.fround(value) : value),
    }),
  ]
}

function big(name: BigName): [string, ValueKind] {
  const bits = {
    min: name.includes('UInt') ? 0n : -(2n ** 63n),
    max: name.includes('UInt') ? 2n ** 64n - 1n : 2n ** 63n - 1n,
  }
  return [
    name,
    kindOf<bigint>({
      values: fc.bigInt(bits),
      write: (writer, value) => writer[`write${name}`](value),
      bytes(value) {
        const bytes = Buffer.alloc(8)
        bytes[`write${name}`](value, 0)
        return bytes
      },
      read: (reader) => reader[`read${name}`](),
    }),
  ]
}

function safe(name: SafeName): [string, ValueKind] {
  return [
    name,
    kindOf<number>({
      values: name.startsWith('U') ? fc.maxSafeNat() : fc.maxSafeInteger(),
      write: (writer, value) => writer[`write${name}`](value),
      bytes(value) {
        const bytes = Buffer.alloc(8)
        bytes[`writeBig${name}`](BigInt(value), 0)
        return bytes
      },
      read: (reader) => reader[`read${name}`](),
      readAs: (value) => value + 0, // -0 is 0
    }),
  ]
}

/** A varint by its definition. */
export function varint(value: bigint): Uint8Array {
  const bytes: number[] = []
  for (let rest = value; ; rest >>= 7n) {
    bytes.push(Number(rest & 0x7fn) | (rest > 0x7fn ? 0x80 : 0))
    if (rest <= 0x7fn) return Uint8Array.from(bytes)
  }
}

const zigzag = (value: bigint) => (value < 0n ? -value * 2n - 1n : value * 2n)
const integers = (bits: number) => ({ min: -(2 ** (bits - 1)), max: 2 ** (bits - 1) - 1 })
const naturals = (bits: number) => ({ min: 0, max: 2 ** bits - 1 })
/** Of each number of bits as many. */
const magnitudes = fc
  .tuple(fc.maxSafeNat(), fc.integer({ min: 0, max: 52 }))
  .map(([value, bits]) => Math.floor(value / 2 ** bits))
const bigMagnitudes = fc
  .tuple(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.bigInt({ min: 0n, max: 63n }))
  .map(([value, bits]) => value >> bits)
const texts = fc.oneof(
  fc.string({ maxLength: 60 }),
  fc.string({ maxLength: 60, unit: 'binary' }),
  // Halves of surrogate pairs too.
  fc
    .array(fc.oneof(fc.integer({ min: 0, max: 0xffff }), fc.integer({ min: 0xd800, max: 0xdfff })), { maxLength: 60 })
    .map((units) => String.fromCharCode(...units)),
  fc.tuple(fc.string({ maxLength: 5 }), fc.integer({ min: 1, max: 400 })).map(([text, times]) => text.repeat(times))
)
const someBytes = fc.oneof(
  fc.uint8Array({ maxLength: 40 }),
  fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  fc.float64Array({ maxLength: 9 }),
  fc.uint16Array({ maxLength: 9 }),
  fc.uint8Array({ minLength: 3, maxLength: 20 }).map(({ buffer }) => new DataView(buffer, 1, 2))
)
const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView) =>
  Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength)

/** All kinds, by the names of their calls. */
export const VALUE_KINDS: ReadonlyMap<string, ValueKind> = new Map([
  buffered('UInt8', 1, fc.integer(naturals(8))),
  buffered('Int8', 1, fc.integer(integers(8))),
  ...(['LE', 'BE'] as const).flatMap((order) => [
    buffered(`UInt16${order}`, 2, fc.integer(naturals(16))),
    buffered(`Int16${order}`, 2, fc.integer(integers(16))),
    buffered(`UInt32${order}`, 4, fc.integer(naturals(32))),
    buffered(`Int32${order}`, 4, fc.integer(integers(32))),
    buffered(`Float${order}`, 4, fc.double()),
    buffered(`Double${order}`, 8, fc.double()),
    big(`BigUInt64${order}`),
    big(`BigInt64${order}`),
    safe(`UInt64${order}`),
    safe(`Int64${order}`),
  ]),
  [
    'Varint',
    kindOf<number>({
      values: magnitudes,
      write: (writer, value) => writer.writeVarint(value),
      bytes: (value) => varint(BigInt(value)),
      read: (reader) => reader.readVarint(),
    }),
  ],
  [
    'SignedVarint',
    kindOf<number>({
      values: fc.tuple(magnitudes, fc.constantFrom(1, -1)).map(([value, sign]) => value * sign + 0),
      write: (writer, value) => writer.writeSignedVarint(value),
      bytes: (value) => varint(zigzag(BigInt(value))),
      read: (reader) => reader.readSignedVarint(),
    }),
  ],
  [
    'BigVarint',
    kindOf<bigint>({
      values: bigMagnitudes,
      write: (writer, value) => writer.writeBigVarint(value),
      bytes: varint,
      read: (reader) => reader.readBigVarint(),
    }),
  ],
  [
    'BigSignedVarint',
    kindOf<bigint>({
      values: bigMagnitudes.map((value) => BigInt.asIntN(64, value)),
      write: (writer, value) => writer.writeBigSignedVarint(value),
      bytes: (value) => varint(zigzag(value)),
      read: (reader) => reader.readBigSignedVarint(),
    }),
  ],
  [
    'String',
    kindOf<string>({
      values: texts,
      write: (writer, value) => writer.writeString(value),
      bytes: (value) => Buffer.from(value),
      read: (reader, value) => reader.readString(Buffer.byteLength(value)),
      readAs: (value) => value.toWellFormed(),
    }),
  ],
  [
    'VarintString',
    kindOf<string>({
      values: texts,
      write: (writer, value) => writer.writeVarintString(value),
      bytes: (value) => Buffer.concat([varint(BigInt(Buffer.byteLength(value))), Buffer.from(value)]),
      read: (reader) => reader.readVarintString(),
      readAs: (value) => value.toWellFormed(),
    }),
  ],
  [
    'Bytes',
    kindOf<ArrayBufferView>({
      values: someBytes,
      write: (writer, value) => writer.writeBytes(value),
      bytes: bytesOf,
      read: (reader, value) => reader.readBytes(value.byteLength),
      readAs: bytesOf,
    }),
  ],
  [
    'VarintBytes',
    kindOf<ArrayBufferView>({
      values: someBytes,
      write: (writer, value) => writer.writeVarintBytes(value),
      bytes: (value) => Buffer.concat([varint(BigInt(value.byteLength)), bytesOf(value)]),
      read: (reader) => reader.readVarintBytes(),
      readAs: bytesOf,
    }),
  ],
])
