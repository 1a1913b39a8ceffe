// What it costs when all threads of a heap take the same lock for every malloc and every free.
//
//     node examples/story/06-one-lock.js [PAIRS]
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { Heap } from 'spanheap'
import { integerArgument } from './arguments.js'

const BYTES = 64
const WARM_UP = 20_000

function pairs(heap, count) {
  for (let i = 0; i < count; i++) heap.free(heap.malloc(BYTES))
}

/** How many Atomics operations `work` makes: what locks are made of. */
function countAtomics(work) {
  const names = ['add', 'and', 'compareExchange', 'exchange', 'load', 'notify', 'or', 'store', 'sub', 'wait', 'xor']
  const originals = names.map((name) => Atomics[name])
  let count = 0
  for (const [i, name] of names.entries()) {
    Atomics[name] = (...args) => {
      count++
      return originals[i](...args)
    }
  }
  work()
  for (const [i, name] of names.entries()) Atomics[name] = originals[i]
  return count
}

/** The nanoseconds of a pair while so many threads do them at once: the slowest thread's, in the best of three runs. */
async function timed(options, threads, count) {
  const runs = []
  for (let run = 0; run < 3; run++) runs.push(await runOnce(options, threads, count))
  return Math.min(...runs)
}

async function runOnce(options, threads, count) {
  const heap = new Heap({ limitBytes: 2 ** 28, ...options })
  const gate = new Int32Array(new SharedArrayBuffer(4))
  const times = Array.from({ length: threads }, () => {
    const worker = new Worker(new URL(import.meta.url), { workerData: { token: heap.share(), gate, threads, count } })
    return new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
  })
  const slowest = Math.max(...(await Promise.all(times)))
  heap.close()
  return slowest / count
}

async function main() {
  const count = integerArgument('PAIRS', { standard: 200_000, least: 1, most: 100_000_000 })
  console.log(`malloc(${BYTES}) and free; Atomics operations of 1000 pairs, and the time of a pair`)
  for (const cacheBytes of [32 * 2 ** 20, 0]) {
    const heap = new Heap({ limitBytes: 2 ** 28, cacheBytes })
    pairs(heap, 100)
    const atomics = countAtomics(() => pairs(heap, 1000))
    heap.close()
    const one = await timed({ cacheBytes }, 1, count)
    const two = await timed({ cacheBytes }, 2, count)
    console.log(
      `  cacheBytes ${String(cacheBytes).padStart(8)}  ${String(atomics).padStart(5)} operations, ` +
        `${one.toFixed(0).padStart(5)} ns on one thread, ${two.toFixed(0).padStart(5)} ns on each of two`
    )
  }
}

async function work({ token, gate, threads, count }) {
  const heap = Heap.attach(token)
  pairs(heap, WARM_UP)
  // All begin at once.
  if (Atomics.add(gate, 0, 1) + 1 === threads) Atomics.notify(gate, 0)
  for (let here = Atomics.load(gate, 0); here < threads; here = Atomics.load(gate, 0)) Atomics.wait(gate, 0, here)
  const start = process.hrtime.bigint()
  pairs(heap, count)
  const ns = Number(process.hrtime.bigint() - start)
  heap.close()
  parentPort.postMessage(ns)
}

await (isMainThread ? main() : work(workerData))
