/**
 * What each option trades, for docs/tuning.md: every setting in processes of its own, which take turns; the best time of each, and the
 * bytes of the last.
 *
 *     node dist/tools/bench/single/options.js [--processes 3] [--only releaseRate,zero]
 */
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import Table from 'cli-table3'
import { BufferPool, Channel, Heap, type HeapOptions, type PoolOptions } from 'spanheap'
import { FreeListHeap } from 'spanheap/freelist'
import { GoHeap } from 'spanheap/go'
import { struct, u8, u32 } from 'spanheap/struct'

const KIB = 1024
const MIB = 1024 * KIB
const GIB = 1024 * MIB

/** Figures by their names; a name ends in its unit. */
type Figures = Record<string, number>
/** One setting of an option, and what it comes to. */
type Setting = () => Figures | Promise<Figures>

/** Nanoseconds for one of `count` calls, the best of seven rounds after two that warm up. */
function nanoseconds(count: number, round: () => void): number {
  let best = Number.POSITIVE_INFINITY
  for (let i = 0; i < 9; i++) {
    const start = process.hrtime.bigint()
    round()
    const taken = Number(process.hrtime.bigint() - start) / count
    if (i >= 2) best = Math.min(best, taken)
  }
  return best
}

/** One of 10 000 blocks of up to 1 KiB is replaced at random, each time. */
function replaced(options: HeapOptions): Figures {
  const heap = new Heap(options)
  const blocks = Array.from({ length: 10_000 }, (_, i) => heap.malloc(i % KIB))
  let random = 1
  const count = 200_000
  const ns = nanoseconds(count, () => {
    for (let i = 0; i < count; i++) {
      random = (Math.imul(random, 1_664_525) + 1_013_904_223) >>> 0
      const at = random % blocks.length
      heap.free(blocks[at]!)
      blocks[at] = heap.malloc(random >>> 22)
    }
  })
  return { 'replace a block, ns': ns }
}

/** 4000 blocks of 1 KiB are allocated, then all freed. */
function bursts(cacheBytes: number): Figures {
  const heap = new Heap({ cacheBytes })
  const blocks: number[] = []
  const ns = nanoseconds(4000, () => {
    for (let i = 0; i < 4000; i++) blocks.push(heap.malloc(KIB))
    while (blocks.length > 0) heap.free(blocks.pop()!)
  })
  return { 'malloc and free of 4000 × 1 KiB, ns': ns, 'cached, MiB': heap.stats().threadCacheBytes / MIB }
}

/** 512 MiB in blocks of 64 KiB are filled and freed at random; then a quarter of that, again and again. */
function released(releaseRate: number): Figures {
  const heap = new Heap({ releaseRate, limitBytes: GIB })
  const take = (count: number) => {
    const blocks = Array.from({ length: count }, () => heap.malloc(64 * KIB))
    for (const address of blocks) heap.view(address, 64 * KIB).fill(1)
    for (const address of blocks) heap.free(address)
  }
  take(8192)
  const start = performance.now()
  for (let round = 0; round < 10; round++) take(2048)
  const milliseconds = (performance.now() - start) / 10
  return {
    '128 MiB filled and freed, ms': milliseconds,
    'resident after it, MiB': heap.residentBytes()! / MIB,
    'madvise calls': heap.stats().syscalls.madvise,
  }
}

function limited(limitBytes: number): Figures {
  const start = performance.now()
  const heaps = Array.from({ length: 20 }, () => new Heap({ limitBytes }))
  const us = ((performance.now() - start) / 20) * 1000
  const [heap] = heaps
  return {
    'construction, µs': us,
    'addresses reserved, MiB': heap!.stats().reservedBytes / MIB,
    'resident, KiB': heap!.residentBytes()! / KIB,
  }
}

function buffers(heapOptions: HeapOptions, options?: Parameters<Heap['allocBuffer']>[1], count = 20_000): Figures {
  const heap = new Heap(heapOptions)
  const ns = nanoseconds(count, () => {
    for (let i = 0; i < count; i++) heap.freeBuffer(heap.allocBuffer(4096, options))
  })
  return { 'allocBuffer(4096) and freeBuffer, ns': ns }
}

/** A page is given back and taken again, which are two system calls at least. */
function recorded(options: HeapOptions): Figures {
  const heap = new Heap(options)
  const ns = nanoseconds(2000, () => {
    for (let i = 0; i < 2000; i++) {
      heap.free(heap.malloc(2 * MIB))
      heap.releaseFreeMemory()
    }
  })
  heap.close()
  return { 'a release of 2 MiB, µs': ns / 1000 }
}

function pool(options: Partial<PoolOptions>, atOnce = 1, isShared = false): Figures {
  const buffers = new BufferPool({ size: 64 * KIB, ...options } as PoolOptions)
  if (isShared) buffers.share()
  const held: Buffer[] = []
  const count = Math.max(atOnce, 20_000)
  const ns = nanoseconds(count, () => {
    for (let i = 0; i < count; i += atOnce) {
      for (let j = 0; j < atOnce; j++) held.push(buffers.acquire())
      while (held.length > 0) buffers.release(held.pop()!)
    }
  })
  const { bytes } = buffers.stats()
  buffers.close()
  return { [`acquire and release, ${atOnce} at once, ns`]: ns, 'kept, MiB': bytes / MIB }
}

/** 100 buffers are acquired and released after a quiet time, in which all but `min` went back to the heap. */
function woken(options: Partial<PoolOptions>): Figures {
  const buffers = new BufferPool({ size: 64 * KIB, trimMs: 0, ...options })
  const held: Buffer[] = []
  let best = Number.POSITIVE_INFINITY
  for (let round = 0; round < 200; round++) {
    buffers.trim(options.min ?? 0)
    const start = process.hrtime.bigint()
    for (let i = 0; i < 100; i++) held.push(buffers.acquire())
    best = Math.min(best, Number(process.hrtime.bigint() - start) / 100)
    while (held.length > 0) buffers.release(held.pop()!)
  }
  buffers.trim(options.min ?? 0)
  return { 'acquire after a trim, ns': best, 'kept, MiB': buffers.stats().bytes / MIB }
}

async function sent(capacity: number): Promise<Figures> {
  const heap = new Heap()
  const channel = new Channel(heap, { capacity })
  const count = 50_000
  const start = performance.now()
  const receiving = (async () => {
    for await (const buffer of channel) heap.freeBuffer(buffer)
  })()
  for (let i = 0; i < count; i++) await channel.send(heap.view(heap.malloc(64)))
  channel.end()
  await receiving
  return { 'a message from one task to another, ns': ((performance.now() - start) / count) * 1e6 }
}

function handles(max: number): Figures {
  const heap = new Heap()
  const before = heap.stats().liveBytes
  heap.handles({ max })
  return { 'table, KiB': (heap.stats().liveBytes - before) / KIB }
}

function arenas(chunkBytes: number): Figures {
  const heap = new Heap()
  const ns = nanoseconds(10_000, () => {
    const arena = heap.arena({ chunkBytes })
    for (let i = 0; i < 10_000; i++) arena.malloc(64)
    arena.dispose()
  })
  const before = heap.stats().liveBytes
  heap.arena({ chunkBytes }).malloc(64)
  return { 'one of 10 000 blocks of 64, ns': ns, 'an arena of one block, KiB': (heap.stats().liveBytes - before) / KIB }
}

/** A list of 100 000 nodes stays; three million more come and go. */
function collected(options: { gcPercent?: number; memoryLimit?: number }): Figures {
  let [cycles, milliseconds] = [0, 0]
  const heap = new GoHeap({
    ...options,
    onCycle: ({ totalMs }) => {
      cycles++
      milliseconds += totalMs
    },
  })
  const node = heap.defineType({ size: 64, pointers: [0] })
  const root = heap.addRoot(heap.allocate(node))
  let last = root
  last = heap.allocate(node)
  heap.addRoot(last)
  for (let i = 0; i < 100_000; i++) {
    const next = heap.allocate(node)
    heap.setPointer(last, 0, next)
    last = next
  }
  for (let i = 0; i < 3_000_000; i++) heap.allocate(node)
  return { cycles, 'in collections, ms': milliseconds, 'mapped at the peak, MiB': heap.stats().peakMappedBytes / MIB }
}

function searched(options: ConstructorParameters<typeof FreeListHeap>[0]): Figures {
  const heap = new FreeListHeap({ limitBytes: 256 * MIB, ...options })
  const blocks = Array.from({ length: 2000 }, (_, i) => heap.malloc(i % KIB))
  const { mmap } = heap.stats().syscalls
  const ns = nanoseconds(2000, () => {
    for (let i = 0; i < 2000; i++) {
      const at = (i * 7919) % 2000
      heap.free(blocks[at]!)
      blocks[at] = heap.malloc((i * 31) % KIB)
    }
  })
  return { 'replace one of 2000 blocks, ns': ns, 'mmap calls': mmap }
}

/** A list of 1000 objects stays; 300 000 come and go. */
function scanned(collectAfterBytes: number): Figures {
  const heap = new FreeListHeap({ limitBytes: GIB, search: 'free', collectAfterBytes })
  const mutator = heap.mutator()
  const type = mutator.defineType({ size: 64, references: [0] })
  let last = mutator.allocate(type)
  for (let i = 0; i < 1000; i++) {
    const next = mutator.allocate(type)
    next.setReference(0, last)
    last.dispose()
    last = next
  }
  const start = performance.now()
  for (let i = 0; i < 300_000; i++) mutator.allocate(type).dispose()
  const milliseconds = performance.now() - start
  return { '300 000 objects, ms': milliseconds, 'mapped at the peak, MiB': heap.stats().peakMappedBytes / MIB }
}

function written(make: (heap: Heap) => { length: number; cursor(): { move(index: number): { n: number } } }): Figures {
  const records = make(new Heap())
  const cursor = records.cursor()
  const ns = nanoseconds(records.length * 100, () => {
    for (let round = 0; round < 100; round++) for (let i = 0; i < records.length; i++) cursor.move(i).n = i
  })
  return { 'a write through a cursor, ns': ns }
}

const fields = { flag: u32, n: u32 }

/** By option, and by setting as it is written. */
const OPTIONS: Readonly<Record<string, Readonly<Record<string, Setting>>>> = {
  limitBytes: { '64 MiB': () => limited(64 * MIB), '4 GiB': () => limited(4 * GIB), '32 GiB': () => limited(32 * GIB) },
  'no cache': { '32 MiB': () => replaced({}), 0: () => replaced({ cacheBytes: 0 }) },
  cacheBytes: { '256 KiB': () => bursts(256 * KIB), '1 MiB': () => bursts(MIB), '32 MiB': () => bursts(32 * MIB) },
  releaseRate: { 0: () => released(0), 1: () => released(1), 100: () => released(100), 10000: () => released(10_000) },
  leaks: {
    "'off'": () => buffers({ leaks: 'off' }),
    "'sampled'": () => buffers({ leaks: 'sampled' }),
    "'all'": () => buffers({ leaks: 'all' }, undefined, 500),
  },
  ledger: {
    none: () => recorded({}),
    '{ ring: 1000 }': () => recorded({ ledger: { ring: 1000 } }),
    '{ file }': () => recorded({ ledger: { file: '/dev/null' } }),
  },
  allocBuffer: {
    'no options': () => buffers({ leaks: 'off' }),
    'zero: true': () => buffers({ leaks: 'off' }, { zero: true }),
    'alignment: 4096': () => buffers({ leaks: 'off' }, { alignment: 4096 }),
    "tag: 'x'": () => buffers({ leaks: 'off' }, { tag: 'x' }, 2000),
  },
  idleBytes: { '16 MiB': () => pool({}, 1000), '64 MiB': () => pool({ idleBytes: 64 * MIB }, 1000) },
  zero: {
    false: () => pool({}),
    "'acquire'": () => pool({ zero: 'acquire' }),
    "'release'": () => pool({ zero: 'release' }),
  },
  'leaks of a pool': { "'off'": () => pool({ leaks: 'off' }), "'all'": () => pool({ leaks: 'all' }) },
  'share()': { 'not called': () => pool({}), called: () => pool({}, 1, true) },
  capacity: { 1: () => sent(1), 64: () => sent(64), 1024: () => sent(1024) },
  max: { 1000: () => handles(1000), '2^20': () => handles(2 ** 20), '2^24': () => handles(2 ** 24) },
  chunkBytes: { '64 KiB': () => arenas(64 * KIB), '1 MiB': () => arenas(MIB) },
  gcPercent: {
    25: () => collected({ gcPercent: 25 }),
    100: () => collected({}),
    400: () => collected({ gcPercent: 400 }),
  },
  memoryLimit: {
    none: () => collected({ gcPercent: 400 }),
    '16 MiB': () => collected({ gcPercent: 400, memoryLimit: 16 * MIB }),
  },
  search: { "'all'": () => searched({}), "'free'": () => searched({ search: 'free' }) },
  growth: {
    "'exact'": () => searched({ growth: 'exact' }),
    '{ percent: 25 }': () => searched({}),
    '{ step: 1 MiB }': () => searched({ growth: { step: MIB } }),
  },
  collectAfterBytes: { '1 MiB': () => scanned(MIB), '32 MiB': () => scanned(32 * MIB) },
  min: { 0: () => woken({}), 100: () => woken({ min: 100 }) },
  'alignment of a pool': { 16: () => woken({}), 4096: () => woken({ alignment: 4096 }) },
  endian: {
    "'native'": () => written((heap) => struct(fields).array(heap, 1000)),
    "'big'": () => written((heap) => struct(fields, { endian: 'big' }).array(heap, 1000)),
  },
  packed: {
    false: () => written((heap) => struct(fields).array(heap, 1000)),
    true: () => written((heap) => struct({ odd: u8, ...fields }, { packed: true }).array(heap, 1000)),
  },
}

const { values } = parseArgs({
  options: { processes: { type: 'string', default: '3' }, only: { type: 'string' }, child: { type: 'string' } },
})
if (values.child !== undefined) {
  const [option, setting] = JSON.parse(values.child) as [string, string]
  console.log(JSON.stringify(await OPTIONS[option]![setting]!()))
} else {
  const wanted = values.only?.split(',') ?? Object.keys(OPTIONS)
  for (const option of wanted) print(option)
}

/** Of two processes' figures: the shorter times, the newer bytes and counts. */
function better(one: Figures | undefined, other: Figures): Figures {
  const isTime = (name: string) => /(ns|µs|ms)$/.test(name)
  return Object.fromEntries(
    Object.entries(other).map(([name, value]) => [name, isTime(name) ? Math.min(value, one?.[name] ?? value) : value])
  )
}

function print(option: string): void {
  const settings = Object.keys(OPTIONS[option]!)
  const best: Record<string, Figures> = {}
  for (let round = 0; round < Number(values.processes); round++) {
    for (const setting of settings) {
      const args = [...process.execArgv, fileURLToPath(import.meta.url), '--child', JSON.stringify([option, setting])]
      best[setting] = better(best[setting], JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' })))
    }
  }
  const names = Object.keys(best[settings[0]!]!)
  const table = new Table({ head: [option, ...names], style: { head: [], border: [] } })
  for (const setting of settings) {
    table.push([
      setting,
      ...names.map((name) => best[setting]![name]!.toLocaleString('en', { maximumSignificantDigits: 3 })),
    ])
  }
  console.log(table.toString())
}
