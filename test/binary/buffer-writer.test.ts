import { Buffer } from 'node:buffer'
import { runInNewContext } from 'node:vm'
import test from 'ava'
import { BufferPool, BufferReader, BufferWriter, Heap } from '../../lib/index.ts'
import { reportOf, runChild } from '../support/child.ts'
import { collectGarbage } from '../support/garbage.ts'

const STALE = { code: 'ERR_HEAP_STALE_HANDLE', name: 'AllocatorError' }
const CLOSED = { code: 'ERR_HEAP_CLOSED', name: 'AllocatorError' }
const WRONG_TYPE = { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' }
const WRONG_RANGE = { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' }
const MIB = 2 ** 20

test('a writer takes nothing before the first write, and its message is of exactly what was written', (t) => {
  using heap = new Heap()
  const writer = new BufferWriter({ heap })
  t.is(heap.stats().liveBytes, 0)
  writer.writeUInt16BE(0x1234)
  t.is(writer.length, 2)
  t.is(writer.writeString('häuser'), 7)
  t.is(writer.writeVarintString('ab'), 3)
  const lease = writer.finish()
  t.is(lease.buffer.toString('latin1'), '\x12\x34h\xc3\xa4user\x02ab')
  t.is(writer.length, 0)
  lease.release()
  t.is(heap.stats().liveBytes, 0)
  heap.audit()
})

test('the lease is like any other of the heap, and lasts as long as it has users', async (t) => {
  using heap = new Heap()
  using writer = new BufferWriter({ heap })
  writer.writeString('one')
  const lease = writer.finish()
  const other = lease.retain()
  lease.release()
  t.is(other.buffer.toString(), 'one')
  t.throws(() => heap.freeBuffer(other.buffer), { code: 'ERR_HEAP_INVALID_ADDRESS' })
  const passed = other.pass()
  const adopted = heap.adopt(passed)
  t.is(adopted.toString(), 'one')
  heap.freeBuffer(adopted)
  t.is(heap.stats().liveBytes, 0)
})

test('an empty message has no bytes', (t) => {
  using heap = new Heap()
  using writer = new BufferWriter({ heap })
  using lease = writer.finish()
  t.is(lease.buffer.length, 0)
  writer.writeBytes(lease.buffer)
  t.is(writer.writeString(''), 0)
  t.is(writer.writeVarintString(''), 1)
  t.is(writer.length, 1)
})

test('a message keeps no more than twice its bytes, whatever the block was', (t) => {
  using heap = new Heap({ debug: false }) // which adds to each block
  for (const sizeHint of [16, 1024, 65536, 300_000, 3 * MIB]) {
    using writer = new BufferWriter({ heap, sizeHint })
    for (const length of [1, 15, 100, 700, 5000, 70_000, 280_000, MIB]) {
      writer.writeBytes(Buffer.alloc(length, 7))
      using lease = writer.finish()
      t.true(lease.buffer.every((byte) => byte === 7))
      const { liveBytes } = heap.stats()
      t.true(liveBytes <= Math.max(16, 2 * length), `${liveBytes} of ${length}`)
    }
  }
  t.is(heap.stats().liveBytes, 0)
})

test('a block grows as it is filled, up to tens of MiB, and a long one where it is', (t) => {
  using heap = new Heap({ limitBytes: 256 * MIB, debug: false }) // which moves each block
  using writer = new BufferWriter({ heap, sizeHint: 10 })
  const chunk = Buffer.alloc(100_000, 'abcdefg')
  for (let i = 0; i < 300; i++) writer.writeBytes(chunk)
  using lease = writer.finish()
  t.is(lease.buffer.length, 30_000_000)
  for (let i = 0; i < 300; i++)
    t.is(Buffer.compare(lease.buffer.subarray(i * 100_000, (i + 1) * 100_000), chunk), 0, `chunk ${i}`)
  t.true(heap.stats().mappedBytes < 80 * MIB, 'not every length that it had')
  heap.audit()
})

test('reset drops what was written, not the block', (t) => {
  using heap = new Heap()
  using writer = new BufferWriter({ heap })
  writer.reset()
  writer.writeString('x'.repeat(5000))
  const { liveBytes } = heap.stats()
  writer.reset()
  t.is(writer.length, 0)
  t.is(heap.stats().liveBytes, liveBytes)
  writer.writeUInt8(3)
  using lease = writer.finish()
  t.deepEqual([...lease.buffer], [3])
})

test('close frees what was not finished, once; a closed writer refuses every call', (t) => {
  using heap = new Heap()
  const writer = new BufferWriter({ heap })
  {
    using scoped = writer
    scoped.writeUInt32LE(1)
  }
  t.is(heap.stats().liveBytes, 0)
  writer.close()
  t.is(writer.length, 0)
  for (const call of [
    () => writer.writeUInt8(1),
    () => writer.writeVarint(1),
    () => writer.writeVarint(2 ** 40),
    () => writer.writeString(''),
    () => writer.writeVarintString('x'),
    () => writer.writeBytes(Buffer.alloc(0)),
    () => writer.writeVarintBytes(Buffer.alloc(0)),
    () => writer.reserve(0),
    () => writer.patchUInt8(0, 1),
    () => writer.patchVarintLength(0),
    () => writer.reset(),
    () => writer.finish(),
  ])
    t.throws(call, STALE, String(call))
})

test('writers that were dropped lose no memory', async (t) => {
  using heap = new Heap()
  ;(() => {
    for (let i = 0; i < 100; i++) new BufferWriter({ heap }).writeVarint(i)
    new BufferWriter({ heap, sizeHint: 3 * MIB }).writeString('long')
  })()
  t.true(heap.stats().liveBytes > 3 * MIB)
  for (let round = 0; round < 50 && heap.stats().liveBytes > 0; round++) await collectGarbage()
  t.is(heap.stats().liveBytes, 0)
  heap.audit()
})

test('what was being written when the heap was closed is gone, and every call says so', async (t) => {
  for (const debug of [false, true]) {
    const heap = new Heap({ debug })
    const writer = new BufferWriter({ heap })
    const unused = new BufferWriter({ heap })
    writer.writeUInt32LE(7)
    heap.close()
    for (const one of [writer, unused])
      for (const call of [() => one.writeUInt8(1), () => one.writeString(''), () => one.reserve(0), () => one.finish()])
        t.throws(call, CLOSED)
    t.throws(() => writer.patchUInt8(0, 1), CLOSED)
    t.throws(() => new BufferWriter({ heap }), CLOSED)
    writer.close()
    unused.close()
    t.throws(() => writer.writeUInt8(1), STALE)
  }
  await collectGarbage()
})

test('writers without a heap share one of the thread, and that can be closed', (t) => {
  const one = new BufferWriter()
  one.writeUInt8(1)
  using lease = one.finish()
  const other = new BufferWriter()
  other.writeString('two')
  using second = other.finish()
  t.deepEqual([lease.buffer[0], second.buffer.toString()], [1, 'two'])
})

test('what is written may come from the heap itself, from a pool, or from another realm', (t) => {
  using heap = new Heap()
  using writer = new BufferWriter({ heap })
  using pool = new BufferPool({ heap, size: 100 })
  using lease = pool.lease()
  lease.buffer.fill(1)
  writer.writeBytes(lease.buffer)
  const own = heap.allocBuffer(50).fill(2)
  writer.writeVarintBytes(own)
  writer.writeBytes(runInNewContext('new Uint8Array([3, 3])') as Uint8Array)
  writer.writeBytes(runInNewContext('new DataView(new Uint8Array([4, 4]).buffer)') as DataView)
  writer.writeBytes(new Uint8Array(new SharedArrayBuffer(2)).fill(5))
  using message = writer.finish()
  t.deepEqual([...message.buffer], [...Array(100).fill(1), 50, ...Array(50).fill(2), 3, 3, 4, 4, 5, 5])
})

test('a view counts by what it really is', (t) => {
  using heap = new Heap()
  using writer = new BufferWriter({ heap })
  const bytes = Object.defineProperty(new Uint8Array([1, 2, 3]), 'length', { value: 1000 })
  writer.writeBytes(bytes)
  writer.writeVarintBytes(Object.defineProperty(new Uint16Array([1, 2]), 'byteLength', { value: 1000 }))
  const gone = new Uint8Array(8)
  structuredClone(gone.buffer, { transfer: [gone.buffer] })
  writer.writeBytes(gone)
  using message = writer.finish()
  t.deepEqual([...message.buffer], [1, 2, 3, 4, 1, 0, 2, 0])
})

type Wrong = [call: (writer: BufferWriter) => unknown, error: object]
const NUMBERS: [name: string, least: number, most: number][] = [
  ['UInt8', 0, 0xff],
  ['Int8', -0x80, 0x7f],
  ...(['LE', 'BE'] as const).flatMap((order): [string, number, number][] => [
    [`UInt16${order}`, 0, 0xffff],
    [`Int16${order}`, -0x8000, 0x7fff],
    [`UInt32${order}`, 0, 0xffff_ffff],
    [`Int32${order}`, -0x8000_0000, 0x7fff_ffff],
    [`UInt64${order}`, 0, Number.MAX_SAFE_INTEGER],
    [`Int64${order}`, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
  ]),
  ['Varint', 0, Number.MAX_SAFE_INTEGER],
  ['SignedVarint', Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
]
const BIG: [name: string, least: bigint, most: bigint][] = [
  ...(['LE', 'BE'] as const).flatMap((order): [string, bigint, bigint][] => [
    [`BigUInt64${order}`, 0n, 2n ** 64n - 1n],
    [`BigInt64${order}`, -(2n ** 63n), 2n ** 63n - 1n],
  ]),
  ['BigVarint', 0n, 2n ** 64n - 1n],
  ['BigSignedVarint', -(2n ** 63n), 2n ** 63n - 1n],
]
const call = (name: string, ...values: unknown[]): Wrong[0] => {
  return (writer) => (writer as unknown as Record<string, (...args: unknown[]) => unknown>)[name]!(...values)
}
const hostile = {
  valueOf: () => {
    throw new Error('asked')
  },
}

const WRONG: Wrong[] = [
  ...NUMBERS.flatMap(([name, least, most]): Wrong[] => [
    ...['1', 1n, undefined, null, {}, [1], true, hostile, Symbol('x')].map(
      (value): Wrong => [call(`write${name}`, value), WRONG_TYPE]
    ),
    ...[least - 1, most + 1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY].map(
      (value): Wrong => [call(`write${name}`, value), WRONG_RANGE]
    ),
  ]),
  ...BIG.flatMap(([name, least, most]): Wrong[] => [
    ...['1', 1, undefined, null, {}, hostile].map((value): Wrong => [call(`write${name}`, value), WRONG_TYPE]),
    ...[least - 1n, most + 1n, 2n ** 200n].map((value): Wrong => [call(`write${name}`, value), WRONG_RANGE]),
  ]),
  ...['FloatLE', 'FloatBE', 'DoubleLE', 'DoubleBE'].flatMap((name): Wrong[] =>
    ['1', 1n, undefined, null, {}, hostile].map((value): Wrong => [call(`write${name}`, value), WRONG_TYPE])
  ),
  ...['writeString', 'writeVarintString'].flatMap((name): Wrong[] =>
    [1, undefined, null, Buffer.from('x'), new String('x'), hostile].map(
      (value): Wrong => [call(name, value), WRONG_TYPE]
    )
  ),
  ...['writeBytes', 'writeVarintBytes'].flatMap((name): Wrong[] =>
    ['x', [1, 2], undefined, null, 5, { length: 3 }, new ArrayBuffer(4), new Proxy(new Uint8Array(3), {}), hostile].map(
      (value): Wrong => [call(name, value), WRONG_TYPE]
    )
  ),
  ...['reserve', 'align'].flatMap((name): Wrong[] => [
    ...['1', 1n, undefined].map((value): Wrong => [call(name, value), WRONG_TYPE]),
    ...[-1, 0.5, Number.NaN, 2 ** 53].map((value): Wrong => [call(name, value), WRONG_RANGE]),
  ]),
  [call('align', 0), WRONG_RANGE],
  ...(
    [
      ['UInt8', 1],
      ['UInt16LE', 2],
      ['UInt16BE', 2],
      ['UInt32LE', 4],
      ['UInt32BE', 4],
    ] as const
  ).flatMap(([name, size]): Wrong[] => [
    [call(`patch${name}`, 0, '1'), WRONG_TYPE],
    [call(`patch${name}`, '0', 1), WRONG_TYPE],
    [call(`patch${name}`, undefined, 1), WRONG_TYPE],
    ...[-1, 2 ** (8 * size), 0.5].map((value): Wrong => [call(`patch${name}`, 0, value), WRONG_RANGE]),
    ...[-1, 9 - size, 0.5, Number.NaN, 2 ** 53].map((at): Wrong => [call(`patch${name}`, at, 1), WRONG_RANGE]),
  ]),
  [call('patchBytes', 0, 'x'), WRONG_TYPE],
  [call('patchBytes', 0, new Uint8Array(9)), WRONG_RANGE],
  [call('patchBytes', 7, new Uint16Array(1)), WRONG_RANGE],
  [call('patchVarintLength', 8), WRONG_RANGE],
  [call('patchVarintLength', 'x'), WRONG_TYPE],
]

test('a wrong argument is an error as Buffer’s, and the writer is as it was', (t) => {
  using heap = new Heap()
  const fresh = new BufferWriter({ heap })
  const begun = new BufferWriter({ heap, sizeHint: 8 })
  const full = new BufferWriter({ heap, sizeHint: 16 })
  begun.writeString('12345678')
  full.writeString('1234567890123456')
  full.reset()
  full.writeString('12345678')
  for (const [index, [wrong, error]] of WRONG.entries()) {
    for (const writer of [fresh, begun, full]) {
      const { length } = writer
      if (length === 0 && /patch/.test(String(wrong))) continue
      t.throws(() => wrong(writer), error as never, `${index}`)
      t.is(writer.length, length)
    }
  }
  for (const writer of [begun, full]) {
    using lease = writer.finish()
    t.is(lease.buffer.toString(), '12345678')
  }
  t.is(heap.stats().liveBytes, 0)
})

test('options are checked', (t) => {
  using heap = new Heap()
  for (const sizeHint of ['1', 1n, null])
    t.throws(() => new BufferWriter({ heap, sizeHint: sizeHint as never }), WRONG_TYPE)
  for (const sizeHint of [-1, 0.5, 2 ** 53]) t.throws(() => new BufferWriter({ heap, sizeHint }), WRONG_RANGE)
  t.throws(() => new BufferWriter({ heap: {} as never }), WRONG_TYPE)
  t.throws(() => new BufferWriter(null as never), WRONG_TYPE)
})

test('what is longer than the longest Buffer, or than the heap, is refused', (t) => {
  using heap = new Heap({ limitBytes: 32 * MIB })
  const writer = new BufferWriter({ heap })
  writer.writeString('before')
  t.throws(() => writer.reserve(2 ** 30), { code: 'ERR_HEAP_OUT_OF_MEMORY' })
  t.throws(() => writer.reserve(2 ** 53 - 1), { code: 'ERR_OUT_OF_RANGE' })
  using huge = new BufferWriter({ heap, sizeHint: 2 ** 40 })
  t.throws(() => huge.writeUInt8(1), { code: 'ERR_HEAP_OUT_OF_MEMORY' })
  writer.writeString(' and after')
  using lease = writer.finish()
  t.is(lease.buffer.toString(), 'before and after')
})

test('a length that is known later: in four bytes, or as a varint', (t) => {
  using heap = new Heap()
  using writer = new BufferWriter({ heap })
  for (const length of [0, 1, 127, 128, 16_383, 16_384, 3_000_000]) {
    const fixed = writer.reserve(4)
    const varint = writer.reserve(1)
    writer.writeBytes(Buffer.alloc(length, 'xyz'))
    writer.patchVarintLength(varint)
    writer.patchUInt32BE(fixed, writer.length - fixed - 4)
    using lease = writer.finish()
    using reader = new BufferReader(lease)
    t.is(reader.readUInt32BE(), reader.remaining)
    t.is(Buffer.compare(reader.readVarintBytes(), Buffer.alloc(length, 'xyz')), 0)
    t.is(reader.remaining, 0)
  }
})

test('above 2 GiB of addresses a writer works as below', (t) => {
  using heap = new Heap({ limitBytes: 4 * 2 ** 30 })
  const below = heap.malloc(2 ** 31 + MIB)
  using writer = new BufferWriter({ heap })
  for (let i = 0; i < 1000; i++) writer.writeVarint(i * 1000)
  using lease = writer.finish()
  t.true(heap.addressOf(lease.buffer) > 2 ** 31)
  using reader = new BufferReader(lease)
  for (let i = 0; i < 1000; i++) t.is(reader.readVarint(), i * 1000)
  heap.free(below)
})

test('a write and a read leave no garbage', async (t) => {
  // An object for each tenth would bring on ten; V8's own work sometimes brings on one.
  t.true(reportOf<number>(await runChild('writer-costs', [], ['--max-semi-space-size=1'])) < 5)
})
