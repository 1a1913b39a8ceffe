import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { NativePrograms } from '../framework/native-programs.ts'
import type { Peer } from '../framework/peers.ts'
import type { MeasuredRow } from '../framework/suite.ts'

/** The system calls that a native allocator makes for some traces. */
export interface CallsParameters {
  readonly kind: 'calls'
  readonly peer: Peer
  /** Where strace may write. */
  readonly output: string
  readonly traces: readonly { readonly row: string; readonly path: string }[]
}

/** All by which allocators get memory and give it back. The program calls getppid before the replay and behind it. */
const CALLS = 'mmap,munmap,mremap,madvise,mprotect,brk'
const MARK = 'getppid'

export function straceIsThere(): boolean {
  try {
    execFileSync('strace', ['-V'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** One untimed replay of each trace, as strace sees it. */
export function measureCalls({ peer, output, traces }: CallsParameters): MeasuredRow[] {
  const program = new NativePrograms(dirname(output)).path('replay')
  const preload = peer.library === undefined ? [] : ['-E', `LD_PRELOAD=${peer.library}`]
  return traces.map(({ row, path }) => {
    const what = ['-e', `trace=${CALLS},${MARK}`, '-e', 'signal=none']
    execFileSync('strace', ['-f', '--seccomp-bpf', ...what, ...preload, '-o', output, program, 'calls', path])
    return { row, values: { systemCalls: countBetweenMarks(readFileSync(output, 'utf8')) } }
  })
}

/** Calls between the two marks in strace's output. @throws Error where there aren't two */
export function countBetweenMarks(text: string): number {
  const names = text.split('\n').map((line) => line.match(/^\d+ +(\w+)\(/)?.[1])
  const [first, last] = [names.indexOf(MARK), names.lastIndexOf(MARK)]
  if (first === last) throw new Error('strace missed the marks around the replay')
  return names.slice(first + 1, last).filter((name) => name !== undefined).length
}
