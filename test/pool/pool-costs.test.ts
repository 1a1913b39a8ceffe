import test from 'ava'
import { BufferPool, Heap, PoolSet } from '../../lib/index.ts'
import { HOST } from '../../lib/lifetime/host.ts'

const LIMIT_BYTES = 2 ** 28
const PAIRS = 2000
const SIZE = 4096

/** What something takes: of the heap, of the system, and of operations that order memory. */
interface Takes {
  blocks: number
  frees: number
  syscalls: number
  atomics: number
}

const NOTHING: Takes = { blocks: 0, frees: 0, syscalls: 0, atomics: 0 }

/** Counts what `run` takes. Who uses it runs alone. */
function taken(heap: Heap, run: () => unknown): Takes {
  const counts = { ...NOTHING }
  const { hand } = heap[HOST].tiers
  const { take, empty } = hand
  hand.take = (...args) => {
    counts.blocks++
    return take.apply(hand, args)
  }
  hand.empty = () => {
    if (hand.block[0] !== 0) counts.frees++
    empty.call(hand)
  }
  const sum = () => Object.values(heap.stats().syscalls).reduce((all, calls) => all + calls, 0)
  const before = sum()
  const original = { ...Object.getOwnPropertyDescriptors(Atomics) }
  for (const name of Object.getOwnPropertyNames(Atomics)) {
    const operation = (Atomics as unknown as Record<string, unknown>)[name]
    if (typeof operation !== 'function') continue
    const value = (...args: unknown[]) => {
      counts.atomics++
      return Reflect.apply(operation, Atomics, args) as unknown
    }
    Object.defineProperty(Atomics, name, { configurable: true, value })
  }
  try {
    run()
  } finally {
    Object.defineProperties(Atomics, original)
    for (const name of ['take', 'empty']) delete (hand as unknown as Record<string, unknown>)[name]
  }
  counts.syscalls = sum() - before
  return counts
}

const open = () => {
  const heap = new Heap({ limitBytes: LIMIT_BYTES })
  return { heap, pool: new BufferPool({ heap, size: SIZE, trimMs: 0, leaks: 'off' }) }
}

function pairs(pool: BufferPool, count: number): void {
  for (let i = 0; i < count; i++) pool.release(pool.acquire())
}

test.serial('pairs of acquire and release take nothing once there is a buffer', (t) => {
  const { heap, pool } = open()
  t.deepEqual(
    { ...taken(heap, () => pairs(pool, 1)), atomics: 0, syscalls: 0 },
    { ...NOTHING, blocks: 2 },
    'it, and the roster'
  )
  t.deepEqual(
    taken(heap, () => pairs(pool, PAIRS)),
    NOTHING
  )
  const buffers = Array.from({ length: 100 }, () => pool.acquire())
  for (const buffer of buffers) pool.release(buffer)
  t.deepEqual(
    taken(heap, () => {
      const again = buffers.map(() => pool.acquire())
      for (const buffer of again) pool.release(buffer)
    }),
    NOTHING,
    'a hundred at once'
  )
  heap.close()
})

test.serial('so do leases, holds and tryAcquire, but for their words', (t) => {
  const { heap, pool } = open()
  pairs(pool, 1)
  const both = taken(heap, () => {
    for (let i = 0; i < PAIRS; i++) {
      pool.lease().release()
      pool.release(pool.tryAcquire()!)
      const buffer = pool.acquire()
      const letGo = pool.hold(buffer)!
      pool.release(buffer)
      letGo()
    }
  })
  t.deepEqual({ ...both, atomics: 0 }, NOTHING)
  heap.close()
})

test.serial('a block for each buffer, and all of them back by one trim', (t) => {
  const { heap, pool } = open()
  const buffers: Buffer[] = []
  const made = taken(heap, () => {
    for (let i = 0; i < 500; i++) buffers.push(pool.acquire())
  })
  t.deepEqual([made.blocks, made.frees], [500 + 6, 5], 'the roster grew from 16 to 512')
  for (const buffer of buffers.splice(0, 300)) pool.release(buffer)
  const live = heap.stats().liveBytes
  for (const [keep, count] of [
    [450, 50],
    [0, 250],
    [0, 0],
  ] as const) {
    const bytes: number[] = []
    t.is(taken(heap, () => bytes.push(pool.trim(keep))).frees, count)
    t.deepEqual(bytes, [count * SIZE])
  }
  t.is(live - heap.stats().liveBytes, 300 * SIZE)
  const rest = taken(heap, () => {
    for (const buffer of buffers) pool.release(buffer)
    pool.close()
  })
  t.is(rest.frees, 200 + 1)
  t.is(heap.stats().liveBytes, 0)
  heap.close()
})

test.serial('what was trimmed goes back to the system by three calls for the pages on each side of the roster', (t) => {
  const heap = new Heap({ limitBytes: LIMIT_BYTES })
  const pool = new BufferPool({ heap, size: 2 ** 20, trimMs: 0, leaks: 'off', idleBytes: 2 ** 30 })
  const buffers = Array.from({ length: 40 }, () => pool.acquire().fill(1))
  for (const buffer of buffers) pool.release(buffer)
  t.is(pool.trim(), 40 * 2 ** 20)
  const before = heap.stats()
  const released = heap.releaseFreeMemory()
  const after = heap.stats()
  const roster = 2 * 8192
  t.is(released, before.mappedBytes - before.pageHeapReleasedBytes - roster, 'all pages of the heap but two')
  t.is(released, 40 * 2 ** 20 + roster, 'those of a roster that the pool has outgrown too')
  // One for the pages that lie side by side, and two for the tables of them.
  t.deepEqual(after.syscalls, { ...before.syscalls, madvise: before.syscalls.madvise + 2 * 3 })
  t.is(after.pageHeapReleasedBytes, after.mappedBytes - roster)
  heap.close()
})

test.serial('a set takes as little as its pools', (t) => {
  const heap = new Heap({ limitBytes: LIMIT_BYTES })
  const pools = new PoolSet({ heap, sizes: [100, 5000], trimMs: 0, leaks: 'off' })
  const use = (count: number) => {
    for (let i = 0; i < count; i++) for (const size of [1, 100, 101, 5000]) pools.release(pools.acquire(size))
  }
  t.is(taken(heap, () => use(1)).blocks, 2 * 2)
  t.deepEqual(
    taken(heap, () => use(PAIRS)),
    NOTHING
  )
  heap.close()
})

test.serial('a shared pool takes no block and no call either, and four operations for each pair', (t) => {
  const { heap, pool } = open()
  pool.share()
  pairs(pool, 10)
  const { atomics, ...rest } = taken(heap, () => pairs(pool, PAIRS))
  t.deepEqual(rest, { blocks: 0, frees: 0, syscalls: 0 })
  t.is(atomics, 4 * PAIRS)
  heap.close()
})
