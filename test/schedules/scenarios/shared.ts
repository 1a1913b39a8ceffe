import type {
  BufferPool,
  Channel,
  ChannelToken,
  HandleTable,
  HandleTableToken,
  PoolBuffer,
  PoolToken,
} from '../../../lib/index.ts'
import { type PoolSlots, Slot, Word } from '../../../lib/pool/pool-slots.ts'
import { type Heap, type Lib, type Part, type Scenario, scenario, unlessRefused, usableBytes } from '../scenario.ts'

/** Something that another thread has closed. */
const GONE = ['ERR_HEAP_INVALID_TOKEN']

/** Sends a block of 100 bytes that begins with a mark. Whether it is sent or not, no byte of it may be lost. */
function send({ heaps: [heap], blocks }: Part, channel: Channel, mark: number): boolean {
  const address = blocks.malloc(heap!, 100)
  const buffer = heap!.bufferAt(address, 100)
  buffer[0] = mark
  const bytes = blocks.drop(address)
  // Struck in it, the thread still has the block, or the channel has it.
  const isSent = blocks.attempt([0, bytes], () => channel.trySend(buffer))
  if (!isSent) blocks.free(heap!, blocks.hold(heap!, address))
  return isSent
}

/** Receives and frees a block; its mark, or undefined. */
function receive({ heaps: [heap], blocks }: Part, channel: Channel): number | undefined {
  return blocks.attempt([0, usableBytes(100)], () => {
    const message = channel.tryReceive()
    const mark = message?.[0]
    if (message !== undefined) heap!.freeBuffer(message)
    return mark
  })
}

/** Sends by each channel of a thread, and receives. */
function exchange(part: Part & { channels: Channel[] }): void {
  for (const channel of part.channels) send(part, channel, 1)
  for (const channel of part.channels.toReversed()) receive(part, channel)
}

/** All buffers that a pool still gives, to be released again. */
function acquireAll(pool: BufferPool): PoolBuffer[] {
  const buffers: PoolBuffer[] = []
  for (let buffer = pool.tryAcquire(); buffer !== undefined; buffer = pool.tryAcquire()) buffers.push(buffer)
  return buffers
}

/** Something that threads share, of which another thread has a token. */
interface Shared<Token> {
  share(): Token
  close(): void
}

/**
 * The last thread uses and closes something shared, while another attaches to it, uses it if it came in time, and closes it too.
 * @param sizes blocks that are allocated then: of the size of its words, which these would be in if they were freed twice
 */
function lastClose<Token, One extends Shared<Token>>(
  what: string,
  make: (lib: Lib, heap: Heap) => One,
  attach: (lib: Lib, token: Token, heap: Heap) => One,
  use: (one: One, part: Part, isLast: boolean) => void,
  sizes: number[]
): Scenario {
  return scenario({
    name: `the last thread closes ${what} while another attaches to it`,
    threads: 2,
    options: { cacheBytes: 0 },
    setup: (lib, heap) => {
      const one = make(lib, heap)
      return { one, token: one.share() }
    },
    tell: ({ token }) => token,
    prepare: (lib, token, told, thread): Part & { one?: One } => {
      const part = lib.attached(token)
      return thread === 0 ? { ...part, one: attach(lib, told, part.heaps[0]!) } : part
    },
    prepared: (_, __, { one }) => one.close(),
    run: (part, token, _, lib) => {
      const [heap] = part.heaps
      const useAndClose = (one: One) => {
        use(one, part, part.one !== undefined)
        one.close()
      }
      if (part.one !== undefined) useAndClose(part.one)
      else unlessRefused(GONE, () => useAndClose(attach(lib, token, heap!)))
      for (const size of sizes) part.blocks.malloc(heap!, size)
    },
    check: () => {},
  })
}

/** Threads that take a pool's buffers from each other. It has three. */
const poolScenario = (threads: 2 | 3): Scenario =>
  scenario({
    name: `${threads === 2 ? 'two' : 'three'} threads acquire, release and trim buffers of a pool`,
    threads,
    options: { cacheBytes: 0 },
    setup: (lib, heap) => {
      const pool = new lib.BufferPool({ heap, size: 2048, max: 3, idleBytes: 2 * 2048, trimMs: 0 })
      return { pool, token: pool.share() }
    },
    tell: ({ token }) => token,
    prepare: (lib, token, told): Part & { pool: BufferPool } => {
      const part = lib.attached(token)
      return { ...part, pool: lib.BufferPool.attach(told, { heap: part.heaps[0]!, trimMs: 0, idleBytes: 2048 }) }
    },
    run: ({ pool }, _, thread) => {
      const buffers: Buffer[] = []
      for (let i = 0; i < 3; i++) {
        const buffer = pool.tryAcquire()
        if (buffer !== undefined) buffers.push(buffer)
        if (buffers.length > 1) pool.release(buffers.shift()! as never)
      }
      if (thread === 0) pool.trim(1)
      const last = pool.tryAcquire()
      if (last !== undefined) buffers.push(last)
      return buffers.map(({ byteOffset }) => byteOffset)
    },
    check: ({ setup: { pool }, results, isStruck }) => {
      const offsets = (results as (number[] | undefined)[]).flatMap((one) => one ?? [])
      pool.reclaim()
      const rest = acquireAll(pool)
      const all = [...offsets, ...rest.map(({ byteOffset }) => byteOffset)]
      if (new Set(all).size !== all.length) throw new Error(`handed out twice: ${all}`)
      // A thread that was struck and lives has what it had acquired.
      if (all.length > 3 || (!isStruck && all.length < 3)) throw new Error(`${all.length} of 3 slots can be had`)
      for (const buffer of rest) pool.release(buffer)
    },
    cleanUp: (_, __, { pool }) => {
      pool.reclaim()
      pool.close()
    },
  })

/** What threads share by a block of its own: tables of handles, channels, pools. */
export const SHARED: Scenario[] = [
  scenario({
    name: 'two threads have a pool and a table of their own, and clear up behind each other',
    threads: 2,
    options: { cacheBytes: 0 },
    run: ({ heaps: [heap] }, _, thread, lib) => {
      const table = heap!.handles({ max: 2 })
      table.free(table.alloc(100))
      table.alloc(20)
      const pool = new lib.BufferPool({ heap: heap!, size: 1000, trimMs: 0 })
      pool.release(pool.acquire())
      if (thread === 0) {
        table.close()
        pool.close()
      }
      heap!.stats()
      // What is still open then goes with the thread's heap, or with the thread.
    },
    goOn: ({ heaps: [heap] }) => {
      heap!.stats()
    },
    check: () => {},
  }),
  scenario({
    name: 'two threads allocate and free handles, and both free one',
    threads: 2,
    options: { cacheBytes: 0 },
    setup: (_, heap) => {
      const table = heap.handles({ max: 512 })
      return { table, shared: table.alloc(100) }
    },
    tell: ({ table, shared }) => ({ shared, token: table.share() }),
    prepare: (lib, token, told): Part & { table: HandleTable } => {
      const part = lib.attached(token)
      return { ...part, table: lib.HandleTable.attach(told.token, { heap: part.heaps[0]! }) }
    },
    run: ({ table }, { shared }) => {
      const handles = [10, 20, 30].map((size) => table.alloc(size))
      table.free(handles.shift()!)
      let freed = 0
      try {
        table.free(shared)
        freed = 1
      } catch (error) {
        if ((error as { code?: string }).code !== 'ERR_HEAP_STALE_HANDLE') throw error
      }
      return { freed, handles: [...handles, table.alloc(50)] }
    },
    check: ({ results, setup: { table }, isStruck }) => {
      const all = results as ({ freed: number; handles: number[] } | undefined)[]
      const handles = all.flatMap((result) => result?.handles ?? [])
      if (new Set(handles.map((handle) => handle % 2 ** 24)).size !== handles.length) throw new Error('a slot twice')
      if (!handles.every((handle) => table.isLive(handle))) throw new Error('a handle is not live')
      if (isStruck) return
      const freed = all.reduce((sum, result) => sum + result!.freed, 0)
      if (freed !== 1) throw new Error(`freed ${freed} times`)
      if (table.count() !== handles.length) throw new Error(`${table.count()} handles are counted`)
    },
    cleanUp: (_, __, { table }) => table.close(),
  }),
  scenario({
    name: 'a thread asks for a handle that nobody has, while another adds a chunk of slots',
    threads: 2,
    options: { cacheBytes: 0 },
    setup: (_, heap) => {
      const table = heap.handles({ max: 600 })
      const handles = Array.from({ length: 255 }, () => table.alloc(16))
      const flags = new Int32Array(new SharedArrayBuffer(16))
      return { table, flags, token: table.share(), generation: Math.floor(handles[0]! / 2 ** 24) }
    },
    tell: ({ token, flags, generation }) => ({ token, flags, generation }),
    prepare: (lib, token, told): Part & { table: HandleTable } => {
      const part = lib.attached(token)
      return { ...part, table: lib.HandleTable.attach(told.token, { heap: part.heaps[0]! }) }
    },
    run: ({ table }, { flags, generation }, thread, lib) => {
      if (thread === 0) {
        let handle = 0
        for (let i = 0; i < 6; i++) handle = table.alloc(16)
        lib.tell(flags, handle % 2 ** 24)
      } else {
        for (let index = 256; index < 264; index++) table.isLive(generation * 2 ** 24 + index)
        const index = lib.hear(flags)
        if (index !== 0) table.address(generation * 2 ** 24 + index)
      }
    },
    check: () => {},
    cleanUp: (_, __, { table }) => table.close(),
  }),
  scenario({
    name: 'a thread makes a handle and dies, while another looks for slots that dead threads kept',
    threads: 2,
    options: { cacheBytes: 2 ** 22 },
    refusals: ['ERR_HEAP_OUT_OF_MEMORY'],
    setup: (_, heap) => {
      const table = heap.handles({ max: 1 })
      return { table, token: table.share(), flags: new Int32Array(new SharedArrayBuffer(16)) }
    },
    tell: ({ token, flags }) => ({ token, flags }),
    prepare: (lib, token, told, thread): Part & { table: HandleTable } => {
      const part = lib.attached(token)
      const table = lib.HandleTable.attach(told.token, { heap: part.heaps[0]! })
      if (thread === 1) table.free(table.alloc(20)) // keeps the one slot
      return { ...part, table }
    },
    run: ({ table }, { flags }, thread, lib) => {
      const handle = table.alloc(20)
      if (thread === 1) lib.tell(flags, 1)
      table.isLive(handle)
      return handle
    },
    check: ({ setup: { table, flags }, results }) => {
      if (flags[0] === 1 && (table.count() !== 1 || results[0] !== undefined)) throw new Error('its slot was taken')
    },
    cleanUp: (_, __, { table }) => table.close(),
  }),
  lastClose(
    'a table of handles',
    (_, heap) => heap.handles({ max: 16 }),
    (lib, token: HandleTableToken, heap) => lib.HandleTable.attach(token, { heap }),
    (table, _, isLast) => {
      const handle = table.alloc(isLast ? 10 : 20)
      if (!isLast) table.free(handle)
    },
    [1280, 1280]
  ),
  scenario({
    name: 'two threads send to a channel and receive from it',
    threads: 2,
    options: { cacheBytes: 0 },
    setup: (lib, heap) => new lib.Channel(heap, { capacity: 2 }),
    tell: (channel) => channel.share(),
    prepare: (lib, token, told): Part & { channel: Channel } => {
      const part = lib.attached(token)
      return { ...part, channel: lib.Channel.attach(told, { heap: part.heaps[0]! }) }
    },
    run: (part, _, thread) => {
      const received: number[] = []
      let sent = 0
      for (let i = 0; i < 2; i++) {
        if (send(part, part.channel, 10 * thread + i)) sent++
        const mark = receive(part, part.channel)
        if (mark !== undefined) received.push(mark)
      }
      return { received, sent }
    },
    check: ({ heap, setup: channel, results, isStruck }) => {
      const all = (results as ({ received: number[]; sent: number } | undefined)[]).filter((one) => one !== undefined)
      const received = all.flatMap((one) => one.received)
      for (let message = channel.tryReceive(); message !== undefined; message = channel.tryReceive()) {
        received.push(message[0]!)
        heap.freeBuffer(message)
      }
      if (new Set(received).size !== received.length) throw new Error(`received twice: ${received}`)
      const sent = all.reduce((sum, one) => sum + one.sent, 0)
      if (!isStruck && received.length !== sent) throw new Error(`${received.length} of ${sent} were received`)
    },
    cleanUp: (_, __, channel) => channel.close(),
  }),
  scenario({
    name: 'a thread uses a channel by two Heap objects, and another thread by one',
    threads: 2,
    options: { cacheBytes: 0 },
    setup: (lib, heap) => {
      const channel = new lib.Channel(heap, { capacity: 2 })
      return { channel, token: channel.share() }
    },
    tell: ({ token }) => token,
    prepare: (lib, token, told, thread): Part & { channels: Channel[] } => {
      const part = lib.attached(token, thread === 0 ? 2 : 1)
      return { ...part, channels: part.heaps.map((heap) => lib.Channel.attach(told, { heap })) }
    },
    run: (part) => exchange(part),
    goOn: (part) => exchange(part),
    check: ({ heap, setup: { channel } }) => {
      for (let message = channel.tryReceive(); message !== undefined; message = channel.tryReceive())
        heap.freeBuffer(message)
    },
    cleanUp: (_, __, { channel }) => channel.close(),
  }),
  lastClose(
    'a channel',
    (lib, heap) => new lib.Channel(heap, { capacity: 2 }),
    (lib, token: ChannelToken, heap) => lib.Channel.attach(token, { heap }),
    (channel, part, isLast) => (isLast ? send(part, channel, 1) : receive(part, channel)),
    [1400]
  ),
  poolScenario(2),
  poolScenario(3),
  scenario({
    name: 'a thread leaves that waits for a buffer, while another releases two',
    threads: 2,
    options: { cacheBytes: 0 },
    setup: (lib, heap) => {
      const pool = new lib.BufferPool({ heap, size: 1024, max: 2, trimMs: 0 })
      return { pool, token: pool.share() }
    },
    tell: ({ token }) => token,
    prepare: (lib, token, told, thread): Part & { slots: PoolSlots; pool: BufferPool; buffers: Buffer[] } => {
      const part = lib.attached(token)
      const pool = lib.BufferPool.attach(told, { heap: part.heaps[0]!, trimMs: 0 })
      const { slots } = pool.blocks
      if (thread === 0) {
        // As while it waits, once it was woken in vain.
        slots.words[Word.Waiters] = 1
        slots.noteWaiting(1)
        slots.noteStarving()
      }
      return { ...part, slots, pool, buffers: thread === 0 ? [] : [pool.acquire(), pool.acquire()] }
    },
    run: ({ slots, pool, buffers }, _, thread) => {
      if (thread === 0) {
        const slot = slots.takeReserved(slots.own(Slot.Acquired))
        slots.noteWaiting(0)
        return slot
      }
      for (const buffer of buffers) pool.release(buffer as never)
      const again = pool.tryAcquire()
      if (again !== undefined) pool.release(again)
      return -1
    },
    goOn: ({ slots }, _, thread) => {
      if (thread === 0) slots.noteWaiting(0)
    },
    check: ({ setup: { pool }, results: [first], isStruck }) => {
      const { slots } = pool.blocks
      if (first !== undefined && first !== -1) slots.free(first as number, slots.state(first as number))
      if (isStruck) pool.reclaim()
      const all = acquireAll(pool)
      for (const buffer of all) pool.release(buffer)
      if (new Set(all).size !== all.length) throw new Error('handed out twice')
      // A thread that was struck and lives may have acquired one that the program doesn't know of.
      if (all.length < (isStruck ? 0 : 2)) throw new Error(`${all.length} of 2 slots can be had`)
      for (let slot = 0; slot < 2; slot++)
        if (slots.state(slot) !== Slot.Free && (slots.state(slot) & Slot.StateMask) !== Slot.Acquired)
          throw new Error(`slot ${slot} is in state ${slots.state(slot)}`)
    },
    cleanUp: (_, __, { pool }) => {
      pool.reclaim()
      pool.close()
    },
  }),
  lastClose(
    'a pool',
    (lib, heap) => new lib.BufferPool({ heap, size: 1024, max: 2, trimMs: 0 }),
    (lib, token: PoolToken, heap) => lib.BufferPool.attach(token, { heap, trimMs: 0 }),
    (pool) => pool.release(pool.acquire()),
    [2400]
  ),
]
