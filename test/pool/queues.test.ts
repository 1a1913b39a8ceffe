import { getEventListeners } from 'node:events'
import test from 'ava'
import { BufferPool, Channel, Heap } from '../../lib/index.ts'

/** How often a function of Atomics is called while something runs. */
async function callsOf(name: 'load' | 'waitAsync', run: () => unknown): Promise<number> {
  const call = Atomics[name] as (...args: unknown[]) => unknown
  let calls = 0
  const counted = (...args: unknown[]) => {
    calls++
    return call.apply(Atomics, args)
  }
  Object.assign(Atomics, { [name]: counted })
  try {
    await run()
  } finally {
    Object.assign(Atomics, { [name]: call })
  }
  return calls
}

/** The least time of several, in microseconds for each of `n`. */
async function leastOf(n: number, run: () => Promise<number>): Promise<number> {
  let least = Number.POSITIVE_INFINITY
  for (let round = 0; round < 3; round++) least = Math.min(least, ((await run()) * 1000) / n)
  return least
}

test.serial('160 000 who wait take little longer than promises in a plain queue', async (t) => {
  const n = 160_000
  const own = await leastOf(n, async () => {
    const pool = new BufferPool({ size: 64, max: 1 })
    const buffer = pool.acquire()
    const waiting = Array.from({ length: n }, () => pool.acquireAsync().then((got) => pool.release(got)))
    const start = performance.now()
    pool.release(buffer)
    await Promise.all(waiting)
    pool.close()
    return performance.now() - start
  })
  const plain = await leastOf(n, async () => {
    const queue: (() => void)[] = []
    let first = 0
    const next = () => queue[first++]?.()
    const waiting = Array.from({ length: n }, () => new Promise<void>((resolve) => queue.push(resolve)).then(next))
    const start = performance.now()
    next()
    await Promise.all(waiting)
    return performance.now() - start
  })
  t.log(`${own.toFixed(2)} µs each; ${plain.toFixed(2)} in a plain queue`)
  t.true(own <= Math.max(6 * plain, 4))
})

test.serial('those who wait with one signal are one listener of it, however many', async (t) => {
  const pool = new BufferPool({ size: 64, max: 1 })
  const buffer = pool.acquire()
  const controller = new AbortController()
  const { signal } = controller
  const listeners = () => getEventListeners(signal, 'abort').length
  const outcomes: unknown[] = []
  const waiting = Array.from({ length: 1000 }, (_, i) =>
    pool.acquireAsync({ signal }).then(
      (got) => {
        outcomes.push(i)
        if (i < 2) pool.release(got)
      },
      (reason) => outcomes.push(reason)
    )
  )
  async function* silent(): AsyncGenerator<Uint8Array> {
    await new Promise(() => {})
  }
  const other = new BufferPool({ size: 64 })
  const reads = Array.from({ length: 100 }, () => other.read(silent(), { signal }).next())
  await new Promise(setImmediate)
  t.is(listeners(), 1)
  pool.release(buffer)
  await new Promise(setImmediate)
  t.deepEqual(outcomes, [0, 1, 2])
  const reason = new Error('no more')
  controller.abort(reason)
  await Promise.all(waiting)
  t.deepEqual(outcomes.slice(3), Array(997).fill(reason))
  for (const read of reads) await t.throwsAsync(read, { is: reason })
  t.is(listeners(), 0)
  t.is(pool.stats().waiting, 0)
  pool.close()
  other.close()
})

test.serial('a pool that is closing looks at few slots for each release, in whatever order they come', async (t) => {
  const n = 3000
  for (const order of ['first', 'last', 'mixed']) {
    const pool = new BufferPool({ size: 64 })
    const buffers = Array.from({ length: n }, () => pool.acquire())
    if (order === 'last') buffers.reverse()
    if (order === 'mixed') buffers.sort((a, b) => ((a.byteOffset * 31) % 997) - ((b.byteOffset * 31) % 997))
    pool.close()
    const looks = await callsOf('load', () => {
      for (const buffer of buffers) pool.release(buffer)
    })
    t.true(looks < 20 * n, `${order}: ${looks}`)
    await pool[Symbol.asyncDispose]()
  }
})

test.serial('a shared pool with as many idle as it may looks at few slots for each release', async (t) => {
  const n = 3000
  const pool = new BufferPool({ size: 64, idleBytes: 64 * n, max: 2 * n, trimMs: 0 })
  pool.share()
  const buffers = Array.from({ length: 2 * n }, () => pool.acquire())
  const looks = await callsOf('load', () => {
    for (const buffer of buffers) pool.release(buffer)
  })
  t.true(looks < 20 * n, `${looks}`)
  t.is(pool.stats().idle, n)
  pool.close()
})

test.serial('of those who wait for a channel one sleeps, however many', async (t) => {
  const heap = new Heap({ limitBytes: 2 ** 26 })
  const channel = new Channel(heap)
  const n = 2000
  let received: Promise<unknown>[] = []
  const sleeps = await callsOf('waitAsync', async () => {
    received = Array.from({ length: n }, async () => heap.freeBuffer((await channel.receive())!))
    await new Promise((resolve) => setTimeout(resolve, 120))
  })
  t.true(sleeps < 20, `${sleeps}`)
  for (let i = 0; i < n; i++) await channel.send(heap.allocBuffer(16))
  await Promise.all(received)
  channel.close()
  heap.close()
})

test('those who wait for a channel are served in their turn, and told when it ends, or their peers have died', async (t) => {
  const heap = new Heap({ limitBytes: 2 ** 26 })
  const channel = new Channel(heap, { capacity: 1 })
  const order: number[] = []
  const receivers = Array.from({ length: 5 }, async (_, i) => {
    const message = await channel.receive()
    order.push(i, message?.[0] ?? -1)
    if (message !== undefined) heap.freeBuffer(message)
  })
  for (let i = 0; i < 3; i++) {
    const buffer = heap.allocBuffer(16)
    buffer[0] = 10 + i
    await channel.send(buffer)
  }
  channel.end()
  await Promise.all(receivers)
  t.deepEqual(order, [0, 10, 1, 11, 2, 12, 3, -1, 4, -1])
  await t.throwsAsync(() => channel.send(heap.allocBuffer(16)), { code: 'ERR_CHANNEL_CLOSED' })

  const full = new Channel(heap, { capacity: 1 })
  const sends = Array.from({ length: 4 }, (_, i) => {
    const buffer = heap.allocBuffer(16)
    buffer[0] = i
    return full.send(buffer)
  })
  const first = await full.receive()
  const second = await full.receive()
  t.deepEqual([first![0], second![0]], [0, 1])
  await new Promise(setImmediate)
  full.close()
  const ends = (await Promise.allSettled(sends)).map(({ status }) => status)
  t.deepEqual([...ends.slice(0, 2), ends[3]], ['fulfilled', 'fulfilled', 'rejected'])
  heap.close()
})
