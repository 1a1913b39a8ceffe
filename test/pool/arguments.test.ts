import test from 'ava'
import { BufferPool, type PoolToken } from '../../lib/index.ts'
import { countsOf } from '../support/pools.ts'

const WRONG = [undefined, null, 7, '7', {}, [], true, 16n, Symbol('view'), () => 7]

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
