// Interrupts calls of a heap by vm timeouts and stack overflows, in a thread that lives on, and looks how long any thread waits:
// node scripts/interrupts.mjs [OF_EACH] [SEED]. Run it after `npm run compile`. In a worker it is one of the neighbours.
import { once } from 'node:events'
import { setImmediate } from 'node:timers/promises'
import { runInNewContext } from 'node:vm'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { BufferPool, Channel, HandleTable, Heap } from '../dist/lib/index.js'
import { Random } from '../dist/test/support/random.js'

/** Errors that mean only that others have taken all, or that an interrupted call had done its work. */
const EXPECTED = new Set([
  'ERR_HEAP_OUT_OF_MEMORY',
  'ERR_HEAP_STALE_HANDLE',
  'ERR_HEAP_DOUBLE_FREE',
  'ERR_POOL_EXHAUSTED',
  'ERR_POOL_DOUBLE_RELEASE',
])

/** Neighbours of the thread whose calls are interrupted. */
const NEIGHBOURS = 2

/** All that a thread has open, and how long its longest call took. */
class Thread {
  constructor(heaps, pools, tables, channels, seed) {
    Object.assign(this, { heaps, pools, tables, channels, random: new Random(seed) })
    this.blocks = []
    this.buffers = []
    this.handles = []
    this.longest = 0
    this.unexpected = new Map()
  }

  one(list) {
    return list[this.random.below(list.length)]
  }

  /** One call of some kind. What is taken is noted behind the call: an interrupt in between loses it to the program, not to the heap. */
  call() {
    const { blocks, buffers, handles, random } = this
    const heap = this.one(this.heaps)
    switch (random.below(10)) {
      case 0:
      case 1:
        if (blocks.length < 200) blocks.push(heap.malloc(1 + random.below(random.below(8) === 0 ? 400_000 : 3000)))
        break
      case 2:
      case 3:
        if (blocks.length > 0) heap.free(blocks.pop())
        break
      case 4: {
        const pool = this.one(this.pools)
        const buffer = pool.tryAcquire()
        if (buffer !== undefined) buffers.push([pool, buffer])
        break
      }
      case 5:
        if (buffers.length > 0) {
          const [pool, buffer] = buffers.pop()
          pool.release(buffer)
        }
        break
      case 6: {
        const table = this.one(this.tables)
        if (handles.length < 50) handles.push([table, table.alloc(random.below(5000))])
        break
      }
      case 7:
        if (handles.length > 0) {
          const [table, handle] = handles.pop()
          table.free(handle)
        }
        break
      case 8: {
        const channel = this.one(this.channels)
        const message = channel.tryReceive() ?? heap.allocBuffer(random.below(2000))
        if (!channel.trySend(message)) heap.freeBuffer(message)
        break
      }
      default:
        if (random.below(20) === 0) Heap.attach(this.heaps[0].share(), { leaks: 'off' }).close()
        else heap.stats()
    }
  }

  /** The same, timed. Notes an error that no call may end with. */
  timed() {
    const since = performance.now()
    try {
      this.call()
    } catch (error) {
      const code = error?.code ?? String(error)
      if (!EXPECTED.has(code)) this.unexpected.set(code, (this.unexpected.get(code) ?? 0) + 1)
    }
    this.longest = Math.max(this.longest, performance.now() - since)
  }

  /** Calls until the stack is full. */
  deepen() {
    this.call()
    this.deepen()
  }
}

/** Several Heap objects of one heap in this thread, and pools, tables and channels over them. */
function open(token, tokens, seed) {
  const heaps = Array.from({ length: 3 }, () => Heap.attach(token, { leaks: 'off' }))
  return new Thread(
    heaps,
    heaps.map((heap) => BufferPool.attach(tokens.pool, { heap, trimMs: 0 })),
    heaps.map((heap) => HandleTable.attach(tokens.table, { heap })),
    heaps.map((heap) => Channel.attach(tokens.channel, { heap })),
    seed
  )
}

if (isMainThread) await main(Number(process.argv[2] ?? 400), Number(process.argv[3] ?? 1))
else {
  const { token, tokens, seed, stop } = workerData
  const thread = open(token, tokens, seed)
  while (Atomics.load(stop, 0) === 0) {
    for (let i = 0; i < 50; i++) thread.timed()
    await setImmediate()
  }
  parentPort.postMessage({ longest: thread.longest, unexpected: thread.unexpected })
}

async function main(ofEach, seed) {
  const heap = new Heap({ leaks: 'off' })
  const pool = new BufferPool({ heap, size: 2048, max: 64, trimMs: 0, leaks: 'off' })
  const table = heap.handles({ max: 1000 })
  const channel = new Channel(heap, { capacity: 32 })
  const tokens = { pool: pool.share(), table: table.share(), channel: channel.share() }
  const token = heap.share()
  const stop = new Int32Array(new SharedArrayBuffer(4))
  const workers = Array.from({ length: NEIGHBOURS }, (_, n) => {
    return new Worker(new URL(import.meta.url), { workerData: { token, tokens, seed: seed + 1 + n, stop } })
  })
  await Promise.all(workers.map((worker) => once(worker, 'online')))
  const thread = open(token, tokens, seed)
  const count = { timeout: 0, overflow: 0 }
  while (count.timeout < ofEach || count.overflow < ofEach) {
    try {
      if (count.timeout < ofEach && (count.overflow >= ofEach || thread.random.below(2) === 0))
        runInNewContext('for (;;) call()', { call: () => thread.call() }, { timeout: 1 + thread.random.below(4) })
      else thread.deepen()
    } catch (error) {
      if (error?.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') count.timeout++
      else if (String(error).includes('call stack')) count.overflow++
      else if (!EXPECTED.has(error?.code)) throw error
    }
    // Either this thread goes on at once, or its event loop does.
    if (thread.random.below(2) === 0) for (let i = 0; i < 20; i++) thread.timed()
    await setImmediate()
  }
  Atomics.store(stop, 0, 1)
  const messages = await Promise.all(workers.map((worker) => once(worker, 'message').then(([message]) => message)))
  await Promise.all(workers.map((worker) => worker.terminate()))
  heap.audit()
  const all = [{ longest: thread.longest, unexpected: thread.unexpected }, ...messages]
  const waits = all.map(({ longest }) => longest.toFixed(1))
  const unexpected = all.flatMap((one) => [...one.unexpected].map(([code, times]) => `${code} ${times} times`))
  console.log(
    `${count.timeout} timeouts, ${count.overflow} overflows; longest call of each thread ${waits} ms; unexpected: ${unexpected.join(', ') || 'nothing'}`
  )
  if (unexpected.length > 0) process.exitCode = 1
  process.exit()
}
