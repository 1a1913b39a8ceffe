import { open, readFile, unlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { markAsUntransferable } from 'node:worker_threads'
import test from 'ava'
import fc from 'fast-check'
import { BufferPool, Channel, Heap } from '../../lib/index.ts'
import { HOST } from '../../lib/lifetime/host.ts'
import { SimulatedMapper } from '../../lib/testing/index.ts'
import { reportOf, run, runChild } from '../support/child.ts'

const LIMIT_BYTES = 2 ** 28
const ISOLATED = { isolated: true }
const NODE = Number(process.versions.node.split('.', 1)[0])

const told = async <T = Record<string, unknown>>(scenario: string): Promise<T> =>
  reportOf<T>(await runChild('isolated', [scenario], ['--expose-gc']))
/** `ArrayBuffer.prototype.transfer`, which Node 20 doesn't have. */
const transfer = (buffer: ArrayBuffer, length?: number) =>
  (buffer as unknown as { transfer(length?: number): ArrayBuffer }).transfer(length)

test('an isolated Buffer is an ArrayBuffer of its own, of exactly its bytes', (t) => {
  using heap = new Heap({ limitBytes: LIMIT_BYTES })
  for (const size of [0, 1, 15, 16, 100, 8192, 262_144, 262_145, 3_000_000]) {
    for (const more of [{}, { zero: true }, { tag: 'mine' }, { alignment: 4096 }, { alignment: 65_536, zero: true }]) {
      heap.freeBuffer(heap.allocBuffer(size).fill(9))
      const buffer = heap.allocBuffer(size, { ...ISOLATED, ...more })
      t.true(Buffer.isBuffer(buffer))
      t.deepEqual([buffer.length, buffer.byteOffset, buffer.buffer.byteLength], [size, 0, size])
      t.not(buffer.buffer as ArrayBufferLike, heap.buffer as ArrayBufferLike)
      const address = heap.addressOf(buffer)
      if (more.alignment !== undefined) t.is(address % more.alignment, 0)
      if (more.zero) t.true(buffer.every((byte) => byte === 0))
      buffer.fill(7)
      t.true(heap.bufferAt(address, size).every((byte) => byte === 7))
      t.true(heap.stats().liveBytes >= size)
      heap.audit()
      heap.freeBuffer(buffer)
      t.is(buffer.length, 0)
      t.is(heap.stats().liveBytes, 0, `${size}`)
    }
  }
  heap.audit()
})

test('an isolated array is one of any class', (t) => {
  using heap = new Heap({ limitBytes: LIMIT_BYTES })
  class Samples extends Float64Array {}
  for (const type of [Float64Array, BigInt64Array, Int8Array, Samples] as (typeof Float64Array)[]) {
    const array = heap.allocArray(type, 100, { isolated: true, zero: true })
    t.is(array.constructor, type)
    t.is(array.buffer.byteLength, 100 * type.BYTES_PER_ELEMENT)
    t.deepEqual(array, new type(100))
    heap.freeBuffer(array)
    t.is(array.length, 0)
  }
  const failing = (): number => {
    throw new Error('no')
  }
  class Refusing extends Uint8Array {
    constructor() {
      super(failing())
    }
  }
  t.throws(() => heap.allocArray(Refusing as never, 10, ISOLATED), { message: 'no' })
})

test('only freeBuffer frees it, by any view that starts with it, once', async (t) => {
  using heap = new Heap({ limitBytes: LIMIT_BYTES })
  const make = () => heap.allocBuffer(100, ISOLATED).fill(1)
  const buffer = make()
  const address = heap.addressOf(buffer)
  const invalid = { code: 'ERR_HEAP_INVALID_ADDRESS' }
  t.throws(() => heap.free(address), { ...invalid, message: /isolated/ })
  t.throws(() => heap.realloc(address, 50), { ...invalid, message: /isolated/ })
  t.throws(() => heap.realloc(address, 5000), invalid)
  t.throws(() => heap.freeBuffer(heap.bufferAt(address)), invalid)
  using channel = new Channel(heap)
  await t.throwsAsync(channel.send(buffer), invalid)
  const pool = new BufferPool({ size: 100, heap })
  t.throws(() => pool.release(buffer), { code: 'ERR_POOL_FOREIGN_BUFFER' })
  pool.close()
  for (const part of [buffer.subarray(1), buffer.subarray(16), buffer.subarray(100), new DataView(buffer.buffer, 8)]) {
    t.throws(() => heap.freeBuffer(part), invalid)
    t.throws(() => heap.addressOf(part), invalid)
  }
  t.throws(() => heap.block(100, ISOLATED), { code: 'ERR_HEAP_UNSUPPORTED' })
  heap.audit()
  t.true(buffer.every((byte) => byte === 1))
  heap.unwatch(buffer) // nobody does
  const double = { code: 'ERR_HEAP_DOUBLE_FREE' }
  const free: ((buffer: Buffer<ArrayBuffer>) => void)[] = [
    (buffer) => heap.freeBuffer(buffer),
    (buffer) => heap.freeBuffer(buffer.subarray(0, 0)),
    (buffer) => heap.freeBuffer(new DataView(buffer.buffer)),
    (buffer) => heap.freeBuffer(new Float64Array(buffer.buffer, 0, 1)),
  ]
  for (const by of free) {
    const freed = make()
    const [first, inside, data] = [freed.subarray(0, 10), freed.subarray(10), new DataView(freed.buffer)]
    by(freed)
    for (const view of [freed, first, inside, data]) {
      t.throws(() => heap.freeBuffer(view), double)
      t.throws(() => heap.addressOf(view), double)
    }
    t.deepEqual([freed.length, first.length, inside.length, freed.buffer.byteLength], [0, 0, 0, 0])
  }
  heap.freeBuffer(buffer)
  heap.close()
  t.throws(() => heap.allocBuffer(10, ISOLATED), { code: 'ERR_HEAP_CLOSED' })
  t.throws(() => heap.freeBuffer(buffer), { code: 'ERR_HEAP_CLOSED' })
})

test('another heap’s, or nobody’s, is refused', (t) => {
  using heap = new Heap({ limitBytes: LIMIT_BYTES })
  using other = new Heap({ limitBytes: LIMIT_BYTES })
  const theirs = other.allocBuffer(100, ISOLATED)
  for (const view of [theirs, new Uint8Array(100), new Uint8Array(0), new Uint8Array(new SharedArrayBuffer(8))]) {
    t.throws(() => heap.freeBuffer(view), { code: 'ERR_HEAP_INVALID_ADDRESS' })
    t.throws(() => heap.addressOf(view), { code: 'ERR_HEAP_INVALID_ADDRESS' })
  }
  other.freeBuffer(theirs)
  t.throws(() => heap.freeBuffer({} as Uint8Array), { code: 'ERR_INVALID_ARG_TYPE' })
  t.throws(() => heap.allocBuffer(1, { isolated: 1 as unknown as boolean }), { code: 'ERR_INVALID_ARG_TYPE' })
})

test('structuredClone and transfer move it, and the heap finds it again', (t) => {
  using heap = new Heap({ limitBytes: LIMIT_BYTES })
  for (const size of [0, 100, 500_000]) {
    const buffer = heap.allocBuffer(size, ISOLATED).fill(3)
    const address = heap.addressOf(buffer)
    const copy = structuredClone(buffer)
    t.throws(() => heap.freeBuffer(copy), { code: 'ERR_HEAP_INVALID_ADDRESS' }, 'a copy is V8’s own')
    const moved = structuredClone(buffer, { transfer: [buffer.buffer] })
    t.throws(() => heap.freeBuffer(buffer), { code: 'ERR_HEAP_DOUBLE_FREE' })
    t.is(heap.addressOf(moved), address)
    t.true(moved.length === size && moved.every((byte) => byte === 3))
    heap.freeBuffer(moved)
    t.is(heap.stats().liveBytes, 0)
  }
  if (NODE < 22) return
  const buffer = heap.allocBuffer(100, ISOLATED).fill(3)
  const moved = new Uint8Array(transfer(buffer.buffer))
  t.true(moved.length === 100 && moved.every((byte) => byte === 3))
  t.is(heap.addressOf(moved), heap.addressOf(moved.subarray(0, 1)))
  const longer = new Uint8Array(transfer(moved.buffer, 200))
  t.true(
    longer.every((byte, i) => byte === (i < 100 ? 3 : 0)),
    'a copy, of V8’s own'
  )
  t.is(heap.stats().liveBytes, 0, 'the block was freed')
  t.throws(() => heap.freeBuffer(longer), { code: 'ERR_HEAP_INVALID_ADDRESS' })
  heap.audit()
})

test('one that was marked untransferable is freed, or refused without harm', (t) => {
  using heap = new Heap({ limitBytes: LIMIT_BYTES })
  const buffer = heap.allocBuffer(100, ISOLATED).fill(3)
  markAsUntransferable(buffer.buffer)
  // From Node 24 on the mark is a key, without which V8 detaches nothing.
  if (NODE < 24) {
    heap.freeBuffer(buffer)
    t.is(heap.stats().liveBytes, 0)
  } else {
    for (let i = 0; i < 2; i++) t.throws(() => heap.freeBuffer(buffer), { code: 'ERR_HEAP_UNSUPPORTED' })
    t.true(buffer.length === 100 && buffer.every((byte) => byte === 3))
    t.is(heap.stats().liveBytes, heap.usableSize(heap.addressOf(buffer)))
  }
  heap.audit()
})

test('whose they are is told while they are here', (t) => {
  using heap = new Heap({ limitBytes: LIMIT_BYTES })
  const owners = () => heap.stats({ detail: true }).owners
  const [a, b] = [heap.allocBuffer(100, { ...ISOLATED, tag: 'a' }), heap.allocBuffer(50, { ...ISOLATED, tag: 'a' })]
  heap.allocBuffer(1000, ISOLATED)
  t.deepEqual(owners(), [{ tag: 'a', buffers: 2, bytes: 150 }])
  heap.freeBuffer(a)
  t.deepEqual(owners(), [{ tag: 'a', buffers: 1, bytes: 50 }])
  structuredClone(b, { transfer: [b.buffer] })
  t.deepEqual(owners(), [])
  for (let i = 0; i < 1000; i++) heap.freeBuffer(heap.allocBuffer(10, { ...ISOLATED, tag: 'many' }))
  const { tagged } = heap[HOST].buffers.isolated as unknown as { tagged: unknown[] }
  t.true(tagged.length < 200, `${tagged.length} are remembered`)
  t.deepEqual(owners(), [])
})

test('where memory isn’t the shim’s there are none', async (t) => {
  using heap = new Heap({ limitBytes: LIMIT_BYTES, mapper: new SimulatedMapper() })
  const unsupported = { code: 'ERR_HEAP_UNSUPPORTED' }
  t.throws(() => heap.allocBuffer(10, ISOLATED), unsupported)
  t.throws(() => heap.allocArray(Int8Array, 10, ISOLATED), unsupported)
  t.throws(() => heap.freeBuffer(new Uint8Array(10)), { code: 'ERR_HEAP_INVALID_ADDRESS' })
  t.is(heap.stats().liveBytes, 0)
  const library = JSON.stringify(new URL('../../lib/index.js', import.meta.url).href)
  const program = `const { Heap } = await import(${library})
    try { new Heap({ limitBytes: 2 ** 28 }).allocBuffer(10, { isolated: true }) } catch ({ code }) { console.log(JSON.stringify(code)) }`
  const ended = await run(process.execPath, ['--no-addons', '--input-type=module', '-e', program])
  t.is(reportOf(ended), 'ERR_HEAP_UNSUPPORTED')
})

test('where there is no memory nothing is lost', (t) => {
  using heap = new Heap({ limitBytes: 2 ** 24 })
  const kept: Buffer[] = []
  t.throws(
    () => {
      for (;;) kept.push(heap.allocBuffer(100_000, ISOLATED))
    },
    { code: 'ERR_HEAP_OUT_OF_MEMORY' }
  )
  t.true(kept.length > 100)
  for (const buffer of kept) heap.freeBuffer(buffer)
  t.is(heap.stats().liveBytes, 0)
  heap.audit()
})

test('above 2 GiB and above 4 GiB they are the same', (t) => {
  using heap = new Heap({ limitBytes: 6 * 2 ** 30, leaks: 'off' })
  for (const bytes of [2 ** 31 + 2 ** 20, 2 ** 31 + 2 ** 20]) {
    heap.malloc(bytes)
    for (const size of [100, 1_000_000]) {
      const buffer = heap.allocBuffer(size, ISOLATED).fill(5)
      t.true(heap.addressOf(buffer) > 2 ** 31)
      const moved = structuredClone(buffer, { transfer: [buffer.buffer] })
      t.true(moved.every((byte) => byte === 5))
      const { liveBytes } = heap.stats()
      heap.freeBuffer(moved)
      t.true(heap.stats().liveBytes <= liveBytes - size)
    }
  }
  heap.audit()
})

/** What is done next with one of the buffers that there are. */
type Step = { size: number; isolated: boolean; act: 'free' | 'slice' | 'move' | 'misuse'; pick: number }

test('bytes are right and accounts exact, whatever is done in whatever order', (t) => {
  const step = fc.record<Step>({
    size: fc.oneof(fc.nat(300), fc.nat(20_000), fc.integer({ min: 250_000, max: 400_000 })),
    isolated: fc.boolean(),
    act: fc.constantFrom('free', 'slice', 'move', 'misuse'),
    pick: fc.nat(),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.boolean(), (steps, debug) => {
      using heap = new Heap({ limitBytes: LIMIT_BYTES, leaks: 'off', debug })
      const live: { view: Uint8Array<ArrayBuffer>; byte: number; isolated: boolean }[] = []
      let bytes = 0
      const usable = (view: Uint8Array) => heap.usableSize(heap.addressOf(view))
      for (const [i, { size, isolated, act, pick }] of steps.entries()) {
        const buffer = heap.allocBuffer(size, { isolated })
        live.push({ view: buffer.fill(i + 1), byte: i + 1, isolated })
        bytes += usable(buffer)
        const at = pick % live.length
        const one = live[at]!
        if (!one.view.every((byte) => byte === one.byte)) throw new Error('another wrote there')
        if (act === 'slice') one.view = one.view.subarray(0, one.view.length >> 1)
        else if (act === 'move' && one.isolated) one.view = structuredClone(one.view, { transfer: [one.view.buffer] })
        else if (act === 'misuse' && one.isolated) {
          const address = heap.addressOf(one.view)
          t.throws(() => heap.free(address), { code: 'ERR_HEAP_INVALID_ADDRESS' })
          t.throws(() => heap.realloc(address, size), { code: 'ERR_HEAP_INVALID_ADDRESS' })
        } else if (act === 'free') {
          bytes -= usable(one.view)
          heap.freeBuffer(one.view)
          if (one.isolated && one.view.length !== 0) throw new Error('it was not detached')
          live.splice(at, 1)
        }
        // In debug mode a block's usable bytes are those that were asked for, and there are more.
        if (!debug && heap.stats().liveBytes !== bytes)
          throw new Error(`${heap.stats().liveBytes} bytes are live, not ${bytes}`)
      }
      heap.audit()
      for (const { view, byte } of live) {
        if (!view.every((value) => value === byte)) throw new Error('another wrote there')
        heap.freeBuffer(view)
      }
      heap.audit()
      t.is(heap.stats().liveBytes, 0)
    }),
    { numRuns: 50 }
  )
})

test.serial('a socket, a file and a slice keep the bytes of one that nothing else holds', async (t) => {
  t.deepEqual(await told('operations and slices hold them'), {
    socket: { bytes: 65_536, wrong: 0 },
    slice: { bytes: 65_000, wrong: 0 },
    file: true,
    kept: true,
  })
})

test.serial('dropped ones are free once V8 has collected them, and no leaks', async (t) => {
  const { before, after, told: leaks, owners } = await told('dropped ones free themselves')
  t.true(Number(before) > 0)
  t.deepEqual({ after, leaks, owners }, { after: 0, leaks: 0, owners: [] })
})

test.serial('V8 is charged for them, and so collects in time', async (t) => {
  const { charged, uncharged, peak } = await told<Record<string, number>>('V8 is charged for them')
  t.true(charged! > 99 && charged! < 101)
  t.is(uncharged, 0)
  t.true(peak! < 2 ** 30, `${peak} bytes of 4 GiB`)
})

test.serial('a heap that closes first gives all pages back but theirs', async (t) => {
  const { closed, right, others, large } = await told<Record<string, number>>('the heap closes first')
  t.true(closed! > 99 && closed! < 110, `${closed} MiB`)
  t.deepEqual({ right, others, large }, { right: true, others: true, large: 10 * 2 ** 20 } as never)
})

test.serial('what they keep of a closed heap goes with each, the addresses with the last', async (t) => {
  t.deepEqual(await told('pages of the last ones go with them'), {
    right: true,
    freed: true,
    stays: true,
    unmapped: true,
  })
})

test.serial('workers that end with thousands, in whatever way, leave none', async (t) => {
  t.deepEqual(await told('workers end with thousands'), { live: 0, threads: 1, deadThreadsBytes: 0 })
})

test.serial('workers that are terminated in the middle lose none but what they were just handed', async (t) => {
  const { lost, dead } = await told<Record<string, number>>('workers are terminated while they allocate and free')
  // Of each of 10 at most the block between the allocation and its ArrayBuffer, which counts as a dead thread's.
  t.is(lost, 0)
  t.true(dead! <= 10 * 303_104, `${dead} bytes`)
})

test.serial('a transfer to another thread moves the block, and there it is freed', async (t) => {
  t.deepEqual(await told('a transfer moves the block'), {
    right: true,
    freed: 0,
    here: 0,
    codes: ['ERR_HEAP_DOUBLE_FREE'],
    live: 0,
  })
  t.deepEqual(await told('a message that nobody receives'), { live: 0 })
})

test.serial('the process ends well with some', async (t) => {
  t.deepEqual(await told('the process ends with some'), {})
})

test('what pool.write writes, and hold holds, is freed when that is done', async (t) => {
  using heap = new Heap({ limitBytes: LIMIT_BYTES })
  using pool = new BufferPool({ size: 100, heap })
  const path = join(tmpdir(), `spanheap-held-${process.pid}`)
  const file = await open(path, 'w+')
  const size = 8 * 2 ** 20
  const buffer = heap.allocBuffer(size, ISOLATED).fill(7)
  const writes = [pool.write(file, buffer, { position: 0 }), pool.write(file, buffer.subarray(100), { position: size })]
  heap.freeBuffer(buffer)
  t.throws(() => heap.freeBuffer(buffer), { code: 'ERR_HEAP_DOUBLE_FREE' })
  t.throws(() => heap.freeBuffer(buffer.subarray(0, 5)), { code: 'ERR_HEAP_DOUBLE_FREE' })
  t.throws(() => pool.hold(buffer.subarray(5)), { code: 'ERR_HEAP_DOUBLE_FREE' })
  heap.allocBuffer(size).fill(9)
  t.is(buffer.length, size)
  await Promise.all(writes)
  t.is(buffer.length, 0)
  t.true((await readFile(path)).equals(Buffer.alloc(2 * size - 100, 7)))
  await file.close()
  await unlink(path)
  const held = heap.allocBuffer(100, ISOLATED)
  const letGo = [pool.hold(held)!, pool.hold(held.subarray(50))!]
  letGo[0]!()
  letGo[0]!()
  heap.freeBuffer(held)
  t.is(held.length, 100)
  letGo[1]!()
  t.is(held.length, 0)
  const idle = heap.allocBuffer(100, ISOLATED)
  pool.hold(idle)!()
  t.is(idle.length, 100, 'nobody has freed it')
  t.is(pool.hold(new Uint8Array(8)), undefined)
  const last = pool.hold(idle)!
  heap.freeBuffer(idle)
  pool.close()
  heap.close()
  last()
  t.is(idle.length, 0)
})

test.serial('bytes are right in every hand at once: slices, clones, workers, a socket, files', async (t) => {
  const ended = await run(process.execPath, ['--expose-gc', 'scripts/isolated-soak.mjs', '--buffers', '4000'])
  t.is(ended.stderr, '')
  t.like(reportOf(ended), { buffers: 4000, wrong: 0, liveBytes: 0 })
})
