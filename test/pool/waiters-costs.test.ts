import { getEventListeners } from 'node:events'
import test from 'ava'
import { BufferPool } from '../../lib/index.ts'

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
