// Medium and large requests: from which tier each comes, to which it goes back, and which of several holes it gets.
//
//     node examples/story/07-medium-and-large.js
import { Heap } from 'spanheap'
import { noArguments } from './arguments.js'

noArguments()
const KIB = 1024
const MIB = 1024 * KIB
const PAGE = 8 * KIB

const heap = new Heap({ limitBytes: 2 ** 28, releaseRate: 0 })
let before = heap.stats()

/** Tells what a call has moved between the tiers, by the statistics before it and after it. */
function told(what, usable) {
  const after = heap.stats()
  const change = (key) => (after[key] - before[key]) / KIB
  const grown = change('mappedBytes')
  const calls = after.syscalls.mmap - before.syscalls.mmap
  const cells = [
    usable / PAGE,
    change('threadCacheBytes'),
    change('centralCacheBytes'),
    change('pageHeapFreeBytes'),
    grown,
    calls,
  ]
  before = after
  console.log(`  ${what.padEnd(30)}${cells.map((cell) => String(cell).padStart(8)).join('')}`)
}

function malloc(name, bytes, size) {
  const address = heap.malloc(bytes)
  told(`${name} = malloc(${size})`, heap.usableSize(address))
  return address
}

function free(name, address) {
  const usable = heap.usableSize(address)
  heap.free(address)
  told(`free(${name})`, usable)
}

function head(title) {
  const heads = ['pages', 'thread', 'central', 'free', 'mapped', 'mmap']
  console.log(`${title.padEnd(32)}${heads.map((text) => text.padStart(8)).join('')}`)
}

head('medium; what changes, in KiB')
const a = malloc('a', 300_000, '300000')
free('a', a)
const b = malloc('b', 300_000, '300000')
free('b', b)
const c = malloc('c', 300_000, '300000')
const d = malloc('d', 256 * KIB + 1, '256 KiB + 1')
const e = malloc('e', MIB, '1 MiB')

head('large')
const f = malloc('f', 5 * MIB, '5 MiB')
const g = malloc('g', MIB + 1, '1 MiB + 1')
const h = malloc('h', 3 * MIB, '3 MiB')
const i = malloc('i', MIB + 1, '1 MiB + 1')
free('f', f)
free('h', h)
const j = malloc('j', 2 * MIB + 512 * KIB, '2.5 MiB')
console.log(
  `  two holes, of 5 MiB at a lower address and of 3 MiB: j is ${j === h ? 'in that of 3 MiB' : 'elsewhere'}, the best fit`
)
for (const address of [c, d, e, g, i, j]) heap.free(address)

/** A program of all three: images of 64 KiB to 4 MiB that are read, worked on and dropped. */
console.log('4000 pictures of 64 KiB to 4 MiB, at most 8 at a time: the deepest tier that took part')
const tiers = ['thread cache', 'central cache', 'page heap', 'system']
const kinds = ['small', 'medium', 'large']
const counts = tiers.map(
  () => new Map(['malloc', 'free'].flatMap((call) => kinds.map((kind) => [`${call} ${kind}`, 0])))
)
function count(call, bytes) {
  const after = heap.stats()
  const moved = (key) => after[key] !== before[key]
  const deepest = moved('mappedBytes') ? 3 : moved('pageHeapFreeBytes') ? 2 : moved('centralCacheBytes') ? 1 : 0
  before = after
  const key = `${call} ${kinds[bytes <= 256 * KIB ? 0 : bytes <= MIB ? 1 : 2]}`
  counts[deepest].set(key, counts[deepest].get(key) + 1)
}
let state = 1
const random = () => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0
  return state / 2 ** 32
}
const pictures = []
before = heap.stats()
for (let n = 0; n < 4000; n++) {
  if (pictures.length === 8) {
    const [{ address, bytes }] = pictures.splice(Math.floor(random() * 8), 1)
    heap.free(address)
    count('free', bytes)
  }
  const bytes = 64 * KIB * 4 ** Math.floor(random() * 4)
  pictures.push({ address: heap.malloc(bytes), bytes })
  count('malloc', bytes)
}
const columns = ['malloc', 'free'].flatMap((call) => kinds.map((kind) => `${call} ${kind}`))
console.log(`  ${''.padEnd(14)}${columns.map((column) => column.padStart(15)).join('')}`)
for (const [tier, name] of tiers.entries()) {
  console.log(`  ${name.padEnd(14)}${columns.map((key) => String(counts[tier].get(key)).padStart(15)).join('')}`)
}
heap.close()
