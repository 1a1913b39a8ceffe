// Lives of heaps that must end well: `lifecycle.js SCENARIO`. The parent looks at the exit status, signal and report.
import { readFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { Heap } from '../../lib/index.ts'
import { collectGarbage } from '../support/garbage.ts'

const MIB = 2 ** 20
const script = fileURLToPath(import.meta.url)

type Report = Record<string, unknown>

/** What a worker does, by name. */
const inWorker: Record<string, () => void | Promise<void>> = {
  /** Posts the buffer of a heap, and the address of a block in it, and ends. */
  post() {
    const heap = new Heap({ limitBytes: 64 * MIB })
    const address = heap.malloc(1000)
    heap.view(address).fill(42)
    parentPort!.postMessage({ buffer: heap.buffer, address })
  },
  /** Ends while a heap is alive that nobody else knows. */
  keep() {
    const heaps = [new Heap(), new Heap()]
    for (const heap of heaps) heap.view(heap.malloc(100))[0] = 1
    Object.assign(globalThis, { heaps })
    parentPort!.postMessage('ready')
  },
  /** Uses heaps until it is terminated. */
  churn() {
    const heaps = [new Heap({ limitBytes: 256 * MIB }), new Heap({ limitBytes: 256 * MIB })]
    const live: [Heap, number][] = []
    parentPort!.postMessage('ready')
    for (let i = 1; ; i = (i * 48271) % 0x7fffffff) {
      const heap = heaps[i % 2]!
      const address = heap.malloc(i % 50 === 0 ? MIB : i % 4000)
      heap.view(address)[0] = i
      live.push([heap, address])
      if (live.length > 500) for (const [owner, freed] of live.splice(0, 400)) owner.free(freed)
      if (i % 5000 === 0) heap.releaseFreeMemory()
    }
  },
  /** Leaves with heaps alive. */
  exit() {
    Object.assign(globalThis, { heaps: [new Heap(), new Heap()] })
    process.exit(0)
  },
}

/** Lives by name; what each reports. */
const scenarios: Record<string, () => Report | Promise<Report>> = {
  async 'buffer outlives the worker that made the heap'() {
    const { buffer, address } = (await messageOf('post')) as { buffer: SharedArrayBuffer; address: number }
    await collectGarbage()
    const view = new Uint8Array(buffer, address, 1000)
    const whole = view.every((byte) => byte === 42)
    view.fill(43)
    return { whole, writable: view[999] === 43 }
  },
  async 'buffer of a dead worker is collected'() {
    let kept: unknown = await messageOf('post')
    const posted = typeof kept
    kept = undefined
    await collectGarbage()
    return { posted, kept: typeof kept }
  },
  async 'worker ends with heaps alive'() {
    for (let i = 0; i < 5; i++) await messageOf('keep')
    await collectGarbage()
    return {}
  },
  async 'worker is terminated while it uses heaps'() {
    for (let i = 0; i < 15; i++) {
      const worker = new Worker(script, { workerData: 'churn' })
      await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
      await setTimeout(i * 3)
      await worker.terminate()
    }
    await collectGarbage()
    return {}
  },
  async 'worker calls process.exit with heaps alive'() {
    const worker = new Worker(script, { workerData: 'exit' })
    const status = await new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject))
    await collectGarbage()
    return { status }
  },
  'process.exit with heaps alive'() {
    const heaps = [new Heap(), new Heap({ limitBytes: 64 * MIB })]
    for (const heap of heaps) heap.view(heap.malloc(3 * MIB)).fill(1)
    Object.assign(globalThis, { heaps })
    process.stdout.write('{}\n')
    process.exit(0)
  },
  async 'process.exit while a worker uses heaps'() {
    const worker = new Worker(script, { workerData: 'churn' })
    await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
    process.stdout.write('{}\n')
    process.exit(0)
  },
  async 'heap is closed, then collected'() {
    let heap: Heap | undefined = new Heap()
    const view = heap.view(heap.malloc(5 * MIB)).fill(7)
    heap.close()
    heap.close()
    heap = undefined
    await collectGarbage()
    return { length: view.length, zeros: view.every((byte) => byte === 0) }
  },
  async 'heap is closed while a file is read into it'() {
    const heap = new Heap()
    const view = heap.view(heap.malloc(64 * MIB), 64 * MIB)
    const file = await open('/dev/zero')
    const reading = file.read(view, 0, view.length, null)
    heap.close()
    await collectGarbage()
    const { bytesRead } = await reading
    await file.close()
    return { bytesRead }
  },
  async 'byte stream is given a view, and the heap is dropped'() {
    let heap: Heap | undefined = new Heap()
    const view = heap.view(heap.malloc(1000), 1000).fill(9)
    const stream = new ReadableStream({
      type: 'bytes',
      start(controller) {
        try {
          controller.enqueue(view)
        } catch {
          controller.enqueue(new Uint8Array(view))
        }
      },
    })
    const { value } = await stream.getReader().read()
    heap = undefined
    await collectGarbage()
    await collectGarbage()
    new Heap().close()
    return { whole: value!.length === 1000 && value!.every((byte: number) => byte === 9) }
  },
  async 'attached heaps are dropped without a close'() {
    const heap = new Heap({ limitBytes: 64 * MIB })
    const token = heap.share()
    const use = () => {
      const attached = Heap.attach(token)
      for (const address of Array.from({ length: 50 }, () => attached.malloc(1000))) attached.free(address)
    }
    for (let round = 0; round < 10; round++) {
      for (let i = 0; i < 50; i++) use()
      await collectGarbage()
    }
    const { threads, liveBytes } = heap.stats()
    heap.audit()
    heap.close()
    return { threads, liveBytes }
  },
  async 'heaps are dropped without a close'() {
    const use = (): Heap => {
      const heap = new Heap()
      heap.view(heap.malloc(100))[0] = 1
      return heap
    }
    use()
    await collectGarbage()
    const before = addressSpace()
    // Held until all are there: V8 collects them as soon as it likes.
    const heaps = Array.from({ length: 200 }, use)
    const reserved = heaps.reduce((sum, heap) => sum + heap.stats().reservedBytes, 0)
    const most = addressSpace()
    heaps.length = 0
    await collectGarbage()
    // Address space goes with the next reservation behind V8's sweep.
    new Heap({ limitBytes: MIB }).close()
    return { reserved, grown: most - before, left: addressSpace() - before }
  },
}

/** Bytes of address space that the process has. */
function addressSpace(): number {
  return Number(readFileSync('/proc/self/status', 'latin1').match(/^VmSize:\s+(\d+) kB$/m)![1]) * 1024
}

/** Starts a worker, and waits until it has ended; its message. */
async function messageOf(task: string): Promise<unknown> {
  const worker = new Worker(script, { workerData: task })
  let message: unknown
  worker.once('message', (value) => {
    message = value
  })
  await new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject))
  return message
}

if (isMainThread) {
  process.stdout.write(`${JSON.stringify(await scenarios[process.argv[2]!]!())}\n`)
} else {
  await inWorker[workerData as string]!()
}
