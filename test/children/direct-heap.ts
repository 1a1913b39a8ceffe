// What is done with views of a DirectHeap's blocks, and with what was made of them, after the blocks were freed.
import { once } from 'node:events'
import { closeSync, openSync, read } from 'node:fs'
import { promisify } from 'node:util'
import { Worker } from 'node:worker_threads'
import { deflate } from 'node:zlib'
import { DirectHeap } from '../../lib/direct/index.ts'
import { collectGarbage } from '../support/garbage.ts'

const MIB = 2 ** 20
const heap = new DirectHeap()

function viewed(bytes: number): { address: number; view: Uint8Array<ArrayBuffer> } {
  const address = heap.malloc(bytes)
  const view = heap.view(address, bytes)
  view.fill(5)
  return { address, view }
}

const scenarios: Record<string, () => Promise<unknown>> = {
  async 'a transferred view'() {
    const { address, view } = viewed(MIB)
    const clone = structuredClone(view, { transfer: [view.buffer] })
    const before = clone[9]
    const again = heap.view(address)[9]
    heap.free(address)
    clone[7] = 1
    return { before, again, length: clone.length, after: [clone[7], clone[9]] }
  },
  async 'a view that a worker has'() {
    const { address, view } = viewed(MIB)
    const worker = new Worker(
      `const { parentPort } = require('node:worker_threads')
       let first
       parentPort.on('message', (view) => {
         first ??= view
         parentPort.postMessage(first[9])
         if (first !== view) parentPort.close()
       })`,
      { eval: true }
    )
    worker.postMessage(view, [view.buffer])
    const [before] = await once(worker, 'message')
    heap.free(address)
    heap.close()
    worker.postMessage(new Uint8Array(16))
    const [after] = await once(worker, 'message')
    return { before, after }
  },
  async 'a compression that runs'() {
    const { address, view } = viewed(32 * MIB)
    const compressed = promisify<Uint8Array, Buffer>(deflate)(view)
    setTimeout(() => heap.free(address), 20)
    return { isDone: (await compressed).length > 0, length: view.length }
  },
  async 'a read that runs'() {
    const { address, view } = viewed(64 * MIB)
    const file = openSync('/dev/zero', 'r')
    const reading = promisify(read)(file, view, 0, view.length, 0)
    heap.free(address)
    const { bytesRead } = await reading
    closeSync(file)
    return { bytesRead }
  },
  async 'a close while a compression runs'() {
    const { view } = viewed(32 * MIB)
    const compressed = promisify<Uint8Array, Buffer>(deflate)(view)
    setTimeout(() => heap.close(), 20)
    return { isDone: (await compressed).length > 0, length: view.length }
  },
  async 'addresses go with the last view'() {
    for (let i = 0; i < 20; i++) heap.free(viewed(MIB).address)
    const { mappedBytes } = heap.stats()
    await collectGarbage()
    heap.free(heap.malloc(1))
    const { reservedBytes, syscalls } = heap.stats()
    return { mappedBytes, reservedBytes, syscalls }
  },
  async 'viewed blocks without end'() {
    // 2 TiB in all, and never a turn of the event loop.
    for (let i = 0; i < 2000; i++) {
      const address = heap.malloc(1024 * MIB)
      heap.view(address)[0] = 1
      heap.free(address)
    }
    return { isBounded: heap.stats().reservedBytes < 100 * 1024 * MIB }
  },
}

process.stdout.write(JSON.stringify(await scenarios[process.argv[2]!]!()))
