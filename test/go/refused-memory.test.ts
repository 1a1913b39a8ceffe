import test from 'ava'
import type { Address } from '../../lib/base/allocator.ts'
import type { AllocatorError } from '../../lib/base/errors.ts'
import { GoHeap } from '../../lib/go/index.ts'
import { openMapper } from '../../lib/os/open-mapper.ts'
import { SimulatedMapper } from '../../lib/os/simulated-mapper.ts'
import {
  clearsWhatWasNotTakenBack,
  exhaust,
  fillUp,
  keepsWhatCantMove,
  OUT_OF_MEMORY,
  tellsLimitFromSystem,
  withOneRetry,
} from '../support/refusals.ts'
import { WatchedMapper } from '../support/watched-mapper.ts'

const MIB = 2 ** 20
/** Small and large ones: tables grow, the heap grows, spans are carved. */
const SIZES = [64, 5000, 30_000, 100_000, 2 * MIB, 70 * MIB]

test('whichever system call is refused, the heap says so, is as it was, and goes on', (t) => {
  let refused = 0
  for (let call = 1; refused === call - 1; call++) {
    const mapper = new WatchedMapper(openMapper({}), call)
    using heap = withOneRetry(() => new GoHeap({ limitBytes: 512 * MIB, mapper, gcPercent: -1 }))
    const live: Address[] = []
    const scope = heap.scope()
    for (const size of SIZES) {
      const block = withOneRetry(() => heap.calloc(1, size))
      const type = heap.defineType({ size, pointers: [0, 8] })
      const object = withOneRetry(() => heap.allocate(type))
      heap.audit()
      for (const address of [block, object]) {
        const view = heap.view(address, size)
        if (view[0] !== 0 || view[size - 1] !== 0) t.fail(`${size} bytes aren’t cleared`)
        view[16] = view[size - 1] = 0x2e
      }
      heap.setPointer(object, 8, object)
      live.push(block, object)
    }
    heap.audit()
    heap.collect()
    for (const [i, address] of live.entries()) {
      const view = heap.view(address, SIZES[i >> 1]!)
      if (view[16] !== 0x2e || view.at(-1) !== 0x2e) t.fail(`what is at ${address} has changed`)
      if (i % 2 === 0) heap.free(address)
      else if (heap.getPointer(address, 8) !== address) t.fail(`the pointer at ${address} has changed`)
    }
    scope[Symbol.dispose]()
    withOneRetry(() => heap.allocate(heap.defineType({ size: 8, pointers: [] })))
    heap.collect()
    heap.releaseFreeMemory()
    heap.releaseFreeMemory()
    const { liveBytes, mappedBytes, pageHeapReleasedBytes } = heap.stats()
    t.is(liveBytes, 16, 'the newest object')
    t.is(pageHeapReleasedBytes, mappedBytes - 8192, `call ${call} refused`)
    heap.audit()
    if (mapper.calls >= call) refused++
  }
  t.true(refused >= 25, `only ${refused} calls were refused`)
})

test('a heap that can’t be made leaves nothing mapped', (t) => {
  let refused = 0
  for (let call = 1; call < 30; call++) {
    const mapper = new WatchedMapper(new SimulatedMapper(), call)
    try {
      new GoHeap({ limitBytes: 8 * MIB, mapper }).close()
    } catch (error) {
      t.is((error as AllocatorError).code, 'ERR_HEAP_OUT_OF_MEMORY')
      refused++
    }
    t.is(mapper.held.size, 0, `call ${call}`)
  }
  t.true(refused >= 5 && refused < 29)
})

test('a refused call is not in the counts, and the heap is as it was', (t) => {
  const mapper = new SimulatedMapper()
  using heap = new GoHeap({ limitBytes: 64 * MIB, mapper })
  heap.malloc(64)
  const type = heap.defineType({ size: 64, pointers: [0] })
  const before = heap.stats()
  exhaust(mapper)
  t.throws(() => heap.malloc(4 * MIB), OUT_OF_MEMORY)
  t.throws(() => heap.allocate(type, 65_536), OUT_OF_MEMORY)
  const after = heap.stats()
  // The span that was cached has become one in a list.
  const moved = before.threadCacheBytes - after.threadCacheBytes
  t.deepEqual(
    { ...after, threadCacheBytes: 0, centralCacheBytes: after.centralCacheBytes - moved },
    {
      ...before,
      threadCacheBytes: 0,
    }
  )
  heap.audit()
})

for (const size of [64, 20_000, 100_000, 3 * MIB]) {
  test(`a system that is out of memory for ${size} bytes refuses each call until it has some again`, (t) => {
    const mapper = new SimulatedMapper()
    using heap = new GoHeap({ limitBytes: 128 * MIB, mapper, gcPercent: -1 })
    heap.malloc(64)
    const type = heap.defineType({ size, pointers: [0] })
    const scope = heap.scope()
    exhaust(mapper)
    const blocks: Address[] = []
    const objects: Address[] = []
    for (const fill of [() => blocks.push(heap.malloc(size)), () => objects.push(heap.allocate(type))]) {
      fillUp(t, size, fill)
    }
    // One kind has the rest of the other's spans, if there is any.
    t.throws(() => heap.calloc(1, size), OUT_OF_MEMORY)
    t.throws(() => heap.realloc(0, size), OUT_OF_MEMORY)
    t.throws(() => heap.alignedAlloc(4096, 8 * size), OUT_OF_MEMORY)
    t.throws(() => heap.allocate(type, 8), OUT_OF_MEMORY)
    heap.audit()
    for (const address of objects) heap.setPointer(address, 0, objects[0]!)

    mapper.limitBytes = Number.POSITIVE_INFINITY
    for (let i = 0; i < 4; i++) {
      blocks.push(heap.malloc(size))
      objects.push(heap.allocate(type))
    }
    heap.collect()
    for (const address of objects) t.true(heap.usableSize(address) >= size)
    for (const address of blocks) heap.free(address)
    scope[Symbol.dispose]()
    heap.collect()
    t.is(heap.memStats().HeapObjects, 2, 'the newest, and the first block')
    heap.audit()
  })
}

test('after the system has refused, the limit and an overflow are still told from it', (t) => {
  const mapper = new SimulatedMapper()
  using heap = new GoHeap({ limitBytes: 64 * MIB, mapper })
  const type = heap.defineType({ size: 64, pointers: [0] })
  tellsLimitFromSystem(t, heap, mapper, [
    () => heap.allocate(type, 2 ** 40),
    () => heap.allocate(type, Number.MAX_SAFE_INTEGER),
    () => heap.allocate(type, 2 * MIB),
  ])
  heap.audit()
})

test('a block that realloc has no memory for keeps its place and its bytes', (t) => {
  const mapper = new SimulatedMapper()
  keepsWhatCantMove(t, new GoHeap({ limitBytes: 64 * MIB, mapper }), mapper)
})

test('pages that the system does not take back stay, and their contents are no secret of what comes next', (t) => {
  const mapper = new SimulatedMapper()
  using heap = new GoHeap({ limitBytes: 64 * MIB, mapper })
  const type = heap.defineType({ size: MIB, pointers: [] })
  const cleared = clearsWhatWasNotTakenBack(t, heap, mapper)
  heap.view(cleared).fill(0xff)
  heap.free(cleared)
  const object = heap.allocate(type, 3)
  t.is(object, cleared)
  t.is(Buffer.compare(heap.view(object), Buffer.alloc(3 * MIB)), 0)
  heap.audit()
})

for (const refusing of ['limit', 'system']) {
  test(`before the ${refusing} refuses, dead objects make room: for others, and for blocks from malloc`, (t) => {
    const mapper = new SimulatedMapper()
    using heap = new GoHeap({ limitBytes: refusing === 'limit' ? 4 * MIB : 64 * MIB, mapper, gcPercent: -1 })
    heap.free(heap.malloc(3 * MIB))
    if (refusing === 'system') exhaust(mapper)
    const types = [
      heap.defineType({ size: 1000, pointers: [0] }),
      heap.defineType({ size: 1000, pointers: [] }),
      heap.defineType({ size: 40_000, pointers: [0] }),
      heap.defineType({ size: 5, pointers: [] }),
    ]
    for (let i = 0; i < 60_000; i++) heap.allocate(types[i % 100 === 0 ? 2 : i % 4 === 2 ? 3 : i % 4]!)
    const { NumGC, NumForcedGC } = heap.memStats()
    t.true(NumGC > 0 && NumGC < 200, `${NumGC} collections`)
    t.is(NumForcedGC, NumGC, 'gcPercent is off')
    // The newest may lie in the middle.
    const most = heap.stats().mappedBytes / 2 - 100_000
    heap.free(heap.malloc(most))
    t.true(heap.memStats().NumGC <= NumGC + 1)

    const scope = heap.scope()
    let held = 0
    t.throws(() => {
      for (;;) held += heap.allocate(types[0]!) > 0 ? 1 : 0
    }, OUT_OF_MEMORY)
    t.true(held * 1024 > most, `${held} objects`)
    heap.audit()
    t.throws(() => heap.malloc(most), OUT_OF_MEMORY)
    t.is(heap.memStats().HeapObjects, held)
    scope[Symbol.dispose]()
    // One after the other, since the newest stays.
    heap.allocate(types[3]!)
    heap.free(heap.malloc(most))
    heap.audit()
  })
}

test('what only a collection can make room for needs no root of its own while it is made', (t) => {
  using heap = new GoHeap({ limitBytes: 4 * MIB, gcPercent: -1 })
  const node = heap.defineType({ size: 100_000, pointers: [0, 8] })
  let newest = heap.allocate(node)
  heap.setPointer(newest, 8, newest)
  for (let i = 0; i < 500; i++) {
    // The newest is kept through the collection that the next one may need, and may then be linked to it.
    const next = heap.allocate(node)
    t.throws(() => heap.getPointer(newest + 8, 0), { code: 'ERR_HEAP_INVALID_ADDRESS' })
    if (heap.usableSize(next) < 100_000 || heap.view(next).some((byte) => byte !== 0)) t.fail(`object ${i}`)
    heap.setPointer(next, 8, next)
    newest = next
  }
  t.true(heap.memStats().NumGC > 5)
  heap.audit()
})

test('a limit below a system page leaves room for nothing', (t) => {
  using heap = new GoHeap({ limitBytes: 8192, mapper: new SimulatedMapper({ systemPageSize: 65_536 }) })
  t.throws(() => heap.malloc(1), OUT_OF_MEMORY)
  t.throws(() => heap.allocate(heap.defineType({ size: 8, pointers: [] })), OUT_OF_MEMORY)
  heap.collect()
  t.is(heap.releaseFreeMemory(), 0)
  heap.audit()
})

test('a heap of one page has just that page to give', (t) => {
  using heap = new GoHeap({ limitBytes: 8192, gcPercent: -1 })
  const address = heap.malloc(1000)
  t.is(heap.stats().mappedBytes, 8192)
  const type = heap.defineType({ size: 24, pointers: [0] })
  t.throws(() => heap.malloc(16), OUT_OF_MEMORY)
  t.throws(() => heap.allocate(type), OUT_OF_MEMORY)
  heap.free(address)
  const object = heap.allocate(type)
  t.throws(() => heap.malloc(16), OUT_OF_MEMORY)
  t.is(heap.usableSize(object), 24)
  for (let i = 0; i < 1000; i++) heap.allocate(type)
  heap.audit()
})
