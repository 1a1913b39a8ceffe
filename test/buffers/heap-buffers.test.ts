import { deepStrictEqual } from 'node:assert'
import { constants } from 'node:buffer'
import { inspect } from 'node:util'
import test from 'ava'
import fc from 'fast-check'
import { Heap } from '../../lib/index.ts'
import { HOST } from '../../lib/lifetime/host.ts'
import { SimulatedMapper } from '../../lib/testing/index.ts'
import { WatchedMapper } from '../support/watched-mapper.ts'

const LIMIT_BYTES = 2 ** 28
const SIZES = [0, 1, 15, 16, 17, 100, 1024, 8192, 262_144, 262_145, 3_000_000]

const ARRAYS = [
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
]

class Samples extends Float64Array {
  mean(): number {
    return this.reduce((sum, value) => sum + value, 0) / this.length
  }
}

const open = () => new Heap({ limitBytes: LIMIT_BYTES })

test('a Buffer has exactly the length asked for, and is one in every respect', (t) => {
  using heap = open()
  for (const size of SIZES) {
    for (const options of [undefined, {}, { zero: true }, { tag: 'mine' }, { alignment: 4096 }]) {
      const buffer = heap.allocBuffer(size, options)
      t.is(buffer.length, size)
      t.true(Buffer.isBuffer(buffer))
      t.is(Object.getPrototypeOf(buffer), Buffer.prototype)
      t.true(buffer.buffer === heap[HOST].memory.current)
      buffer.fill(7)
      deepStrictEqual(buffer, Buffer.alloc(size, 7))
      t.true(heap.usableSize(heap.addressOf(buffer)) >= size)
      heap.freeBuffer(buffer)
    }
  }
  heap.audit()
  t.is(heap.stats().liveBytes, 0)
})

test('the methods of Buffer do what they do on any other', (t) => {
  using heap = open()
  const ours = heap.allocBuffer(64, { zero: true })
  const plain = Buffer.alloc(64)
  const samples: ((buffer: Buffer) => unknown)[] = [
    (buffer) => buffer.write('päivää', 3),
    (buffer) => buffer.writeDoubleBE(Math.PI, 16),
    (buffer) => buffer.writeBigInt64LE(-5n, 24),
    (buffer) => buffer.readDoubleBE(16),
    (buffer) => buffer.toString('hex'),
    (buffer) => buffer.toString('utf8', 3, 12),
    (buffer) => buffer.subarray(3, 10).toString('base64'),
    (buffer) => Buffer.isBuffer(buffer.slice(1, 5)) && buffer.slice(1, 5),
    (buffer) => buffer.map((byte) => byte ^ 1),
    (buffer) => buffer.filter((byte) => byte > 0),
    (buffer) => buffer.indexOf('ä'),
    (buffer) => buffer.equals(buffer.subarray()),
    (buffer) => Buffer.concat([buffer, buffer]),
    (buffer) => Buffer.compare(buffer, Buffer.alloc(64)),
    (buffer) => buffer.copy(buffer, 40, 0, 10),
    (buffer) => buffer.swap16().swap16().readUInt16BE(4),
    (buffer) => buffer.toJSON(),
    (buffer) => inspect(buffer),
    (buffer) => [...buffer.entries()],
    (buffer) => Buffer.from(buffer),
  ]
  for (const sample of samples) t.deepEqual(sample(ours), sample(plain), String(sample))
  deepStrictEqual(ours, plain)
  const mapped = ours.map((byte) => byte)
  t.true(Buffer.isBuffer(mapped))
  t.false(mapped.buffer === heap[HOST].memory.current, 'what Node makes of it is no memory of the heap')
  t.true(ours.subarray(5).buffer === heap[HOST].memory.current)
})

test('zero clears what was used before, without and with an alignment', (t) => {
  using heap = open()
  for (const alignment of [undefined, 1, 16, 64, 4096, 2 ** 20]) {
    for (const size of SIZES) {
      const options = alignment === undefined ? {} : { alignment }
      const used = heap.allocBuffer(size, options).fill(0xee)
      heap.freeBuffer(used)
      const cleared = heap.allocBuffer(size, { ...options, zero: true, tag: 'cleared' })
      t.true(
        cleared.every((byte) => byte === 0),
        `${size} bytes at ${alignment}`
      )
      heap.freeBuffer(cleared)
      const array = heap.allocArray(Uint8Array, size, { ...options, zero: true })
      t.true(array.every((byte) => byte === 0))
      heap.freeBuffer(array)
    }
  }
  heap.audit()
})

test('every alignment up to 64 MiB holds', (t) => {
  using heap = open()
  for (let alignment = 1; alignment <= 2 ** 26; alignment *= 2) {
    const buffer = heap.allocBuffer(100, { alignment })
    t.is(heap.addressOf(buffer) % alignment, 0)
    t.is(buffer.byteOffset, heap.addressOf(buffer))
    const array = heap.allocArray(Float64Array, 3, { alignment, tag: 'aligned' })
    t.is(array.byteOffset % alignment, 0)
    heap.freeBuffer(buffer)
    heap.freeBuffer(array)
  }
  t.is(heap.stats().liveBytes, 0)
})

test("typed arrays of all classes, and of a program's own", (t) => {
  using heap = open()
  for (const type of [...ARRAYS, Samples]) {
    for (const length of [0, 1, 7, 1000, 50_000]) {
      const array = heap.allocArray(type as typeof Int32Array, length, { zero: true })
      t.is(array.length, length)
      t.is(array.constructor, type)
      t.is(heap.addressOf(array), array.byteOffset)
      t.deepEqual(array, new (type as typeof Int32Array)(length))
      heap.freeBuffer(array)
      t.throws(() => heap.freeBuffer(array), { code: 'ERR_HEAP_DOUBLE_FREE' })
    }
  }
  const samples = heap.allocArray(Samples, 4)
  samples.set([1, 2, 3, 4])
  t.is(samples.mean(), 2.5)
  heap.freeBuffer(samples)
  heap.audit()
  t.is(heap.stats().liveBytes, 0)
})

test('bufferAt is a Buffer over a block, whoever made it', (t) => {
  using heap = open()
  const address = heap.malloc(100)
  const whole = heap.bufferAt(address)
  t.is(whole.length, heap.usableSize(address))
  t.true(Buffer.isBuffer(whole))
  const part = heap.bufferAt(address, 10).fill(1)
  t.is(part.length, 10)
  t.is(whole[9], 1)
  t.is(heap.bufferAt(address, 0).length, 0)
  t.is(heap.addressOf(part), address)
  heap.freeBuffer(part)
  t.throws(() => heap.freeBuffer(whole), { code: 'ERR_HEAP_DOUBLE_FREE' })
  t.is(heap.stats().liveBytes, 0)
})

test('contents are the block’s: disjoint, and kept, in any mix of sizes, options and frees', (t) => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          size: fc.oneof(fc.nat(300), fc.nat(20_000), fc.integer({ min: 250_000, max: 400_000 })),
          zero: fc.boolean(),
          alignment: fc.constantFrom(undefined, 16, 64, 8192),
          tag: fc.constantFrom(undefined, 'a', 'b'),
          drop: fc.nat(),
        }),
        { maxLength: 40 }
      ),
      fc.constantFrom('off' as const, 'all' as const),
      (steps, leaks) => {
        using heap = new Heap({ limitBytes: LIMIT_BYTES, leaks })
        const live: { buffer: Buffer; byte: number }[] = []
        const release = ({ buffer, byte }: { buffer: Buffer; byte: number }) => {
          t.true(buffer.equals(Buffer.alloc(buffer.length, byte)))
          heap.freeBuffer(buffer)
        }
        for (const [i, { size, zero, alignment, tag, drop }] of steps.entries()) {
          const buffer = heap.allocBuffer(size, {
            zero,
            ...(alignment === undefined ? {} : { alignment }),
            ...(tag === undefined ? {} : { tag }),
          })
          if (zero && !buffer.equals(Buffer.alloc(size))) throw new Error('not zero')
          live.push({ buffer: buffer.fill(i + 1), byte: i + 1 })
          if (drop % 3 === 0) release(live.splice(drop % live.length, 1)[0]!)
        }
        heap.audit()
        const tagged = heap.stats({ detail: true }).owners
        t.true(tagged.reduce((sum, { buffers }) => sum + buffers, 0) <= live.length)
        for (const entry of live) release(entry)
        heap.audit()
        t.is(heap.stats().liveBytes, 0)
        t.deepEqual(heap.stats({ detail: true }).owners, [])
      }
    ),
    { numRuns: 30 }
  )
})

test('buffers below, across and above 2 GiB are whole', (t) => {
  using heap = new Heap({ limitBytes: 2 ** 31 + 2 ** 28, leaks: 'off' })
  heap.malloc(2 ** 31 - 2 ** 20)
  for (const options of [undefined, { tag: 'high' }, { alignment: 4096 }]) {
    const buffers = Array.from({ length: 40 }, (_, i) => heap.allocBuffer(i % 2 === 0 ? 200 : 100_000, options).fill(i))
    t.true(buffers.some((buffer) => heap.addressOf(buffer) > 2 ** 31))
    for (const [i, buffer] of buffers.entries()) {
      t.true(buffer.every((byte) => byte === i))
      t.is(heap.bufferAt(heap.addressOf(buffer), 1)[0], i)
      heap.freeBuffer(buffer)
      t.throws(() => heap.freeBuffer(buffer), { code: 'ERR_HEAP_DOUBLE_FREE' })
    }
  }
  const array = heap.allocArray(BigInt64Array, 20_000)
  t.is(array.fill(-1n).at(-1), -1n)
  heap.freeBuffer(array)
  t.deepEqual(heap.stats({ detail: true }).owners, [])
})

test('a Buffer longer than Node can have is refused before memory is asked for', (t) => {
  using heap = new Heap({ limitBytes: 2 ** 26 })
  // From Node 22 on MAX_LENGTH is the largest safe integer: then the heap's limit is what such a length goes beyond.
  const code = constants.MAX_LENGTH < Number.MAX_SAFE_INTEGER ? 'ERR_OUT_OF_RANGE' : 'ERR_HEAP_OUT_OF_MEMORY'
  for (const size of [Math.min(constants.MAX_LENGTH + 1, Number.MAX_SAFE_INTEGER), Number.MAX_SAFE_INTEGER]) {
    t.throws(() => heap.allocBuffer(size), { code })
    t.throws(() => heap.allocArray(Uint8Array, size), { code })
  }
  t.throws(() => heap.allocArray(BigInt64Array, 2 ** 50))
  t.throws(() => heap.allocBuffer(2 ** 27), { code: 'ERR_HEAP_OUT_OF_MEMORY' })
  t.throws(() => heap.allocBuffer(2 ** 27, { zero: true, tag: 'x' }), { code: 'ERR_HEAP_OUT_OF_MEMORY' })
  t.is(heap.stats().liveBytes, 0)
  heap.audit()
})

test('where the system refuses memory, nothing is lost and nobody is watched', (t) => {
  const mapper = new WatchedMapper(new SimulatedMapper({ systemPageSize: 4096 }))
  const heap = new Heap({ mapper, limitBytes: LIMIT_BYTES })
  mapper.refuseFrom = mapper.calls + 1
  mapper.refuseUntil = Number.POSITIVE_INFINITY
  for (const options of [undefined, { tag: 'x' }, { zero: true }, { alignment: 4096 }]) {
    t.throws(() => heap.allocBuffer(5_000_000, options), { code: 'ERR_HEAP_OUT_OF_MEMORY' })
    t.throws(() => heap.allocArray(Int16Array, 5_000_000, options), { code: 'ERR_HEAP_OUT_OF_MEMORY' })
  }
  t.deepEqual(heap.stats({ detail: true }).owners, [])
  mapper.refuseFrom = 0
  mapper.refuseUntil = 0
  heap.freeBuffer(heap.allocBuffer(5_000_000))
  t.is(heap.stats().liveBytes, 0)
  heap.close()
})

test('what holds buffers is told by tag, the largest first', (t) => {
  using heap = new Heap({ limitBytes: LIMIT_BYTES, leaks: 'off' })
  const [a, b, c] = [100, 200, 5000].map((size, i) => heap.allocBuffer(size, { tag: i < 2 ? 'small' : 'large' }))
  heap.allocBuffer(300)
  t.deepEqual(heap.stats({ detail: true }).owners, [
    { tag: 'large', buffers: 1, bytes: 5000 },
    { tag: 'small', buffers: 2, bytes: 300 },
  ])
  t.false('owners' in heap.stats())
  heap.freeBuffer(a!)
  heap.free(heap.addressOf(c!))
  t.deepEqual(heap.stats({ detail: true }).owners, [{ tag: 'small', buffers: 1, bytes: 200 }])
  heap.unwatch(b!)
  t.deepEqual(heap.stats({ detail: true }).owners, [])
  heap.freeBuffer(b!)
  heap.audit()
})

test('a block that is longer than a view can be is told by code, and its bytes can be looked at in parts', (t) => {
  using heap = new Heap({ limitBytes: 2 ** 33 })
  const address = heap.malloc(2 ** 32 + 4096)
  const usable = heap.usableSize(address)
  for (const length of [undefined, usable]) {
    // Node 20 has views of at most 4 GiB; later ones have longer ones.
    const calls = [() => heap.bufferAt(address, length), () => heap.view(address, length)]
    for (const call of calls) {
      try {
        t.is(call().length, usable)
      } catch (error) {
        t.like(error, { name: 'RangeError', code: 'ERR_OUT_OF_RANGE' })
      }
    }
  }
  t.is(heap.bufferAt(address, 100).length, 100)
  heap.free(address)
})
