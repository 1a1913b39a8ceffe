import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import test from 'ava'
import { Heap } from '../../lib/index.ts'
import { open, write } from '../support/debug-heaps.ts'
import { collectGarbage } from '../support/garbage.ts'
import { told } from '../support/told.ts'

test.serial('tagged and watched buffers, arrays and blocks are found wrong as others are', (t) => {
  const heap = open({ leaks: 'all' })
  const buffer = heap.allocBuffer(100, { tag: 'request', zero: true, alignment: 64 })
  const address = heap.addressOf(buffer)
  write(heap, address + 100)
  const { error, reports } = told(() => heap.freeBuffer(buffer))
  t.is(error?.code, 'ERR_HEAP_CORRUPT')
  t.like(reports, [{ kind: 'overflow', address, tag: 'request', bytes: 100, offset: 100 }])
  t.is(buffer.length, 100)
  t.is(heap.stats({ detail: true }).owners[0]?.buffers, 1, 'and watched still')
  heap.freeBuffer(buffer)
  const array = heap.allocArray(Float64Array, 3)
  write(heap, heap.addressOf(array) + 24)
  t.throws(() => heap.freeBuffer(array), { code: 'ERR_HEAP_CORRUPT' })
  heap.freeBuffer(array)
  t.is(array.length, 0)
  const block = heap.block(10)
  const { bytes } = block
  write(heap, block.address + 10)
  t.throws(() => block.free(), { code: 'ERR_HEAP_CORRUPT' })
  t.true(block.isLive)
  block.free()
  t.is(bytes.length, 0)
  t.is(heap.stats().liveBytes, 0)
  heap.close()
})

test.serial('an isolated buffer’s end is looked at when it is freed, and when V8 has collected it', async (t) => {
  const heap = open()
  const freed = heap.allocBuffer(100, { isolated: true })
  const address = heap.addressOf(freed)
  write(heap, address + 100)
  t.like(
    told(() => t.throws(() => heap.freeBuffer(freed), { code: 'ERR_HEAP_CORRUPT' })),
    {
      reports: [{ kind: 'overflow', address, bytes: 100, offset: 100 }],
    }
  )
  t.is(freed.length, 100)
  heap.freeBuffer(freed)
  t.is(freed.length, 0)
  t.is(told(() => heap.freeBuffer(freed)).error?.code, 'ERR_HEAP_DOUBLE_FREE')
  t.is(heap.stats().liveBytes, 0)

  const drop = () => {
    for (let i = 0; i < 3; i++) write(heap, heap.addressOf(heap.allocBuffer(64, { isolated: true })) + 70)
  }
  const warnings: Error[] = []
  const listen = (warning: Error) => warnings.push(warning)
  process.on('warning', listen)
  drop()
  for (let i = 0; i < 20 && heap.stats().liveBytes > 0; i++) await collectGarbage()
  await new Promise((resolve) => setImmediate(resolve))
  process.off('warning', listen)
  t.is(heap.stats().liveBytes, 0)
  t.is(warnings.filter(({ name, message }) => name === 'MisuseWarning' && message.includes('byte 70')).length, 3)
  heap.audit()
  heap.close()
})

test.serial('a buffer that is passed ends for who passes it, and its end is looked at by who frees it', (t) => {
  const heap = open()
  const other = Heap.attach(heap.share(), { leaks: 'off' })
  const buffer = heap.allocBuffer(100).fill(7)
  const address = heap.addressOf(buffer)
  const passed = heap.pass(buffer)
  t.is(buffer.length, 0)
  t.is(told(() => heap.freeBuffer(buffer)).error?.code, 'ERR_HEAP_DOUBLE_FREE')
  const adopted = other.adopt(passed)
  t.true(adopted.length === 100 && adopted.every((byte) => byte === 7))
  write(heap, address + 100)
  t.like(
    told(() => t.throws(() => other.freeBuffer(adopted), { code: 'ERR_HEAP_CORRUPT' })),
    {
      reports: [{ kind: 'overflow', address, bytes: 100, offset: 100, allocated: undefined }],
    }
  )
  other.freeBuffer(adopted)
  t.is(adopted.length, 0)
  heap.audit()
  t.is(heap.stats().liveBytes, 0)
  other.close()
  heap.close()
})

test.serial('records, handles, arenas and channels live, and what is wrong with their blocks is told', async (t) => {
  const heap = open()
  const table = heap.handles({ max: 100 })
  const handle = table.alloc(50)
  write(heap, table.address(handle) + 50)
  // Behind the call, in whose middle a subscriber could do harm.
  const reported: unknown[] = []
  const listen = (report: unknown) => reported.push(report)
  subscribe('spanheap:misuse', listen)
  table.free(handle)
  await Promise.resolve()
  unsubscribe('spanheap:misuse', listen)
  t.like(reported, [{ kind: 'overflow', bytes: 50 }])
  const { error, reports } = told(() => {
    const arena = heap.arena()
    for (let i = 0; i < 100; i++) arena.allocBuffer(10_000).fill(1)
    arena.dispose()
    table.close()
    for (let i = 0; i < 100; i++) heap.free(heap.malloc(300_000))
    heap.audit()
  })
  t.is(error, undefined)
  t.deepEqual(reports, [])
  t.is(heap.stats().liveBytes, 0)
  heap.close()
})
