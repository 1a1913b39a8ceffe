import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import { BufferPool, Heap } from '../../lib/index.ts'
import { HeapModel, occupancyFor } from '../support/model.ts'
import { decode, MOST_CODE } from '../support/operations.ts'
import { Random } from '../support/random.ts'
import { rightUse } from '../support/right-use.ts'
import { told } from '../support/told.ts'

const MIB = 2 ** 20
const ROUNDS = 1000
/** To repeat a run by hand. */
const SEED = Number(process.env.SPANHEAP_DEBUG_SEED ?? 1 + (Date.now() % 1_000_000))

const open = () => new Heap({ limitBytes: 1024 * MIB, debug: true, leaks: 'off' })

/** A size, and what is wrong with a block of it, at random. */
function misuses(heap: Heap, pool: BufferPool, random: Random) {
  const bytes = new Uint8Array(heap.buffer)
  const size = () => random.pick([1, 15, 16, 100, 1000, 5000, 70_000]) + random.below(20)
  /** Another value than a byte has. */
  const scribble = (address: number) => {
    bytes[address] = bytes[address]! ^ (1 + random.below(255))
  }
  return {
    'use after free': () => {
      const length = size()
      const address = heap.malloc(length)
      heap.free(address)
      scribble(address + random.below(length))
      return () => heap.audit()
    },
    'double free': () => {
      const address = random.below(2) === 0 ? heap.malloc(size()) : heap.addressOf(heap.allocBuffer(size()))
      heap.free(address)
      for (let i = random.below(5); i > 0; i--) heap.free(heap.malloc(size()))
      return () => heap.free(address)
    },
    'double free of a buffer': () => {
      const buffer = heap.allocBuffer(size())
      heap.freeBuffer(buffer)
      return () => heap.freeBuffer(buffer)
    },
    'stale release': () => {
      const stale = pool.acquire()
      pool.release(stale)
      const out = Array.from({ length: 1 + random.below(3) }, () => pool.acquire())
      return () => {
        try {
          pool.release(stale)
        } finally {
          for (const buffer of out) pool.release(buffer)
        }
      }
    },
    'overflow by one byte': () => {
      const length = size()
      const isBuffer = random.below(2) === 0
      const buffer = isBuffer ? heap.allocBuffer(length) : undefined
      const address = buffer === undefined ? heap.malloc(length) : heap.addressOf(buffer)
      scribble(address + length)
      return () => {
        try {
          if (buffer === undefined) heap.free(address)
          else heap.freeBuffer(buffer)
        } finally {
          heap.free(address)
        }
      }
    },
    'write through a stale view after acquire': () => {
      const stale = pool.acquire()
      const address = heap.addressOf(stale)
      pool.release(stale)
      const next = pool.acquire().fill(7)
      stale[0] = 9 // goes nowhere
      if (stale.length !== 0 || next.some((byte) => byte !== 7)) throw new Error('the stale view wrote')
      pool.release(next)
      scribble(address + random.below(pool.size))
      // The pool's last buffer is its next.
      return () => pool.acquire()
    },
  }
}

for (const kind of Object.keys(misuses(open(), undefined as never, new Random(1))) as (keyof ReturnType<
  typeof misuses
>)[]) {
  test.serial(`1,000 random ones of: ${kind}. All are found`, (t) => {
    const heap = open()
    const pool = new BufferPool({ heap, size: 300, leaks: 'off' })
    const random = new Random(SEED)
    const misuse = misuses(heap, pool, random)[kind]
    for (let round = 0; round < ROUNDS; round++) {
      const { error: early } = told(() => rightUse(heap, pool, random, 3))
      const { error, reports } = told(misuse())
      if (early !== undefined || error === undefined || reports.length !== 1) {
        t.fail(`seed ${SEED}, round ${round}: ${early?.stack ?? `${error} was thrown, ${reports.length} told`}`)
        return
      }
    }
    heap.audit()
    t.pass()
    pool.close()
    heap.close()
  })
}

test.serial('1,000 rounds of right use on two threads: nothing is invented', async (t) => {
  t.timeout(10 * 60_000)
  const heap = open()
  const pool = new BufferPool({ heap, size: 300, max: 64, leaks: 'off' })
  const token = pool.share()
  const worker = new Worker(fileURLToPath(new URL('../children/debug-model.js', import.meta.url)), {
    workerData: { token, rounds: ROUNDS, seed: SEED + 1 },
  })
  // Both from the start: on a busy machine the message comes with the exit.
  const reported = Promise.all([once(worker, 'message'), once(worker, 'exit')])
  const random = new Random(SEED)
  const { error, reports } = told(() => {
    for (let round = 0; round < ROUNDS; round++) rightUse(heap, pool, random, 10)
    heap.audit()
  })
  const [[there]] = await reported
  t.is(error, undefined, `seed ${SEED}: ${error?.stack} ${error?.cause}`)
  t.deepEqual(reports, [])
  t.deepEqual(there, [], `seed ${SEED}`)
  heap.audit()
  pool.close()
  t.is(heap.stats().liveBytes, 0)
  heap.close()
})

test.serial('a heap in debug mode does what the reference does', (t) => {
  const occupied = occupancyFor(1024 * MIB)
  const random = new Random(SEED)
  for (const cacheBytes of [32 * MIB, 0]) {
    const heap = new Heap({ limitBytes: 1024 * MIB, debug: true, leaks: 'off', cacheBytes })
    const model = new HeapModel(heap, 2 ** 30, occupied)
    t.notThrows(() => {
      model.play(Array.from({ length: 1500 }, () => decode(random.below(MOST_CODE + 1))))
      model.finish()
    }, `seed ${SEED}`)
    heap.close()
  }
})
