/**
 * Blocks, handles and arenas beside malloc and free: a million allocations of 64 bytes and their end, the best of some rounds.
 *
 *     node dist/tools/bench/single/lifetime.js [--count N] [--rounds N]
 */
import { parseArgs } from 'node:util'
import Table from 'cli-table3'
import { type Arena, type HandleTable, Heap } from 'spanheap'

const { values } = parseArgs({
  options: { count: { type: 'string', default: '1000000' }, rounds: { type: 'string', default: '15' } },
})
const count = Number(values.count)
/** So many allocations a call: V8 compiles a function that is entered often better than one that it must replace in a long loop. */
const PER_CALL = 2000
const SIZE = 64

const heap = new Heap({ leaks: 'off' })
const kept = new Float64Array(count)

/** Nanoseconds for each of `count` turns of the best round. */
function best(round: () => void): number {
  let least = Number.POSITIVE_INFINITY
  for (let i = 0; i < Number(values.rounds); i++) {
    const start = process.hrtime.bigint()
    round()
    least = Math.min(least, Number(process.hrtime.bigint() - start))
  }
  return least / count
}

/** Calls `part` for all of the turns, some at a time. */
function inParts(part: (from: number, to: number) => void): void {
  for (let from = 0; from < count; from += PER_CALL) part(from, Math.min(count, from + PER_CALL))
}

function mallocPart(from: number, to: number): void {
  for (let i = from; i < to; i++) kept[i] = heap.malloc(SIZE)
}

function freePart(from: number, to: number): void {
  for (let i = from; i < to; i++) heap.free(kept[i]!)
}

let arena: Arena
function arenaPart(from: number, to: number): void {
  for (let i = from; i < to; i++) kept[i] = arena.malloc(SIZE)
}

const table: HandleTable = heap.handles()
function handlePart(from: number, to: number): void {
  for (let i = from; i < to; i++) kept[i] = table.alloc(SIZE)
}
let sum = 0
function resolvePart(from: number, to: number): void {
  for (let i = from; i < to; i++) sum += table.address(kept[i]!)
}
function handleFreePart(from: number, to: number): void {
  for (let i = from; i < to; i++) table.free(kept[i]!)
}

function blockPart(from: number, to: number): void {
  for (let i = from; i < to; i++) heap.block(SIZE).free()
}
function blockBytesPart(from: number, to: number): void {
  for (let i = from; i < to; i++) {
    const block = heap.block(SIZE)
    sum += block.bytes.length
    block.free()
  }
}
function pairPart(from: number, to: number): void {
  for (let i = from; i < to; i++) heap.free(heap.malloc(SIZE))
}

const all = best(() => {
  inParts(mallocPart)
  inParts(freePart)
})
const arenas = best(() => {
  arena = heap.arena()
  inParts(arenaPart)
  arena.dispose()
})
const small = best(() => {
  for (let i = 0; i < count; i += 10) {
    arena = heap.arena()
    arenaPart(i, i + 10)
    arena.dispose()
  }
})
const pair = best(() => inParts(pairPart))
const rows: [string, number, number][] = [
  [`${count} malloc(64), then ${count} free`, all, all],
  [`${count} arena.malloc(64), one dispose`, arenas, all],
  ['an arena for every 10', small, all],
  ['free(malloc(64))', pair, pair],
  ['heap.block(64).free()', best(() => inParts(blockPart)), pair],
  ['the same with its bytes', best(() => inParts(blockBytesPart)), pair],
]
let allocated = 0
let resolved = 0
let freed = 0
for (let round = 0; round < Number(values.rounds); round++) {
  const times = [handlePart, resolvePart, handleFreePart].map((part) => {
    const start = process.hrtime.bigint()
    inParts(part)
    return Number(process.hrtime.bigint() - start) / count
  })
  const least = (before: number, now: number) => (round === 0 ? now : Math.min(before, now))
  allocated = least(allocated, times[0]!)
  resolved = least(resolved, times[1]!)
  freed = least(freed, times[2]!)
}
rows.push(
  ['table.alloc(64)', allocated, all],
  ['table.address(handle)', resolved, all],
  ['table.free(handle)', freed, all]
)

const out = new Table({ head: ['', 'ns each', '/ malloc and free'], style: { head: [], border: [] } })
for (const [name, ns, reference] of rows) out.push([name, ns.toFixed(2), (ns / reference).toFixed(2)])
console.log(out.toString())
table.close()
heap.close()
if (!(sum > 0)) throw new Error('nothing was measured')
