import { constants } from 'node:buffer'
import test from 'ava'
import { BufferPool, Heap, type PoolToken } from '../../lib/index.ts'
import { GrowableMapper } from '../../lib/os/growable-mapper.ts'
import { countsOf } from '../support/pools.ts'

const LIMIT_BYTES = 2 ** 26
const openHeap = () => new Heap({ limitBytes: LIMIT_BYTES })
const WRONG = [undefined, null, 7, '7', {}, [], true, 16n, Symbol('view'), () => 7]

test('a buffer is released once', (t) => {
  for (const options of [{}, { leaks: 'all' }, { zero: 'release' }, { idleBytes: 0 }] as const) {
    for (const shared of [false, true]) {
      using pool = new BufferPool({ size: 100, ...options })
      if (shared) pool.share()
      const buffer = pool.acquire()
      pool.release(buffer)
      const error = t.throws(() => pool.release(buffer), { code: 'ERR_POOL_DOUBLE_RELEASE' })
      t.like(error, { address: buffer.byteOffset })
      t.throws(() => pool.hold(buffer), { code: 'ERR_POOL_DOUBLE_RELEASE' })
      t.throws(() => pool.pass(buffer), { code: 'ERR_POOL_DOUBLE_RELEASE' })
      t.is(pool.leaseOf(buffer), undefined)
      t.is(pool.stats().acquired, 0)
    }
  }
})

test('what isn’t a buffer of the pool, from its start, is refused', (t) => {
  using heap = openHeap()
  using pool = new BufferPool({ size: 100, heap })
  using other = new BufferPool({ size: 100, heap })
  using elsewhere = new BufferPool({ size: 100 })
  const buffer = pool.acquire()
  const foreign = [
    buffer.subarray(1),
    buffer.subarray(5),
    buffer.subarray(16),
    new Uint16Array(buffer.buffer, buffer.byteOffset + 2, 4),
    Buffer.alloc(100),
    heap.allocBuffer(100),
    heap.bufferAt(heap.malloc(100)),
    other.acquire(),
    elsewhere.acquire(),
    new Uint8Array(heap.buffer, 0, 8),
  ]
  for (const view of foreign) {
    t.throws(() => pool.release(view), { code: 'ERR_POOL_FOREIGN_BUFFER' })
    t.throws(() => pool.pass(view), { code: 'ERR_POOL_FOREIGN_BUFFER' })
  }
  for (const view of foreign.slice(4)) t.is(pool.hold(view), undefined)
  t.deepEqual(countsOf(pool), { acquired: 1, leased: 0, idle: 0 })
  pool.release(buffer.subarray(0, 10))
  t.deepEqual(countsOf(pool), { acquired: 0, leased: 0, idle: 1 }, 'what starts it stands for it')
})

test('a lease’s buffer goes back by the lease alone', (t) => {
  using pool = new BufferPool({ size: 100 })
  const lease = pool.lease()
  t.throws(() => pool.release(lease.buffer), { code: 'ERR_POOL_LEASED' })
  t.throws(() => pool.pass(lease.buffer), { code: 'ERR_POOL_LEASED' })
  const { buffer } = lease
  lease.release()
  t.throws(() => lease.release(), { code: 'ERR_POOL_DOUBLE_RELEASE' })
  t.throws(() => lease.buffer, { code: 'ERR_HEAP_STALE_HANDLE' })
  t.throws(() => lease.retain(), { code: 'ERR_HEAP_STALE_HANDLE' })
  t.throws(() => pool.release(buffer), { code: 'ERR_POOL_DOUBLE_RELEASE' })
})

test('the heap of a pool frees and moves none of its buffers', (t) => {
  using heap = openHeap()
  using pool = new BufferPool({ size: 100, heap })
  const leased = pool.lease()
  const idle = pool.acquire()
  const out = pool.acquire()
  pool.release(idle)
  for (const buffer of [out, idle, leased.buffer]) {
    const address = heap.addressOf(buffer)
    for (const call of [
      () => heap.freeBuffer(buffer),
      () => heap.freeBuffer(buffer.subarray(0)),
      () => heap.free(address),
      () => heap.realloc(address, 50),
      () => heap.realloc(address, 100_000),
      () => heap.freeBuffer(heap.bufferAt(address)),
    ])
      t.throws(call, { code: 'ERR_HEAP_INVALID_ADDRESS' }, String(call))
  }
  heap.audit()
  t.deepEqual(countsOf(pool), { acquired: 1, leased: 1, idle: 1 })
  leased.release()
})

test('a view whose block is gone stands for nothing, whoever has its place', (t) => {
  using heap = openHeap()
  using pool = new BufferPool({ size: 100, heap, leaks: 'off' })
  const old = pool.acquire()
  pool.release(old)
  pool.trim()
  const now = pool.acquire()
  t.is(now.byteOffset, old.byteOffset)
  t.throws(() => pool.release(old), { code: 'ERR_POOL_DOUBLE_RELEASE' })
  t.throws(() => pool.hold(old), { code: 'ERR_POOL_DOUBLE_RELEASE' })
  t.is(pool.leaseOf(old), undefined)
  t.deepEqual(countsOf(pool), { acquired: 1, leased: 0, idle: 0 })
  pool.release(now)
})

test('hold ends once, however often it is told to', (t) => {
  using pool = new BufferPool({ size: 100 })
  const buffer = pool.acquire()
  const first = pool.hold(buffer)!
  first()
  const second = pool.hold(buffer)!
  first()
  t.deepEqual(countsOf(pool), { acquired: 0, leased: 1, idle: 0 })
  const lease = pool.lease()
  const third = pool.hold(lease.buffer)!
  third()
  third()
  t.is(lease.references, 1)
  pool.release(buffer)
  t.throws(() => pool.release(buffer), { code: 'ERR_POOL_DOUBLE_RELEASE' }, 'though an operation has it still')
  second()
  t.deepEqual(countsOf(pool), { acquired: 0, leased: 1, idle: 1 })
})

test('a longer or later use of a part holds the whole', (t) => {
  using pool = new BufferPool({ size: 100 })
  const buffer = pool.acquire()
  const letGo = pool.hold(buffer.subarray(90, 100))!
  t.is(pool.hold(new Uint8Array(pool.heap.buffer, buffer.byteOffset + 100, 1)), undefined, 'just behind it')
  pool.release(buffer)
  t.not(pool.acquire(), buffer)
  letGo()
  t.is(pool.acquire(), buffer)
})

test('arguments of the wrong type or out of range are told by code', async (t) => {
  using pool = new BufferPool({ size: 100 })
  const loose = pool as unknown as Record<string, (...args: unknown[]) => unknown>
  for (const value of WRONG) {
    for (const call of ['release', 'pass', 'hold', 'leaseOf'])
      t.throws(() => loose[call]!(value), { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' }, call)
    if (value !== undefined) {
      if (typeof value !== 'number') t.throws(() => loose.trim!(value), { code: 'ERR_INVALID_ARG_TYPE' })
      const options = typeof value === 'object' && value !== null ? { signal: value } : value
      for (const call of ['acquireAsync', 'leaseAsync'])
        await t.throwsAsync(async () => loose[call]!(options), { code: 'ERR_INVALID_ARG_TYPE' }, call)
    }
    t.throws(() => BufferPool.attach(value as PoolToken), { code: 'ERR_HEAP_INVALID_TOKEN' })
  }
  for (const value of [-1, 1.5, Number.NaN, 2 ** 53]) t.throws(() => pool.trim(value), { code: 'ERR_OUT_OF_RANGE' })
  t.deepEqual(countsOf(pool), { acquired: 0, leased: 0, idle: 0 })
})

test('options of the wrong type or out of range are told by code', (t) => {
  const wrong: [Record<string, unknown>, string][] = [
    ...[undefined, null, '7', {}, 7n].map((size): [Record<string, unknown>, string] => [
      { size },
      'ERR_INVALID_ARG_TYPE',
    ]),
    ...[0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, constants.MAX_LENGTH + 1, 2 ** 36].map(
      (size): [Record<string, unknown>, string] => [{ size }, 'ERR_OUT_OF_RANGE']
    ),
    ...['max', 'min', 'idleBytes', 'trimMs', 'alignment'].flatMap((name): [Record<string, unknown>, string][] => [
      [{ [name]: '7' }, 'ERR_INVALID_ARG_TYPE'],
      [{ [name]: null }, 'ERR_INVALID_ARG_TYPE'],
      [{ [name]: -1 }, 'ERR_OUT_OF_RANGE'],
      [{ [name]: 1.5 }, 'ERR_OUT_OF_RANGE'],
      [{ [name]: 2 ** 53 }, 'ERR_OUT_OF_RANGE'],
    ]),
    [{ max: 0 }, 'ERR_OUT_OF_RANGE'],
    [{ alignment: 48 }, 'ERR_OUT_OF_RANGE'],
    [{ alignment: 2 ** 27 }, 'ERR_OUT_OF_RANGE'],
    [{ heap: {} }, 'ERR_INVALID_ARG_TYPE'],
    [{ heap: null }, 'ERR_INVALID_ARG_TYPE'],
    [{ zero: true }, 'ERR_INVALID_ARG_TYPE'],
    [{ zero: 'always' }, 'ERR_OUT_OF_RANGE'],
    [{ tag: 7 }, 'ERR_INVALID_ARG_TYPE'],
    [{ leaks: 'none' }, 'ERR_OUT_OF_RANGE'],
  ]
  for (const [options, code] of wrong)
    t.throws(() => new BufferPool({ size: 100, ...options } as never), { code }, Object.keys(options).join())
  for (const value of [null, 7, 'x']) t.throws(() => new BufferPool(value as never), { code: 'ERR_INVALID_ARG_TYPE' })
  t.throws(() => new BufferPool(undefined as never), { instanceOf: TypeError })
})

test('tokens that are none, of pools that are gone, or of other things, are refused', (t) => {
  using heap = openHeap()
  const pool = new BufferPool({ size: 100, heap })
  const token = pool.share()
  t.deepEqual(pool.share(), token)
  const block = heap.calloc(1, 10_000)
  for (const address of [0, 48, -1, 1.5, block, block + 16, 2 ** 40, Number.NaN, pool.acquire().byteOffset])
    t.throws(() => BufferPool.attach({ ...token, pool: address }), { code: 'ERR_HEAP_INVALID_TOKEN' }, `${address}`)
  for (const wrong of [
    { ...token, heap: undefined },
    { ...token, generation: undefined },
    { heap: token.heap },
    { ...token, heap: {} },
  ])
    t.throws(() => BufferPool.attach(wrong as PoolToken), { code: 'ERR_HEAP_INVALID_TOKEN' })
  for (const options of [null, 7, { heap: {} }, { min: 'x' }, { tag: 1 }])
    t.throws(() => BufferPool.attach(token, options as never), { code: 'ERR_INVALID_ARG_TYPE' })
  t.is(heap.stats().threads, 1, 'nothing is left of these')
  const own = new BufferPool({ size: 100, heap: new Heap({ mapper: new GrowableMapper() }) })
  t.throws(() => own.share(), { code: 'ERR_HEAP_NOT_SHARED' })
  own.close()
  pool.trim()
  pool.reclaim()
  const last = new BufferPool({ size: 100, heap })
  const gone = last.share()
  last.close()
  t.throws(() => BufferPool.attach(gone, { heap }), { code: 'ERR_HEAP_INVALID_TOKEN' })
})

test('after close every call says so', async (t) => {
  for (const shared of [false, true]) {
    const pool = new BufferPool({ size: 100 })
    const buffer = pool.acquire()
    pool.release(buffer)
    if (shared) pool.share()
    pool.close()
    for (const call of [
      () => pool.acquire(),
      () => pool.tryAcquire(),
      () => pool.lease(),
      () => pool.release(buffer),
      () => pool.pass(buffer),
      () => pool.adopt({} as never),
      () => pool.reclaim(),
      () => pool.trim(),
      () => pool.share(),
      () => pool.connect({ port: 1 }),
      () => pool.createServer(() => {}),
    ])
      t.throws(call, { code: 'ERR_POOL_CLOSED' }, String(call))
    for (const call of [() => pool.acquireAsync(), () => pool.leaseAsync()])
      await t.throwsAsync(call, { code: 'ERR_POOL_CLOSED' })
    t.is(pool.tryLease(), undefined)
    t.deepEqual(countsOf(pool), { acquired: 0, leased: 0, idle: 0 })
    pool.close()
    await pool[Symbol.asyncDispose]()
  }
})

test('where there is no memory, a pool is as it was', async (t) => {
  using heap = new Heap({ limitBytes: 2 ** 20 })
  using pool = new BufferPool({ size: 400_000, heap })
  const [a, b] = [pool.acquire(), pool.acquire()]
  t.throws(() => pool.acquire(), { code: 'ERR_HEAP_OUT_OF_MEMORY' })
  t.throws(() => pool.tryAcquire(), { code: 'ERR_HEAP_OUT_OF_MEMORY' })
  await t.throwsAsync(pool.acquireAsync(), { code: 'ERR_HEAP_OUT_OF_MEMORY' })
  t.throws(() => pool.share(), { code: 'ERR_HEAP_OUT_OF_MEMORY' })
  t.deepEqual(countsOf(pool), { acquired: 2, leased: 0, idle: 0 })
  pool.release(a)
  pool.release(b)
  heap.audit()
})
