import buffer from 'node:buffer'
import { StringDecoder } from 'node:string_decoder'
import { type ApiGroup, expect, expectBytes, type Memory, SAMPLE, TEXT } from './api.ts'

const ENCODINGS = ['utf8', 'utf16le', 'latin1', 'ascii', 'hex', 'base64', 'base64url'] as const
const HALF = SAMPLE.length / 2

/** What the types of Node 20 don't know. */
interface Newer {
  toBase64(): string
  setFromBase64(text: string): void
  toHex(): string
  setFromHex(text: string): void
}
const newer = { since: 26, exists: () => 'toBase64' in Uint8Array.prototype }

/** A copy by nothing but a loop, in Node's own memory. */
const sample = () => Buffer.from(SAMPLE)

function base64(memory: Memory): void {
  const text = sample().toString('base64')
  expectBytes((memory.holding() as unknown as Newer).toBase64(), text)
  const room = memory.room()
  ;(room as unknown as Newer).setFromBase64(text)
  expectBytes(room)
}

function hex(memory: Memory): void {
  const text = sample().toString('hex')
  expectBytes((memory.holding() as unknown as Newer).toHex(), text)
  const room = memory.room()
  ;(room as unknown as Newer).setFromHex(text)
  expectBytes(room)
}

export const bufferApis: ApiGroup = {
  title: 'Buffer and typed arrays',
  apis: [
    { name: 'Buffer.from', use: (memory) => expectBytes(Buffer.from(memory.holding())) },
    { name: 'Buffer.copyBytesFrom', use: (memory) => expectBytes(Buffer.copyBytesFrom(memory.holding())) },
    {
      name: 'Buffer.concat',
      use(memory) {
        const both = [memory.holding(SAMPLE.subarray(0, HALF)), memory.holding(SAMPLE.subarray(HALF))]
        expectBytes(Buffer.concat(both))
      },
    },
    {
      name: 'buf.copy',
      use(memory) {
        const [from, to, ours] = [memory.holding(), memory.room(), Buffer.alloc(SAMPLE.length)]
        expect(from.copy(to) === SAMPLE.length && to.copy(ours) === SAMPLE.length, 'bytes are missing')
        expectBytes(to)
        expectBytes(ours)
      },
    },
    {
      name: 'buf.set, buf.copyWithin, buf.slice',
      use(memory) {
        const room = memory.room()
        room.set(sample())
        expectBytes(room)
        room.copyWithin(0, HALF)
        expectBytes(room, Buffer.concat([SAMPLE.subarray(HALF), SAMPLE.subarray(HALF)]))
        expectBytes(Uint8Array.prototype.slice.call(room, 0, HALF), SAMPLE.subarray(HALF))
      },
    },
    {
      name: 'Buffer.compare, buf.compare, buf.equals',
      use(memory) {
        const [one, other] = [memory.holding(), memory.holding()]
        expect(one.equals(other) && one.equals(sample()) && sample().equals(one), 'equal bytes differ')
        expect(Buffer.compare(one, other) === 0 && one.compare(other) === 0, 'equal bytes differ')
        other[1000] = 255
        expect(!one.equals(other) && Buffer.compare(one, other) === -1, 'different bytes are equal')
      },
    },
    {
      name: 'buf.indexOf, buf.lastIndexOf, buf.includes',
      use(memory) {
        const hay = memory.holding()
        const needle = memory.holding(SAMPLE.subarray(200, 220))
        expect(hay.indexOf(needle) === sample().indexOf(SAMPLE.subarray(200, 220)), 'found elsewhere')
        expect(sample().lastIndexOf(needle) === sample().lastIndexOf(SAMPLE.subarray(200, 220)), 'found elsewhere')
        expect(hay.includes(SAMPLE[77]!) && memory.holding(TEXT).indexOf('大', 'utf8') > 0, 'not found')
      },
    },
    {
      name: 'buf.fill',
      use(memory) {
        const wanted = Buffer.alloc(SAMPLE.length, SAMPLE.subarray(0, 5))
        expectBytes(memory.room().fill(memory.holding(SAMPLE.subarray(0, 5))), wanted)
        expectBytes(memory.room().fill('äö'), Buffer.alloc(SAMPLE.length, 'äö'))
      },
    },
    {
      name: 'buf.swap16, buf.swap32, buf.swap64',
      use(memory) {
        expectBytes(memory.holding().swap16(), sample().swap16())
        expectBytes(memory.holding().swap32(), sample().swap32())
        expectBytes(memory.holding().swap64(), sample().swap64())
      },
    },
    {
      name: 'buf.toString',
      use(memory) {
        for (const encoding of ENCODINGS) expectBytes(memory.holding().toString(encoding), sample().toString(encoding))
        expectBytes(memory.holding(TEXT).toString(), TEXT)
      },
    },
    {
      name: 'buf.write',
      use(memory) {
        for (const encoding of ENCODINGS) {
          const wanted = Buffer.from(sample().toString(encoding), encoding)
          const room = memory.room(wanted.length)
          expect(room.write(sample().toString(encoding), encoding) === wanted.length, 'bytes are missing')
          expectBytes(room, wanted)
        }
      },
    },
    {
      name: 'buf.readInt32LE, buf.writeDoubleBE, and the like',
      use(memory) {
        const room = memory.room(32)
        room.writeDoubleBE(-1.5, 1)
        room.writeInt32LE(-7, 9)
        room.writeBigUInt64BE(2n ** 63n, 13)
        room.writeUIntLE(0x123456789a, 21, 5)
        expect(room.readDoubleBE(1) === -1.5 && room.readInt32LE(9) === -7, 'other numbers')
        expect(room.readBigUInt64BE(13) === 2n ** 63n && room.readUIntLE(21, 5) === 0x123456789a, 'other numbers')
      },
    },
    {
      name: 'buf.toJSON',
      use: (memory) => expectBytes(Buffer.from(JSON.parse(JSON.stringify(memory.holding())).data)),
    },
    {
      name: 'buffer.transcode',
      use: (memory) =>
        expectBytes(buffer.transcode(memory.holding(TEXT), 'utf8', 'utf16le'), Buffer.from(TEXT, 'utf16le')),
    },
    {
      name: 'buffer.isUtf8, buffer.isAscii',
      use(memory) {
        expect(buffer.isUtf8(memory.holding(TEXT)) && !buffer.isUtf8(memory.holding()), 'another answer')
        expect(buffer.isAscii(memory.holding('abc')) && !buffer.isAscii(memory.holding()), 'another answer')
      },
    },
    {
      name: 'Buffer.byteLength',
      use: (memory) => expect(Buffer.byteLength(memory.holding()) === SAMPLE.length, 'another length'),
    },
    {
      name: 'StringDecoder.write',
      use(memory) {
        const decoder = new StringDecoder('utf8')
        const bytes = Buffer.from(TEXT)
        const parts = Array.from(bytes, (byte) => decoder.write(memory.holding(Buffer.from([byte]))))
        expectBytes(parts.join('') + decoder.end(), TEXT)
      },
    },
    { name: 'Uint8Array.toBase64, setFromBase64', ...newer, use: base64 },
    { name: 'Uint8Array.toHex, setFromHex', ...newer, use: hex },
    {
      name: 'TypedArray.sort',
      use: (memory) => expectBytes(memory.holding().sort(), Uint8Array.from(SAMPLE).sort()),
    },
    {
      name: 'Float64Array',
      use(memory) {
        const numbers = memory.array(Float64Array, 100)
        for (let i = 0; i < 100; i++) numbers[i] = i / 7
        expect(numbers.every((value, i) => value === i / 7) && numbers.indexOf(99 / 7) === 99, 'other numbers')
      },
    },
    {
      name: 'DataView',
      use(memory) {
        const bytes = memory.holding()
        const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
        expect(view.getUint32(4) === sample().readUInt32BE(4), 'another number')
        view.setBigInt64(8, -5n, true)
        expect(bytes.readBigInt64LE(8) === -5n, 'another number')
      },
    },
    {
      name: 'Buffer.from of buf.buffer, an offset and a length',
      use(memory) {
        const { buffer, byteOffset, length } = memory.holding()
        expectBytes(Buffer.from(buffer, byteOffset, length))
      },
    },
    {
      name: 'ArrayBuffer.prototype.slice of buf.buffer, a part',
      use(memory) {
        const { buffer, byteOffset, length } = memory.holding()
        expectBytes(buffer.slice(byteOffset, byteOffset + length))
      },
    },
    {
      name: 'buf.subarray',
      use(memory) {
        const part = memory.holding().subarray(10, -10).subarray(5)
        expectBytes(part, SAMPLE.subarray(15, -10))
      },
    },
    {
      name: 'buf.values, entries, spread, Array.from',
      use(memory) {
        expectBytes(Uint8Array.from([...memory.holding()]))
        expectBytes(Uint8Array.from(Array.from(memory.holding().values())))
        for (const [i, byte] of memory.holding().entries()) expect(byte === SAMPLE[i], 'another byte')
      },
    },
    {
      name: 'buf.map, filter, toReversed, with, reverse',
      use(memory) {
        expectBytes(
          memory.holding().map((byte) => byte),
          SAMPLE
        )
        expectBytes(
          memory.holding().filter(() => true),
          SAMPLE
        )
        expectBytes(memory.holding().toReversed().toReversed().with(0, SAMPLE[0]!), SAMPLE)
        expectBytes(memory.holding().reverse().reverse(), SAMPLE)
      },
    },
    {
      name: 'new Uint8Array, new Float32Array of a buffer',
      use(memory) {
        expectBytes(new Uint8Array(memory.holding()))
        expect(
          new Float32Array(memory.holding()).every((value, i) => value === SAMPLE[i]),
          'other numbers'
        )
      },
    },
    {
      name: 'BigInt64Array',
      use(memory) {
        const numbers = memory.array(BigInt64Array, 100)
        for (let i = 0; i < 100; i++) numbers[i] = -(BigInt(i) << 40n)
        expect(numbers.at(-1) === -(99n << 40n) && numbers.indexOf(-(7n << 40n)) === 7, 'other numbers')
      },
    },
  ],
}
