// A worker at a channel: echoes what it receives, or takes one message and keeps it, or sends as many as it is told.
import { parentPort, threadId, workerData } from 'node:worker_threads'
import { Channel, type ChannelToken, Heap, type HeapToken } from '../../lib/index.ts'

const {
  heap: token,
  from,
  to,
  task,
  count,
} = workerData as {
  heap: HeapToken
  from: ChannelToken
  to: ChannelToken
  task: string
  count: number
}
const heap = Heap.attach(token)
const input = Channel.attach(from, { heap })
const output = Channel.attach(to, { heap })

if (task === 'echo') {
  for await (const message of input) {
    for (let i = 0; i < message.length; i++) message[i]! += 1
    await output.send(message)
  }
  output.end()
} else if (task === 'keep') {
  const message = input.receiveSync()!
  parentPort!.postMessage(message.length)
  setInterval(() => message, 1000)
} else if (task === 'send') {
  for (let i = 0; i < count; i++) {
    const view = new Int32Array(heap.buffer, heap.malloc(8), 2)
    view[0] = i
    // Not the slot: who starts late may get that of one who is done.
    view[1] = threadId
    output.sendSync(view)
  }
  parentPort!.postMessage('sent')
}
if (task !== 'keep') {
  input.close()
  output.close()
  heap.close()
}
