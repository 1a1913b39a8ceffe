/**
 * Messages of 64 KiB from one worker to another: blocks through a channel, beside `postMessage` that transfers a fresh
 * ArrayBuffer. Runs in turn, the best of each.
 *
 *     node dist/tools/bench/single/channel.js [--messages N] [--rounds N] [--bytes N]
 */
import { once } from 'node:events'
import { parseArgs } from 'node:util'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { Channel, type ChannelToken, Heap, type HeapToken } from 'spanheap'

interface Work {
  messages: number
  bytes: number
  heap?: HeapToken
  channel?: ChannelToken
}

async function measure(work: Work): Promise<number> {
  const heap = new Heap({ limitBytes: 2 ** 30 })
  const channel = new Channel(heap, { capacity: 64 })
  const throughChannel = { heap: heap.share(), channel: channel.share() }
  const worker = new Worker(new URL(import.meta.url), { workerData: { ...work, ...throughChannel } })
  await once(worker, 'message')
  const start = process.hrtime.bigint()
  worker.postMessage('begin')
  for (let i = 0; i < work.messages; i++) heap.freeBuffer(channel.receiveSync()!)
  const elapsed = Number(process.hrtime.bigint() - start)
  await worker.terminate()
  heap.close()
  return elapsed / work.messages
}

async function measurePosts(work: Work): Promise<number> {
  const worker = new Worker(new URL(import.meta.url), { workerData: work })
  await once(worker, 'message')
  const start = process.hrtime.bigint()
  await new Promise<void>((resolve) => {
    let received = 0
    worker.on('message', () => {
      if (++received === work.messages) resolve()
    })
    worker.postMessage('begin')
  })
  const elapsed = Number(process.hrtime.bigint() - start)
  await worker.terminate()
  return elapsed / work.messages
}

if (isMainThread) {
  const { values } = parseArgs({
    options: {
      messages: { type: 'string', default: '200000' },
      rounds: { type: 'string', default: '5' },
      bytes: { type: 'string', default: '65536' },
    },
  })
  const work = { messages: Number(values.messages), bytes: Number(values.bytes) }
  let channel = Number.POSITIVE_INFINITY
  let posts = Number.POSITIVE_INFINITY
  for (let round = 0; round < Number(values.rounds); round++) {
    channel = Math.min(channel, await measure(work))
    posts = Math.min(posts, await measurePosts(work))
  }
  console.log(
    `messages of ${work.bytes} bytes: channel ${channel.toFixed(0)} ns, postMessage with transfer ${posts.toFixed(0)} ns each, ` +
      `${(posts / channel).toFixed(1)} times as many through the channel`
  )
} else {
  const { messages, bytes, heap: token, channel: channelToken } = workerData as Work
  parentPort!.once('message', () => {
    if (token !== undefined) {
      const heap = Heap.attach(token)
      const channel = Channel.attach(channelToken!, { heap })
      for (let i = 0; i < messages; i++) channel.sendSync(heap.view(heap.malloc(bytes), bytes))
    } else {
      for (let i = 0; i < messages; i++) {
        const buffer = new ArrayBuffer(bytes)
        parentPort!.postMessage(buffer, [buffer])
      }
    }
  })
  parentPort!.postMessage('ready')
}
