// Lives of isolated buffers, as `isolated.js SCENARIO` tells them: the parent looks at the report. Run with --expose-gc.
import { subscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { readFile, unlink, writeFile } from 'node:fs/promises'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { Heap, type HeapToken } from '../../lib/index.ts'
import { collectGarbage } from '../support/garbage.ts'

const MIB = 2 ** 20
const script = fileURLToPath(import.meta.url)
const ISOLATED = { isolated: true }

type Report = Record<string, unknown>

interface Task {
  token: HeapToken
  task: string
}

const isFilled = (bytes: Uint8Array, byte: number) => Buffer.alloc(bytes.length, byte).equals(bytes)
/** Bytes of memory that the process has of its own. */
const resident = () => Number(readFileSync('/proc/self/status', 'latin1').match(/^RssAnon:\s+(\d+) kB$/m)![1]) * 1024

/** Collects until V8 has let go of what isn't used any more: it sweeps in threads of its own. Whether it has, in a second or more. */
async function collectUntil(done: () => boolean): Promise<boolean> {
  for (let round = 0; round < 30 && !done(); round++) await collectGarbage()
  return done()
}

/** What is live of a heap once V8 has let go of it. */
async function liveBytesAfterAll(heap: Heap): Promise<number> {
  await collectUntil(() => heap.stats().liveBytes === 0)
  heap.audit()
  return heap.stats().liveBytes
}

function drop(heap: Heap, count: number, size: number): void {
  for (let i = 0; i < count; i++) heap.allocBuffer(size, ISOLATED)[0] = i
}

/** Blocks of the heap that would overwrite what was freed too early. */
function overwrite(heap: Heap): void {
  const buffers = Array.from({ length: 64 }, () => heap.allocBuffer(65_536).fill(0xee))
  for (const buffer of buffers) heap.freeBuffer(buffer)
}

const inWorker: Record<string, (heap: Heap) => unknown> = {
  /** Has thousands, and ends. */
  keep(heap) {
    const kept = Array.from({ length: 5000 }, (_, i) => heap.allocBuffer(1 + (i % 3000), ISOLATED).fill(1))
    Object.assign(globalThis, { kept })
    parentPort!.postMessage('ready')
  },
  /** Has thousands, and waits to be terminated. */
  async wait(heap) {
    inWorker.keep!(heap)
    await sleep(60_000)
  },
  exit(heap) {
    inWorker.keep!(heap)
    process.exit(0)
  },
  /** Allocates, frees and drops until it is terminated. */
  churn(heap) {
    const kept: Buffer[] = []
    parentPort!.postMessage('ready')
    for (let i = 0; ; i = (i * 48_271 + 1) % 0x7fffffff) {
      kept.push(heap.allocBuffer(i % 20 === 0 ? 300_000 : i % 5000, ISOLATED))
      if (kept.length > 100)
        for (const buffer of kept.splice(0, 60)) if (buffer.length % 2 === 0) heap.freeBuffer(buffer)
      if (i % 200 === 0) gc!()
    }
  },
  /** Takes what it is sent, frees the first, and drops the others. */
  async receive(heap) {
    const [buffers] = (await once(parentPort!, 'message')) as [Uint8Array[]]
    const right = buffers.every((buffer, i) => isFilled(buffer, i) && heap.addressOf(buffer) > 0)
    heap.freeBuffer(buffers[0]!)
    const freed = buffers[0]!.length
    buffers.length = 0
    await collectGarbage()
    parentPort!.postMessage({ right, freed })
  },
}

/** A worker that has the heap, and is at its task. */
function start(heap: Heap, task: string): Worker {
  return new Worker(script, { workerData: { token: heap.share(), task } satisfies Task })
}

const scenarios: Record<string, () => Report | Promise<Report>> = {
  async 'operations and slices hold them'() {
    const heap = new Heap({ leaks: 'off' })
    const make = (size = 65_536) => heap.allocBuffer(size, ISOLATED).fill(7)
    const viaSocket = async (send: (socket: net.Socket, sent: () => void) => void) => {
      const server = net.createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1')
      await once(server, 'listening')
      const client = net.connect((server.address() as net.AddressInfo).port, '127.0.0.1')
      const [peer] = (await once(server, 'connection')) as [net.Socket]
      const filler = Buffer.alloc(16 * MIB, 1)
      client.write(filler)
      await sleep(50)
      const sent = new Promise<void>((resolve) => send(client, resolve))
      await collectGarbage()
      overwrite(heap)
      let total = 0
      let wrong = 0
      peer.on('data', (data: Buffer) => {
        for (let i = Math.max(0, filler.length - total); i < data.length; i++) if (data[i] !== 7) wrong++
        total += data.length
      })
      peer.resume()
      await sent
      client.end()
      await once(peer, 'close')
      server.close()
      return { bytes: total - filler.length, wrong }
    }
    const socket = await viaSocket((client, sent) => client.write(make(), sent))
    const slice = await viaSocket((client, sent) => client.write(make().subarray(0, 65_000), sent))
    const path = join(tmpdir(), `spanheap-isolated-${process.pid}`)
    const writing = writeFile(path, make(32 * MIB))
    await collectGarbage()
    heap.allocBuffer(32 * MIB).fill(9)
    await writing
    const file = isFilled(await readFile(path), 7)
    await unlink(path)
    const kept = make(1000).subarray(10, 20)
    await collectGarbage()
    overwrite(heap)
    return { socket, slice, file, kept: isFilled(kept, 7) }
  },
  async 'dropped ones free themselves'() {
    const told: unknown[] = []
    subscribe('spanheap:leak', (report) => told.push(report))
    const heap = new Heap({ leaks: 'all' })
    drop(heap, 5000, 100)
    drop(heap, 50, MIB)
    for (let i = 0; i < 100; i++) heap.allocArray(Float64Array, i, { isolated: true, tag: 'numbers', zero: true })
    for (let i = 0; i < 100; i++) heap.allocBuffer(0, ISOLATED)
    const before = heap.stats().liveBytes
    const after = await liveBytesAfterAll(heap)
    return { before, after, told: told.length, owners: heap.stats({ detail: true }).owners }
  },
  'V8 is charged for them'() {
    const heap = new Heap({ limitBytes: 4096 * MIB })
    const before = process.memoryUsage().external
    const kept = heap.allocBuffer(100 * MIB, ISOLATED)
    const charged = process.memoryUsage().external - before
    heap.freeBuffer(kept)
    const uncharged = process.memoryUsage().external - before
    // Nobody frees these, and the loop leaves V8 no other time: 4 GiB in all.
    for (let i = 0; i < 4096; i++) heap.allocBuffer(MIB, ISOLATED)[0] = 1
    return { charged: charged / MIB, uncharged: Math.round(uncharged / MIB), peak: heap.stats().peakMappedBytes }
  },
  async 'the heap closes first'() {
    const heap = new Heap({ limitBytes: 1024 * MIB })
    const buffers = Array.from({ length: 300 }, (_, i) =>
      heap.allocBuffer(i % 3 === 0 ? MIB : i, i % 3 === 0 ? {} : ISOLATED).fill(i)
    )
    const large = heap.allocBuffer(10 * MIB, ISOLATED).fill(5)
    const shared = heap.allocBuffer(100, { tag: 'in a page with others', isolated: true }).fill(6)
    const before = resident()
    heap.close()
    const closed = before - resident()
    const kept = buffers.filter((_, i) => i % 3 !== 0)
    const right = buffers.every((buffer, i) => isFilled(buffer, i % 3 === 0 ? 0 : i & 0xff))
    buffers.length = 0
    const moved = structuredClone(shared, { transfer: [shared.buffer] })
    const others =
      isFilled(large, 5) && isFilled(moved, 6) && kept.every((buffer) => isFilled(buffer, buffer.length & 0xff))
    return { closed: closed / MIB, right, others, large: large.length }
  },
  async 'pages of the last ones go with them'() {
    // It is written out when the last that is of the heap is gone.
    const ledger = join(tmpdir(), `spanheap-isolated-${process.pid}`)
    const held = (() => {
      const heap = new Heap({ limitBytes: 1024 * MIB, ledger: { file: ledger } })
      const small = heap.allocBuffer(100, ISOLATED).fill(3)
      drop(heap, 1, 64)
      const large = [heap.allocBuffer(50 * MIB, ISOLATED).fill(4)]
      heap.close()
      return { small, large }
    })()
    await collectGarbage()
    const before = resident()
    const right = isFilled(held.large.pop()!, 4)
    const freed = await collectUntil(() => before - resident() > 49 * MIB)
    const isUnmapped = () => {
      // The ArrayBuffer of its views lets go of the memory when the next one is reserved.
      new Heap({ limitBytes: MIB }).close()
      return readFileSync(ledger, 'latin1').split('munmap').length === 3
    }
    const stays = !isUnmapped() && isFilled(held.small, 3)
    held.small = Buffer.alloc(0)
    const unmapped = await collectUntil(isUnmapped)
    await unlink(ledger)
    return { right, freed, stays, unmapped }
  },
  async 'workers end with thousands'() {
    const heap = new Heap()
    for (const task of ['keep', 'wait', 'exit', 'wait']) {
      const worker = start(heap, task)
      const ended = once(worker, 'exit')
      if (task !== 'exit') await once(worker, 'message')
      if (task === 'wait') await worker.terminate()
      await ended
    }
    const { threads, deadThreadsBytes } = heap.stats()
    return { live: await liveBytesAfterAll(heap), threads, deadThreadsBytes }
  },
  async 'workers are terminated while they allocate and free'() {
    const heap = new Heap()
    for (let kill = 0; kill < 10; kill++) {
      const worker = start(heap, 'churn')
      await once(worker, 'message')
      const until = performance.now() + 3 * kill
      // This thread takes from the same list.
      while (performance.now() < until) {
        heap.freeBuffer(heap.allocBuffer(200, ISOLATED))
        heap.stats()
      }
      await worker.terminate()
      heap.audit()
    }
    const lost = () => heap.stats().liveBytes - heap.stats().deadThreadsBytes!
    await collectUntil(() => lost() === 0)
    const { liveBytes, deadThreadsBytes } = heap.stats()
    return { lost: liveBytes - deadThreadsBytes!, dead: deadThreadsBytes }
  },
  async 'a transfer moves the block'() {
    const heap = new Heap()
    const worker = start(heap, 'receive')
    const buffers = Array.from({ length: 50 }, (_, i) => heap.allocBuffer(1000, ISOLATED).fill(i))
    worker.postMessage(
      buffers,
      buffers.map(({ buffer }) => buffer)
    )
    const here = buffers.map(({ length }) => length)
    const codes = buffers.slice(0, 1).map((buffer) => {
      try {
        return heap.freeBuffer(buffer)
      } catch (error) {
        return (error as { code: string }).code
      }
    })
    const [there] = await once(worker, 'message')
    const live = heap.stats().liveBytes
    await worker.terminate()
    return { ...(there as object), here: Math.max(...here), codes, live }
  },
  async 'a message that nobody receives'() {
    const heap = new Heap()
    ;(() => {
      const { port1, port2 } = new MessageChannel()
      const buffer = heap.allocBuffer(1000, ISOLATED)
      port1.postMessage(buffer, [buffer.buffer])
      port1.close()
      port2.close()
    })()
    return { live: await liveBytesAfterAll(heap) }
  },
  async 'the process ends with some'() {
    const heap = new Heap()
    const worker = start(heap, 'wait')
    await once(worker, 'message')
    Object.assign(globalThis, { kept: Array.from({ length: 1000 }, () => heap.allocBuffer(1000, ISOLATED)) })
    process.stdout.write('{}\n')
    process.exit(0)
  },
}

if (isMainThread) {
  process.stdout.write(`${JSON.stringify(await scenarios[process.argv[2]!]!())}\n`)
  process.exit(0)
} else {
  const { token, task } = workerData as Task
  await inWorker[task]!(Heap.attach(token))
}
