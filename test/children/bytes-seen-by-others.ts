// A worker that fills blocks and sends them, and checks and frees those that others have filled, for so many seconds.
import { parentPort, workerData } from 'node:worker_threads'
import { Channel, type ChannelToken, Heap, type HeapToken } from '../../lib/index.ts'
import { random } from '../support/churn.ts'

const { token, channelToken, seconds, seed } = workerData as {
  token: HeapToken
  channelToken: ChannelToken
  seconds: number
  seed: number
}
const heap = Heap.attach(token)
const channel = Channel.attach(channelToken, { heap })
const next = random(seed)

/** Writes a pattern that tells of every word what belongs there. */
function fill(words: Int32Array, start: number): void {
  words[0] = start
  for (let i = 1; i < words.length; i++) words[i] = Math.imul(start + i, 2654435761)
}

function isWhole(words: Int32Array): boolean {
  const start = words[0]!
  for (let i = 1; i < words.length; i++) if (words[i] !== Math.imul(start + i, 2654435761)) return false
  return true
}

let checked = 0
let wrong = 0
const end = Date.now() + seconds * 1000
while (Date.now() < end) {
  for (let i = 0; i < 200; i++) {
    const bytes = 4 * (1 + (next() % (next() % 50 === 0 ? 100_000 : 1000)))
    const address = heap.malloc(bytes)
    const words = new Int32Array(heap.buffer, address, bytes / 4)
    fill(words, next() | 0)
    if (!channel.trySend(words)) {
      if (!isWhole(words)) wrong++
      heap.free(address)
    }
    for (let message = channel.tryReceive(); message !== undefined; message = channel.tryReceive()) {
      if (!isWhole(new Int32Array(message.buffer, message.byteOffset, message.byteLength / 4))) wrong++
      checked++
      heap.freeBuffer(message)
      if (next() % 4 === 0) break
    }
  }
}
parentPort!.postMessage({ checked, wrong })
channel.close()
heap.close()
