import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import { Channel, Heap } from '../../lib/index.ts'
import { GrowableMapper } from '../../lib/os/growable-mapper.ts'
import { childScript } from '../support/child.ts'

const MIB = 2 ** 20

function open(capacity: number) {
  const heap = new Heap({ limitBytes: 256 * MIB })
  const there = new Channel(heap, { capacity })
  const back = new Channel(heap, { capacity })
  const start = (task: string, count = 0) =>
    new Worker(childScript('channel-worker'), {
      workerData: { heap: heap.share(), from: there.share(), to: back.share(), task, count },
    })
  return { heap, there, back, start }
}

test('blocks go to a worker and back, in order, and nothing is copied', async (t) => {
  const { heap, there, back, start } = open(4)
  const exit = once(start('echo'), 'exit')
  const sent: number[] = []
  const sending = (async () => {
    for (let i = 0; i < 200; i++) {
      const address = heap.malloc(100 + i)
      sent.push(address)
      await there.send(heap.view(address, 100 + i).fill(i))
    }
    there.end()
  })()
  let i = 0
  for await (const message of back) {
    t.is(message.length, 100 + i)
    t.true(message.every((byte) => byte === ((i + 1) & 0xff)))
    t.is(heap.addressOf(message), sent[i]!)
    i++
    heap.freeBuffer(message)
  }
  t.is(i, 200)
  await sending
  await exit
  t.deepEqual(back.peers(), { live: 1, dead: 0 })
  there.close()
  back.close()
  t.is(heap.stats().liveBytes, 0)
  heap.audit()
})

test('a full channel takes no more until something is received', (t) => {
  const { heap, there } = open(2)
  const blocks = [1, 2, 3].map((size) => heap.view(heap.malloc(size), size))
  t.deepEqual(
    blocks.map((block) => there.trySend(block)),
    [true, true, false]
  )
  t.is(there.length, 2)
  t.is(there.tryReceive()!.length, 1)
  t.true(there.trySend(blocks[2]!))
  t.deepEqual([there.tryReceive()!.length, there.tryReceive()!.length, there.tryReceive()], [2, 3, undefined])
})

test('many send, and each message is received once', async (t) => {
  const { heap, back, start } = open(16)
  const ends = [1, 2, 3].map(() => once(start('send', 3000), 'exit'))
  const next = new Map<number, number>()
  for (let received = 0; received < 9000; received++) {
    const message = (await back.receive())!
    const [index, sender] = new Int32Array(message.buffer, message.byteOffset, 2)
    t.is(index, next.get(sender!) ?? 0)
    next.set(sender!, index! + 1)
    heap.freeBuffer(message)
  }
  t.is(next.size, 3)
  await Promise.all(ends)
  t.is(back.length, 0)
})

test('a peer that dies is noticed, and what it had taken is told', async (t) => {
  const { heap, there, start } = open(4)
  const worker = start('keep')
  await there.send(heap.view(heap.malloc(5000), 5000))
  t.deepEqual(await once(worker, 'message'), [5000])
  t.is(heap.stats().deadThreadsBytes, 0)
  await worker.terminate()
  t.is(heap.stats().deadThreadsBytes, 5120)
  t.deepEqual(there.peers(), { live: 1, dead: 1 })
  await t.throwsAsync(there.receive(), { code: 'ERR_CHANNEL_PEERS_DIED' })
  t.throws(() => there.receiveSync(), { code: 'ERR_CHANNEL_PEERS_DIED' })
})

test('after the end what was sent can be received, and nothing more is sent', async (t) => {
  const { heap, there } = open(4)
  const view = heap.view(heap.malloc(10), 10)
  t.true(there.trySend(view))
  there.end()
  t.throws(() => there.trySend(heap.view(heap.malloc(10))), { code: 'ERR_CHANNEL_CLOSED' })
  t.is((await there.receive())!.length, 10)
  t.is(await there.receive(), undefined)
  there.close()
  there.close()
  t.throws(() => there.tryReceive(), { code: 'ERR_CHANNEL_CLOSED' })
})

test('the last one to close frees what nobody has received', (t) => {
  const { heap, there, back } = open(4)
  const other = Channel.attach(there.share(), { heap })
  there.trySend(heap.view(heap.malloc(1000)))
  there.close()
  other.close()
  back.close()
  t.is(heap.stats().liveBytes, 0)
})

test('what is no channel, or no block, is refused', (t) => {
  const { heap, there } = open(4)
  const { channel: words, generation, heap: heapToken } = there.share()
  for (const token of [
    undefined,
    {},
    { channel: 'x', generation, heap: heapToken },
    { channel: words, heap: heapToken },
    { channel: words, generation },
    { channel: words, generation: 1.5, heap: heapToken },
  ])
    t.throws(() => Channel.attach(token as never, { heap }), { code: 'ERR_HEAP_INVALID_TOKEN' })
  t.throws(() => Channel.attach({ channel: heap.malloc(64), generation, heap: heapToken }, { heap }), {
    code: 'ERR_HEAP_INVALID_TOKEN',
  })
  for (const channel of [16, 0, -1, 1.5, Number.NaN, 2 ** 40])
    t.throws(() => Channel.attach({ channel, generation, heap: heapToken }, { heap }), {
      code: 'ERR_HEAP_INVALID_TOKEN',
    })
  t.throws(() => there.trySend(Buffer.alloc(10)), { code: 'ERR_HEAP_INVALID_ADDRESS' })
  t.throws(() => new Channel(heap, { capacity: 0 }), { code: 'ERR_OUT_OF_RANGE' })
  t.throws(() => new Channel(new Heap({ mapper: new GrowableMapper() })), { code: 'ERR_HEAP_NOT_SHARED' })
})

test('a view that is longer than its block, or says that it is, is refused, and its block stays', (t) => {
  const { heap, there } = open(4)
  class Lying extends Uint8Array {
    override get byteLength() {
      return 2 ** 33
    }
  }
  const buffer = heap.allocBuffer(64)
  const altered = new DataView(buffer.buffer, buffer.byteOffset, 64)
  Object.defineProperty(altered, 'byteLength', { value: 32 })
  const hidden = Object.defineProperty(new Uint8Array(buffer.buffer, buffer.byteOffset, 65), 'byteLength', {
    value: 64,
  })
  const refused = { code: 'ERR_OUT_OF_RANGE' }
  for (const view of [
    new Uint8Array(buffer.buffer, buffer.byteOffset, 65),
    new DataView(buffer.buffer, buffer.byteOffset, 2 ** 20),
    new Lying(buffer.buffer, buffer.byteOffset, 64),
    altered,
    hidden,
  ]) {
    t.throws(() => there.trySend(view), refused)
    t.throws(() => there.sendSync(view), refused)
    t.throws(() => heap.pass(view), refused)
  }
  t.is(there.length, 0)
  t.true(there.trySend(new DataView(buffer.buffer, buffer.byteOffset, 64)))
  t.is(there.tryReceive()!.length, 64)
  heap.freeBuffer(heap.bufferAt(buffer.byteOffset))
  heap.audit()
})
