// Drops what was allocated, and reports what the library tells of it. Run with --expose-gc.

import { subscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { setTimeout } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { BufferPool, Heap, type HeapOptions, type LeakReport } from '../../lib/index.ts'
import { childScript } from '../support/child.ts'

const task = process.argv[2]!
const reports: LeakReport[] = []
if (task !== 'warnings') subscribe('spanheap:leak', (report) => reports.push(report as LeakReport))

/** Until something holds, or it surely never will. */
async function collectUntil(holds: () => boolean): Promise<void> {
  for (let round = 0; round < 200 && !holds(); round++) {
    gc!()
    await setTimeout(5)
  }
}
/** Some rounds of collection: whatever is to be told has been told. */
async function collect(): Promise<void> {
  const last = { done: false }
  const registry = new FinalizationRegistry(() => {
    last.done = true
  })
  ;(() => registry.register({}, 0))()
  await collectUntil(() => last.done)
  for (let round = 0; round < 3; round++) {
    gc!()
    await setTimeout(5)
  }
}
const open = (options: HeapOptions = { leaks: 'all' }) => new Heap({ limitBytes: 2 ** 26, ...options })
const answer = (value: unknown) => process.stdout.write(`${JSON.stringify(value)}\n`)

/** Keeps its buffer in a field. */
class Connection {
  readonly buffer: Buffer
  constructor(heap: Heap) {
    this.buffer = heap.allocBuffer(77, { tag: 'connection' })
  }
}

const tasks: Record<string, () => Promise<void>> = {
  async reported() {
    const heap = open()
    const address = ((): number => heap.addressOf(heap.allocBuffer(100, { tag: 'request' })))()
    await collectUntil(() => reports.length > 0)
    ;(() => heap.allocArray(Float64Array, 4))()
    await collectUntil(() => reports.length > 1)
    answer({ address, reports, live: heap.stats().liveBytes, owners: heap.stats({ detail: true }).owners })
  },
  async 'kept in a field'() {
    const heap = open()
    ;(() => void new Connection(heap))()
    await collectUntil(() => reports.length > 0)
    answer(reports.map(({ tag }) => tag))
  },
  async warnings() {
    const heap = open()
    const warnings: { code: string | undefined; detail: string | undefined; message: string }[] = []
    process.on('warning', (warning) => {
      const { code, detail } = warning as Error & { code?: string; detail?: string }
      warnings.push({ code, detail, message: warning.message })
    })
    ;(() => {
      for (let i = 0; i < 25; i++) heap.allocBuffer(100, { tag: 'dropped' })
    })()
    await collectUntil(() => warnings.length >= 10)
    await collect()
    answer(warnings)
  },
  async off() {
    const heap = open({ leaks: 'off' })
    ;(() => {
      for (let i = 0; i < 20_000; i++) heap.allocBuffer(16)
      for (let i = 0; i < 10; i++) heap.allocBuffer(16, { tag: 'told apart, but not watched for leaks' })
    })()
    await collect()
    answer(reports.length)
  },
  async sampled() {
    const heap = open({ leaks: 'sampled' })
    const pool = new BufferPool({ size: 64, heap, leaks: 'sampled', tag: 'pool' })
    ;(() => {
      for (let i = 0; i < 5 * 8192; i++) heap.allocBuffer(16)
      for (let i = 0; i < 3 * 8192; i++) pool.release(pool.acquire())
      for (let i = 0; i < 2 * 8192; i++) {
        const buffer = pool.acquire()
        // All but those that are watched, which are other views each time, go back.
        if (i % 8192 !== 8191) pool.release(buffer)
      }
    })()
    await collectUntil(() => reports.length >= 7)
    await collect()
    answer({
      heap: reports.filter(({ tag }) => tag === undefined).length,
      pool: reports.filter(({ tag }) => tag === 'pool').length,
    })
  },
  async freed() {
    const heap = open()
    const worker = new Worker(childScript('heap-worker'), { workerData: { token: heap.share(), task: 'serve' } })
    const buffers = (() => {
      heap.freeBuffer(heap.allocBuffer(100))
      heap.free(heap.addressOf(heap.allocBuffer(100)))
      heap.freeBuffer(heap.allocArray(Int8Array, 100).subarray(0, 1))
      heap.free(heap.realloc(heap.addressOf(heap.allocBuffer(100)), 100_000))
      heap.realloc(heap.addressOf(heap.allocBuffer(300_000)), 310_000) // where it stands
      heap.unwatch(heap.allocBuffer(100))
      return [100, 5000, 500_000].map((size) => heap.allocBuffer(size))
    })()
    // Each is held until it is freed: one that V8 collects before is a leak.
    for (const buffer of buffers.splice(0)) {
      worker.postMessage({ call: 'free', args: [heap.addressOf(buffer)] })
      await once(worker, 'message')
    }
    // Handed out again, and watched again: what was there before is told of by nobody.
    const kept = Array.from({ length: 200 }, (_, i) => heap.allocBuffer(i % 2 === 0 ? 100 : 5000))
    await collect()
    const told = reports.length
    await worker.terminate()
    for (const buffer of kept) heap.freeBuffer(buffer)
    answer({ told, owners: heap.stats({ detail: true }).owners })
  },
  async 'realloc without memory'() {
    const heap = open()
    const failed = ((): string | undefined => {
      try {
        heap.realloc(heap.addressOf(heap.allocBuffer(100, { tag: 'still watched' })), 2 ** 30)
      } catch (error) {
        return (error as { code: string }).code
      }
      return undefined
    })()
    await collectUntil(() => reports.length > 0)
    answer({ failed, tags: reports.map(({ tag }) => tag) })
  },
  async closed() {
    const heap = open({ leaks: 'all' })
    const other = Heap.attach(heap.share())
    const pool = new BufferPool({ size: 64, heap, leaks: 'all' })
    ;(() => {
      heap.allocBuffer(100)
      pool.acquire()
      pool.lease()
    })()
    pool.close()
    heap.close()
    await collect()
    other.audit()
    answer(reports.length)
  },
  async pool() {
    const pool = new BufferPool({ size: 300, leaks: 'all', tag: 'pool' })
    ;(() => {
      pool.acquire()
      pool.lease()
      pool.release(pool.acquire())
      pool.lease().release()
      const held = pool.acquire()
      pool.hold(held)!()
      pool.release(held)
    })()
    await collectUntil(() => reports.length >= 2)
    await collect()
    const { acquired, leased, idle } = pool.stats()
    answer({ reports, stats: { acquired, leased, idle }, owners: pool.heap.stats({ detail: true }).owners })
  },
  async adopted() {
    const pool = new BufferPool({ size: 300, leaks: 'all' })
    const other = BufferPool.attach(pool.share(), { leaks: 'off' })
    ;(() => other.adopt(pool.pass(pool.acquire())))()
    ;(() => other.release(pool.acquire()))()
    await collect()
    answer({ told: reports.length, acquired: pool.stats().acquired })
  },
}

await tasks[task]!()
process.exit(0)
