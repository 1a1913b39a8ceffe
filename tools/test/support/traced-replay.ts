/**
 * Replays a trace once a tracer is there, for which it waits with all modules loaded: `ready trace allocator events rounds ledger`.
 * It makes the file `ready` before it waits, and ends if its parent, which is to trace it, is gone.
 */
import { readdirSync, readFileSync, writeFileSync, writeSync } from 'node:fs'
import type { AllocatorName } from '../../trace/allocators.ts'
import { replay } from '../../trace/replay.ts'
import { readTrace } from '../../trace/trace.ts'

const [ready, path, allocator, events, rounds, ledger] = process.argv.slice(2) as [string, string, ...string[]]
const trace = readTrace(path, Number(events))
writeFileSync(ready, '')
const pause = new Int32Array(new SharedArrayBuffer(4))
const parent = process.ppid
while (!isTraced()) {
  if (process.ppid !== parent) process.exit(1)
  Atomics.wait(pause, 0, 0, 10)
}
const report = replay(trace, { allocator: allocator as AllocatorName, rounds: Number(rounds), touch: false, ledger })
writeSync(1, JSON.stringify(report))
// An orderly end would be 200 calls of V8's.
process.kill(process.pid, 'SIGKILL')

/** Whether each thread of this process has a tracer. */
function isTraced(): boolean {
  const threads = readdirSync('/proc/self/task')
  return threads.every((thread) => !/^TracerPid:\t0$/m.test(readFileSync(`/proc/self/task/${thread}/status`, 'utf8')))
}
