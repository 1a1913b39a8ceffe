import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import { BufferPool, Heap } from '../../lib/index.ts'
import { HOST } from '../../lib/lifetime/host.ts'
import type { StrangerCall, StrangerData } from '../children/views-in-other-workers.ts'
import { childScript } from '../support/child.ts'
import { countsOf } from '../support/pools.ts'

const LIMIT_BYTES = 2 ** 26

/** Views of all that a heap and its pools hand out, each filled with a byte of its own. */
function handOut(heap: Heap) {
  const pool = new BufferPool({ heap, size: 100, trimMs: 0 })
  const other = new BufferPool({ heap, size: 100, trimMs: 0 })
  const token = pool.share()
  const [acquired, idle] = [pool.acquire(), pool.acquire()]
  pool.release(idle)
  const lease = pool.lease() // takes what was just released
  const free = pool.acquire()
  pool.release(free)
  const views = {
    acquired,
    leased: lease.buffer,
    free,
    others: other.acquire(),
    block: heap.allocBuffer(100),
    watched: heap.allocBuffer(100, { tag: 'watched' }),
    part: acquired.subarray(16),
    elsewhere: Buffer.alloc(100),
  }
  const entries = Object.entries(views) as [keyof typeof views, Buffer][]
  for (const [i, [name, view]] of entries.entries()) if (name !== 'part') view.fill(i + 1)
  const contents = entries.map(([name, view]) => [name, Buffer.from(view)] as const)
  return { pool, other, token, lease, views, entries, contents }
}

type Held = ReturnType<typeof handOut>
type Name = keyof Held['views']

/** Starts a worker, and makes calls there. */
function start(heap: Heap, data: StrangerData) {
  const worker = new Worker(childScript('views-in-other-workers'), { workerData: data })
  const call = async (of: StrangerCall['of'], name: string, view: ArrayBufferView): Promise<unknown> => {
    const answer = once(worker, 'message')
    const { byteOffset, byteLength } = view
    const buffer = view.buffer === heap[HOST].memory.current ? heap.buffer : view.buffer
    worker.postMessage({ of, name, view: { buffer, byteOffset, byteLength } } satisfies StrangerCall)
    return ((await answer) as [unknown])[0]
  }
  return { worker, call }
}

/** What each call of a worker's comes to, by view, where all come to the same. */
type Expected = (held: Held) => Record<string, Partial<Record<Name, unknown>>>

const ALL: readonly Name[] = ['acquired', 'leased', 'free', 'others', 'block', 'watched', 'part', 'elsewhere']
const each = (names: readonly Name[], outcome: unknown) =>
  Object.fromEntries(names.map((name) => [name, outcome])) as Partial<Record<Name, unknown>>
const allBut = (...names: Name[]) => ALL.filter((name) => !names.includes(name))

const heapCalls = (outcomes: Partial<Record<Name, unknown>>) => ({
  'heap.freeBuffer': outcomes,
})
const OURS = allBut('part', 'elsewhere')

/** What is known of a view in a worker that has the heap open, and not the pool. */
const byHeap = ({ views }: Held) => ({
  ...heapCalls(each(allBut('block', 'watched'), 'ERR_HEAP_INVALID_ADDRESS')),
  'heap.addressOf': {
    ...each(['part', 'elsewhere'], 'ERR_HEAP_INVALID_ADDRESS'),
    ...Object.fromEntries(OURS.map((name) => [name, views[name].byteOffset])),
  },
  'heap.unwatch': { ...each(['part', 'elsewhere'], 'ERR_HEAP_INVALID_ADDRESS'), ...each(OURS, undefined) },
})

const cases: Record<string, { data: (heap: Heap, held: Held) => StrangerData; expected: Expected }> = {
  'a heap and a pool of its own': {
    data: () => ({}),
    expected: () => ({
      ...heapCalls(each(ALL, 'ERR_HEAP_INVALID_ADDRESS')),
      'heap.addressOf': each(ALL, 'ERR_HEAP_INVALID_ADDRESS'),
      'heap.unwatch': each(ALL, 'ERR_HEAP_INVALID_ADDRESS'),
      'pool.release': each(ALL, 'ERR_POOL_FOREIGN_BUFFER'),
      'pool.pass': each(ALL, 'ERR_POOL_FOREIGN_BUFFER'),
      'pool.hold': each(ALL, undefined),
      'pool.leaseOf': each(ALL, undefined),
      'set.release': each(ALL, 'ERR_POOL_FOREIGN_BUFFER'),
    }),
  },
  'the heap, and a pool of its own over it': {
    data: (heap) => ({ heap: heap.share() }),
    expected: (held) => ({
      ...byHeap(held),
      'pool.release': each(ALL, 'ERR_POOL_FOREIGN_BUFFER'),
      'pool.pass': each(ALL, 'ERR_POOL_FOREIGN_BUFFER'),
      'pool.hold': each(ALL, undefined),
      'pool.leaseOf': each(ALL, undefined),
    }),
  },
  'the pool': {
    data: (heap, { token }) => ({ heap: heap.share(), pool: token }),
    expected: (held) => {
      const release = {
        ...each(['others', 'block', 'watched', 'part', 'elsewhere'], 'ERR_POOL_FOREIGN_BUFFER'),
        leased: 'ERR_POOL_LEASED',
        free: 'ERR_POOL_DOUBLE_RELEASE',
      }
      return {
        ...byHeap(held),
        'pool.release': release,
        'pool.pass': release,
        'pool.hold': { ...each(['others', 'block', 'watched', 'elsewhere'], undefined), leased: 'ERR_POOL_LEASED' },
        'pool.leaseOf': each(ALL, undefined),
      }
    },
  },
  'the pool, closed with its heap': {
    data: (heap, { token }) => ({ heap: heap.share(), pool: token, isClosed: true }),
    expected: () => ({
      ...heapCalls(each(ALL, 'ERR_HEAP_CLOSED')),
      'heap.addressOf': each(ALL, 'ERR_HEAP_CLOSED'),
      'heap.unwatch': each(ALL, 'ERR_HEAP_CLOSED'),
      'pool.release': each(ALL, 'ERR_POOL_CLOSED'),
      'pool.pass': each(ALL, 'ERR_POOL_CLOSED'),
      'pool.hold': each(ALL, undefined),
      'pool.leaseOf': each(ALL, undefined),
      'set.release': each(ALL, 'ERR_POOL_CLOSED'),
    }),
  },
}

for (const [title, { data, expected }] of Object.entries(cases)) {
  test(`a view that comes to a worker which has ${title}`, async (t) => {
    const heap = new Heap({ limitBytes: LIMIT_BYTES })
    const held = handOut(heap)
    const before = countsOf(held.pool)
    const { worker, call } = start(heap, data(heap, held))
    t.teardown(() => worker.terminate())
    for (const [method, outcomes] of Object.entries(expected(held))) {
      const [of, name] = method.split('.') as [StrangerCall['of'], string]
      for (const [which, outcome] of Object.entries(outcomes))
        t.deepEqual(await call(of, name, held.views[which as Name]), outcome, `${method} of ${which}`)
    }
    t.deepEqual(countsOf(held.pool), before, 'nothing has changed')
    for (const [name, bytes] of held.contents) t.deepEqual(held.views[name], bytes, name)
    await worker.terminate()
    held.lease.release()
    held.pool.release(held.views.acquired)
    held.other.release(held.views.others)
    for (const view of [held.views.block, held.views.watched]) heap.freeBuffer(view)
    held.pool.close()
    held.other.close()
    heap.audit()
    t.is(heap.stats().liveBytes, 0)
    heap.close()
  })
}

test('a worker that has the pool releases what another acquired, and is told the second time; so is the other', async (t) => {
  const heap = new Heap({ limitBytes: LIMIT_BYTES })
  const pool = new BufferPool({ heap, size: 100, trimMs: 0 })
  const { worker, call } = start(heap, { heap: heap.share(), pool: pool.share() })
  const buffer = pool.acquire()
  t.is(await call('pool', 'release', buffer), undefined)
  t.is(await call('pool', 'release', buffer), 'ERR_POOL_DOUBLE_RELEASE')
  t.is(await call('pool', 'pass', buffer), 'ERR_POOL_DOUBLE_RELEASE')
  t.is(await call('pool', 'hold', buffer), 'ERR_POOL_DOUBLE_RELEASE')
  t.throws(() => pool.release(buffer), { code: 'ERR_POOL_DOUBLE_RELEASE' })
  const block = heap.allocBuffer(100)
  t.is(await call('heap', 'freeBuffer', block), undefined)
  t.is(await call('heap', 'freeBuffer', block), 'ERR_HEAP_DOUBLE_FREE')
  t.throws(() => heap.freeBuffer(block), { code: 'ERR_HEAP_DOUBLE_FREE' })
  await worker.terminate()
  pool.close()
  heap.close()
})

/** A DOMException, which ava doesn't take for an error. */
function cloneErrorOf(value: unknown): unknown {
  try {
    return structuredClone(value)
  } catch (error) {
    return (error as Error).name
  }
}

test("heaps, pools, sets and leases themselves can't be sent", (t) => {
  using pool = new BufferPool({ size: 100 })
  using lease = pool.lease()
  for (const value of [pool, pool.heap, lease]) t.is(cloneErrorOf(value), 'DataCloneError')
  t.is(lease.references, 1)
})
