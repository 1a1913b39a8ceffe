import { execFileSync } from 'node:child_process'
import { join } from 'node:path'

/** Whether a command can be run. */
export function isInstalled(command: string, ...args: string[]): boolean {
  try {
    execFileSync(command, args, { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** Builds programs for the time of a run, each when it is first asked for. */
export abstract class Programs<Name extends string> {
  /** What tells its executables from those of other languages. */
  protected abstract readonly suffix: string
  private readonly folder: string
  private readonly built = new Map<Name, string>()

  constructor(folder: string) {
    this.folder = folder
  }

  /** Where the executable is. */
  path(program: Name): string {
    const known = this.built.get(program)
    if (known !== undefined) return known
    const path = join(this.folder, `${program}${this.suffix}`)
    this.build(program, path)
    this.built.set(program, path)
    return path
  }

  protected abstract build(program: Name, path: string): void
}
