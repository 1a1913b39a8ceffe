// How memory is lost between blocks: survivors that keep whole pages, and sizes that change over time.
//
//     node examples/story/08-fragmentation.js [ROUNDS]
import { Heap } from 'spanheap'
import { FreeListHeap } from 'spanheap/freelist'
import { integerArgument } from './arguments.js'

const rounds = integerArgument('ROUNDS', { standard: 12, least: 1, most: 20 })
const MIB = 2 ** 20

/** Numbers in [0, 1), the same ones in every run. */
function random(seed) {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

console.log('131072 blocks of 64 bytes, 8 MiB; one in 128 survives')
for (const [who, survives] of [
  ['one on each page', (i) => i % 128 === 64],
  ['all on 8 pages', (i) => i < 1024],
]) {
  const heap = new Heap({ limitBytes: 2 ** 28, releaseRate: 0 })
  const blocks = Array.from({ length: 131_072 }, () => heap.malloc(64))
  for (const [i, address] of blocks.entries()) if (!survives(i)) heap.free(address)
  const given = heap.releaseFreeMemory()
  const { liveBytes, mappedBytes, pageHeapReleasedBytes } = heap.stats()
  console.log(
    `  ${who.padEnd(18)} ${liveBytes} bytes live, ${given} given back: ` +
      `${((mappedBytes - pageHeapReleasedBytes) / liveBytes).toFixed(1)} bytes held for each that lives`
  )
  heap.close()
}

/** In each round half of what is live is freed, at random, and replaced by blocks of the round's sizes: 2 MiB stay live. */
function replace(heap, smallest) {
  const next = random(1)
  const blocks = []
  const rows = []
  let asked = 0
  for (let round = 0; round < rounds; round++) {
    for (let i = blocks.length - 1; i >= 0; i--) {
      if (next() < 0.5) continue
      heap.free(blocks[i].address)
      asked -= blocks[i].size
      blocks[i] = blocks[blocks.length - 1]
      blocks.pop()
    }
    heap.releaseFreeMemory(0) // gives nothing back, but empties all caches: what is lost then is lost to fragmentation
    while (asked < 2 * MIB) {
      const size = Math.floor(smallest(round) * (1 + next()))
      blocks.push({ address: heap.malloc(size), size })
      asked += size
    }
    rows.push({ asked, ...heap.stats() })
  }
  return rows
}

const figures = ['liveBytes', 'centralCacheBytes', 'pageHeapFreeBytes', 'mappedBytes']
for (const [what, smallest] of [
  ['of 128 to 256 bytes, in each round', () => 128],
  ['of 128 to 256 bytes, and half as much more in each round', (round) => 128 * 1.5 ** round],
]) {
  console.log(`\nhalf of 2 MiB freed at random and replaced, by blocks ${what}; KiB`)
  for (const [heap, ...heads] of [
    [new Heap({ limitBytes: 2 ** 28, releaseRate: 0 }), 'free in spans', 'free pages'],
    [new FreeListHeap({ limitBytes: 2 ** 28, search: 'free', growth: 'exact' }), 'headers', 'free blocks'],
  ]) {
    const titles = ['live', ...heads, 'mapped', 'mapped/asked for']
    console.log(
      `  ${heap.constructor.name.padEnd(14)}${titles.map((head) => head.padStart(head.length > 15 ? 18 : 16)).join('')}`
    )
    for (const [round, row] of replace(heap, smallest).entries()) {
      if (round % 3 !== 2 && round < rounds - 1) continue
      const cells = figures.map((figure) => String(Math.round(row[figure] / 1024)).padStart(16))
      console.log(
        `    round ${String(round + 1).padEnd(6)}${cells.join('')}${(row.mappedBytes / row.asked).toFixed(2).padStart(18)}`
      )
    }
    heap.close()
  }
}
