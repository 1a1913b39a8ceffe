import { parentPort, workerData } from 'node:worker_threads'
import { Heap } from 'spanheap'

const heap = Heap.attach(workerData)
const buffer = heap.allocBuffer(100)
buffer.write('from a worker')
parentPort.postMessage(heap.addressOf(buffer))
heap.close()
