// Go's allocator: its size classes and what the numbers count, its caches of spans, and its pages.
//
//     node examples/story/09-go-allocator.js [OBJECTS]
import { GoHeap } from 'spanheap/go'
import { integerArgument } from './arguments.js'

const objects = integerArgument('OBJECTS', { standard: 200_000, least: 1, most: 3_000_000 })
const PAGE = 8192

function heapFor(work) {
  let cycle
  const heap = new GoHeap({
    limitBytes: 2 ** 28,
    gcPercent: -1,
    onCycle: (record) => {
      cycle = record
    },
  })
  work(heap, () => cycle)
  heap.close()
}

heapFor((heap) => {
  const sizes = heap.memStats().BySize.map(({ Size }) => Size)
  console.log(`size classes: ${sizes.length} with class 0, which stands for large objects`)
  console.log(`  ${sizes.length - 1} sizes: ${sizes.slice(1, 9).join(' ')} ... ${sizes.slice(-3).join(' ')}`)
  console.log(
    `  twice ${sizes.length - 1}, with pointers and without: ${2 * (sizes.length - 1)} span classes; ${2 * sizes.length} with the two of class 0`
  )
})

heapFor((heap) => {
  const Leaf = heap.defineType({ size: 64, pointers: [] })
  const Pair = heap.defineType({ size: 64, pointers: [0, 8] })
  const page = (address) => Math.floor(address / PAGE)
  const scope = heap.scope()
  const leaves = [heap.allocate(Leaf), heap.allocate(Leaf)].map(page)
  const pairs = [heap.allocate(Pair), heap.allocate(Pair)].map(page)
  console.log(
    `objects of 64 bytes: two without pointers on pages ${leaves.join(' and ')}, two with on ${pairs.join(' and ')}`
  )
  scope[Symbol.dispose]()
})

heapFor((heap) => {
  const Leaf = heap.defineType({ size: 64, pointers: [] })
  const cached = [1, 2, 128, 129].map((count) => {
    while (heap.memStats().Mallocs < count) heap.allocate(Leaf)
    return `${heap.stats().threadCacheBytes} after ${count}`
  })
  console.log(`a cache takes a whole span: free bytes in it ${cached.join(', ')}`)
})

heapFor((heap) => {
  const sizes = [32768, 32769].map((size) => {
    const object = heap.allocate(heap.defineType({ size, pointers: [] }))
    return `${size} bytes get ${heap.usableSize(object)}`
  })
  console.log(`small ends at 32 KiB: ${sizes.join(', ')}`)
})

heapFor((heap) => {
  const Byte = heap.defineType({ size: 1, pointers: [] })
  const scope = heap.scope()
  const addresses = Array.from({ length: 17 }, () => heap.allocate(Byte))
  const behind = addresses.map((address) => address - addresses[0])
  console.log(`17 tiny objects of 1 byte: ${heap.memStats().HeapObjects} blocks of 16, at ${behind.join(' ')}`)
  scope[Symbol.dispose]()
})

heapFor((heap) => {
  const page = (pages) => heap.malloc(pages * PAGE) / PAGE
  const first = [5, 5, 5, 5].map(page)
  console.log(`blocks of 5 pages at pages ${first.join(' ')}`)
  heap.free(first[1] * PAGE)
  console.log(`  the second freed: 10 pages go to ${page(10)}, 5 pages to ${page(5)}, the lowest where they fit`)
  heap.free(first[1] * PAGE)
  heap.free(first[2] * PAGE)
  console.log(`  the second and the third freed: 10 pages go to ${page(10)}`)
})

heapFor((heap) => {
  heap.malloc(1)
  const { mappedBytes, syscalls } = heap.stats()
  while (heap.stats().mappedBytes < 40 * 2 ** 20) heap.malloc(32768)
  const calls = heap.stats().syscalls.mmap - syscalls.mmap
  console.log(
    `the heap grows by ${mappedBytes / 2 ** 20} MiB at a time: to 40 MiB by ${calls} more calls of mmap, tables' included`
  )
})

/** The least time of five cycles, and what they mark, with so many objects of 64 bytes live. */
function cycles(pointers, count) {
  let figures
  heapFor((heap, cycle) => {
    const Type = heap.defineType({ size: 64, pointers })
    const scope = heap.scope()
    for (let i = 0; i < count; i++) heap.allocate(Type)
    const times = [1, 2, 3, 4, 5].map(() => {
      heap.collect()
      return cycle().totalMs
    })
    figures = `${cycle().markedBytes} bytes marked, ${Math.min(...times).toFixed(1)} ms a cycle`
    scope[Symbol.dispose]()
  })
  return figures
}

console.log(`${objects} objects of 64 bytes, all of them kept by a scope`)
for (const pointers of [[], [0]]) cycles(pointers, Math.min(objects, 50_000)) // the code warms up
console.log(`  no pointers: marked, never scanned: ${cycles([], objects)}`)
console.log(`  one pointer: marked, then scanned:  ${cycles([0], objects)}`)
