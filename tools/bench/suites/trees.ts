/** Nodes of one tree: node n has the nodes 2n+1 and 2n+2 below it, as far as there are any. */
export const TREE_NODES = 32

/** A forest whose trees are replaced, on one heap or another. tools/bench/native/collector.go has the same in Go. */
export interface Forest {
  /**
   * Makes one tree that is dropped when the next is made, and one that replaces another; then two trees exchange their left halves.
   * So half of all nodes die at once and half live long, and what is old is written to.
   */
  operate(): void
  /** A whole collection. */
  collect(): void
  /** Begins to count what the collector takes; the function that it returns gives the milliseconds since then. */
  watchCollector(): () => number | Promise<number>
  /** Walks all trees. */
  sum(): ForestSum
}

/** What is the same on all heaps. */
export interface ForestSum {
  readonly nodes: number
  /** Of the nodes' values, modulo 2^32. */
  readonly checksum: number
}

/** Random numbers below a bound. */
export function xorshift(): (below: number) => number {
  let seed = 1
  return (below) => {
    seed ^= seed << 13
    seed ^= seed >>> 17
    seed ^= seed << 5
    return (seed >>> 0) % below
  }
}
