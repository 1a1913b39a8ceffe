/**
 * The slow path: how long the slowest of many mallocs take, with carving, growth, scavenging and release among them. Each
 * malloc is timed alone, so a reading of the clock is part of every figure; its cost is shown.
 *
 *     node dist/tools/bench/single/latency.js [--count 100000000]
 */
import { parseArgs } from 'node:util'
import { Heap } from 'spanheap'

const { values } = parseArgs({ options: { count: { type: 'string', default: '100000000' } } })
const count = Number(values.count)

const LIVE = 200_000
/** Buckets by nanoseconds: exact to 64 per power of two. */
const SUB_BITS = 6
const buckets = new Float64Array(64 << SUB_BITS)

function bucketOf(ns: number): number {
  if (ns < 1 << SUB_BITS) return ns
  const doubling = 31 - Math.clz32(ns)
  return ((doubling - SUB_BITS + 1) << SUB_BITS) + ((ns >>> (doubling - SUB_BITS)) & ((1 << SUB_BITS) - 1))
}

function lowestOf(bucket: number): number {
  const group = bucket >>> SUB_BITS
  if (group === 0) return bucket
  return ((1 << SUB_BITS) + (bucket & ((1 << SUB_BITS) - 1))) * 2 ** (group - 1)
}

// performance.now() has too coarse a clock, and hrtime.bigint() makes garbage: hrtime into two numbers is what remains.
function now(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1e9 + nanoseconds
}

const heap = new Heap({ limitBytes: 4 * 2 ** 30 })
const blocks = new Float64Array(LIVE)
let seed = 88172645
let worst = 0

function step(timed: boolean): void {
  seed ^= seed << 13
  seed ^= seed >>> 17
  seed ^= seed << 5
  const random = seed >>> 0
  const at = random % LIVE
  // Mostly small; one in 256 up to 64 KiB, one in 16384 up to 2 MiB.
  const size =
    (random & 0x3fff) === 0 ? random % 2_097_152 : (random & 0xff) === 0 ? random % 65_536 : (random >>> 8) % 1024
  if (blocks[at] !== 0) heap.free(blocks[at]!)
  const start = now()
  blocks[at] = heap.malloc(size)
  const elapsed = now() - start
  if (!timed) return
  buckets[bucketOf(elapsed)]!++
  if (elapsed > worst) worst = elapsed
}

for (let i = 0; i < 2_000_000; i++) step(false)
for (let i = 0; i < count; i++) {
  step(true)
  // Now and then a program lets go of much: spans go back, and a little is released.
  if (i % 5_000_000 === 4_999_999) {
    for (let at = 0; at < LIVE; at += 2) {
      if (blocks[at] !== 0) heap.free(blocks[at]!)
      blocks[at] = 0
    }
  }
}
let clock = Number.POSITIVE_INFINITY
for (let i = 0; i < 100_000; i++) clock = Math.min(clock, -now() + now())

function percentile(share: number): string {
  let seen = 0
  for (const [bucket, hits] of buckets.entries()) {
    seen += hits
    if (seen >= share * count) return `${(lowestOf(bucket) / 1000).toFixed(2)} µs`
  }
  return 'none'
}

const { syscalls } = heap.stats()
console.log(
  `${count} mallocs, ${syscalls.mmap} mmap and ${syscalls.madvise} madvise among them; the clock alone takes ${clock} ns`
)
for (const share of [0.5, 0.99, 0.999, 0.9999, 0.99999]) console.log(`${share * 100} %: ${percentile(share)}`)
console.log(`worst: ${(worst / 1000).toFixed(1)} µs`)
heap.audit()
