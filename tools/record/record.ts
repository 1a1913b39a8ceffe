import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createNativeLog, readNativeLog } from './native-log.ts'
import { buildNativeRecorder, nativeEnvironment } from './native-recorder.ts'
import { readNodeLogs } from './node-log.ts'
import { nodeEnvironment } from './node-recorder.ts'
import { type Ending, failed, findProgram, isNode, runProgram } from './program.ts'
import { Recording, type RecordingCounts } from './recording.ts'

/** Events that are recorded at most where nobody has chosen: their logs take 320 MB at worst. */
export const DEFAULT_EVENTS = 10_000_000
/** What a recording can keep apart: a Map holds no more blocks. */
export const MOST_EVENTS = 2 ** 24

/** How a program is recorded. */
export interface RecordOptions {
  /** True: malloc and its like, even if the program is Node. */
  native: boolean
  events: number
  /** What the program is sent when this process is told to end. */
  signal?: NodeJS.Signals | undefined
}

/** What came of it. */
export interface RecordResult {
  recorder: 'node' | 'native'
  ending: Ending
  counts: RecordingCounts
  /** Workers of Node that were started without the recorder. */
  unrecordedWorkers: number
  /** The number of the system's error that ended the recording early; 0 for none. */
  errno: number
}

/**
 * Runs a program, and writes the trace of what it allocated once it has ended, in whatever way.
 * @throws AllocatorError `ERR_RECORD_FAILED`
 */
export async function record(
  command: string,
  args: readonly string[],
  path: string,
  options: RecordOptions
): Promise<RecordResult> {
  const program = findProgram(command)
  checkFolder(path)
  const folder = mkdtempSync(join(tmpdir(), 'spanheap-record-'))
  const recording = new Recording(options.events)
  try {
    const run = !options.native && isNode(program) ? recordNode : recordNative
    const result = await run(program, args, folder, recording, options)
    await writeTrace(recording, path)
    return { ...result, counts: recording.counts() }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

type Run = (
  program: string,
  args: readonly string[],
  folder: string,
  recording: Recording,
  options: RecordOptions
) => Promise<Omit<RecordResult, 'counts'>>

const recordNode: Run = async (program, args, folder, recording, { events, signal }) => {
  const ending = await runProgram(program, args, nodeEnvironment(folder, events), signal)
  const { hasRun, unrecordedWorkers } = readNodeLogs(folder, recording)
  if (!hasRun) throw failed(`${program} ${endOf(ending)} and hadn't loaded the recorder, as Node does by NODE_OPTIONS`)
  return { recorder: 'node', ending, unrecordedWorkers, errno: 0 }
}

const recordNative: Run = async (program, args, folder, recording, { events, signal }) => {
  const library = buildNativeRecorder(folder)
  const log = join(folder, 'log')
  createNativeLog(log, events)
  const ending = await runProgram(program, args, nativeEnvironment(library, log), signal)
  const { owner, errno } = readNativeLog(log, recording)
  if (owner === 0) {
    throw failed(
      `${program} ${endOf(ending)} and hadn't loaded the recorder: it is linked statically, or has other rights`
    )
  }
  return { recorder: 'native', ending, unrecordedWorkers: 0, errno }
}

/** How a program ended, in words. */
export function endOf({ status, signal }: Ending): string {
  return signal === null ? `ended with status ${status}` : `was ended by ${signal}`
}

/** Says so before the program has run that its trace would have no place. */
function checkFolder(path: string): void {
  try {
    accessSync(dirname(path), constants.W_OK)
  } catch (cause) {
    throw failed(`${path} can't be written (${(cause as Error).message})`, cause)
  }
}

async function writeTrace(recording: Recording, path: string): Promise<void> {
  try {
    await recording.writer.write(path)
  } catch (cause) {
    throw failed(`${path} can't be written (${(cause as Error).message})`, cause)
  }
}
