import { Readable } from 'node:stream'
import { DirectHeap } from '../../lib/direct/index.ts'
import { FreeListHeap } from '../../lib/freelist/index.ts'
import { GoHeap } from '../../lib/go/index.ts'
import {
  type Allocator,
  BufferPool,
  BufferReader,
  BufferWriter,
  Channel,
  Heap,
  type PoolOptions,
  PoolSet,
} from '../../lib/index.ts'
import { i32, struct, text } from '../../lib/struct/index.ts'
import type { Refuser } from './refuser.ts'
import { World } from './world.ts'

/** Calls of a program, all of which may be refused. At its end it has nothing. */
export interface Scenario {
  name: string
  open: (refuser: Refuser, limitBytes: number) => World
  play: (world: never) => Promise<void> | void
}

const MIB = 2 ** 20

const open =
  (make: (options: object) => Allocator, isNative = false) =>
  (refuser: Refuser, limitBytes: number) => {
    const options = { limitBytes, ...(isNative ? {} : { mapper: refuser.mapper() }) }
    try {
      return new World(make(options), refuser)
    } catch (error) {
      if (!refuser.hasCaused(error)) throw error
      return new World(make(options), refuser)
    }
  }
const heap = open((options) => new Heap({ leaks: 'off', ...options }))
const watchedHeap = open((options) => new Heap({ leaks: 'all', ...options }))

const times = (count: number, run: (i: number) => void) => {
  for (let i = 0; i < count; i++) run(i)
}

/** A pool of one thread, as it grows, with all that can be done to it. */
async function playPool(world: World<Heap>, options: Partial<PoolOptions>, share = false) {
  const pool = world.do(() => new BufferPool({ heap: world.heap, size: 5000, max: 40, trimMs: 0, ...options }))
  world.observe(() => {
    const { acquired, leased, passed, idle } = pool.stats()
    return { acquired, leased, passed, idle }
  })
  const first = world.own(world.do(() => pool.acquire()))
  if (share) world.do(() => pool.share())
  const buffers = [first]
  world.meanwhile = () => {
    const [buffer] = buffers.splice(-1)
    if (buffer === undefined) return
    pool.release(world.disown(buffer))
    if (throwsNothing(() => pool.release(buffer))) throw new Error('released twice')
    buffers.push(world.own(pool.acquire()))
  }
  times(17, () => buffers.push(world.own(world.do(() => pool.acquire()))))
  times(3, () => world.give(buffers.pop()!, (mine) => pool.release(mine)))
  const leases = [world.do(() => pool.lease()), await world.doAsync(() => pool.leaseAsync())]
  for (const lease of leases) world.own(lease.buffer, lease)
  times(16, () => buffers.push(world.own(world.do(() => pool.tryAcquire()!))))
  const letGo = world.do(() => pool.hold(leases[0]!.buffer)!)
  for (const lease of leases) world.give(lease, (mine) => mine.release())
  letGo()
  const passed = world.give(buffers.pop()!, (mine) => pool.pass(mine))
  buffers.push(world.own(world.do(() => pool.adopt(passed))))
  buffers.push(world.own(await world.doAsync(() => pool.acquireAsync())))
  const last = pool.stats().idle > 0 ? world.do(() => pool.tryAcquire()) : undefined
  if (last !== undefined) buffers.push(world.own(last))
  const other = share ? world.do(() => BufferPool.attach(pool.share(), { heap: world.heap, trimMs: 0 })) : pool
  times(6, () => world.give(buffers.pop()!, (mine) => other.release(mine)))
  world.do(() => pool.trim(20))
  times(9, () => buffers.push(world.own(world.do(() => other.acquire()))))
  for (const buffer of buffers.reverse()) world.give(buffer, (mine) => pool.release(mine))
  pool.close()
  other.close()
  await pool[Symbol.asyncDispose]()
}

function throwsNothing(run: () => void): boolean {
  try {
    run()
    return true
  } catch {
    return false
  }
}

const point = struct({ id: i32, name: text(20) }, { name: 'Point' })

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'Heap, closed, and isolated buffers',
    open: open((options) => new Heap({ leaks: 'off', ...options }), true),
    play(world: World<Heap>) {
      const { heap } = world
      world.closes = true
      const buffers = [10, 5000, 400_000, 2 * MIB].map((size, i) =>
        world.own(world.do(() => heap.allocBuffer(size, { isolated: true, zero: i === 2 })))
      )
      for (const buffer of buffers) world.give(buffer, (mine) => heap.freeBuffer(mine))
      heap.releaseFreeMemory()
    },
  },
  {
    name: 'DirectHeap',
    open: open((options) => new DirectHeap(options), true),
    play(world: World<DirectHeap>) {
      const { heap } = world
      world.closes = true
      const blocks = [100, 30_000, 300_000].map((size) => world.do(() => heap.calloc(1, size)))
      for (const address of blocks) world.own(heap.view(address), address)
      let moved = world.do(() => heap.malloc(100))
      for (const size of [3000, 200_000, 600]) moved = world.do(() => heap.realloc(moved, size))
      world.do(() => heap.free(moved))
      const aligned = world.do(() => heap.alignedAlloc(65_536, 1000))
      world.do(() => heap.free(aligned))
      for (const address of blocks) world.give(address, (mine) => heap.free(mine))
    },
  },
  { name: 'BufferPool', open: heap, play: (world: World<Heap>) => playPool(world, {}) },
  { name: 'BufferPool, shared', open: heap, play: (world: World<Heap>) => playPool(world, {}, true) },
  {
    name: 'BufferPool, watched, aligned and cleared',
    open: watchedHeap,
    play: (world: World<Heap>) =>
      playPool(world, { leaks: 'all', alignment: 4096, zero: 'release', idleBytes: 20_000 }),
  },
  {
    name: 'BufferPool, of large buffers',
    open: heap,
    play: (world: World<Heap>) => playPool(world, { size: 130_000, zero: 'acquire' }),
  },
  {
    name: 'PoolSet',
    open: heap,
    async play(world: World<Heap>) {
      const set = world.do(() => new PoolSet({ heap: world.heap, sizes: [1000, 5000, 70_000], trimMs: 0 }))
      world.observe(() => set.stats().map(({ acquired, idle }) => ({ acquired, idle })))
      const sizes = [10, 1000, 3000, 70_000, 80_000, 400_000]
      const buffers: Buffer[] = []
      times(18, (i) => buffers.push(world.own(world.do(() => set.acquire(sizes[i % sizes.length]!)))))
      for (const buffer of buffers) world.give(buffer, (mine) => set.release(mine))
      set.close()
      await undefined
    },
  },
  {
    name: 'Leases of single blocks',
    open: watchedHeap,
    play(world: World<Heap>) {
      const { heap } = world
      const leases = [0, 10, 3000, 70_000, 400_000, 2 * MIB].map((size) => world.do(() => heap.lease(size)))
      for (const lease of leases) world.own(lease.buffer, lease)
      const aligned = world.do(() => heap.lease(50_000, { alignment: 4096, zero: true }))
      aligned.release()
      const passed = world.give(leases.pop()!, (mine) => mine.pass())
      const adopted = world.do(() => heap.adoptLease(passed))
      leases.push(adopted)
      world.own(adopted.buffer, adopted)
      for (const lease of leases) world.give(lease, (mine) => mine.release())
    },
  },
  {
    name: 'PoolSet, leases and sources',
    open: heap,
    async play(world: World<Heap>) {
      const set = world.do(() => new PoolSet({ heap: world.heap, sizes: [1000, 70_000], trimMs: 0, leaks: 'off' }))
      world.observe(() => set.stats().map(({ acquired, leased, passed }) => ({ acquired, leased, passed })))
      // First, since one that is closed waits for this thread's leases.
      world.keepsLive = false // some of its pools may be shared when the next one isn't
      world.do(() => set.share())
      world.keepsLive = true
      const other = world.do(() => PoolSet.attach(set.share(), { heap: world.heap, trimMs: 0, leaks: 'off' }))
      const sizes = [10, 1000, 60_000, 80_000, 400_000]
      const leases = sizes.map((size) => world.do(() => set.lease(size)))
      for (const lease of leases) world.own(lease.buffer, lease)
      for (let round = 0; round < 3; round++) {
        const chunks = [100, 3000, 200_000, 300_000].map((size) => Buffer.alloc(size, round + 1))
        const collected = await world.doAsync(() => set.collect(Readable.from(chunks)))
        if (!collected.buffer.equals(Buffer.concat(chunks))) throw new Error('other bytes than the source had')
        leases.push(collected)
        world.own(collected.buffer, collected)
      }
      for (const lease of leases.splice(0, 3)) {
        const passed = world.give(lease, (mine) => mine.pass())
        const adopted = world.do(() => other.adoptLease(passed))
        world.own(adopted.buffer, adopted)
        world.give(adopted, (mine) => mine.release())
      }
      for (const lease of leases) world.give(lease, (mine) => mine.release())
      set.close()
      other.close()
      await other[Symbol.asyncDispose]()
    },
  },
  {
    name: 'Channel',
    open: heap,
    play(world: World<Heap>) {
      const channel = world.do(() => new Channel(world.heap, { capacity: 4 }))
      const other = world.do(() => Channel.attach(channel.share(), { heap: world.heap }))
      world.observe(() => [channel.length, world.heap.stats().passedBytes])
      times(3, (round) => {
        const sizes = [100, 3000, 300_000]
        const sent = sizes.map((size) => world.own(world.do(() => world.heap.allocBuffer(size + round))))
        for (const buffer of sent) world.give(buffer, (mine) => channel.trySend(mine))
        if (round === 2) return
        for (const size of sizes) {
          const got = world.own(world.do(() => other.tryReceive()!))
          if (got.length !== size + round) throw new Error('another message than was sent')
          world.give(got, (mine) => world.heap.freeBuffer(mine))
        }
      })
      channel.close()
      other.close() // with what nobody has received
    },
  },
  {
    name: 'HandleTable',
    open: heap,
    play(world: World<Heap>) {
      world.keepsLive = false // a table that has grown stays so
      const table = world.do(() => world.heap.handles())
      const other = world.do(() => world.heap.handles({ max: 3 }))
      world.observe(() => [table.count(), other.count()])
      const handles: number[] = []
      times(150, (i) => {
        const handle = world.do(() => table.alloc(i * 40 + 10))
        world.own(table.view(handle), handle)
        handles.push(handle)
      })
      const few = [world.do(() => other.alloc(70_000)), world.do(() => other.alloc(2 * MIB))]
      for (const handle of handles.splice(0, 100)) world.give(handle, (mine) => table.free(mine))
      for (const handle of few) world.do(() => other.free(handle))
      for (const handle of handles) world.disown(handle)
      table.close() // with what is live
      other.close()
    },
  },
  {
    name: 'BufferWriter',
    open: heap,
    play(world: World<Heap>) {
      const writer = world.do(() => new BufferWriter({ heap: world.heap, sizeHint: 100 }))
      world.observe(() => writer.length)
      for (const size of [10, 90, 3000, 40_000, 500_000, 2 * MIB]) {
        const at = world.do(() => writer.reserve(1))
        world.do(() => writer.writeVarintString('x'.repeat(size)))
        world.do(() => writer.writeBytes(Buffer.alloc(size, 'y')))
        world.do(() => writer.writeDoubleLE(size))
        world.do(() => writer.patchVarintLength(at))
        const lease = world.do(() => writer.finish())
        const reader = new BufferReader(lease)
        const [length, text, bytes] = [reader.readVarint(), reader.readVarintString(), reader.readBytes(size)]
        const isRight = text === 'x'.repeat(size) && bytes.every((byte) => byte === 0x79)
        if (!isRight || reader.readDoubleLE() !== size || reader.position - reader.length !== 0 || length < 2 * size)
          throw new Error('another message was written')
        reader.close()
        world.own(lease.buffer, lease)
        world.give(lease, (mine) => mine.release())
      }
      world.do(() => writer.writeUInt8(1))
      writer.close()
    },
  },
  {
    name: 'Arena',
    open: heap,
    play(world: World<Heap>) {
      const arena = world.do(() => world.heap.arena({ tag: 'requests' }))
      const child = world.do(() => arena.arena({ limitBytes: 4 * MIB }))
      world.observe(() => [arena.mark(), child.mark()])
      const bytes: object[] = []
      times(3, () => bytes.push(world.own(world.do(() => arena.allocBuffer(50_000)))))
      const mark = arena.mark()
      times(3, () => bytes.push(world.own(world.do(() => child.allocArray(Float64Array, 10_000)))))
      const later = [300_000, 100, 2 * MIB].map((size) => world.own(world.do(() => arena.allocBuffer(size))))
      for (const view of later) world.disown(view)
      world.do(() => arena.rewind(mark))
      const address = world.do(() => arena.malloc(100_000, 4096))
      if (address % 4096 !== 0) throw new Error('not aligned')
      for (const view of bytes) world.disown(view)
      arena.dispose()
    },
  },
  {
    name: 'Block, buffers and arrays, watched',
    open: watchedHeap,
    play(world: World<Heap>) {
      const { heap } = world
      world.observe(() => heap.stats({ detail: true }).owners)
      const blocks = [10, 5000, 400_000, 2 * MIB].map((size) =>
        world.do(() => heap.block(size, { zero: true, tag: 'a' }))
      )
      for (const block of blocks) world.own(block.bytes, block)
      const buffers = [10, 5000, 400_000].map((size) =>
        world.own(world.do(() => heap.allocBuffer(size, { alignment: 4096, tag: 'b' })))
      )
      const array = world.own(world.do(() => heap.allocArray(Float32Array, 1000)))
      let moved = heap.addressOf(heap.bufferAt(world.do(() => heap.calloc(2, 300))))
      for (const size of [3000, 200_000, 600, 2 * MIB]) moved = world.do(() => heap.realloc(moved, size))
      heap.free(moved)
      const aligned = world.do(() => heap.alignedAlloc(4096, 100_000))
      heap.free(aligned)
      for (const block of blocks) world.give(block, (mine) => mine.free())
      for (const view of [...buffers, array]) world.give(view, (mine) => heap.freeBuffer(mine))
    },
  },
  {
    name: 'pass and adopt',
    open: watchedHeap,
    play(world: World<Heap>) {
      const { heap } = world
      world.observe(() => heap.stats().passedBytes)
      const passed = [100, 5000, 400_000].map((size) => {
        const buffer = world.own(world.do(() => heap.allocBuffer(size)))
        return world.give(buffer, (mine) => heap.pass(mine))
      })
      for (const value of passed) {
        const buffer = world.own(world.do(() => heap.adopt(value)))
        world.give(buffer, (mine) => heap.freeBuffer(mine))
      }
    },
  },
  {
    name: 'structs, arrays of them, columns',
    open: heap,
    play(world: World<Heap>) {
      const { heap } = world
      const one = world.do(() => point.alloc(heap, { id: 7, name: 'seven' }))
      const array = world.do(() => point.array(heap, 3000))
      array.at(2999).id = 3
      const slice = world.do(() => array.slice(2000))
      const columns = world.do(() => point.columns(heap, 20_000))
      columns.cursor().id = 5
      world.do(() => array.sort('id', 'descending'))
      if (array.at(0).id !== 3 || slice.at(999).id !== 3 || one.name !== 'seven')
        throw new Error('a record has changed')
      for (const owner of [one, array, slice, columns]) world.do(() => owner.free())
    },
  },
  {
    name: 'GoHeap',
    open: open((options) => new GoHeap(options)),
    play(world: World<GoHeap>) {
      const { heap } = world
      world.keepsLive = false // what isn't reached goes
      world.keptBytes = 16 // the newest object
      const scope = world.do(() => heap.scope())
      const types = Array.from({ length: 70 }, (_, i) =>
        world.do(() => heap.defineType({ size: 16 + 16 * i, pointers: [8] }))
      )
      const objects = types.map((type) => world.do(() => heap.allocate(type)))
      objects.push(world.do(() => heap.allocate(types[3]!, 2000)))
      times(1030, () => objects.push(world.do(() => heap.allocate(types[0]!))))
      const roots = objects.map((object) => world.do(() => heap.addRoot(object)))
      for (const [i, object] of objects.entries()) world.do(() => heap.setPointer(object, 8, objects[i - 1] ?? 0))
      const blocks = [100, 30_000, 300_000].map((size) => world.do(() => heap.calloc(1, size)))
      for (const address of blocks) world.own(heap.view(address), address)
      while (!world.do(() => heap.collectStep(200)));
      let moved = world.do(() => heap.malloc(100))
      for (const size of [3000, 200_000, 600]) moved = world.do(() => heap.realloc(moved, size))
      heap.free(moved)
      for (const [i, object] of objects.entries())
        if (heap.getPointer(object, 8) !== (objects[i - 1] ?? 0)) throw new Error('a pointer has changed')
      for (const root of roots) world.do(() => heap.removeRoot(root))
      world.do(() => scope[Symbol.dispose]())
      for (const address of blocks) world.give(address, (mine) => heap.free(mine))
      world.do(() => heap.allocate(types[0]!))
      world.do(() => heap.collect())
      world.do(() => heap.releaseFreeMemory())
    },
  },
  {
    name: 'FreeListHeap',
    open: open((options) => new FreeListHeap(options)),
    play(world: World<FreeListHeap>) {
      const { heap } = world
      const mutator = world.do(() => heap.mutator())
      const type = world.do(() => mutator.defineType({ size: 5000, references: [0, 8] }))
      const handles = Array.from({ length: 20 }, () => world.do(() => mutator.allocate(type)))
      for (const [i, handle] of handles.entries()) world.do(() => handle.setReference(8, handles[i - 1] ?? null))
      const blocks = [100, 30_000, 300_000].map((size) => world.do(() => heap.calloc(1, size)))
      for (const address of blocks) world.own(heap.view(address), address)
      let moved = world.do(() => heap.malloc(100))
      for (const size of [3000, 200_000, 600]) moved = world.do(() => heap.realloc(moved, size))
      heap.free(moved)
      heap.free(world.do(() => heap.alignedAlloc(4096, 1000)))
      const names = handles[5]!.getReference(8)!
      if (names.address !== handles[4]!.address) throw new Error('a reference has changed')
      for (const address of blocks) world.give(address, (mine) => heap.free(mine))
      mutator.dispose()
      world.do(() => heap.collect())
      world.do(() => heap.releaseFreeMemory())
    },
  },
]
