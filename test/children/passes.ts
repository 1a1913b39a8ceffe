// Four workers pass blocks of one heap to each other at random, and some are killed: against a model of who has which block. Prints one line
// of JSON. See scripts/passes.mjs.
import { parseArgs } from 'node:util'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { Heap, type HeapToken, type PassedBlock } from '../../lib/index.ts'
import { random } from '../support/churn.ts'

const WORKERS = 4
/** Blocks that are out at a time: more than the workers come to in a moment. */
const BLOCKS = 64
const GIB = 2 ** 30
/** Where the blocks begin: what is in front of them is one block. */
const BALLAST_BYTES = 4 * GIB
const HEADER_BYTES = 16

/** What a worker is sent: a block that it adopts, looks at, stamps anew and passes. */
interface Task {
  passed: PassedBlock
  id: number
  stamp: number
}

/** What it says before it passes the block on, and with what it does. */
interface Done {
  passed: PassedBlock
  id: number
  stamp: number
}

/** The bytes of a block say which it is, and how often it was passed. */
function stampBlock(view: Buffer, id: number, stamp: number): void {
  view.writeUInt32LE(id, 0)
  view.writeUInt32LE(stamp, 4)
  view.fill(stamp & 0xff, HEADER_BYTES)
}

function checkBlock(view: Buffer, id: number, stamp: number): void {
  const found = [view.readUInt32LE(0), view.readUInt32LE(4)]
  if (found[0] !== id || found[1] !== stamp) throw new Error(`block ${id} has stamp ${found}, not ${stamp}`)
  const wrong = view.subarray(HEADER_BYTES).findIndex((byte) => byte !== (stamp & 0xff))
  if (wrong >= 0) throw new Error(`byte ${wrong} of block ${id} is another’s`)
}

function work(): void {
  const heap = Heap.attach((workerData as { token: HeapToken }).token, { leaks: 'off' })
  const port = parentPort!
  port.on('message', ({ passed, id, stamp }: Task) => {
    const view = heap.adopt(passed)
    checkBlock(view, id, stamp)
    stampBlock(view, id, stamp + 1)
    port.postMessage({ passed: heap.pass(view), id, stamp: stamp + 1 } satisfies Done)
  })
}

interface Block {
  id: number
  stamp: number
  length: number
  address: number
  /** The worker that it was sent to, the value that was, or none: then the main thread has it. */
  at?: { worker: number; passed: PassedBlock }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      passes: { type: 'string', default: '10000' },
      kills: { type: 'boolean', default: false },
      audit: { type: 'boolean', default: false },
      debug: { type: 'boolean', default: false },
      seed: { type: 'string', default: '1' },
    },
  })
  const next = random(Number(values.seed))
  const most = Number(values.passes)
  const heap = new Heap({ limitBytes: 6 * GIB, leaks: 'off', debug: values.debug })
  heap.malloc(BALLAST_BYTES - 2 ** 21)
  const ballast = heap.stats().liveBytes
  let passes = 0
  let kills = 0
  let takenBack = 0
  /** Blocks that a worker had when it was killed. */
  const lost = new Map<number, Block>()
  /** Of blocks that began too low, and stay. */
  let keptBytes = 0
  const failures: string[] = []
  const blocks = new Map<number, Block>()
  const workers: Worker[] = []
  let wake = () => {}

  const start = (index: number) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: { token: heap.share() } })
    workers[index] = worker
    worker.on('error', (error) => failures.push(String(error)))
    worker.on('message', (done: Done) => {
      // One that the worker passed before it was killed, and of which it could say so.
      const late = lost.get(done.id)
      if (late !== undefined) {
        lost.delete(done.id)
        blocks.set(done.id, late)
      }
      const block = blocks.get(done.id)
      if (block?.at === undefined) failures.push(`block ${done.id} came twice`)
      else if (done.stamp !== block.stamp + 1) failures.push(`block ${done.id} came with stamp ${done.stamp}`)
      else {
        block.stamp++
        passes++
        delete block.at
        // On to another worker as it is, or through this thread's hands.
        if (next() % 2 === 0) send(block, done.passed)
        else receive(block, done.passed)
      }
      wake()
    })
  }
  const send = (block: Block, passed: PassedBlock) => {
    const worker = next() % WORKERS
    block.at = { worker, passed }
    passes++
    workers[worker]!.postMessage({ passed, id: block.id, stamp: block.stamp } satisfies Task)
  }
  const receive = (block: Block, passed: PassedBlock) => {
    const view = heap.adopt(passed)
    if (heap.addressOf(view) !== block.address || view.length !== block.length)
      failures.push('another block was adopted')
    try {
      checkBlock(view, block.id, block.stamp)
      heap.adopt(passed)
      failures.push(`block ${block.id} was adopted twice`)
    } catch (error) {
      if ((error as { code?: string }).code !== 'ERR_HEAP_STALE_HANDLE') failures.push(String(error))
    }
    if (next() % 8 === 0) {
      heap.freeBuffer(view)
      blocks.delete(block.id)
    } else send(block, heap.pass(view))
  }
  let ids = 0
  const allocate = () => {
    let length = HEADER_BYTES + (next() % 3 === 0 ? next() % 400_000 : next() % 3000)
    if (length % 2 === 0) length++
    let view = heap.allocBuffer(length)
    while (heap.addressOf(view) < 2 ** 32) {
      keptBytes += heap.usableSize(heap.addressOf(view))
      view = heap.allocBuffer(length)
    }
    const block: Block = { id: ++ids, stamp: 0, length: view.length, address: heap.addressOf(view) }
    stampBlock(view, block.id, 0)
    blocks.set(block.id, block)
    send(block, heap.pass(view))
  }
  /** What nobody has adopted; undefined for a block that a worker has, which is dead. */
  const takeBack = (block: Block) => {
    try {
      const view = heap.adopt(block.at!.passed)
      checkBlock(view, block.id, block.stamp)
      delete block.at
      return view
    } catch (error) {
      if ((error as { code?: string }).code !== 'ERR_HEAP_STALE_HANDLE') failures.push(String(error))
      lost.set(block.id, block)
      blocks.delete(block.id)
      return undefined
    }
  }
  const kill = async (index: number) => {
    kills++
    await workers[index]!.terminate()
    // What it has said before comes first.
    await new Promise((resolve) => setImmediate(resolve))
    // What it had not adopted is taken back here. The rest it died with.
    for (const block of [...blocks.values()].filter(({ at }) => at?.worker === index)) {
      const view = takeBack(block)
      if (view === undefined) continue
      takenBack++
      send(block, heap.pass(view))
    }
    start(index)
  }

  for (let index = 0; index < WORKERS; index++) start(index)
  while (passes < most && failures.length === 0) {
    while (blocks.size < BLOCKS) allocate()
    await new Promise<void>((resolve) => {
      wake = resolve
    })
    if (values.kills && next() % 12 === 0) await kill(next() % WORKERS)
  }
  const ended = workers.length
  await Promise.all(workers.map((worker) => worker.terminate()))
  for (const block of [...blocks.values()]) {
    const view = takeBack(block)
    if (view !== undefined) heap.freeBuffer(view)
  }
  if (values.audit) heap.audit()
  // Each block that is live still is one of the ballast's, or was a dead worker's: adopted, or passed without a word of it.
  let lostBytes = 0
  for (const { address } of lost.values()) {
    try {
      lostBytes += heap.usableSize(address)
    } catch (error) {
      if (!String(error).includes('was passed')) failures.push(String(error))
    }
  }
  const { liveBytes, passedBytes, deadThreadsBytes, threads } = heap.stats()
  const expected = ballast + keptBytes + lostBytes + passedBytes
  // In debug mode usableSize is the size that was asked for.
  if (liveBytes !== expected && !values.debug) failures.push(`${liveBytes} bytes are live, not ${expected}`)
  if (lost.size > kills + ended) failures.push(`${lost.size} blocks are lost by ${kills + ended} kills`)
  if (deadThreadsBytes! < lostBytes) failures.push(`the dead have ${deadThreadsBytes} bytes, not ${lostBytes}`)
  if (threads !== 1) failures.push(`${threads} threads are counted`)
  const report = { passes, kills, takenBack, lost: lost.size, failures, lostBytes, passedBytes, deadThreadsBytes }
  process.stdout.write(`${JSON.stringify(report)}\n`)
  process.exitCode = failures.length === 0 ? 0 : 1
}

if (isMainThread) await main()
else work()
