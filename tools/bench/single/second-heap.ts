/**
 * A trace on a heap while a second heap is alive and used in the same process, with the same functions: does V8 still do as
 * well when it has seen two? Prints one line of JSON; `tools/bench/single/native.ts --second-heap` shows it beside the rest.
 *
 *     node dist/tools/bench/single/second-heap.js TRACE TOUCH ROUNDS
 */

import { Heap } from 'spanheap'
import { replay } from '../../trace/replay.ts'
import { shippedTrace } from '../../trace/shipped.ts'
import { readTrace } from '../../trace/trace.ts'

const [name = 'jq', touch = '0', rounds = '20'] = process.argv.slice(2)
const other = new Heap()
const blocks: number[] = []

/** Some of everything, on the second heap. */
function useOther(count: number): void {
  for (let i = 0; i < count; i++) blocks.push(other.malloc((i * 37) % 5000))
  for (let i = 0; i < blocks.length; i += 3) blocks[i] = other.realloc(blocks[i]!, (i * 53) % 9000)
  for (let i = 0; i < count / 20; i++) other.free(other.calloc(3, i))
  while (blocks.length > 50) other.free(blocks.pop()!)
}

useOther(20_000)
const report = replay(readTrace(shippedTrace(name)), {
  allocator: 'tcmalloc',
  rounds: Number(rounds),
  touch: touch === '1',
  onRound: () => useOther(100), // little, so that it is V8 that is measured and not the processor's cache
})
other.audit()
console.log(JSON.stringify(report))
