// Kills workers at any moment while they use all that a heap has, and looks whether a byte is lost: node scripts/kills.mjs [KILLS] [SEED]
// Run it after `npm run compile`. In a worker it is one of those. More than 600 kills take several processes: Node loses the file that a worker
// was loading when it was killed.
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { isMainThread, Worker, workerData } from 'node:worker_threads'
import { Arena, BufferPool, Channel, HandleTable, Heap } from '../dist/lib/index.js'
import { Random } from '../dist/test/support/random.js'

const code = (error) => error?.code ?? String(error)
/** Errors that mean only that others have taken all, or ended something. */
const EXPECTED = new Set(['ERR_HEAP_OUT_OF_MEMORY', 'ERR_HEAP_STALE_HANDLE', 'ERR_POOL_EXHAUSTED'])

/** Each leaves a file open, at most. */
const KILLS_OF_A_PROCESS = 600

/** The longest message. */
const MOST_MESSAGE = 3072

/** One call of some kind at each turn. `buffers` are those that it has acquired and not released. */
function* work(heap, { pool, table, channel, arena }, next, owns, buffers = []) {
  const handles = []
  const makeOwn = [
    () => new BufferPool({ heap, size: 1000, trimMs: 0, leaks: 'off' }),
    () => heap.handles({ max: 100 }),
    () => new Channel(heap, { capacity: 4 }),
  ]
  for (;;) {
    try {
      switch (next(owns ? 9 : 7)) {
        case 0: {
          const buffer = pool.tryAcquire()
          if (buffer !== undefined) buffers.push(buffer)
          break
        }
        case 1:
          if (buffers.length > 0) pool.release(buffers.splice(next(buffers.length), 1)[0])
          break
        case 2:
          if (handles.length < 50) handles.push(table.alloc(next(5000)))
          break
        case 3:
          if (handles.length > 0) table.free(handles.splice(next(handles.length), 1)[0])
          break
        case 4: {
          const pooled = channel.tryReceive()
          if (pooled !== undefined) heap.freeBuffer(pooled)
          break
        }
        case 5: {
          // A worker sends only what it has received: a block of its own would be a dead thread's.
          const message = channel.tryReceive()
          if (message !== undefined && !channel.trySend(message)) heap.freeBuffer(message)
          break
        }
        case 6: {
          const own = heap.arena({ owner: 'worker' })
          for (let i = next(30); i > 0; i--) (i % 5 === 0 ? own.arena() : own).malloc(next(20_000))
          own.dispose()
          if (next(50) === 0) arena?.dispose()
          break
        }
        case 7: {
          // Of its own, in the shared heap: used, and closed, or left to the next kill.
          const own = makeOwn[next(3)]()
          if (own instanceof BufferPool) for (const buffer of [own.acquire(), own.acquire()]) own.release(buffer)
          else if (own instanceof HandleTable) for (let i = 0; i < 5; i++) own.alloc(next(3000))
          if (next(2) === 0) own.close()
          break
        }
        default:
          heap.threadIdle()
      }
    } catch (error) {
      if (!EXPECTED.has(code(error))) throw error
    }
    yield
  }
}

/** An arena that another worker may have ended. */
function attachArena(token, heap) {
  try {
    return Arena.attach(token, { heap })
  } catch (error) {
    if (!EXPECTED.has(code(error))) throw error
    return undefined
  }
}

const open = (heap, tokens) => ({
  pool: BufferPool.attach(tokens.pool, { heap, trimMs: 0 }),
  table: HandleTable.attach(tokens.table, { heap }),
  channel: Channel.attach(tokens.channel, { heap }),
  arena: attachArena(tokens.arena, heap),
})

if (isMainThread) await run(Number(process.argv[2] ?? 1000), Number(process.argv[3] ?? 1))
else {
  const heap = Heap.attach(workerData.heap, { leaks: 'off' })
  const random = new Random(workerData.seed)
  const calls = work(heap, open(heap, workerData.tokens), (below) => random.below(below), true)
  for (;;) calls.next()
}

async function run(kills, seed) {
  if (kills <= KILLS_OF_A_PROCESS) return main(kills, seed)
  for (let done = 0; done < kills; done += KILLS_OF_A_PROCESS) {
    const count = Math.min(KILLS_OF_A_PROCESS, kills - done)
    const args = [fileURLToPath(import.meta.url), count, seed + done]
    const { status } = spawnSync(process.execPath, args, { stdio: 'inherit' })
    if (status !== 0) process.exitCode = 1
  }
}

async function main(kills, seed) {
  const random = new Random(seed)
  const next = (below) => random.below(below)
  const heap = new Heap({ limitBytes: 2 ** 28, leaks: 'off' })
  let longest = 0
  let lost = 0
  let messages = 0
  const residents = []
  for (let killed = 0; killed < kills; ) {
    const pool = new BufferPool({ heap, size: 2048, max: 64, trimMs: 0, leaks: 'off' })
    const table = heap.handles({ max: 1000 })
    const channel = new Channel(heap, { capacity: 32 })
    const arena = heap.arena()
    const tokens = { pool: pool.share(), table: table.share(), channel: channel.share(), arena: arena.share() }
    const data = { heap: heap.share(), tokens }
    const workers = Array.from({ length: 3 }, () => {
      const worker = new Worker(new URL(import.meta.url), { workerData: { ...data, seed: next(2 ** 31) } })
      worker.on('error', (error) => {
        console.error('a worker failed:', error)
        process.exitCode = 1
      })
      return worker
    })
    // A third are killed before they have begun.
    if (next(3) !== 0) await Promise.all(workers.map((worker) => once(worker, 'online')))
    const buffers = []
    const calls = work(heap, { pool, table, channel, arena }, next, false, buffers)
    for (const worker of workers) {
      const until = performance.now() + next(40)
      while (performance.now() < until) {
        const message = heap.allocBuffer(next(MOST_MESSAGE))
        if (!channel.trySend(message)) heap.freeBuffer(message)
        calls.next()
        await null
      }
      const ended = worker.terminate()
      const since = performance.now()
      for (let before = since; before < since + 5; ) {
        calls.next()
        const now = performance.now()
        longest = Math.max(longest, now - before)
        before = now
      }
      await ended
      killed++
    }
    arena.dispose()
    for (const buffer of buffers) pool.release(buffer)
    pool.reclaim()
    pool.close()
    table.close()
    channel.close()
    const { liveBytes, threads } = heap.stats()
    // Each worker may have died with one message that it had received and not freed yet.
    const left = liveBytes - messages
    messages = liveBytes
    if (left > workers.length * MOST_MESSAGE || threads !== 1) {
      lost += left
      console.error(`after ${killed} kills ${left} bytes are left, ${threads} threads are counted`)
      process.exitCode = 1
      break
    }
    heap.audit()
    if (killed % Math.max(3, Math.round(kills / 10 / 3) * 3) < 3)
      residents.push((process.memoryUsage().rss / 2 ** 20) | 0)
  }
  console.log(
    `${kills} kills, ${lost} bytes lost, ${messages} in messages that died with their readers, longest call after one ${longest.toFixed(1)} ms, resident MiB ${residents}`
  )
  heap.close()
}
