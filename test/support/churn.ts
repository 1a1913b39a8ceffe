import type { Heap } from '../../lib/index.ts'

/** A generator of 32-bit numbers (xorshift), the same for the same seed. */
export function random(seed: number): () => number {
  let state = seed * 2654435761 || 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return state >>> 0
  }
}

/** Some of everything that a heap can do, small blocks above all, and frees what it made. */
export function churn(heap: Heap, seed: number, operations: number): void {
  const next = random(seed)
  const live: number[] = []
  for (let i = 0; i < operations; i++) {
    const what = next() % 100
    if (what < 50 || live.length === 0) live.push(heap.malloc(next() % 5000))
    else if (what < 52) live.push(heap.malloc(next() % 2_000_000))
    else if (what < 54) live.push(heap.alignedAlloc(1 << (next() % 16), next() % 10_000))
    else if (what < 60) {
      const at = next() % live.length
      live[at] = heap.realloc(live[at]!, next() % 400_000)
    } else heap.free(live.splice(next() % live.length, 1)[0]!)
    while (live.length > 300) heap.free(live.pop()!)
  }
  for (const address of live) heap.free(address)
}
