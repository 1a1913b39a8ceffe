import test from 'ava'
import { BufferPool, Heap, PoolSet } from '../../lib/index.ts'
import { HOST } from '../../lib/lifetime/host.ts'
import { runChild } from '../support/child.ts'
import { countsOf, eventsDuring, stateOf } from '../support/pools.ts'

const LIMIT_BYTES = 2 ** 28

const openHeap = () => new Heap({ limitBytes: LIMIT_BYTES })

test('what is released is handed out again, the same object', (t) => {
  const pool = new BufferPool({ size: 1000, leaks: 'off' })
  const [a, b] = [pool.acquire(), pool.acquire()]
  t.not(a, b)
  t.is(a.length, 1000)
  t.true(Buffer.isBuffer(a))
  t.deepEqual(Buffer.from(a.fill(3)), Buffer.alloc(1000, 3))
  pool.release(a)
  pool.release(b)
  t.is(pool.acquire(), b)
  t.is(pool.acquire(), a)
  t.is(pool.tryAcquire()!.length, 1000)
  t.deepEqual(countsOf(pool), { acquired: 3, leased: 0, idle: 0 })
  pool.heap.audit()
  pool.close()
})

test('all buffers are different memory, also beyond the room that a pool has at first', (t) => {
  using heap = openHeap()
  const pool = new BufferPool({ size: 100, heap })
  const buffers = Array.from({ length: 300 }, (_, i) => pool.acquire().fill(i))
  t.true(buffers.every((buffer, i) => buffer.every((byte) => byte === (i & 0xff))))
  t.is(new Set(buffers.map((buffer) => buffer.byteOffset)).size, 300)
  for (const buffer of buffers) pool.release(buffer)
  t.deepEqual(countsOf(pool), { acquired: 0, leased: 0, idle: 300 })
  t.is(pool.trim(), 30_000)
  heap.audit()
  pool.close()
  t.is(heap.stats().liveBytes, 0)
})

test('at max: acquire throws, tryAcquire and tryLease give nothing, acquireAsync waits', async (t) => {
  using pool = new BufferPool({ size: 10, max: 2, tag: 'at max' })
  const [a] = [pool.acquire(), pool.acquire()]
  t.throws(() => pool.acquire(), { code: 'ERR_POOL_EXHAUSTED', message: /2 buffers/ })
  t.throws(() => pool.lease(), { code: 'ERR_POOL_EXHAUSTED' })
  t.is(pool.tryAcquire(), undefined)
  t.is(pool.tryLease(), undefined)
  const waiting = pool.acquireAsync()
  t.is(await stateOf(waiting), 'waiting')
  t.is(pool.stats().waiting, 1)
  pool.release(a!)
  t.is(await waiting, a!)
  t.is(pool.stats().waiting, 0)
})

test('those who wait are served in the order in which they came, and none overtakes them', async (t) => {
  using pool = new BufferPool({ size: 10, max: 2 })
  const out = [pool.acquire(), pool.acquire()]
  const order: number[] = []
  const abort = new AbortController()
  const waiting = [0, 1, 2, 3, 4].map((i) =>
    pool.acquireAsync(i === 2 ? { signal: abort.signal } : {}).then((buffer) => {
      order.push(i)
      return buffer
    })
  )
  abort.abort(new Error('no longer'))
  await t.throwsAsync(waiting[2]!, { message: 'no longer' })
  t.is(pool.stats().waiting, 4)
  pool.release(out[0]!)
  t.is(pool.tryAcquire(), undefined)
  pool.release(out[1]!)
  const next = await Promise.all([waiting[0]!, waiting[1]!])
  for (const buffer of next) pool.release(buffer)
  await Promise.all([waiting[3]!, waiting[4]!])
  t.deepEqual(order, [0, 1, 3, 4])
  t.deepEqual(countsOf(pool), { acquired: 2, leased: 0, idle: 0 })
})

test('a lease that ends, and an operation that ends, serve who waits', async (t) => {
  using pool = new BufferPool({ size: 10, max: 1 })
  const lease = pool.lease()
  const waiting = pool.leaseAsync()
  lease.release()
  const next = await waiting
  const after = pool.acquireAsync()
  next.release()
  const buffer = await after
  const letGo = pool.hold(buffer)!
  const last = pool.acquireAsync()
  pool.release(buffer)
  t.is(await stateOf(last), 'waiting')
  letGo()
  t.is(await last, buffer)
})

test('an aborted signal rejects at once, and takes nothing', async (t) => {
  using pool = new BufferPool({ size: 10, max: 1 })
  await t.throwsAsync(pool.acquireAsync({ signal: AbortSignal.abort(new Error('before')) }), { message: 'before' })
  await t.throwsAsync(pool.leaseAsync({ signal: AbortSignal.abort(new Error('before')) }), { message: 'before' })
  t.deepEqual(countsOf(pool), { acquired: 0, leased: 0, idle: 0 })
})

test('zeros at acquire, at release, and at neither', (t) => {
  for (const zero of ['acquire', 'release', false] as const) {
    for (const alignment of [undefined, 64, 8192]) {
      using pool = new BufferPool({ size: 500, zero, ...(alignment === undefined ? {} : { alignment }) })
      pool.heap.free(pool.heap.realloc(pool.heap.malloc(500), 500))
      const buffers = [pool.acquire(), pool.acquire()]
      if (zero !== false) t.true(buffers.every((buffer) => buffer.every((byte) => byte === 0)))
      for (const buffer of buffers) pool.release(buffer.fill(0xee))
      const [first] = pool.acquire()
      t.is(first, zero === false ? 0xee : 0)
      t.is(buffers[0]![0], zero === 'release' ? 0 : 0xee)
      if (alignment !== undefined) t.true(buffers.every((buffer) => buffer.byteOffset % alignment === 0))
      const lease = pool.lease()
      t.is(lease.buffer[499], zero === false ? 0xee : 0)
      lease.buffer.fill(9)
      lease.release()
    }
  }
})

test('what is idle beyond idleBytes goes back when it is released, min stays', (t) => {
  const heap = openHeap()
  const pool = new BufferPool({ size: 1000, heap, idleBytes: 2500, tag: 'idle' })
  const buffers = Array.from({ length: 6 }, () => pool.acquire())
  const events = eventsDuring('idle', () => {
    for (const buffer of buffers) pool.release(buffer)
  })
  t.is(pool.stats().idle, 2)
  t.is(events.filter(({ event }) => event === 'trim').length, 4)
  const none = new BufferPool({ size: 1000, heap, idleBytes: 0 })
  none.release(none.acquire())
  t.is(none.stats().buffers, 0)
  const least = new BufferPool({ size: 1000, heap, idleBytes: 0, min: 3 })
  const kept = Array.from({ length: 5 }, () => least.acquire())
  for (const buffer of kept) least.release(buffer)
  t.is(least.stats().idle, 3)
  heap.audit()
  heap.close()
})

test('trim gives back all idle buffers but so many; those in use count', (t) => {
  using heap = openHeap()
  const pool = new BufferPool({ size: 100, heap })
  const buffers = Array.from({ length: 10 }, () => pool.acquire())
  for (const buffer of buffers.slice(4)) pool.release(buffer)
  t.is(pool.trim(8), 200)
  t.deepEqual(countsOf(pool), { acquired: 4, leased: 0, idle: 4 })
  t.is(pool.trim(8), 0)
  t.is(pool.trim(), 400)
  t.throws(() => pool.release(buffers[9]!), { code: 'ERR_POOL_DOUBLE_RELEASE' })
  for (const buffer of buffers.slice(0, 4)) pool.release(buffer)
  t.is(pool.acquire().length, 100)
  heap.audit()
})

test('the timer gives back what nobody needs, down to min, and holds no process open', async (t) => {
  for (const [task, expected] of [
    ['trims', { idle: 2 }],
    ['ends', { idle: 1 }],
  ] as const) {
    const { status, stdout, stderr } = await runChild('buffer-pool-idle', [task])
    t.is(status, 0, stderr)
    t.deepEqual(JSON.parse(stdout), expected)
  }
})

test('what happens to a pool is told on its channel, with the reason', (t) => {
  const pool = new BufferPool({ size: 100, max: 1, tag: 'told' })
  const events = eventsDuring('told', () => {
    const buffer = pool.acquire()
    t.throws(() => pool.acquire())
    pool.acquireAsync().catch(() => {})
    pool.release(buffer)
    t.throws(() => pool.release(Buffer.alloc(100)))
    pool.release(buffer)
    pool.trim()
    pool.close()
  })
  t.deepEqual(
    events.map(({ event }) => event),
    ['grow', 'exhausted', 'wait', 'misuse', 'trim', 'close']
  )
  for (const event of events) {
    t.like(event, { size: 100, buffers: 1, tag: 'told' })
    t.true(event.reason.length > 5)
  }
})

test('two pools, or sets of them, without a tag are told apart', (t) => {
  using heap = openHeap()
  const pools = [new BufferPool({ size: 100, heap }), new BufferPool({ size: 100, heap })]
  for (const pool of pools) pool.acquire()
  pools[1]!.acquire()
  const sets = [new PoolSet({ heap }), new PoolSet({ heap, tag: 'mine' }), new PoolSet({ heap })]
  for (const set of sets) set.acquire(2000)
  const owners = heap.stats({ detail: true }).owners.filter(({ buffers }) => buffers > 0)
  t.is(owners.length, 5)
  t.like(
    owners.find(({ tag }) => tag === pools[1]!.tag),
    { buffers: 2, bytes: 200 }
  )
  t.regex(pools[0]!.tag, /^pool \d+$/)
  t.deepEqual(owners.filter(({ tag }) => /^pool set \d+$|^mine$/.test(tag!)).length, 3)
})

test('a heap tells what its pools have by tag', (t) => {
  using heap = openHeap()
  const one = new BufferPool({ size: 100, heap, tag: 'one' })
  const two = new BufferPool({ size: 1000, heap, tag: 'two' })
  one.release(one.acquire())
  one.lease()
  two.acquire()
  heap.allocBuffer(50, { tag: 'two' })
  t.deepEqual(
    heap.stats({ detail: true }).owners.filter(({ tag }) => tag !== undefined),
    [
      { tag: 'two', buffers: 2, bytes: 1050 },
      { tag: 'one', buffers: 1, bytes: 100 },
    ]
  )
  one.close()
  two.close()
})

test('close: who waits is told, idle buffers go, the others when they are released, then the heap', async (t) => {
  const pool = new BufferPool({ size: 100, max: 3 })
  const [a, b] = [pool.acquire(), pool.acquire()]
  const lease = pool.lease()
  const [first, second] = [pool.acquireAsync(), pool.leaseAsync()]
  pool.release(b)
  const got = await first
  pool.close()
  pool.close()
  await t.throwsAsync(second, { code: 'ERR_POOL_CLOSED' })
  t.deepEqual(countsOf(pool), { acquired: 2, leased: 1, idle: 0 })
  const ended = pool[Symbol.asyncDispose]()
  pool.release(a)
  pool.release(got)
  t.is(await stateOf(ended), 'waiting')
  lease.buffer.fill(1)
  t.true(pool.heap[HOST].isOpen)
  lease.release()
  t.is(await stateOf(ended), 'resolved')
  t.false(pool.heap[HOST].isOpen)
  t.is(pool.heap.stats().mappedBytes, 0)
  t.throws(() => pool.release(a), { code: 'ERR_POOL_CLOSED' })
  await pool[Symbol.asyncDispose]()
})

test('a heap that was given stays open; `await using` waits for what operations hold', async (t) => {
  using heap = openHeap()
  let letGo: () => void = () => {}
  {
    await using pool = new BufferPool({ size: 100, heap })
    const buffer = pool.acquire()
    letGo = pool.hold(buffer)!
    pool.release(buffer)
    setImmediate(() => letGo())
    t.true(heap.stats().liveBytes > 0)
  }
  t.is(heap.stats().liveBytes, 0)
  t.true(heap[HOST].isOpen)
  heap.audit()
})

test('a pool that is shared is closed after what its leases and operations hold, not after what is acquired', async (t) => {
  using heap = openHeap()
  const pool = new BufferPool({ size: 100, heap })
  const other = BufferPool.attach(pool.share(), { heap: Heap.attach(heap.share()) })
  const [held, left] = [pool.acquire(), pool.acquire()]
  const letGo = pool.hold(held)!
  const ended = pool[Symbol.asyncDispose]()
  t.is(await stateOf(ended), 'waiting')
  letGo()
  t.is(await stateOf(ended), 'resolved')
  other.release(held)
  other.release(left)
  t.deepEqual(countsOf(other), { acquired: 0, leased: 0, idle: 2 })
  other.close()
  t.is(heap.stats().liveBytes, 0)
})

test('who waited before a pool was shared gets what another thread releases', async (t) => {
  using pool = new BufferPool({ size: 10, max: 1 })
  const buffer = pool.acquire()
  const waiting = [pool.acquireAsync(), pool.acquireAsync()]
  using other = BufferPool.attach(pool.share())
  t.is(pool.stats().waiting, 2)
  t.is(other.stats().waiting, 2)
  other.release(buffer)
  const first = await waiting[0]!
  t.is(first.byteOffset, buffer.byteOffset)
  other.release(first)
  other.release(await waiting[1]!)
  t.is(other.stats().waiting, 0)
  t.is(pool.trim(), 10, 'what the other has released')
})

test('a hold ends well, also where the pool has grown or was shared meanwhile', (t) => {
  for (const between of ['grown', 'shared']) {
    using pool = new BufferPool({ size: 10 })
    const letGo = pool.hold(pool.acquire())!
    const more = between === 'grown' ? 40 : 0
    for (let i = 0; i < more; i++) pool.acquire()
    if (between === 'shared') pool.share()
    letGo()
    t.deepEqual(countsOf(pool), { acquired: 1 + more, leased: 0, idle: 0 })
  }
})

test('a heap that is full just when the pool grows: what is released is found again, once', async (t) => {
  const size = 65_536
  // The roster of its blocks takes a few pages beside them.
  for (const [count, pages] of [
    [16, 2],
    [16, 4],
    [63, 4],
    [64, 4],
    [128, 8],
  ] as const) {
    const heap = new Heap({ limitBytes: count * size + pages * 8192 })
    const pool = new BufferPool({ size, heap })
    const buffers = Array.from({ length: count }, () => pool.acquire())
    t.throws(() => pool.acquire(), { code: 'ERR_HEAP_OUT_OF_MEMORY' })
    const last = buffers.pop()!
    pool.release(last)
    t.throws(() => pool.release(last), { code: 'ERR_POOL_DOUBLE_RELEASE' })
    t.deepEqual(countsOf(pool), { acquired: count - 1, leased: 0, idle: 1 })
    t.is(pool.tryAcquire(), last)
    t.throws(() => pool.acquire(), { code: 'ERR_HEAP_OUT_OF_MEMORY' }, 'and not the same once more')
    for (const buffer of [...buffers, last]) pool.release(buffer)
    await pool[Symbol.asyncDispose]()
    t.is(heap.stats().liveBytes, 0)
    heap.close()
  }
})

test('where there is no memory, a pool is as it was', async (t) => {
  using heap = new Heap({ limitBytes: 2 ** 20 })
  using pool = new BufferPool({ size: 400_000, heap })
  const [a, b] = [pool.acquire(), pool.acquire()]
  t.throws(() => pool.acquire(), { code: 'ERR_HEAP_OUT_OF_MEMORY' })
  t.throws(() => pool.tryAcquire(), { code: 'ERR_HEAP_OUT_OF_MEMORY' })
  await t.throwsAsync(pool.acquireAsync(), { code: 'ERR_HEAP_OUT_OF_MEMORY' })
  const rest: number[] = []
  for (const size of [65_536, 8192, 1024, 16])
    t.throws(
      () => {
        for (;;) rest.push(heap.malloc(size))
      },
      { code: 'ERR_HEAP_OUT_OF_MEMORY' }
    )
  t.throws(() => pool.share(), { code: 'ERR_HEAP_OUT_OF_MEMORY' })
  t.deepEqual(countsOf(pool), { acquired: 2, leased: 0, idle: 0 })
  for (const address of rest) heap.free(address)
  using other = BufferPool.attach(pool.share(), { heap })
  t.true(other.stats().max < 10, 'a shared pool has no words for more buffers than its heap has room for')
  pool.release(a)
  pool.release(b)
  heap.audit()
})

test('a buffer that another thread has given back a moment ago is not filled with zeros', (t) => {
  using pool = new BufferPool({ size: 100, zero: 'release' })
  const buffer = pool.acquire().fill(7)
  const { slots } = pool.blocks
  const before = slots.state(0) ^ 0x1000 // as another thread's word was
  t.false(pool.makeFree(0, before))
  t.true(buffer.every((byte) => byte === 7))
  pool.release(buffer)
  t.true(buffer.every((byte) => byte === 0))
})
