import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** The root of the package, seen from dist/test/support. */
export const ROOT = fileURLToPath(new URL('../../../', import.meta.url))

/** How a child process ended, and what it wrote. */
export interface Ended {
  status: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

/** Where a program runs: by default at the root of the package, in this process's environment. */
export interface Place {
  cwd?: string
  env?: NodeJS.ProcessEnv
}

/** Runs a program to its end. One that takes longer than `seconds` is killed, which `signal` then tells. */
export function run(command: string, args: readonly string[], seconds = 60, place: Place = {}): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: ROOT, ...place, timeout: seconds * 1000, killSignal: 'SIGKILL' })
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text
    })
    child.once('error', reject)
    child.once('close', (status, signal) => resolve({ status, signal, stdout, stderr }))
  })
}

/** The compiled file of a script in test/children. */
export function childScript(name: string): string {
  return fileURLToPath(new URL(`../children/${name}.js`, import.meta.url))
}

/** Runs a script of test/children with Node. */
export function runChild(
  name: string,
  args: readonly string[] = [],
  nodeOptions: readonly string[] = []
): Promise<Ended> {
  return run(process.execPath, [...nodeOptions, childScript(name), ...args])
}

/** What a script of test/children reports: one line of JSON. @throws Error with all that is known where it didn't end well */
export function reportOf<T>({ status, signal, stdout, stderr }: Ended): T {
  if (status !== 0) throw new Error(`the child ended with status ${status}, signal ${signal}:\n${stderr}`)
  return JSON.parse(stdout) as T
}
