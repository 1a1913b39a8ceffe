import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import { BufferPool, Heap } from '../../lib/index.ts'
import { HOST } from '../../lib/lifetime/host.ts'
import { childScript } from '../support/child.ts'
import { random } from '../support/churn.ts'
import { countsOf } from '../support/pools.ts'
import { type Sent, StampedBuffers } from '../support/stamped-buffers.ts'

const SIZE = 4096
/** Fewer than five threads would like to have. */
const MAX = 8
const ROUNDS = Number(process.env.SPANHEAP_POOL_ROUNDS ?? 1500)
/** Kills by terminate(); a long run by hand sets more. */
const KILLS = Number(process.env.SPANHEAP_POOL_KILLS ?? 12)

const openHeap = () => new Heap({ limitBytes: 2 ** 28 })
const openPool = (heap: Heap) => new BufferPool({ size: SIZE, max: MAX, heap, idleBytes: 6 * SIZE, leaks: 'off' })
const start = (pool: BufferPool, seed: number, rounds: number) =>
  new Worker(childScript('buffer-pool-workers'), { workerData: { token: pool.share(), seed, rounds } })

test.serial('five threads share a pool: no buffer ever has two owners, and all come back', async (t) => {
  const heap = openHeap()
  const pool = openPool(heap)
  const stamped = new StampedBuffers(pool, 99)
  const next = random(7)
  const workers = [1, 2, 3, 4].map((seed) => start(pool, seed, ROUNDS))
  let relayed = 0
  const ended = workers.map(
    (worker, i) =>
      new Promise<void>((resolve, reject) => {
        worker.once('error', reject)
        worker.on('message', (message: Sent | 'running' | 'done') => {
          if (message === 'done') resolve()
          if (typeof message === 'string') return
          relayed++
          const to = next() % 5
          if (to === 4 || to === i) stamped.receive(message)
          else workers[to]!.postMessage(message)
        })
      })
  )
  let running = true
  const all = Promise.all(ended).finally(() => {
    running = false
  })
  while (running) {
    for (let i = 0; i < 20; i++) await stamped.step()
    await new Promise((resolve) => setImmediate(resolve))
  }
  await all
  stamped.releaseAll()
  // What is still on its way comes before the end.
  for (const worker of workers) worker.postMessage('end')
  await Promise.all(workers.map((worker) => once(worker, 'exit')))
  t.true(relayed > 10)
  const { acquired, leased, idle } = countsOf(pool)
  t.deepEqual({ acquired, leased }, { acquired: 0, leased: 0 })
  t.true(idle > 0 && idle <= MAX)
  t.like(pool.stats(), { dead: 0, waiting: 0 })
  heap.audit()
  pool.close()
  t.is(heap.stats().liveBytes, 0)
  heap.close()
})

test.serial('workers are killed at any moment: the others go on, and what the dead had is taken back', async (t) => {
  const heap = openHeap()
  const pool = openPool(heap)
  const stamped = new StampedBuffers(pool, 99)
  const next = random(11)
  const workers: Worker[] = []
  const failures: unknown[] = []
  let seed = 0
  const add = () => {
    const worker = start(pool, 1 + (seed++ % 90), Number.POSITIVE_INFINITY)
    worker.once('error', (error) => failures.push(error))
    workers.push(worker)
    return once(worker, 'message')
  }
  await Promise.all([add(), add()])
  for (let kill = 0; kill < KILLS; kill++) {
    const started = add()
    // Some die while they start.
    if (kill % 4 !== 0) await started
    else started.catch(() => {})
    for (let i = next() % 12; i > 0; i--) await stamped.step()
    await workers.splice(kill % 4 === 0 ? workers.length - 1 : next() % workers.length, 1)[0]!.terminate()
    // Nobody waits for ever: neither this thread nor the others that live.
    stamped.releaseAll()
    const waiting = pool.acquireAsync()
    pool.reclaim()
    pool.release(await waiting)
    t.deepEqual(failures, [])
  }
  await Promise.all(workers.map((worker) => worker.terminate()))
  const all = pool.stats()
  t.true(all.acquired + all.leased <= all.dead, 'only the dead have any')
  t.is(pool.reclaim(), all.dead)
  const { acquired, leased } = countsOf(pool)
  t.deepEqual({ acquired, leased }, { acquired: 0, leased: 0 })
  t.like(pool.stats(), { dead: 0, waiting: 0 })
  const buffers = Array.from({ length: MAX }, () => pool.acquire())
  t.throws(() => pool.acquire(), { code: 'ERR_POOL_EXHAUSTED' })
  for (const buffer of buffers) pool.release(buffer)
  heap.audit()
  pool.close()
  // A thread may die between the heap and the pool: a block of each then is nobody's.
  t.true(heap.stats().liveBytes <= 2 * SIZE * (KILLS + 4))
  heap.audit()
  heap.close()
})

test.serial(
  'a thread that doesn’t wait holds nobody up: what others release reaches who waits, in every thread',
  async (t) => {
    const heap = openHeap()
    const pool = openPool(heap)
    const others = [1, 2, 3].map(() =>
      BufferPool.attach(pool.share(), { heap: Heap.attach(heap.share()), leaks: 'off' })
    )
    const out = Array.from({ length: MAX }, () => pool.acquire())
    const waiting = others.flatMap((other) => [other.acquireAsync(), other.acquireAsync()])
    t.is(pool.stats().waiting, 6)
    for (const buffer of out.splice(0, 6)) pool.release(buffer)
    const got = await Promise.all(waiting)
    t.is(new Set(got.map((buffer) => heap.addressOf(buffer))).size, 6)
    t.is(pool.stats().waiting, 0)
    for (const buffer of [...got, ...out]) pool.release(buffer)
    for (const other of others) other.close()
    pool.close()
    t.is(heap.stats().liveBytes, 0)
  }
)

test.serial('a dead thread’s unfinished slots are cleared up, and used again', (t) => {
  const heap = openHeap()
  const pool = new BufferPool({ size: SIZE, max: 2, heap, leaks: 'off' })
  const theirs = Heap.attach(heap.share())
  const other = BufferPool.attach(pool.share(), { heap: theirs, leaks: 'off' })
  const dead = other.acquire()
  const { slots } = other.blocks
  t.is(slots.claimEmpty(), 1, 'and before it has a block it dies')
  const thread = theirs[HOST].thread()
  thread.slots.markDead(thread.slot)
  t.is(pool.stats().dead, 1)
  const mine = pool.acquire()
  const address = theirs.addressOf(dead)
  t.not(heap.addressOf(mine), address)
  t.throws(() => pool.acquire(), { code: 'ERR_POOL_EXHAUSTED' })
  t.is(pool.reclaim(), 1)
  t.is(pool.reclaim(), 0)
  t.is(heap.addressOf(pool.acquire()), address)
  heap.audit()
  heap.close()
})
