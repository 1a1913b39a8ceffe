/**
 * Much memory: blocks of 16 KiB are replaced at random in so many GiB, and one byte of each is written. Beside gperftools,
 * with the same random numbers; processes in turn, the best of each. 16 GiB take about 6 GiB of memory.
 *
 *     node dist/bench/mapped.js [--gib 16] [--processes N] [--operations N]
 */
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Heap } from '../lib/heap.ts'
import { findPeers, Yardstick } from './peers.ts'

const BLOCK_BYTES = 16384
const ROUNDS = 5
/** Operations that are played by one call. */
const CHUNK = 4096

const { values } = parseArgs({
  options: {
    gib: { type: 'string', default: '16' },
    processes: { type: 'string', default: '3' },
    operations: { type: 'string', default: '1000000' },
    child: { type: 'boolean', default: false },
  },
})

function measure(gib: number, operations: number): number {
  const heap = new Heap({ limitBytes: Math.min(32, gib + 4) * 2 ** 30 })
  const blocks = new Float64Array(gib * 65536)
  // A view of 32 bits, since the index of a byte above 2 GiB would be no small integer.
  const doubles = new Float64Array(heap.buffer)
  for (let i = 0; i < blocks.length; i++) {
    blocks[i] = heap.malloc(BLOCK_BYTES)
    doubles[blocks[i]! / 8] = 1
  }
  const count = blocks.length
  let seed = 1
  /** Entered often, so that V8 compiles it whole instead of replacing it in the middle of a loop. */
  const replace = (operations: number): void => {
    for (let i = 0; i < operations; i++) {
      seed ^= seed << 13
      seed ^= seed >>> 17
      seed ^= seed << 5
      // Both unsigned: V8 divides integers then. The remainder of doubles is a long x87 instruction, which keeps the
      // processor from starting the misses of the next operation.
      const at = (seed >>> 0) % (count >>> 0)
      heap.free(blocks[at]!)
      blocks[at] = heap.malloc(BLOCK_BYTES)
      doubles[blocks[at]! / 8] = 1
    }
  }
  let best = Number.POSITIVE_INFINITY
  for (let round = 0; round < ROUNDS; round++) {
    const start = process.hrtime.bigint()
    for (let i = 0; i < operations; i += CHUNK) replace(CHUNK)
    best = Math.min(best, Number(process.hrtime.bigint() - start) / (Math.ceil(operations / CHUNK) * CHUNK))
  }
  return best
}

if (values.child) {
  console.log(measure(Number(values.gib), Number(values.operations)))
} else {
  const yardstick = new Yardstick()
  const gperftools = findPeers().find(({ name }) => name === 'gperftools')
  if (gperftools === undefined) throw new Error('gperftools is needed for the comparison')
  let ours = Number.POSITIVE_INFINITY
  let theirs = Number.POSITIVE_INFINITY
  for (let process_ = 0; process_ < Number(values.processes); process_++) {
    const args = [fileURLToPath(import.meta.url), '--child', '--gib', values.gib, '--operations', values.operations]
    ours = Math.min(ours, Number(execFileSync(process.execPath, args, { encoding: 'utf8' })))
    theirs = Math.min(theirs, yardstick.run(gperftools, 'mapped', values.gib, values.operations).nsPerEvent)
  }
  console.log(
    `${values.gib} GiB: spanheap ${ours.toFixed(0)} ns, gperftools ${theirs.toFixed(0)} ns per operation, ratio ${(ours / theirs).toFixed(2)}`
  )
}
