// A worker that adopts what it is given, in workerData or by messages, and does what it is told with it.
import { parentPort, workerData } from 'node:worker_threads'
import { Channel, type ChannelToken, Heap, type HeapToken, type PassedBlock } from '../../lib/index.ts'

/** What the worker is told. */
export interface Told {
  task: 'free' | 'keep' | 'pass' | 'send'
  passed: PassedBlock
  channel?: ChannelToken
}

const { token, first } = workerData as { token: HeapToken; first?: Told }
const heap = Heap.attach(token, { leaks: 'off' })
const port = parentPort!

function run({ task, passed, channel }: Told): void {
  const view = heap.adopt(passed)
  const { byteOffset: address, length } = view
  const seen = { address, length, first: view[0], last: view[length - 1] }
  if (task === 'free') heap.freeBuffer(view)
  if (task === 'send') Channel.attach(channel!, { heap }).trySend(view)
  port.postMessage(task === 'pass' ? { ...seen, passed: heap.pass(view.fill(9)) } : seen)
}

if (first !== undefined) run(first)
port.on('message', run)
