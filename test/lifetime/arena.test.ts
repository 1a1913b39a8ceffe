import test from 'ava'
import { Arena, type ArenaToken, Heap } from '../../lib/index.ts'
import { HOST } from '../../lib/lifetime/host.ts'

const MIB = 2 ** 20
const STALE = { code: 'ERR_HEAP_STALE_HANDLE' }
const WRONG_TYPE = { code: 'ERR_INVALID_ARG_TYPE' }
const OUT_OF_RANGE = { code: 'ERR_OUT_OF_RANGE' }

test('allocations follow one another, aligned, and end together', (t) => {
  const heap = new Heap({ limitBytes: 256 * MIB })
  {
    using arena = heap.arena()
    const first = arena.malloc(1)
    t.is(first % 16, 0)
    t.is(arena.malloc(17), first + 16)
    t.is(arena.malloc(0), first + 48)
    t.is(arena.malloc(16), first + 64)
    t.is(arena.malloc(8, 4096) % 4096, 0)
    t.is(arena.malloc(8, 1) % 16, 0)
    const buffer = arena.allocBuffer(100)
    t.true(Buffer.isBuffer(buffer))
    t.is(buffer.length, 100)
    t.is(arena.allocArray(Float64Array, 10).fill(1.5).length, 10)
    t.true(arena.isOpen)
    heap.audit()
    t.is(heap.stats().liveBytes, 65536)
  }
  t.is(heap.stats().liveBytes, 0)
  heap.audit()
})

test('chunks double up to a MiB, and what is longer has one of its own', (t) => {
  const heap = new Heap({ limitBytes: 256 * MIB })
  const arena = heap.arena()
  const sizes: number[] = []
  let before = 0
  for (let i = 0; i < 4 * 2 ** 17; i += 64) {
    arena.malloc(1024)
    const { liveBytes } = heap.stats()
    if (liveBytes > before) sizes.push(liveBytes - before)
    before = liveBytes
  }
  t.deepEqual(
    sizes.slice(0, 6),
    [1, 2, 4, 8, 16, 16].map((times) => times * 65536)
  )
  arena.malloc(5 * MIB)
  t.is(heap.stats().liveBytes, before + 5 * MIB)
  arena.dispose()
  t.is(heap.stats().liveBytes, 0)
})

test('nothing in it can be freed alone, nor its chunks', (t) => {
  const heap = new Heap()
  using arena = heap.arena()
  const chunk = arena.malloc(10)
  const inner = arena.malloc(10)
  const buffer = arena.allocBuffer(10)
  for (const call of [
    () => heap.free(chunk),
    () => heap.free(inner),
    () => heap.freeBuffer(buffer),
    () => heap.realloc(chunk, 100),
    () => heap.realloc(inner, 100),
  ])
    t.throws(call, { code: 'ERR_HEAP_INVALID_ADDRESS' })
  heap.audit()
})

test('after its end it allocates nothing, also where its slot is another arena’s', (t) => {
  const heap = new Heap()
  const arena = heap.arena()
  const mark = arena.mark()
  arena.malloc(10)
  arena.dispose()
  const other = heap.arena()
  for (const call of [
    () => arena.malloc(10),
    () => arena.malloc(10, 64),
    () => arena.allocBuffer(10),
    () => arena.allocArray(Int8Array, 10),
    () => arena.arena(),
    () => arena.mark(),
    () => arena.rewind(mark),
    () => arena.share(),
  ])
    t.throws(call, STALE)
  t.false(arena.isOpen)
  arena.dispose()
  arena[Symbol.dispose]()
  t.true(other.isOpen)
  other.dispose()
  heap.audit()
})

test('an arena of an arena ends with it', (t) => {
  const heap = new Heap()
  const parent = heap.arena()
  parent.malloc(100)
  const children = [1, 2, 3].map(() => parent.arena())
  const grandchild = children[1]!.arena()
  for (const arena of [...children, grandchild]) arena.malloc(100)
  children[2]!.dispose()
  children[2]!.dispose()
  t.is(parent.malloc(100) > 0, true)
  t.is(heap.stats().liveBytes, 4 * 65536)
  parent.dispose()
  for (const arena of [...children, grandchild]) t.throws(() => arena.malloc(1), STALE)
  t.is(heap.stats().liveBytes, 0)
  grandchild.dispose()
  heap.audit()
})

test('back to a mark', (t) => {
  const heap = new Heap()
  using arena = heap.arena()
  const start = arena.mark()
  t.is(start, 0)
  arena.rewind(0)
  const first = arena.malloc(100)
  const mark = arena.mark()
  const second = arena.malloc(100)
  for (let i = 0; i < 100; i++) arena.malloc(50_000)
  const held = heap.stats().liveBytes
  arena.rewind(mark)
  t.true(heap.stats().liveBytes < held)
  t.is(arena.mark(), mark)
  t.is(arena.malloc(100), second)
  t.throws(() => arena.rewind(arena.mark() + 16), OUT_OF_RANGE)
  arena.rewind(start)
  t.is(arena.malloc(1), first)
  heap.audit()
})

test('a limit counts what is handed out', (t) => {
  const heap = new Heap()
  using arena = heap.arena({ limitBytes: 100_000 })
  arena.malloc(60_000)
  t.throws(() => arena.malloc(60_000), { code: 'ERR_HEAP_OUT_OF_MEMORY' })
  const mark = arena.mark()
  arena.malloc(40_000)
  t.throws(() => arena.malloc(1), { code: 'ERR_HEAP_OUT_OF_MEMORY' })
  arena.rewind(mark)
  arena.malloc(39_984)
  arena.malloc(16)
  t.throws(() => arena.malloc(0), { code: 'ERR_HEAP_OUT_OF_MEMORY' })
  using little = heap.arena({ limitBytes: 20 })
  little.malloc(16)
  t.throws(() => little.malloc(1), { code: 'ERR_HEAP_OUT_OF_MEMORY' })
})

test('by tag, in the statistics', (t) => {
  const heap = new Heap()
  const arena = heap.arena({ tag: 'request' })
  const owners = () => heap.stats({ detail: true }).owners
  t.deepEqual(owners(), [{ tag: 'request', buffers: 0, bytes: 0 }])
  arena.malloc(10)
  t.deepEqual(owners(), [{ tag: 'request', buffers: 1, bytes: 65536 }])
  t.is(arena.tag, 'request')
  arena.dispose()
  t.deepEqual(owners(), [])
})

test('what ends with its parent, or by another, is kept nowhere', (t) => {
  const heap = new Heap()
  const { local } = heap[HOST].arenas as unknown as { local: Set<Arena> }
  for (let i = 0; i < 2000; i++) {
    const arena = heap.arena()
    arena.arena({ tag: 'child' }).malloc(1)
    arena.dispose()
    if (local.size > 66) t.fail(`${local.size} arenas are kept`)
  }
  t.deepEqual(heap.stats({ detail: true }).owners, [])
  t.is(local.size, 0)
  const arena = heap.arena({ tag: 'other' })
  Arena.attach(arena.share(), { heap }).dispose()
  t.deepEqual(heap.stats({ detail: true }).owners, [])
})

test('opened by a token it can be ended, and not allocated from', (t) => {
  const heap = new Heap()
  const arena = heap.arena()
  arena.malloc(100)
  const token = structuredClone(arena.share())
  const other = Arena.attach(token, { heap })
  t.throws(() => other.malloc(1), { code: 'ERR_HEAP_UNSUPPORTED' })
  t.throws(() => other.arena(), { code: 'ERR_HEAP_UNSUPPORTED' })
  t.throws(() => other.mark(), { code: 'ERR_HEAP_UNSUPPORTED' })
  const { arena: place, generation } = other.share()
  t.deepEqual([place, generation], [token.arena, token.generation])
  other.dispose()
  t.throws(() => arena.malloc(1), STALE)
  t.throws(() => Arena.attach(token, { heap }), STALE)
  t.is(heap.stats().liveBytes, 0)
  arena.dispose()
})

test('tokens that are none', (t) => {
  const heap = new Heap()
  using arena = heap.arena()
  const token = arena.share()
  const INVALID = { code: 'ERR_HEAP_INVALID_TOKEN' }
  for (const wrong of [undefined, null, 1, {}, { arena: 'x' }, { ...token, arena: 65 }, { ...token, arena: 2 ** 20 }])
    t.throws(() => Arena.attach(wrong as ArenaToken, { heap }), INVALID)
  using other = new Heap()
  t.throws(() => Arena.attach(token, { heap: other }), INVALID)
  t.throws(() => Arena.attach(token, { heap: {} as Heap }), WRONG_TYPE)
})

test('wrong arguments', (t) => {
  using heap = new Heap()
  using arena = heap.arena()
  for (const make of [heap.arena.bind(heap), arena.arena.bind(arena)]) {
    t.throws(() => make(null as never), WRONG_TYPE)
    t.throws(() => make({ tag: 1 as never }), WRONG_TYPE)
    t.throws(() => make({ limitBytes: 0 }), OUT_OF_RANGE)
    t.throws(() => make({ limitBytes: '1' as never }), WRONG_TYPE)
    t.throws(() => make({ chunkBytes: 65535 }), OUT_OF_RANGE)
    t.throws(() => make({ owner: 'me' as never }), OUT_OF_RANGE)
  }
  for (const size of [-1, 0.5, Number.NaN, 2 ** 53]) {
    t.throws(() => arena.malloc(size), OUT_OF_RANGE)
    t.throws(() => arena.allocBuffer(size), OUT_OF_RANGE)
    t.throws(() => arena.allocArray(Int8Array, size), OUT_OF_RANGE)
    t.throws(() => arena.rewind(size), OUT_OF_RANGE)
  }
  for (const size of ['1', undefined, null]) {
    t.throws(() => arena.malloc(size as never), WRONG_TYPE)
    t.throws(() => arena.rewind(size as never), WRONG_TYPE)
  }
  for (const alignment of [0, 3, 8192, -16]) t.throws(() => arena.malloc(1, alignment), OUT_OF_RANGE)
  t.throws(() => arena.malloc(1, '16' as never), WRONG_TYPE)
  t.throws(() => arena.allocArray(Object as never, 1), WRONG_TYPE)
  t.throws(() => arena.rewind(8), OUT_OF_RANGE)
  t.throws(() => arena.malloc(2 ** 40), { code: 'ERR_HEAP_OUT_OF_MEMORY' })
})

test('after the heap was closed', (t) => {
  const heap = new Heap()
  const arena = heap.arena()
  arena.malloc(10)
  heap.close()
  for (const call of [() => arena.malloc(10), () => arena.mark(), () => arena.arena(), () => heap.arena()])
    t.throws(call, { code: 'ERR_HEAP_CLOSED' })
  t.false(arena.isOpen)
  arena.dispose()
})

test('closed in one thread, and open in another: that thread’s own arenas end, and the others allocate nothing', (t) => {
  const heap = new Heap()
  const attached = Heap.attach(heap.share())
  const own = attached.arena({ owner: 'worker' })
  const anybodys = attached.arena()
  own.malloc(10)
  anybodys.malloc(10)
  const token = anybodys.share()
  attached.close()
  t.is(heap.stats().liveBytes, 65536)
  t.throws(() => anybodys.malloc(10), { code: 'ERR_HEAP_CLOSED' })
  Arena.attach(token, { heap }).dispose()
  t.is(heap.stats().liveBytes, 0)
  heap.audit()
})

test('so many may be open at once', (t) => {
  const heap = new Heap()
  const parent = heap.arena()
  t.throws(
    () => {
      for (;;) parent.arena()
    },
    { code: 'ERR_HEAP_OUT_OF_MEMORY', message: /at most 16376/ }
  )
  parent.dispose()
  using again = heap.arena()
  again.malloc(1)
  heap.audit()
})

test('a class that makes no typed array takes nothing of an arena', (t) => {
  using heap = new Heap({ limitBytes: 2 ** 26 })
  using arena = heap.arena()
  for (const bytes of [100, 200_000]) {
    const before = arena.mark()
    class None {
      readonly isNone = true
      static readonly BYTES_PER_ELEMENT = 1
    }
    t.throws(() => arena.allocArray(None as never, bytes), { code: 'ERR_INVALID_ARG_TYPE' })
    t.is(arena.mark(), before)
    class Greedy {
      static readonly BYTES_PER_ELEMENT = 1
      readonly address = arena.malloc(16)
    }
    t.throws(() => arena.allocArray(Greedy as never, bytes), { code: 'ERR_INVALID_ARG_TYPE' })
    t.true(arena.mark() > before, 'what it has allocated stays')
  }
})
