import { execFile } from 'node:child_process'
import { fileURLToPath, URL } from 'node:url'
import { promisify } from 'node:util'
import { AllocatorError } from '../errors.ts'
import type { AllocatorName, ReplayReport } from '../trace/replay.ts'

/** How a replay in a process of its own is made. */
export interface ChildReplayOptions {
  rounds: number
  touch: boolean
  /** Only the first of them, or all. */
  events?: number | undefined
}

const run = promisify(execFile)

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
    const { stdout } = await run(process.execPath, args)
    return JSON.parse(stdout) as ReplayReport
  } catch (error) {
    const { stderr } = error as { stderr?: string }
    if (stderr === undefined) throw error
    throw new AllocatorError('ERR_TRACE_INVALID', stderr.replace(/^spanheap: /, '').trim(), { cause: error })
  }
}
