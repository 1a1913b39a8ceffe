import test from 'ava'
import { BufferPool } from '../../lib/index.ts'

const DONT_RELEASE = /^the buffer at \d+ belongs to a lease or a read loop, which gives it back: don't release it$/

test('a lease’s buffer goes back by the lease alone', (t) => {
  using pool = new BufferPool({ size: 100 })
  const lease = pool.lease()
  t.throws(() => pool.release(lease.buffer), { code: 'ERR_POOL_LEASED', message: DONT_RELEASE })
  t.throws(() => pool.pass(lease.buffer), { code: 'ERR_POOL_LEASED' })
  const { buffer } = lease
  lease.release()
  t.throws(() => lease.release(), { code: 'ERR_POOL_DOUBLE_RELEASE' })
  t.throws(() => lease.buffer, { code: 'ERR_HEAP_STALE_HANDLE' })
  t.throws(() => lease.retain(), { code: 'ERR_HEAP_STALE_HANDLE' })
  t.throws(() => pool.release(buffer), { code: 'ERR_POOL_DOUBLE_RELEASE' })
})
