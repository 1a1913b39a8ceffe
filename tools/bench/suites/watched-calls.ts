import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { SystemCall } from 'spanheap'
import { type Call, parseStrace } from '../framework/strace.ts'
import type { ChurnReport, HeapName } from './churn.ts'

const OUTPUT_BYTES = 2 ** 26
const run = promisify(execFile)

/** What a heap's ledger says of a churn in a process of its own, and how many calls strace saw; null where there is no strace. */
export interface WatchedChurn extends ChurnReport {
  readonly seen: number | null
}

export async function watchedChurn(heap: HeapName, allocations: number): Promise<WatchedChurn> {
  const child = [fileURLToPath(new URL('churn-process.js', import.meta.url)), heap, String(allocations)]
  const folder = mkdtempSync(join(tmpdir(), 'spanheap-bench-'))
  const output = join(folder, 'strace')
  const options = ['-f', '--seccomp-bpf', '-e', 'trace=mmap,munmap,madvise', '-e', 'signal=none', '-o', output]
  try {
    const { stdout } = await run('strace', [...options, process.execPath, ...child], { maxBuffer: OUTPUT_BYTES })
    const report = JSON.parse(stdout) as ChurnReport
    return { ...report, seen: callsOf(report.calls, parseStrace(readFileSync(output, 'utf8'))) }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    const { stdout } = await run(process.execPath, child, { maxBuffer: OUTPUT_BYTES })
    return { ...(JSON.parse(stdout) as ChurnReport), seen: null }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/**
 * Of the calls that strace saw, those that the ledger has, in its order, and any other for memory that is the heap's at the time. All
 * others are Node's.
 */
export function callsOf(ledger: readonly SystemCall[], traced: readonly Call[]): number {
  /** Ends by starts. A heap that has reserved its memory maps inside. */
  const mapped = new Map<number, number>()
  const isMapped = (start: number, end: number) => [...mapped].some(([from, to]) => start < to && end > from)
  let [next, found] = [0, 0]
  for (const { call, address, length, errno } of traced) {
    if (errno !== undefined) continue
    const [start, expected] = [Number(address), ledger[next]]
    const isExpected = expected?.call === call && expected.address === start && expected.length === length
    if (isExpected) next++
    if (isExpected || isMapped(start, start + length)) found++
    if (!isExpected) continue
    if (call === 'munmap') mapped.delete(start)
    else if (call === 'mmap' && !isMapped(start, start + length)) mapped.set(start, start + length)
  }
  return found
}
