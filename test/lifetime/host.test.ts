import test from 'ava'
import { Arena, BufferPool, Channel, HandleTable, Heap } from '../../lib/index.ts'
import { HOST } from '../../lib/lifetime/host.ts'
import { ObjectState } from '../../lib/tcmalloc/object-state.ts'

type AttachTo = { heap?: Heap }

/** What threads share, made in a heap: its token, how it ends there, and how it is opened. */
const KINDS = {
  channel: (heap: Heap) => {
    const made = new Channel(heap)
    return { token: made.share(), end: () => made.close(), attach: Channel.attach }
  },
  'table of handles': (heap: Heap) => {
    const made = heap.handles()
    return { token: made.share(), end: () => made.close(), attach: HandleTable.attach }
  },
  arena: (heap: Heap) => {
    const made = heap.arena()
    return { token: made.share(), end: () => made.dispose(), attach: Arena.attach }
  },
  pool: (heap: Heap) => {
    const made = new BufferPool({ heap, size: 100 })
    return { token: made.share(), end: () => made.close(), attach: BufferPool.attach }
  },
}

for (const [name, make] of Object.entries(KINDS)) {
  test(`attach: a ${name} brings its heap along, and closes it with itself`, (t) => {
    using heap = new Heap()
    const { token, end, attach } = make(heap)
    const open = (options?: AttachTo) =>
      (attach as (token: unknown, options?: AttachTo) => Disposable)(structuredClone(token), options)
    const attached = open()
    t.is(heap.stats().threads, 2)
    attached[Symbol.dispose]()
    t.is(heap.stats().threads, 1)
    if (name !== 'arena') {
      open({ heap })[Symbol.dispose]()
      t.is(heap.stats().threads, 1, 'a heap that was given stays open')
      end()
    }
    t.throws(() => open(), { code: name === 'arena' ? 'ERR_HEAP_STALE_HANDLE' : 'ERR_HEAP_INVALID_TOKEN' })
    t.is(heap.stats().threads, 1, 'nor is one left open that was opened in vain')
  })

  test(`attach: a ${name} is found in its own heap alone`, (t) => {
    using heap = new Heap()
    using other = new Heap()
    const { token, end, attach } = make(heap)
    const open = (options: object, of: unknown = token) =>
      (attach as unknown as (token: unknown, options: object) => unknown)(of, options)
    t.throws(() => open({ heap: other }), { code: 'ERR_HEAP_INVALID_TOKEN' })
    t.throws(() => open({ heap: {} }), { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' })
    t.throws(() => open({ heaps: heap }), { instanceOf: TypeError, code: 'ERR_INVALID_ARG_VALUE' })
    t.throws(() => open({ heap }, { ...token, heap: undefined }), { code: 'ERR_HEAP_INVALID_TOKEN' })
    t.throws(() => open({}, null), { code: 'ERR_HEAP_INVALID_TOKEN' })
    end()
  })
}

const LIMIT_BYTES = 2 ** 26

test('pooled and watched blocks are live to audit and stats, and to views', (t) => {
  using heap = new Heap({ limitBytes: LIMIT_BYTES, leaks: 'all' })
  const blocks = Array.from({ length: 30 }, (_, i) => heap.allocBuffer(i * 997))
  const setPooled = (buffer: Buffer, pooled: boolean) => {
    const granule = heap.addressOf(buffer) / 16
    heap[HOST].buffers.unwatch(granule)
    heap[HOST].tiers.setState(granule, pooled ? ObjectState.Pooled : ObjectState.Live)
  }
  for (const buffer of blocks.slice(10, 20)) setPooled(buffer, true)
  heap.audit()
  heap.releaseFreeMemory()
  heap.audit()
  const live = blocks.reduce((sum, buffer) => sum + heap.usableSize(heap.addressOf(buffer)), 0)
  t.is(heap.stats().liveBytes, live)
  for (const buffer of blocks.slice(10, 20)) {
    t.throws(() => heap.free(heap.addressOf(buffer)), { code: 'ERR_HEAP_INVALID_ADDRESS' })
    t.throws(() => heap.realloc(heap.addressOf(buffer), 1), { code: 'ERR_HEAP_INVALID_ADDRESS' })
    t.throws(() => heap.realloc(heap.addressOf(buffer), 1_000_000), { code: 'ERR_HEAP_INVALID_ADDRESS' })
    setPooled(buffer, false)
  }
  for (const buffer of blocks) heap.freeBuffer(buffer)
  heap.audit()
  t.is(heap.stats().liveBytes, 0)
})
