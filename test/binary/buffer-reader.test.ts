import { Buffer } from 'node:buffer'
import { runInNewContext } from 'node:vm'
import test from 'ava'
import { BufferPool, BufferReader, BufferWriter, Heap } from '../../lib/index.ts'
import { varint } from '../support/written-values.ts'

const STALE = { code: 'ERR_HEAP_STALE_HANDLE', name: 'AllocatorError' }
const WRONG_TYPE = { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' }
const WRONG_RANGE = { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' }

/** How many bytes each read takes. */
const READS: [bytes: number, read: (reader: BufferReader) => unknown][] = [
  [1, (reader) => reader.readUInt8()],
  [1, (reader) => reader.readInt8()],
  [2, (reader) => reader.readUInt16LE()],
  [2, (reader) => reader.readUInt16BE()],
  [2, (reader) => reader.readInt16LE()],
  [2, (reader) => reader.readInt16BE()],
  [4, (reader) => reader.readUInt32LE()],
  [4, (reader) => reader.readUInt32BE()],
  [4, (reader) => reader.readInt32LE()],
  [4, (reader) => reader.readInt32BE()],
  [4, (reader) => reader.readFloatLE()],
  [4, (reader) => reader.readFloatBE()],
  [8, (reader) => reader.readDoubleLE()],
  [8, (reader) => reader.readDoubleBE()],
  [8, (reader) => reader.readUInt64LE()],
  [8, (reader) => reader.readUInt64BE()],
  [8, (reader) => reader.readInt64LE()],
  [8, (reader) => reader.readInt64BE()],
  [8, (reader) => reader.readBigUInt64LE()],
  [8, (reader) => reader.readBigUInt64BE()],
  [8, (reader) => reader.readBigInt64LE()],
  [8, (reader) => reader.readBigInt64BE()],
  [3, (reader) => reader.readString(3)],
  [3, (reader) => reader.readBytes(3)],
  [3, (reader) => reader.skip(3)],
]

test('what reaches beyond the end is an error, and the position is as it was', (t) => {
  for (const [bytes, read] of READS) {
    for (let length = 0; length < bytes; length++) {
      for (const start of [0, 5]) {
        const reader = new BufferReader(new Uint8Array(start + length))
        reader.seek(start)
        t.throws(() => read(reader), WRONG_RANGE, String(read))
        t.is(reader.position, start)
        t.is(reader.remaining, length)
      }
    }
    const reader = new BufferReader(new Uint8Array(bytes))
    read(reader)
    t.is(reader.remaining, 0)
  }
})

test('varints that are cut off or too long are errors, and the position is as it was', (t) => {
  const reads = [
    (reader: BufferReader) => reader.readVarint(),
    (reader: BufferReader) => reader.readSignedVarint(),
    (reader: BufferReader) => reader.readBigVarint(),
    (reader: BufferReader) => reader.readBigSignedVarint(),
    (reader: BufferReader) => reader.readVarintString(),
    (reader: BufferReader) => reader.readVarintBytes(),
  ]
  const whole = varint(2n ** 64n - 1n)
  t.is(whole.length, 10)
  for (const read of reads) {
    for (let length = 0; length < 10; length++) {
      const reader = new BufferReader(Uint8Array.from([7, ...whole.subarray(0, length)]))
      reader.skip(1)
      t.throws(() => read(reader), WRONG_RANGE, `${read} of ${length}`)
      t.is(reader.position, 1)
    }
    for (const tooLong of [[...whole.subarray(0, 9), 2], [...whole.subarray(0, 9), 0x80, 0], Array(20).fill(0xff)]) {
      const reader = new BufferReader(Uint8Array.from(tooLong))
      t.throws(() => read(reader), WRONG_RANGE)
      t.is(reader.position, 0)
    }
  }
})

test('varints need not be the shortest', (t) => {
  for (const bytes of [[1], [0x81, 0], [0x81, 0x80, 0], [0x81, 0x80, 0x80, 0], [0x81, 0x80, 0x80, 0x80, 0]]) {
    for (const behind of [[], [9, 9, 9, 9, 9, 9]]) {
      const reader = new BufferReader(Uint8Array.from([...bytes, ...behind]))
      t.is(reader.readVarint(), 1)
      t.is(reader.position, bytes.length)
      reader.seek(0)
      t.is(reader.readBigVarint(), 1n)
      reader.seek(0)
      t.is(reader.readSignedVarint(), -1)
    }
  }
})

test('integers that a number can’t hold are errors, and can be read as BigInts', (t) => {
  for (const [value, signed] of [
    [2n ** 53n, 2n ** 53n],
    [2n ** 64n - 1n, -1n],
    [2n ** 63n, -(2n ** 63n)],
    [2n ** 64n - 2n ** 53n, -(2n ** 53n)],
  ] as const) {
    const bytes = Buffer.alloc(16)
    bytes.writeBigUInt64LE(value, 0)
    bytes.writeBigUInt64BE(value, 8)
    const reader = new BufferReader(bytes)
    t.throws(() => reader.readUInt64LE(), WRONG_RANGE)
    if (signed === -1n) t.is(reader.readInt64LE(), -1)
    else t.throws(() => reader.readInt64LE(), WRONG_RANGE)
    reader.seek(0)
    t.is(reader.readBigInt64LE(), signed)
    t.throws(() => reader.readUInt64BE(), WRONG_RANGE)
    if (signed !== -1n) t.throws(() => reader.readInt64BE(), WRONG_RANGE)
    t.is(reader.position, 8)
    t.is(reader.readBigUInt64BE(), value)

    const packed = new BufferReader(varint(value))
    t.throws(() => packed.readVarint(), WRONG_RANGE)
    t.is(packed.readBigVarint(), value)
  }
  const zigzag = new BufferReader(varint(2n ** 54n - 1n))
  t.throws(() => zigzag.readSignedVarint(), WRONG_RANGE)
  t.is(zigzag.readBigSignedVarint(), -(2n ** 53n))
})

test('a length that is more than there is leaves the position before it', (t) => {
  for (const read of [(r: BufferReader) => r.readVarintString(), (r: BufferReader) => r.readVarintBytes()]) {
    for (const length of [4, 1000, 2 ** 40]) {
      const reader = new BufferReader(Uint8Array.from([...varint(BigInt(length)), 1, 2, 3]))
      t.throws(() => read(reader), WRONG_RANGE)
      t.is(reader.position, 0)
    }
  }
})

test('what is no UTF-8 is read as Buffer reads it', (t) => {
  for (const bytes of [
    [0xff],
    [65, 0xc3],
    [0xed, 0xa0, 0x80],
    [0xf0, 0x9f, 0x98],
    [...Array(30).fill(65), 0xc0, 0x80],
  ]) {
    const reader = new BufferReader(Uint8Array.from([...bytes, 66]))
    t.is(reader.readString(bytes.length), Buffer.from(bytes).toString())
    t.is(reader.readString(1), 'B')
  }
})

test('bytes are views of the source, of any kind and realm', (t) => {
  const memory = new Uint8Array(20).map((_, i) => i)
  const sources = [
    memory.subarray(2, 12),
    Buffer.from(memory.buffer, 2, 10),
    new Uint16Array(memory.buffer, 2, 5),
    new DataView(memory.buffer, 2, 10),
    Object.defineProperty(memory.subarray(2, 12), 'length', { value: 3 }),
  ]
  for (const source of sources) {
    const reader = new BufferReader(source)
    t.is(reader.length, 10)
    reader.skip(3)
    const bytes = reader.readBytes(4)
    t.true(Buffer.isBuffer(bytes))
    t.deepEqual([...bytes], [5, 6, 7, 8])
    bytes[0] = 77
    t.is(memory[5], 77)
    memory[5] = 5
    t.is(reader.readUInt8(), 9)
  }
  const foreign = new BufferReader(runInNewContext('new Uint8Array([1, 2, 3])') as Uint8Array)
  t.is(foreign.readUInt16BE(), 0x102)
  t.deepEqual([...foreign.readBytes(1)], [3])
  const shared = new BufferReader(new Uint8Array(new SharedArrayBuffer(4)).fill(9))
  t.deepEqual([...shared.readBytes(4)], [9, 9, 9, 9])
})

test('a reader of a lease is one of its users until it is closed', (t) => {
  using heap = new Heap()
  using writer = new BufferWriter({ heap })
  writer.writeVarintBytes(Buffer.from('kept'))
  const lease = writer.finish()
  const reader = new BufferReader(lease)
  t.is(lease.references, 2)
  lease.release()
  const bytes = reader.readVarintBytes()
  t.is(bytes.toString(), 'kept')
  {
    using scoped = reader
    t.is(scoped.remaining, 0)
  }
  t.is(lease.references, 0)
  t.is(heap.stats().liveBytes, 0)
  reader.close()
  t.throws(() => new BufferReader(lease), STALE)
})

test('a closed reader refuses every call', (t) => {
  const reader = new BufferReader(Buffer.alloc(100))
  reader.skip(10)
  reader.close()
  for (const [, read] of READS) t.throws(() => read(reader), STALE, String(read))
  for (const read of [
    () => reader.readVarint(),
    () => reader.readSignedVarint(),
    () => reader.readBigVarint(),
    () => reader.readBigSignedVarint(),
    () => reader.readVarintString(),
    () => reader.readVarintBytes(),
    () => reader.readLease(1),
    () => reader.readLease(0),
    () => reader.readBytes(0),
    () => reader.readString(0),
    () => reader.skip(0),
    () => reader.seek(0),
  ])
    t.throws(read, STALE, String(read))
})

test('a leased part keeps the whole lease, and ends by itself', async (t) => {
  using heap = new Heap()
  using pool = new BufferPool({ heap, size: 100 })
  using writer = new BufferWriter({ heap })
  writer.writeString('head, and the body')
  for (const lease of [writer.finish(), pool.lease()]) {
    const reader = new BufferReader(lease)
    reader.skip(6)
    const before = heap.stats().liveBytes
    const [one, other] = [reader.readLease(4), reader.readLease(3)]
    reader.close()
    lease.release()
    const text = one.buffer.toString('latin1')
    t.is(heap.stats().liveBytes, before)
    t.throws(() => one.pass(), { code: 'ERR_HEAP_UNSUPPORTED' })
    t.is(one.buffer.toString('latin1'), text)
    one.release()
    t.throws(() => one.buffer, STALE)
    t.is(lease.references, 1)
    await other.during(async () => {
      other.release()
      t.true(lease.references > 0)
      await undefined
    })
    t.is(lease.references, 0)
  }
  t.is(pool.stats().idle, 1)
  const plain = new BufferReader(Buffer.alloc(3))
  t.throws(() => plain.readLease(1), { code: 'ERR_HEAP_UNSUPPORTED' })
  t.is(plain.position, 0)
})

test('arguments are checked', (t) => {
  for (const source of [undefined, null, 5, 'text', {}, [1, 2], new ArrayBuffer(3), new Proxy(new Uint8Array(3), {})])
    t.throws(() => new BufferReader(source as never), WRONG_TYPE)
  const reader = new BufferReader(Buffer.alloc(10))
  reader.skip(2)
  for (const name of ['readString', 'readBytes', 'readLease', 'skip', 'seek'] as const) {
    for (const value of ['1', 1n, undefined, null, {}]) t.throws(() => reader[name](value as never), WRONG_TYPE)
    for (const value of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 11, 2 ** 53])
      t.throws(() => reader[name](value), WRONG_RANGE)
    t.is(reader.position, 2)
  }
  reader.seek(10)
  t.is(reader.remaining, 0)
})

test('a source that was detached has nothing left', (t) => {
  const bytes = new Uint8Array(64).fill(1)
  const reader = new BufferReader(bytes)
  t.is(reader.readVarint(), 1)
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] })
  t.is(reader.remaining, 0)
  for (const [, read] of READS) t.throws(() => read(reader), WRONG_RANGE, String(read))
  t.throws(() => reader.readVarint(), WRONG_RANGE)
})
