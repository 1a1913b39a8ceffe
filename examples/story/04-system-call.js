// What it costs to ask the system for every block, and what to ask it once in a while.
//
//     node examples/story/04-system-call.js [BLOCKS]
import { Heap } from 'spanheap'
import { DirectHeap } from 'spanheap/direct'
import { integerArgument } from './arguments.js'

const blocks = integerArgument('BLOCKS', { standard: 20_000, least: 1, most: 1_000_000 })
const BYTES = 64

/** The system calls that `work` makes on a heap, and the nanoseconds that each of its `count` blocks takes. */
function measure(heap, count, work) {
  const before = heap.stats().syscalls
  const start = process.hrtime.bigint()
  work()
  const ns = Number(process.hrtime.bigint() - start) / count
  const after = heap.stats().syscalls
  return {
    mmap: after.mmap - before.mmap,
    munmap: after.munmap - before.munmap,
    madvise: after.madvise - before.madvise,
    ns,
  }
}

/** The same of the fastest of five times. */
function best(heap, work) {
  const times = [1, 2, 3, 4, 5].map(() => measure(heap, blocks, work))
  return times.reduce((least, time) => (time.ns < least.ns ? time : least))
}

function line(what, { mmap, munmap, madvise, ns }) {
  const counts = [mmap, munmap, madvise].map((count) => String(count).padStart(8)).join('')
  console.log(`${what.padEnd(46)}${counts}${ns === undefined ? '' : `${ns.toFixed(0).padStart(10)} ns`}`)
}

// Two loops that look the same: V8 compiles each for the one heap that it sees.
function directPairs(heap) {
  for (let i = 0; i < blocks; i++) heap.free(heap.malloc(BYTES))
}

function heapPairs(heap) {
  for (let i = 0; i < blocks; i++) heap.free(heap.malloc(BYTES))
}

function directPairsWritten(heap) {
  for (let i = 0; i < blocks; i++) {
    const address = heap.malloc(BYTES)
    heap.touch(address, 1, 1)
    heap.free(address)
  }
}

function heapPairsWritten(heap, bytes) {
  for (let i = 0; i < blocks; i++) {
    const address = heap.malloc(BYTES)
    bytes[address] = 1
    heap.free(address)
  }
}

console.log(
  `${blocks} times; the best of five such runs`.padEnd(46) +
    ['mmap', 'munmap', 'madvise'].map((head) => head.padStart(8)).join('') +
    ' a time'.padStart(13)
)
const direct = new DirectHeap()
const heap = new Heap({ limitBytes: 2 ** 30 })
line('a new DirectHeap', direct.stats().syscalls)
line('a new Heap', heap.stats().syscalls)
line(
  'DirectHeap: malloc, free',
  best(direct, () => directPairs(direct))
)
line(
  'DirectHeap: malloc, one byte written, free',
  best(direct, () => directPairsWritten(direct))
)
line('Heap: the first malloc', { ...measure(heap, 1, () => heap.free(heap.malloc(BYTES))), ns: undefined })
line(
  'Heap: malloc, free',
  best(heap, () => heapPairs(heap))
)
const bytes = new Uint8Array(heap.buffer)
line(
  'Heap: malloc, one byte written, free',
  best(heap, () => heapPairsWritten(heap, bytes))
)

console.log(
  '\nand blocks that stay: one call of mmap for each MiB that the heap grows by, one more for 64 MiB of tables'
)
const held = []
const mebibytes = () => heap.stats().mappedBytes / 2 ** 20
for (const total of [10, 100, 200].map((mib) => mib * 2 ** 20)) {
  const before = mebibytes()
  const count = Math.floor(total / BYTES) - held.length
  const made = measure(heap, count, () => {
    for (let i = 0; i < count; i++) held.push(heap.malloc(BYTES))
  })
  line(`Heap: ${held.length} blocks held, mapped ${before} -> ${mebibytes()} MiB`, made)
}
direct.close()
heap.close()
