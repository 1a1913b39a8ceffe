import { CollectionCounter, totalMs } from '../framework/collections.ts'
import { type Forest, TREE_NODES, xorshift } from './trees.ts'

class Node {
  left: Node | null = null
  right: Node | null = null
  value: number

  constructor(value: number) {
    this.value = value
  }
}

/** A forest of objects, on V8's own heap. Needs `--expose-gc`. */
export function objectForest(trees: number): Forest {
  // One place more, for the tree that is dropped.
  const table: Node[] = Array.from({ length: trees + 1 })
  const made: Node[] = Array.from({ length: TREE_NODES })
  const random = xorshift()
  let serial = 0

  const plant = (place: number): void => {
    for (let at = 0; at < TREE_NODES; at++) {
      const node = new Node(serial)
      serial = (serial + 1) | 0
      if (at === 0) table[place] = node
      else if (at & 1) made[(at - 1) >> 1]!.left = node
      else made[(at - 1) >> 1]!.right = node
      made[at] = node
    }
  }
  for (let place = 0; place <= trees; place++) plant(place)

  return {
    operate() {
      plant(trees)
      plant(random(trees))
      const one = table[random(trees)]!
      const other = table[random(trees)]!
      const left = one.left
      one.left = other.left
      other.left = left
    },
    collect: () => gc!(),
    watchCollector() {
      const counter = new CollectionCounter()
      return async () => totalMs(await counter.end())
    },
    sum() {
      let [nodes, checksum] = [0, 0]
      const walk = (node: Node | null): void => {
        if (node === null) return
        nodes++
        checksum = (checksum + node.value) >>> 0
        walk(node.left)
        walk(node.right)
      }
      for (let place = 0; place < trees; place++) walk(table[place]!)
      return { nodes, checksum }
    },
  }
}
