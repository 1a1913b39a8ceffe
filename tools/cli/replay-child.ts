import { execFile } from 'node:child_process'
import { fileURLToPath, URL } from 'node:url'
import { promisify } from 'node:util'
import { AllocatorError } from 'spanheap'
import type { AllocatorName } from '../trace/allocators.ts'
import type { ReplayReport } from '../trace/replay.ts'

/** How a replay in a process of its own is made. */
export interface ChildReplayOptions {
  rounds: number
  touch: boolean
  /** Only the first of them, or all. */
  events?: number | undefined
}

const run = promisify(execFile)

/** The variable by which a replay knows that it is a child, and whose. */
const PARENT = 'SPANHEAP_REPLAY_PARENT'

/** Ends this process if it is the child of one that is gone: nobody waits for its report then. */
export function endWithParent(): void {
  const parent = process.env[PARENT]
  if (parent !== undefined && Number(parent) !== process.ppid) process.exit(1)
}

/** Replays a trace in a process of its own, so that nothing of another replay is left in it. @throws AllocatorError `ERR_TRACE_INVALID` */
export async function replayInChild(
  path: string,
  allocator: AllocatorName,
  { rounds, touch, events }: ChildReplayOptions
): Promise<ReplayReport> {
  const main = fileURLToPath(new URL('./main.js', import.meta.url))
  const args = [main, 'replay', path, '--allocator', allocator, '--json', '--rounds', String(rounds)]
  if (events !== undefined) args.push('--events', String(events))
  if (touch) args.push('--touch')
  try {
    const { stdout } = await run(process.execPath, args, { env: { ...process.env, [PARENT]: String(process.pid) } })
    return JSON.parse(stdout) as ReplayReport
  } catch (error) {
    const { stderr } = error as { stderr?: string }
    if (stderr === undefined) throw error
    throw new AllocatorError('ERR_TRACE_INVALID', stderr.replace(/^spanheap: /, '').trim(), { cause: error })
  }
}
