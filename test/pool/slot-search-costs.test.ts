import test from 'ava'
import { BufferPool } from '../../lib/index.ts'
import { callsOf } from '../support/atomics-calls.ts'

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
