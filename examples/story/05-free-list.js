// A heap as one list of blocks: headers, first fit, split and merge, and what is wrong with it.
//
//     node examples/story/05-free-list.js [BLOCKS]
import { Heap } from 'spanheap'
import { FreeListHeap } from 'spanheap/freelist'
import { integerArgument } from './arguments.js'

const most = integerArgument('BLOCKS', { standard: 16_000, least: 16, most: 1_000_000 })
const GRANULE = 16
const FIRST = 65536 // where the heap starts: address 0 is never valid

/** The blocks of a small heap, as their headers tell them: four words in front of each block. */
function blocksOf(heap) {
  const words = new Int32Array(heap.buffer)
  const end = FIRST + heap.stats().mappedBytes
  const blocks = []
  for (let header = FIRST; header < end; header = words[header / 4 + 2] * GRANULE) {
    const [size, state] = words.subarray(header / 4, header / 4 + 2)
    blocks.push(`${(state & 1) === 1 ? 'used' : 'free'} ${size * GRANULE}`)
  }
  return blocks.map((block) => `[${block}]`).join(' ')
}

console.log('the list, in bytes without the headers of 16')
const heap = new FreeListHeap({ limitBytes: 2 ** 28, growth: 'exact' })
const show = (what) => console.log(`  ${what.padEnd(22)} ${blocksOf(heap)}`)
const a = heap.malloc(48)
show('a = malloc(48): split')
const b = heap.malloc(100)
show('b = malloc(100)')
const c = heap.malloc(200)
const d = heap.malloc(32)
show('c = 200, d = 32')
heap.free(a)
heap.free(c)
show('free(a), free(c)')
heap.malloc(90)
show('malloc(90): first fit')
heap.free(b)
show('free(b): merge')
heap.free(d)
show('free(d): merge both')
heap.close()

console.log('\na write of 1 byte beyond a block of 32')
for (const heap of [new FreeListHeap({ limitBytes: 2 ** 28 }), new Heap({ limitBytes: 2 ** 28 })]) {
  const address = heap.malloc(32)
  heap.malloc(32)
  new Uint8Array(heap.buffer)[address + 32] = 255
  let outcome = 'the audit passes: there is no header to hit, only the next block'
  try {
    heap.audit()
  } catch (error) {
    outcome = `${error.code}: ${error.message}`
  }
  console.log(`  ${heap.constructor.name}: ${outcome}`)
  heap.close()
}

/** Nanoseconds for a malloc of a size that no hole has, on a heap of so many used blocks with holes between them. */
function search(options, blocks) {
  const heap = new FreeListHeap({ limitBytes: 2 ** 30, ...options })
  const held = Array.from({ length: blocks }, () => heap.malloc(32))
  for (let i = 0; i < blocks; i += 16) heap.free(held[i])
  heap.free(heap.malloc(4096)) // grown already: no system call is measured
  const ns = []
  for (let i = 0; i < 20; i++) {
    const start = process.hrtime.bigint()
    const address = heap.malloc(4096)
    ns.push(Number(process.hrtime.bigint() - start))
    heap.free(address)
  }
  heap.close()
  return Math.min(...ns)
}

console.log('\na malloc where no hole is large enough: the best of 20')
for (let i = 0; i < 20; i++) search({ search: i % 2 === 0 ? 'all' : 'free' }, 1000) // the code warms up
for (const blocks of [most / 16, most / 4, most].map(Math.floor)) {
  const [all, free] = ['all', 'free'].map((kind) => (search({ search: kind }, blocks) / 1000).toFixed(1))
  console.log(
    `  ${String(blocks).padStart(6)} blocks in front: ${all.padStart(7)} µs through all of them, ` +
      `${free.padStart(6)} µs through ${Math.ceil(blocks / 16)} free ones`
  )
}

console.log('\ncalls of mmap that the heap grew by, until it held 4096 blocks of 4 KiB')
for (const growth of ['exact', { step: 65536 }, { step: 2 ** 20 }, { percent: 25 }, { percent: 100 }]) {
  const heap = new FreeListHeap({ limitBytes: 2 ** 28, growth, search: 'free' })
  heap.malloc(4096)
  const others = heap.stats().syscalls.mmap - 1 // the reservations and the tables
  for (let i = 1; i < 4096; i++) heap.malloc(4096)
  const { mappedBytes, syscalls } = heap.stats()
  console.log(
    `  ${JSON.stringify(growth).padEnd(16)} ${String(syscalls.mmap - others).padStart(5)} calls, ` +
      `${(mappedBytes / 2 ** 20).toFixed(1)} MiB mapped`
  )
  heap.close()
}
