// Which tier answers: every call of a real program, told by how the figures of `stats()` move.
//
//     node examples/story/07-tiers.js [TRACE] [EVENTS]
import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { Heap } from 'spanheap'
import { endWith, integerArgument } from './arguments.js'

const SMALL = 256 * 1024
const MEDIUM = 1024 * 1024
const USAGE = '[TRACE [EVENTS]]'
const most = integerArgument(USAGE, { at: 3, standard: 60_000, least: 1, most: 10_000_000 })
const words = traceOf(process.argv[2] ?? new URL('../../tools/traces/jq.mtrc.gz', import.meta.url))

let heap = new Heap({ limitBytes: 2 ** 30 })
let before = heap.stats()

/** What a call has moved: bytes of objects and of pages between the tiers, and calls of the system. */
function moved() {
  const after = heap.stats()
  const pages = (stats) => stats.pageHeapFreeBytes + stats.pageHeapReleasedBytes
  const calls = ({ syscalls }) => syscalls.mmap + syscalls.madvise
  const change = {
    thread: after.threadCacheBytes - before.threadCacheBytes,
    central: after.centralCacheBytes - before.centralCacheBytes,
    pages: pages(after) - pages(before),
    calls: calls(after) - calls(before),
  }
  before = after
  return change
}

console.log('the first mallocs of 64 bytes: objects that each brought to the thread cache')
const batches = []
for (let i = 0; i < 900; i++) {
  heap.malloc(64)
  const { thread } = moved()
  if (thread >= 0) batches.push(thread / 64 + 1) // one of them was handed out at once
}
console.log(`  ${batches.join(' ')}`)
heap.close()

console.log('small, medium, large: what a request gets, and from where')
for (const size of [1, 100, 1025, SMALL, SMALL + 1, MEDIUM, MEDIUM + 1]) {
  heap = new Heap({ limitBytes: 2 ** 28 })
  heap.free(heap.malloc(8 * MEDIUM)) // so that there are free pages
  before = heap.stats()
  const usable = heap.usableSize(heap.malloc(size))
  const { central, pages } = moved()
  const from = size > SMALL ? 'a span of its own,' : 'an object of a span of'
  if (size > SMALL && central !== 0) throw new Error('a large block came through the central cache')
  console.log(
    `  ${String(size).padStart(8)} bytes asked for, ${String(usable).padStart(8)} given: ${from} ${-pages / 8192} page${pages === -8192 ? '' : 's'}`
  )
  heap.close()
}

console.log('8 KiB / 16 B: blocks of 16 bytes from the first to the next span')
const alone = new Heap({ limitBytes: 2 ** 28, cacheBytes: 0 })
const spans = new Set()
let blocks = 0
for (; spans.size < 3; blocks++) spans.add(Math.floor(alone.malloc(16) / 8192))
console.log(`  ${(blocks - 1) / 2} in each span of 8192 bytes`)
alone.close()

/** The words of a trace: eight, then three for each event; docs/traces.md. */
function traceOf(path) {
  try {
    const data = gunzipSync(readFileSync(path))
    const words = new Uint32Array(data.buffer, data.byteOffset, Math.floor(data.length / 4))
    if (words[0] === 0x4352544d && words.length >= 8 + 3 * words[4]) return words
    return endWith(USAGE, `${path} is no trace`)
  } catch (error) {
    return endWith(USAGE, error.message)
  }
}

function* events() {
  for (let at = 8; at < 8 + 3 * Math.min(words[4], most); at += 3) {
    yield {
      operation: ['malloc', 'free', 'realloc', 'calloc'][words[at] & 255],
      slot: words[at + 1],
      bytes: words[at + 2],
    }
  }
}

heap = new Heap({ limitBytes: 2 ** 30 })
before = heap.stats()
const tiers = ['thread cache', 'central cache', 'page heap', 'system']
const counts = { malloc: [0, 0, 0, 0], free: [0, 0, 0, 0] }
const sizes = { small: 0, medium: 0, large: 0 }
const addresses = new Map()
let played = 0
for (const { operation, slot, bytes } of events()) {
  played++
  if (operation === 'malloc') addresses.set(slot, heap.malloc(bytes))
  else if (operation === 'calloc') addresses.set(slot, heap.calloc(1, bytes))
  else if (operation === 'realloc') addresses.set(slot, heap.realloc(addresses.get(slot), bytes))
  else {
    heap.free(addresses.get(slot))
    addresses.delete(slot)
  }
  if (operation !== 'free') sizes[bytes <= SMALL ? 'small' : bytes <= MEDIUM ? 'medium' : 'large']++
  const { central, pages, calls } = moved()
  const tier = calls > 0 ? 3 : pages !== 0 ? 2 : central !== 0 ? 1 : 0
  // A realloc is a malloc and a free where the block moves, and nothing where it stays.
  counts[operation === 'free' ? 'free' : 'malloc'][tier]++
}

console.log(
  `${played} events of a real program: ${sizes.small} requests of small size, ${sizes.medium} medium, ${sizes.large} large`
)
console.log(
  `  ${'the deepest tier that took part'.padEnd(34)}${'malloc, calloc, realloc'.padStart(24)}${'free'.padStart(10)}`
)
for (const [tier, name] of tiers.entries()) {
  console.log(
    `  ${name.padEnd(34)}${String(counts.malloc[tier]).padStart(24)}${String(counts.free[tier]).padStart(10)}`
  )
}
const all = [...counts.malloc, ...counts.free]
console.log(
  `  ${((100 * (counts.malloc[0] + counts.free[0])) / all.reduce((a, b) => a + b)).toFixed(2)} % went no further than the thread cache`
)
heap.close()
