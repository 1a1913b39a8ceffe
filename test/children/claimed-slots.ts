// A worker: claims a slot of a mapping of its own, posts the buffer, and ends, or waits to be terminated.
import { parentPort, workerData } from 'node:worker_threads'
import { openMapper } from '../../lib/os/open-mapper.ts'

const mapping = openMapper({}).reserve({ byteLength: 2 ** 20, shared: true, alignment: 4096, hugePages: true })
if (typeof mapping === 'number') throw new Error(`the reservation was refused: ${mapping}`)
mapping.grow(0, 65536)
mapping.claimSlot(0, 2, false)
parentPort!.postMessage(mapping.buffer)
if ((workerData as { wait: boolean }).wait) setInterval(() => mapping, 1000)
