import { setTimeout } from 'node:timers/promises'
import test from 'ava'
import { BufferPool, Channel, Heap } from '../../lib/index.ts'
import { HOST } from '../../lib/lifetime/host.ts'
import type { Told } from '../children/pass-worker.ts'
import { collectGarbage } from '../support/garbage.ts'
import { answerOf, startPassWorker as start } from '../support/pass-worker.ts'

const LIMIT_BYTES = 2 ** 26

const openHeap = () => new Heap({ limitBytes: LIMIT_BYTES })

test('who waits while the channel is closed here is told, and writes nothing where it was', async (t) => {
  for (const way of ['receive', 'send'] as const) {
    using heap = openHeap()
    const channel = new Channel(heap, { capacity: 1 })
    const { channel: address } = channel.share()
    const bytes = heap.usableSize(address)
    const view = heap.view(heap.malloc(10))
    if (way === 'send') channel.trySend(heap.view(heap.malloc(10)))
    const waiting = way === 'send' ? channel.send(view) : channel.receive()
    const refused = t.throwsAsync(waiting, { code: 'ERR_CHANNEL_CLOSED' })
    channel.close()
    t.is(heap.malloc(bytes), address)
    const others = new Int32Array(heap.buffer, address, bytes / 4).fill(7)
    await refused
    t.true(others.every((word) => word === 7))
    heap.audit()
  }
})

test('a heap that is closed before its channels: each call says so, nothing is taken, and others go on', async (t) => {
  using heap = openHeap()
  const theirs = Heap.attach(heap.share())
  const channel = new Channel(heap)
  const other = Channel.attach(channel.share(), { heap: theirs })
  const sent = heap.view(heap.malloc(100), 100)
  channel.trySend(sent)
  const message = theirs.view(theirs.malloc(100))
  theirs.close()
  t.throws(() => other.tryReceive(), { code: 'ERR_HEAP_CLOSED' })
  t.throws(() => other.receiveSync(), { code: 'ERR_HEAP_CLOSED' })
  t.throws(() => other.trySend(message), { code: 'ERR_HEAP_CLOSED' })
  t.throws(() => other.share(), { code: 'ERR_HEAP_CLOSED' })
  t.throws(() => Channel.attach(channel.share(), { heap: theirs }), { code: 'ERR_HEAP_CLOSED' })
  await t.throwsAsync(other.receive(), { code: 'ERR_HEAP_CLOSED' })
  other.close()
  other.close()
  t.is(channel.length, 1)
  t.is(channel.tryReceive()!.byteOffset, sent.byteOffset)
  t.is(channel.peers().live, 1)
  channel.close()
  heap.audit()
})

test('what only a pool, an arena or a table may free can’t be sent, and a channel’s words can’t be freed', (t) => {
  using heap = openHeap()
  using pool = new BufferPool({ heap, size: 100 })
  const channel = new Channel(heap)
  const table = heap.handles()
  const acquired = pool.acquire()
  const words = heap.view(channel.share().channel)
  const wrong = { code: 'ERR_HEAP_INVALID_ADDRESS' }
  for (const view of [acquired, table.view(table.alloc(10)), words]) t.throws(() => channel.trySend(view), wrong)
  t.throws(() => heap.freeBuffer(words), wrong)
  t.is(channel.length, 0)
  channel.trySend(heap.allocBuffer(10))
  channel.close()
  t.throws(() => channel.trySend(heap.allocBuffer(10)), { code: 'ERR_CHANNEL_CLOSED' })
  pool.release(acquired)
  table.close()
})

test('what was sent is nobody’s leak, and stays when the sender’s Buffer goes: it is who receives it that has it', async (t) => {
  using heap = new Heap({ limitBytes: LIMIT_BYTES, leaks: 'all' })
  using channel = new Channel(heap, { capacity: 1 })
  const send = () => channel.trySend(heap.allocBuffer(100, { tag: 'sent' }).fill(7))
  t.true(send())
  t.deepEqual(heap.stats({ detail: true }).owners, [])
  const kept = heap.allocBuffer(100, { tag: 'kept' })
  t.false(channel.trySend(kept), 'there is no room')
  t.like(heap.stats({ detail: true }).owners, [{ tag: 'kept', buffers: 1 }], 'so it is the sender’s, and watched')
  await collectGarbage()
  await setTimeout(10)
  const message = channel.tryReceive()!
  heap.allocBuffer(100).fill(9)
  t.true(message.every((byte) => byte === 7))
  heap.freeBuffer(message)
  heap.freeBuffer(kept)
})

test('a seat of one that died is taken where no other is free', (t) => {
  using heap = openHeap()
  using channel = new Channel(heap)
  const open = () => {
    const theirs = Heap.attach(heap.share())
    return { theirs, other: Channel.attach(channel.share(), { heap: theirs }) }
  }
  // More threads than a channel has seats for, of which each dies with it open.
  for (let i = 0; i < 300; i++) {
    const { slots, slot } = open().theirs[HOST].thread()
    slots.markDead(slot)
    heap.threadIdle()
  }
  const { dead } = channel.peers()
  t.is(dead, 239, 'all but the own one')
  const { theirs, other } = open()
  t.deepEqual(channel.peers(), { live: 2, dead: 238 })
  other.close()
  theirs.close()
})

test.serial('what waits in a channel is passed: the sender can’t free it, and the last close does', async (t) => {
  using heap = new Heap({ limitBytes: 2 ** 28, leaks: 'off' })
  const channel = new Channel(heap)
  const worker = start(heap)
  const told = { task: 'send', passed: heap.pass(heap.allocBuffer(100)), channel: channel.share() } satisfies Told
  worker.postMessage(told)
  await answerOf(worker)
  await worker.terminate()
  const buffer = heap.allocBuffer(100)
  const { byteOffset } = buffer
  t.true(channel.trySend(buffer))
  t.throws(() => heap.freeBuffer(buffer), { code: 'ERR_HEAP_DOUBLE_FREE' })
  t.throws(() => heap.free(byteOffset), { code: 'ERR_HEAP_INVALID_ADDRESS' })
  t.throws(() => channel.trySend(buffer), { code: 'ERR_HEAP_DOUBLE_FREE' })
  t.is(heap.stats().passedBytes, 224)
  t.is(heap.stats().deadThreadsBytes, 0)
  heap.freeBuffer(channel.tryReceive()!)
  t.is(heap.stats().passedBytes, 112)
  channel.close()
  t.is(heap.stats().liveBytes, 0)
  heap.audit()
})

test.serial(
  'a channel whose counts were scribbled over has no message, and its end still frees what was passed',
  (t) => {
    using heap = new Heap({ limitBytes: 2 ** 28, leaks: 'off' })
    for (const head of [1, 2, -5, 2 ** 31 - 1]) {
      const channel = new Channel(heap, { capacity: 4 })
      channel.trySend(heap.allocBuffer(100))
      const words = new Int32Array(heap.buffer, channel.share().channel, 64)
      t.deepEqual([words[36], words[37]], [0, 1], 'messages received and sent')
      words[36] = head
      t.is(channel.length, 0)
      t.is(channel.tryReceive(), undefined)
      channel.close()
      t.is(heap.stats().liveBytes, 0)
    }
    heap.audit()
  }
)

test.serial('a message whose cell was scribbled over is skipped, and no other block is touched', (t) => {
  using heap = new Heap({ limitBytes: 2 ** 28, leaks: 'off' })
  using channel = new Channel(heap)
  for (let i = 0; i < 3; i++) channel.trySend(heap.allocBuffer(100).fill(i))
  const cells = (channel as unknown as { cellOf(index: number): number }).cellOf(0)
  const words = new Int32Array(heap.buffer, channel.share().channel, cells + 6)
  words[cells] = -5
  words[cells + 3]! += 7
  t.is(channel.tryReceive()![0], 2)
  t.is(channel.tryReceive(), undefined)
  t.is(heap.stats().passedBytes, 224, 'nobody’s')
  heap.audit()
})

test.serial('a channel’s lock that a dead thread had is free before its slot’s claims come round', (t) => {
  using heap = new Heap({ limitBytes: 2 ** 28, leaks: 'off' })
  using channel = new Channel(heap)
  const peer = Heap.attach(heap.share(), { leaks: 'off' })
  const { member, tables } = peer[HOST].tiers
  const { slot, tag } = member.thread()
  const lock = new Int32Array(heap.buffer, channel.share().channel, 1)
  lock[0] = tag
  tables.slots.markDead(slot)
  Heap.attach(heap.share(), { leaks: 'off' }).close()
  const { words } = tables.slots as unknown as { words: Int32Array }
  words[1 + slot]! += 4 * (2 ** 21 - 1)
  using again = Heap.attach(heap.share(), { leaks: 'off' })
  t.is(again[HOST].tiers.member.thread().tag, tag)
  t.is(lock[0], 0)
  t.true(channel.trySend(heap.allocBuffer(10)))
})
