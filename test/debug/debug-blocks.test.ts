import test from 'ava'
import type { Heap, HeapOptions } from '../../lib/index.ts'
import { GrowableMapper } from '../../lib/os/growable-mapper.ts'
import { SimulatedMapper } from '../../lib/testing/index.ts'
import { open, write } from '../support/debug-heaps.ts'
import { told } from '../support/told.ts'

const MIB = 2 ** 20

interface System {
  name: string
  open: (options?: HeapOptions) => Heap
}

const SYSTEMS: System[] = [
  { name: 'native', open },
  { name: 'simulated', open: (options) => open({ mapper: new SimulatedMapper(), ...options }) },
  {
    name: 'simulated, where released pages have any contents',
    open: (options) => open({ mapper: new SimulatedMapper({ releaseZeroes: false }), ...options }),
  },
  { name: 'without the addon', open: (options) => open({ mapper: new GrowableMapper(), ...options }) },
]

for (const { name, open } of SYSTEMS) {
  test.serial(
    `${name}: a write past the end is told and thrown by the free, once, and the block is live after it`,
    (t) => {
      const heap = open()
      for (const size of [0, 1, 15, 16, 100, 4096, 300_000]) {
        for (const offset of [size, size + 7]) {
          const address = heap.malloc(size)
          write(heap, address + offset)
          const { error, reports } = told(() => heap.free(address))
          t.is(error?.code, 'ERR_HEAP_CORRUPT', `size ${size}`)
          t.is(error?.address, address)
          t.regex(String(error?.cause), /allocated\n.*debug-blocks\.test\.js/)
          t.is(reports.length, 1)
          const { allocated, ...report } = reports[0]!
          t.deepEqual(report, { kind: 'overflow', address, bytes: size, offset, tag: undefined, freed: undefined })
          t.regex(allocated!, /debug-blocks\.test\.js/)
          t.is(heap.usableSize(address), size)
          heap.audit()
          heap.free(address)
        }
      }
      t.is(heap.stats().liveBytes, 0)
      heap.close()
    }
  )

  test.serial(
    `${name}: a write after the free is found when the block leaves quarantine, or the heap is looked at`,
    (t) => {
      const heap = open()
      const address = heap.malloc(100)
      heap.free(address)
      write(heap, address + 37)
      const { error, reports } = told(() => heap.audit())
      t.is(error?.code, 'ERR_HEAP_CORRUPT')
      t.regex(String(error?.cause), /allocated\n[\s\S]*debug-blocks\.test\.js[\s\S]*freed\n.*debug-blocks\.test\.js/)
      t.like(reports, [{ kind: 'write-after-free', address, bytes: 100, offset: 37 }])
      heap.audit() // it is poison again
      write(heap, address, 0)
      const live = heap.malloc(5 * MIB)
      const frees: number[] = []
      const found = told(() => {
        for (let i = 0; i < 10; i++) {
          frees.push(heap.malloc(5 * MIB))
          heap.free(frees[i]!)
        }
      })
      t.is(found.error?.code, 'ERR_HEAP_CORRUPT', 'a free that needs its room')
      t.like(found.reports, [{ kind: 'write-after-free', address, offset: 0 }])
      heap.free(frees.at(-1)!) // what wasn't freed can be
      heap.free(live)
      t.is(heap.stats().liveBytes, 0)
      heap.audit()
      heap.close()
    }
  )

  test.serial(`${name}: a second free, and one of a part of a block, are told with what is known of the block`, (t) => {
    const heap = open()
    const address = heap.malloc(100)
    heap.free(address)
    const twice = told(() => heap.free(address))
    t.is(twice.error?.code, 'ERR_HEAP_DOUBLE_FREE')
    t.regex(String(twice.error?.cause), /allocated\n[\s\S]*freed\n/)
    t.like(twice.reports, [{ kind: 'wrong-free', address, bytes: 100 }])
    t.is(twice.reports.length, 1)
    t.is(told(() => heap.realloc(address, 5)).reports.length, 1)
    const other = heap.malloc(100)
    t.is(told(() => heap.free(other + 16)).error?.code, 'ERR_HEAP_INVALID_ADDRESS')
    t.is(told(() => heap.free(0)).error?.code, 'ERR_HEAP_INVALID_ADDRESS')
    for (const wrong of [undefined, null, 'x', {}, -1, 0.5, Number.NaN]) {
      const { error, reports } = told(() => heap.free(wrong as number))
      t.regex(String(error?.code), /ERR_INVALID_ARG_TYPE|ERR_OUT_OF_RANGE|ERR_HEAP_INVALID_ADDRESS/)
      t.true(reports.length <= 1)
    }
    for (const wrong of [undefined, null, 'x', {}, 5, Buffer.alloc(10), new DataView(new ArrayBuffer(8))]) {
      const { error } = told(() => heap.freeBuffer(wrong as Buffer))
      t.regex(String(error?.code), /ERR_INVALID_ARG_TYPE|ERR_HEAP_INVALID_ADDRESS/)
    }
    heap.free(other)
    heap.close()
    for (const call of [
      () => heap.malloc(1),
      () => heap.calloc(1, 1),
      () => heap.realloc(address, 1),
      () => heap.alignedAlloc(64, 1),
      () => heap.free(address),
      () => heap.usableSize(address),
      () => heap.view(address),
      () => heap.allocBuffer(1),
      () => heap.audit(),
    ])
      t.is(told(call).error?.code, 'ERR_HEAP_CLOSED')
  })

  test.serial(`${name}: all sizes and ways to allocate are as they should be, and nothing is invented`, (t) => {
    const heap = open()
    const { error, reports } = told(() => {
      const blocks: number[] = []
      for (const size of [0, 1, 16, 17, 1000, 70_000, 300_000, 2 * MIB]) {
        for (const address of [
          heap.malloc(size),
          heap.calloc(1, size),
          heap.alignedAlloc(256, size),
          heap.alignedAlloc(8, size),
          heap.realloc(heap.malloc(5), size),
        ]) {
          t.is(heap.usableSize(address), size)
          t.is(heap.view(address).length, size)
          heap.view(address).fill(0xff)
          blocks.push(address)
        }
        t.true(heap.view(blocks.at(-4)!).every((byte) => byte === 0xff))
      }
      for (const address of blocks.splice(0)) heap.free(address)
      const long = heap.malloc(20 * MIB) // longer than the quarantine
      heap.view(long).fill(7)
      heap.free(long)
      t.deepEqual([...new Set(heap.view(heap.calloc(1, 20 * MIB)))], [0])
      heap.releaseFreeMemory()
      heap.audit()
    })
    t.is(error, undefined)
    t.deepEqual(reports, [])
    heap.close()
  })

  test.serial(`${name}: a close frees all, and then throws the first of what is wrong`, (t) => {
    const heap = open()
    const [over, after] = [heap.malloc(10), heap.malloc(10)]
    write(heap, over + 10)
    heap.free(after)
    write(heap, after)
    const { error, reports } = told(() => heap.close())
    t.is(error?.code, 'ERR_HEAP_CORRUPT')
    t.deepEqual(reports.map(({ kind }) => kind).sort(), ['overflow', 'write-after-free'])
    t.is(told(() => heap.malloc(1)).error?.code, 'ERR_HEAP_CLOSED')
    t.is(told(() => heap.close()).error, undefined)
  })

  test.serial(`${name}: memory of the quarantine is there when nothing else is`, (t) => {
    const heap = open({ limitBytes: 8 * MIB })
    for (let i = 0; i < 50; i++) heap.free(heap.malloc(2 * MIB))
    for (let i = 0; i < 50; i++) heap.arena().malloc(100_000)
    const big = heap.malloc(2 * MIB)
    heap.free(big)
    write(heap, big + 5)
    const { error } = told(() => heap.malloc(7 * MIB))
    t.regex(String(error?.code), /ERR_HEAP_CORRUPT|ERR_HEAP_OUT_OF_MEMORY/)
    t.is(told(() => heap.malloc(70 * MIB)).error?.code, 'ERR_HEAP_OUT_OF_MEMORY')
    t.is(told(() => heap.malloc(70 * MIB)).error?.requested, 70 * MIB)
    heap.close()
  })
}
