import { Buffer } from 'node:buffer'
import { spawn } from 'node:child_process'
import { accessSync, closeSync, constants, existsSync, openSync, readSync, realpathSync, statSync } from 'node:fs'
import { basename, delimiter, join } from 'node:path'
import { AllocatorError } from 'spanheap'

/** How much of a script is read to find its interpreter. */
const FIRST_LINE_BYTES = 256
const NODE_NAMES = ['node', 'nodejs']
/** Signals to this process that are for the program. */
const PASSED_ON = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** How a program ended. */
export interface Ending {
  /** Its exit status; null where a signal ended it. */
  status: number | null
  signal: NodeJS.Signals | null
  /** True where this process was told to end meanwhile, and told the program. */
  wasAsked: boolean
}

/** The file that a command names, found as a shell does. @throws AllocatorError `ERR_RECORD_FAILED` */
export function findProgram(command: string, path = process.env.PATH ?? ''): string {
  const candidates = command.includes('/')
    ? [command]
    : path.split(delimiter).map((folder) => join(folder === '' ? '.' : folder, command))
  const files = candidates.filter((file) => existsSync(file) && !statSync(file).isDirectory())
  const found = files.find(isExecutable)
  if (found !== undefined) return found
  throw failed(files.length > 0 ? `${command} is not executable` : `there is no program ${command}`)
}

/** True for Node itself and for a script that names it in its first line. */
export function isNode(file: string): boolean {
  const real = realpathSync(file)
  if (NODE_NAMES.includes(basename(file)) || real === realpathSync(process.execPath)) return true
  return /^#!.*\bnode\b/.test(firstLine(real))
}

/**
 * Runs a program to its end, with this process's standard streams.
 * @param signal what it is sent when this process is told to end; by default the same signal
 * @throws AllocatorError `ERR_RECORD_FAILED` where the system doesn't run it
 */
export function runProgram(
  file: string,
  args: readonly string[],
  environment: NodeJS.ProcessEnv,
  signal?: NodeJS.Signals
): Promise<Ending> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { stdio: 'inherit', env: environment })
    let wasAsked = false
    const passOn = (received: NodeJS.Signals) => {
      wasAsked = true
      // A terminal sends its Ctrl-C to both, and to some programs a second one means more than the first.
      if (signal !== undefined) child.kill(signal)
      else if (received !== 'SIGINT' || !process.stdin.isTTY) child.kill(received)
    }
    for (const name of PASSED_ON) process.on(name, passOn)
    const done = () => {
      for (const name of PASSED_ON) process.off(name, passOn)
    }
    child.once('error', (cause) => {
      done()
      reject(failed(`${file} can't be run (${cause.message})`, cause))
    })
    child.once('exit', (status, endedBy) => {
      done()
      resolve({ status, signal: endedBy, wasAsked })
    })
  })
}

/** The error for what can't be recorded. */
export function failed(message: string, cause?: unknown): AllocatorError {
  return new AllocatorError('ERR_RECORD_FAILED', message, cause === undefined ? {} : { cause })
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

function firstLine(file: string): string {
  let handle: number | undefined
  try {
    handle = openSync(file, 'r')
    const bytes = Buffer.alloc(FIRST_LINE_BYTES)
    const length = readSync(handle, bytes, 0, FIRST_LINE_BYTES, 0)
    return bytes.toString('latin1', 0, length).split('\n', 1)[0]!
  } catch {
    return '' // it may be executable and not readable
  } finally {
    if (handle !== undefined) closeSync(handle)
  }
}
