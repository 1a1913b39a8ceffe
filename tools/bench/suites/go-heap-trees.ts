import { GoHeap } from 'spanheap/go'
import { type Forest, TREE_NODES, xorshift } from './trees.ts'

/** Where a node has its fields. */
const [LEFT, RIGHT, VALUE] = [0, 8, 16]
const NODE_BYTES = 24
/** Below it, so that a view by doubles can be indexed by what V8 keeps as small integers. */
const LIMIT_BYTES = 2 ** 31
/** Trees that are replaced between two slices of a cycle that a program advances itself. */
const OPERATIONS_BETWEEN_SLICES = 64

/**
 * A forest on this package's Go heap.
 * @param sliceMicros where it is given, no cycle runs by itself: one begins when as many nodes were made as are live, and advances in
 * slices of so many microseconds between operations
 */
export function goHeapForest(trees: number, sliceMicros: number | null): Forest {
  const heap = new GoHeap({ limitBytes: LIMIT_BYTES, gcPercent: sliceMicros === null ? 100 : -1 })
  const node = heap.defineType({ size: NODE_BYTES, pointers: [LEFT, RIGHT] })
  const values = new Float64Array(heap.buffer)
  // One place more, for the tree that is dropped.
  const table = heap.allocate(heap.defineType({ size: 8, pointers: [0] }), trees + 1)
  heap.addRoot(table)
  const made = new Int32Array(TREE_NODES)
  const random = xorshift()
  let serial = 0

  const plant = (place: number): void => {
    for (let at = 0; at < TREE_NODES; at++) {
      const address = heap.allocate(node)
      // At once: what is made next is the newest root then, and this one is reached or gone.
      if (at === 0) heap.setPointer(table, place * 8, address)
      else heap.setPointer(made[(at - 1) >> 1]!, at & 1 ? LEFT : RIGHT, address)
      values[(address + VALUE) >> 3] = serial
      serial = (serial + 1) | 0
      made[at] = address
    }
  }
  const operate = (): void => {
    plant(trees)
    plant(random(trees))
    const one = heap.getPointer(table, random(trees) * 8)
    const other = heap.getPointer(table, random(trees) * 8)
    const left = heap.getPointer(one, LEFT)
    heap.setPointer(one, LEFT, heap.getPointer(other, LEFT))
    heap.setPointer(other, LEFT, left)
  }
  let isCollecting = false
  let sinceSlice = 0
  const operateAndCollect = (): void => {
    operate()
    // An operation makes two trees.
    if (++sinceSlice < (isCollecting ? OPERATIONS_BETWEEN_SLICES : trees / 2)) return
    sinceSlice = 0
    isCollecting = !heap.collectStep(sliceMicros!)
  }
  for (let place = 0; place <= trees; place++) plant(place)

  return {
    operate: sliceMicros === null ? operate : operateAndCollect,
    collect: () => heap.collect(),
    watchCollector() {
      const before = heap.memStats().PauseTotalNs
      return () => (heap.memStats().PauseTotalNs - before) / 1e6
    },
    sum() {
      let [nodes, checksum] = [0, 0]
      const walk = (address: number): void => {
        if (address === 0) return
        nodes++
        checksum = (checksum + values[(address + VALUE) >> 3]!) >>> 0
        walk(heap.getPointer(address, LEFT))
        walk(heap.getPointer(address, RIGHT))
      }
      for (let place = 0; place < trees; place++) walk(heap.getPointer(table, place * 8))
      return { nodes, checksum }
    },
  }
}
