import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import { BufferPool } from '../../lib/index.ts'
import type { PoolEvent } from '../../lib/pool/pool-events.ts'
import { childScript } from '../support/child.ts'

const MAX = 3

/** A worker with the pool, once it has told that it is at its task. */
async function start(pool: BufferPool, task: string): Promise<Worker> {
  const worker = new Worker(childScript('pool-waiting'), { workerData: { token: pool.share(), task } })
  await once(worker, 'message')
  return worker
}

test.serial(
  'who waits for buffers that only the dead have is told, in every thread, and reclaim takes them back',
  async (t) => {
    const pool = new BufferPool({ size: 1000, max: MAX })
    const holder = await start(pool, 'keep all')
    const other = await start(pool, 'wait')
    const told = once(other, 'message')
    const events: PoolEvent[] = []
    const listen = (event: unknown) => events.push(event as PoolEvent)
    subscribe('spanheap:pool', listen)
    const waiting = [pool.acquireAsync(), pool.acquireAsync()]
    await sleep(150)
    t.false(events.some(({ event }) => event === 'death'))
    await holder.terminate()
    for (const one of waiting) await t.throwsAsync(one, { code: 'ERR_POOL_PEERS_DIED', message: /reclaim/ })
    t.deepEqual(await told, ['ERR_POOL_PEERS_DIED'])
    t.like(
      events.filter(({ event }) => event === 'death'),
      [{ buffers: MAX }]
    )
    await t.throwsAsync(pool.acquireAsync(), { code: 'ERR_POOL_PEERS_DIED' }, 'and again')
    unsubscribe('spanheap:pool', listen)
    t.is(pool.reclaim(), MAX)
    pool.release(await pool.acquireAsync())
    await other.terminate()
    pool.close()
  }
)

test.serial(
  'who waits for a buffer is not told of the dead while a live thread has one, or may yet get one',
  async (t) => {
    const pool = new BufferPool({ size: 1000, max: MAX })
    const own = pool.acquire()
    const holder = await start(pool, 'keep all')
    const waiting = pool.acquireAsync()
    await holder.terminate()
    await sleep(200)
    pool.release(own)
    const got = await waiting
    t.is(got.byteOffset, own.byteOffset)
    const again = pool.acquireAsync()
    const idler = BufferPool.attach(pool.share())
    await sleep(200)
    idler.release(got)
    pool.release(await again)
    idler.close()
    pool.close()
  }
)

for (const task of ['take and return', 'take and return, and let others in']) {
  test.serial(`who waits beside a thread that does nothing but ${task} gets its turn`, async (t) => {
    const pool = new BufferPool({ size: 1000, max: 1 })
    const worker = await start(pool, task)
    const waits: number[] = []
    for (let turn = 0; turn < 100; turn++) {
      const before = performance.now()
      const buffer = await pool.acquireAsync()
      waits.push(performance.now() - before)
      pool.release(buffer)
      await sleep(1)
    }
    waits.sort((a, b) => a - b)
    t.log(`it waited ${waits[50]!.toFixed(1)} ms, at most ${waits.at(-1)!.toFixed(1)} ms`)
    t.true(waits[50]! < 20)
    await worker.terminate()
    pool.close()
  })
}

test.serial('a buffer that is reserved for a thread whose waiter leaves is anybody’s', async (t) => {
  const pool = new BufferPool({ size: 1000, max: 1 })
  const other = BufferPool.attach(pool.share())
  const buffer = pool.acquire()
  const controller = new AbortController()
  const waiting = other.acquireAsync({ signal: controller.signal })
  await sleep(120) // it has looked twice in vain
  pool.release(buffer)
  t.is(pool.stats().idle, 1)
  t.is(pool.tryAcquire(), undefined, 'it is reserved')
  controller.abort(new Error('no more'))
  await t.throwsAsync(waiting, { message: 'no more' })
  pool.release(pool.acquire())
  other.close()
  pool.close()
})
