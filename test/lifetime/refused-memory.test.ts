import test from 'ava'
import { type HandleTable, Heap } from '../../lib/index.ts'
import { SimulatedMapper } from '../../lib/testing/index.ts'
import { exhaust, fillUp, OUT_OF_MEMORY, withOneRetry } from '../support/refusals.ts'

const MIB = 2 ** 20

test('whichever system call is refused, blocks, handles and arenas say so, and all goes on', (t) => {
  let refused = 0
  for (let call = 1; call <= 20; call++) {
    const mapper = new SimulatedMapper({ refuseCall: call })
    const heap = withOneRetry(() => new Heap({ limitBytes: 256 * MIB, mapper }))
    const table = withOneRetry(() => heap.handles())
    const arena = withOneRetry(() => heap.arena())
    const child = withOneRetry(() => arena.arena())
    const handles = Array.from({ length: 1000 }, (_, i) => withOneRetry(() => table.alloc(i)))
    const blocks = [64, 5000, 400_000, 3 * MIB].map((size) => withOneRetry(() => heap.block(size, { zero: true })))
    for (const size of [64, 5000, 400_000, 3 * MIB, 70 * MIB, 100]) withOneRetry(() => arena.malloc(size))
    const mark = arena.mark()
    withOneRetry(() => child.malloc(2 * MIB))
    withOneRetry(() => arena.malloc(2 * MIB))
    heap.audit()
    arena.rewind(mark)
    t.true(handles.every((handle, i) => table.view(handle).length === i))
    for (const handle of handles) table.free(handle)
    for (const block of blocks) block.free()
    arena.dispose()
    table.close()
    heap.releaseFreeMemory()
    t.is(heap.stats().liveBytes, 0, `call ${call} refused`)
    heap.audit()
    refused += mapper.ring().filter(({ errno }) => errno !== undefined).length
  }
  t.true(refused >= 10, `only ${refused} calls were refused`)
})

test('a system that is out of memory refuses each call until it has some again', (t) => {
  const mapper = new SimulatedMapper()
  const heap = new Heap({ limitBytes: 64 * MIB, mapper })
  const table = heap.handles()
  const arena = heap.arena()
  const handle = table.alloc(64)
  arena.malloc(64)
  exhaust(mapper)
  fillUp(t, 3000, () => arena.malloc(3000))
  fillUp(t, 64, () => heap.block(64))
  t.throws(() => table.alloc(3000), OUT_OF_MEMORY)
  t.throws(() => heap.block(2 * MIB), OUT_OF_MEMORY)
  t.throws(() => heap.arena().malloc(1), OUT_OF_MEMORY)
  const tables: HandleTable[] = []
  fillUp(t, 1280, () => tables.push(heap.handles()))
  t.true(table.isLive(handle))
  heap.audit()
  mapper.limitBytes = Number.POSITIVE_INFINITY
  arena.malloc(3000)
  table.free(table.alloc(3000))
  arena.dispose()
  for (const one of [table, ...tables]) one.close()
  heap.audit()
})
