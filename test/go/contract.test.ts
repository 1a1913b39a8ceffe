import test from 'ava'
import { GoHeap, type GoHeapOptions } from '../../lib/go/index.ts'
import { GrowableMapper } from '../../lib/os/growable-mapper.ts'
import { SimulatedMapper } from '../../lib/testing/index.ts'
import { bufferSuite, contractSuite } from '../support/contract-suite.ts'

const MOST_ALIGNMENT = 2 ** 26
const LIMIT_BYTES = 2 ** 29

const heaps: { name: string; options: () => GoHeapOptions; maxAlignment: number }[] = [
  { name: 'native', options: () => ({}), maxAlignment: MOST_ALIGNMENT },
  { name: 'growable', options: () => ({ mapper: new GrowableMapper() }), maxAlignment: 4096 },
  ...[4096, 16384, 65536].map((systemPageSize) => ({
    name: `simulated, pages of ${systemPageSize}`,
    options: () => ({ mapper: new SimulatedMapper({ systemPageSize }) }),
    maxAlignment: 4096,
  })),
  {
    name: 'simulated, released pages keep rubbish',
    options: () => ({ mapper: new SimulatedMapper({ releaseZeroes: false }) }),
    maxAlignment: 4096,
  },
]

for (const { name, options, maxAlignment } of heaps) {
  contractSuite(test, {
    name: `GoHeap, ${name}`,
    open: (limitBytes = LIMIT_BYTES) => new GoHeap({ ...options(), limitBytes }),
    maxAlignment,
  })
}

bufferSuite(test, 'GoHeap', () => new GoHeap({ limitBytes: LIMIT_BYTES }))

test('an object’s address is the offset of its view in the heap’s buffer', (t) => {
  using heap = new GoHeap()
  const address = heap.allocate(heap.defineType({ size: 100, pointers: [] }))
  t.is(heap.view(address).byteOffset, address)
  t.true(heap.view(address).buffer === heap.view(heap.malloc(1)).buffer)
})

/** A heap whose next blocks lie around `border`: what is before it is one block that is never touched. */
function openAround(border: number): GoHeap {
  const heap = new GoHeap({ limitBytes: border + 2 ** 26, gcPercent: -1 })
  heap.malloc(border - 2 ** 21)
  return heap
}

for (const gibibytes of [2, 4, 16]) {
  const border = gibibytes * 2 ** 30

  test(`blocks around ${gibibytes} GiB keep their bytes`, (t) => {
    using heap = openAround(border)
    for (const size of [16, 48, 500, 3000, 50_000]) {
      const blocks: { address: number; byte: number }[] = []
      const between: number[] = []
      let bytes = 0
      for (let i = 0; bytes < 2 ** 22; i = (i + 1) & 0xff) {
        const address = heap.calloc(1, size)
        if (heap.view(address, size).some((value) => value !== 0)) t.fail(`${address} of ${size}`)
        heap.view(address, size).fill(i)
        blocks.push({ address, byte: i })
        bytes += size
        // Small ones alone would be too many, on so many pages.
        if (blocks.length % 100 !== 0) continue
        between.push(heap.malloc(2 ** 17))
        bytes += 2 ** 17
      }
      t.true(blocks[0]!.address < border && blocks.at(-1)!.address > border, `${size} bytes`)
      for (const { address, byte } of blocks) {
        const moved = heap.realloc(address, size + 700)
        if (heap.view(moved, size).some((value) => value !== byte)) t.fail(`${address} of ${size}`)
        heap.free(moved)
      }
      for (const address of between) heap.free(address)
    }
    heap.audit()
  })

  test(`objects around ${gibibytes} GiB keep their pointers, and are collected`, (t) => {
    using heap = openAround(border)
    const node = heap.defineType({ size: 3000, pointers: [8, 2992] })
    const small = heap.defineType({ size: 24, pointers: [16] })
    const scope = heap.scope()
    const nodes = Array.from({ length: 1000 }, () => heap.allocate(node))
    t.true(nodes[0]! < border && nodes.at(-1)! > border)
    for (const [i, address] of nodes.entries()) {
      heap.setPointer(address, 8, nodes[i - 1] ?? 0)
      heap.setPointer(address, 2992, heap.allocate(small))
      heap.setPointer(heap.getPointer(address, 2992), 16, nodes[(i * 7) % nodes.length]!)
    }
    const root = heap.addRoot(nodes.at(-1)!)
    scope[Symbol.dispose]()
    heap.allocate(node)
    heap.collect()
    t.is(heap.memStats().HeapObjects, 2 * nodes.length + 2, 'they, the newest and the block in front')
    for (const [i, address] of nodes.entries()) {
      if (heap.getPointer(address, 8) !== (nodes[i - 1] ?? 0)) t.fail(`${i}`)
      if (heap.getPointer(heap.getPointer(address, 2992), 16) !== nodes[(i * 7) % nodes.length]) t.fail(`${i}`)
    }
    heap.removeRoot(root)
    heap.collect()
    t.is(heap.memStats().HeapObjects, 2)
    heap.audit()
  })
}
