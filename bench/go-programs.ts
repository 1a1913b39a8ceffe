import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { ROOT } from './peers.ts'

/** The programs in Go in bench/native, by the name of their source. */
export type GoProgram = 'collector'

/** Builds programs for the time of a run, each when it is first asked for. */
export class GoPrograms {
  private readonly folder: string
  private readonly built = new Map<GoProgram, string>()

  constructor(folder: string) {
    this.folder = folder
  }

  /** Whether Go is installed (Debian: golang-go). */
  static areAvailable(): boolean {
    try {
      execFileSync('go', ['version'], { stdio: 'ignore' })
      return true
    } catch {
      return false
    }
  }

  /** Where the executable is. */
  path(program: GoProgram): string {
    const known = this.built.get(program)
    if (known !== undefined) return known
    const path = join(this.folder, `${program}-go`)
    // A file outside of any module; it needs the standard library only.
    const env = { ...process.env, GO111MODULE: 'off', GOFLAGS: '' }
    const source = join(ROOT, 'bench/native', `${program}.go`)
    execFileSync('go', ['build', '-o', path, source], { stdio: ['ignore', 'ignore', 'inherit'], env })
    this.built.set(program, path)
    return path
  }
}
