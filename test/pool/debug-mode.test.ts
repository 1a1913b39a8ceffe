import { mkdtempSync, readFileSync } from 'node:fs'
import { open as openFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { BufferPool, Heap, type PoolOptions } from '../../lib/index.ts'
import { told } from '../support/told.ts'

const MIB = 2 ** 20
const openHeap = () => new Heap({ limitBytes: 64 * MIB, debug: true, leaks: 'off' })
const openPool = (options: Partial<PoolOptions> = {}) => {
  const heap = openHeap()
  return { heap, pool: new BufferPool({ heap, size: 100, leaks: 'off', ...options }) }
}
const write = (heap: Heap, address: number, value = 1) => {
  new Uint8Array(heap.buffer)[address] = value
}

for (const zero of [undefined, 'acquire', 'release'] as const) {
  test.serial(
    `zero: ${zero}. A buffer is a new object at each acquire, and a stale one has length 0 and can’t be released`,
    (t) => {
      const { heap, pool } = openPool(zero === undefined ? {} : { zero })
      const first = pool.acquire()
      const address = heap.addressOf(first)
      first.fill(7)
      pool.release(first)
      t.is(first.length, 0)
      const second = pool.acquire()
      t.is(heap.addressOf(second), address)
      t.not(second, first)
      if (zero !== undefined) t.true(second.every((byte) => byte === 0))
      const stale = told(() => pool.release(first))
      t.is(stale.error?.code, 'ERR_POOL_DOUBLE_RELEASE')
      t.regex(String(stale.error?.cause), /allocated\n/)
      t.like(stale.reports, [{ kind: 'wrong-free', address, bytes: 100 }])
      t.is(second.length, 100)
      pool.release(second)
      t.is(told(() => pool.release(second)).error?.code, 'ERR_POOL_DOUBLE_RELEASE')
      heap.audit()
      pool.close()
      heap.close()
    }
  )

  test.serial(
    `zero: ${zero}. A write to an idle buffer is found by its next acquire, and the one after that gets it`,
    (t) => {
      const { heap, pool } = openPool(zero === undefined ? {} : { zero })
      const buffer = pool.acquire()
      const address = heap.addressOf(buffer)
      pool.release(buffer)
      write(heap, address + 99)
      const { error, reports } = told(() => pool.acquire())
      t.is(error?.code, 'ERR_HEAP_CORRUPT')
      t.regex(String(error?.cause), /allocated\n[\s\S]*freed\n/)
      t.like(reports, [{ kind: 'write-after-free', address, offset: 99, bytes: 100 }])
      t.is(heap.addressOf(pool.acquire()), address)
      t.is(pool.stats().buffers, 1)
      pool.close()
      heap.close()
    }
  )
}

test.serial('a buffer that is watched for a leak is stale too once it was released', (t) => {
  const { heap, pool } = openPool({ leaks: 'all' })
  const first = pool.acquire()
  pool.release(first)
  const second = pool.acquire()
  t.is(told(() => pool.release(first)).error?.code, 'ERR_POOL_DOUBLE_RELEASE')
  t.is(second.length, 100)
  pool.release(second)
  const lease = pool.lease()
  t.is(told(() => pool.release(first)).error?.code, 'ERR_POOL_DOUBLE_RELEASE')
  lease.release()
  pool.close()
  heap.close()
})

test.serial('a write past a buffer’s end is thrown by its release, and it is the program’s still', (t) => {
  const { heap, pool } = openPool()
  const buffer = pool.acquire()
  write(heap, heap.addressOf(buffer) + 100)
  t.is(told(() => pool.release(buffer)).error?.code, 'ERR_HEAP_CORRUPT')
  t.is(buffer.length, 100)
  pool.release(buffer)
  // While it is idle nobody is there to throw to, but those who trim.
  write(heap, heap.addressOf(pool.acquire()) + 100)
  const { error, reports } = told(() => heap.audit())
  t.is(error?.code, 'ERR_HEAP_CORRUPT')
  t.is(reports.length, 1)
  pool.close()
  heap.close()
})

test.serial('what is wrong with a buffer that a lease ends with, or that is trimmed, is told and not thrown', (t) => {
  const { heap, pool } = openPool()
  const lease = pool.lease()
  const { buffer } = lease
  const address = heap.addressOf(buffer)
  write(heap, address + 101)
  const ended = told(() => lease.release())
  t.is(ended.error, undefined)
  t.like(ended.reports, [{ kind: 'overflow', address, offset: 101 }])
  t.is(buffer.length, 0)
  write(heap, address + 100)
  const trimmed = told(() => pool.trim())
  t.is(trimmed.error, undefined)
  t.like(trimmed.reports, [{ kind: 'overflow', address, offset: 100 }])
  t.is(pool.stats().buffers, 0)
  pool.close()
  t.is(heap.stats().liveBytes, 0)
  heap.close()
})

test.serial('a buffer that is released while it is written stays what it is until that is over', async (t) => {
  const { heap, pool } = openPool({ size: 100_000 })
  const path = join(mkdtempSync(join(tmpdir(), 'spanheap-')), 'file')
  const file = await openFile(path, 'w')
  const buffer = pool.acquire().fill(5)
  const written = pool.write(file, buffer)
  pool.release(buffer)
  t.is(buffer.length, 100_000)
  await written
  await file.close()
  t.is(buffer.length, 0)
  t.true(readFileSync(path).every((byte) => byte === 5))
  t.is(told(() => pool.release(buffer)).error?.code, 'ERR_POOL_DOUBLE_RELEASE')
  heap.audit()
  pool.close()
  heap.close()
})

test.serial('after the heap is closed a buffer is released without being looked at', (t) => {
  const { heap, pool } = openPool()
  const buffer = pool.acquire()
  heap.close()
  const { error, reports } = told(() => pool.release(buffer))
  t.true(error === undefined || error.code === 'ERR_POOL_CLOSED')
  t.deepEqual(reports, [])
})

test.serial('a pool that threads share: what one releases is a new object to the other, and stale here', (t) => {
  const { heap, pool } = openPool({ max: 1 })
  const token = pool.share()
  const other = Heap.attach(heap.share())
  const there = BufferPool.attach(token, { heap: other, leaks: 'off' })
  const first = pool.acquire()
  first.fill(3)
  const address = heap.addressOf(first)
  const seen = there.adopt(pool.pass(first))
  t.is(seen[0], 3)
  there.release(seen)
  t.is(seen.length, 0)
  const second = pool.acquire()
  t.not(second, first)
  t.is(heap.addressOf(second), address)
  t.is(told(() => pool.release(first)).error?.code, 'ERR_POOL_DOUBLE_RELEASE')
  pool.release(second)
  // It closes its heap with a lease, and releases that then: the buffer is poison, as it should be.
  const lease = there.lease()
  other.close()
  const late = told(() => {
    lease.release()
    pool.release(pool.acquire())
  })
  t.is(late.error, undefined)
  t.deepEqual(late.reports, [])
  pool.close()
  heap.close()
})
