/**
 * What an isolated buffer costs beside a plain one and beside Node's own, and what the first that is freed costs all else in its thread: from
 * then on V8's code for typed arrays looks whether their buffer was detached. Each figure is the best of processes of its own.
 *
 *     node dist/tools/bench/single/isolated.js [--processes 3] [--sizes 64,4096,65536,1048576]
 */
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import Table from 'cli-table3'
import { BufferPool, Heap } from 'spanheap'

const ROUNDS = 9
/** Bytes of one round at most: what is dropped waits for the collector. */
const MOST_BYTES = 512 * 2 ** 20
const MOST_BUFFERS = 20_000
const PAIRS = 1_000_000

/** Nanoseconds for one of `count` calls, the best of the rounds behind the first two. */
function nanoseconds(count: number, round: () => void): number {
  let best = Number.POSITIVE_INFINITY
  for (let i = 0; i < ROUNDS; i++) {
    const start = process.hrtime.bigint()
    round()
    const taken = Number(process.hrtime.bigint() - start) / count
    if (i >= 2) best = Math.min(best, taken)
  }
  return best
}

function repeated(size: number, once: (size: number) => void): number {
  const count = Math.min(MOST_BUFFERS, Math.floor(MOST_BYTES / size))
  return nanoseconds(count, () => {
    for (let i = 0; i < count; i++) once(size)
  })
}

const open = () => new Heap({ leaks: 'off' })

/** Ways to have a buffer and to give it up, by name. */
const BUFFERS: Readonly<Record<string, (size: number) => number>> = {
  'allocBuffer, freeBuffer': (size) => {
    const heap = open()
    return repeated(size, (size) => heap.freeBuffer(heap.allocBuffer(size)))
  },
  'isolated, freeBuffer': (size) => {
    const heap = open()
    return repeated(size, (size) => heap.freeBuffer(heap.allocBuffer(size, { isolated: true })))
  },
  'isolated, dropped': (size) => {
    const heap = open()
    return repeated(size, (size) => heap.allocBuffer(size, { isolated: true }))
  },
  'Buffer.allocUnsafeSlow': (size) => repeated(size, (size) => Buffer.allocUnsafeSlow(size)),
  'Buffer.allocUnsafe': (size) => repeated(size, (size) => Buffer.allocUnsafe(size)),
}

/** What all else costs before and after the first detach. */
const REST: Readonly<Record<string, (heap: Heap) => number>> = {
  'malloc(64), free': (heap) =>
    nanoseconds(PAIRS, () => {
      for (let i = 0; i < PAIRS; i++) heap.free(heap.malloc(64))
    }),
  '100 × malloc(64), 100 × free': (heap) => {
    const blocks = new Array<number>(100).fill(0)
    return nanoseconds(PAIRS, () => {
      for (let i = 0; i < PAIRS; i += blocks.length) {
        for (let j = 0; j < blocks.length; j++) blocks[j] = heap.malloc(64)
        for (let j = 0; j < blocks.length; j++) heap.free(blocks[j]!)
      }
    })
  },
  'allocBuffer(4096), freeBuffer': (heap) =>
    nanoseconds(PAIRS / 10, () => {
      for (let i = 0; i < PAIRS / 10; i++) heap.freeBuffer(heap.allocBuffer(4096))
    }),
  'pool.acquire, release': (heap) => {
    const pool = new BufferPool({ heap, size: 4096 })
    return nanoseconds(PAIRS, () => {
      for (let i = 0; i < PAIRS; i++) pool.release(pool.acquire())
    })
  },
}

/** One figure, in this process. */
function measure(name: string, size: number, detached: boolean): number {
  if (name in BUFFERS) return BUFFERS[name]!(size)
  const heap = open()
  if (detached) heap.freeBuffer(heap.allocBuffer(16, { isolated: true }))
  return REST[name]!(heap)
}

const { values } = parseArgs({
  options: {
    processes: { type: 'string', default: '3' },
    sizes: { type: 'string', default: '64,4096,65536,1048576' },
    child: { type: 'string' },
  },
})

/** The best of a few processes, in nanoseconds. */
function best(name: string, size: number, detached: boolean): string {
  const child = JSON.stringify([name, size, detached])
  const script = fileURLToPath(import.meta.url)
  const times = Array.from({ length: Number(values.processes) }, () =>
    Number(execFileSync(process.execPath, [script, '--child', child], { encoding: 'utf8' }))
  )
  return Math.min(...times).toFixed(1)
}

if (values.child !== undefined) {
  const [name, size, detached] = JSON.parse(values.child) as [string, number, boolean]
  console.log(measure(name, size, detached))
} else {
  const sizes = values.sizes.split(',').map(Number)
  const buffers = new Table({ head: ['ns', ...sizes.map(String)] })
  for (const name of Object.keys(BUFFERS)) buffers.push([name, ...sizes.map((size) => best(name, size, false))])
  console.log(`${buffers.toString()}\n`)
  const rest = new Table({ head: ['ns', 'before any detach', 'after the first'] })
  for (const name of Object.keys(REST)) rest.push([name, best(name, 0, false), best(name, 0, true)])
  console.log(rest.toString())
}
