import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { PACKAGE_ROOT } from '../../package-root.ts'
import { isInstalled, Programs } from './programs.ts'

/** The programs in Go in bench/native, by the name of their source. */
export type GoProgram = 'collector'

/** Those in Go. */
export class GoPrograms extends Programs<GoProgram> {
  protected readonly suffix = '-go'

  /** Whether Go is installed (Debian: golang-go). */
  static areAvailable(): boolean {
    return isInstalled('go', 'version')
  }

  protected build(program: GoProgram, path: string): void {
    // A file outside of any module; it needs the standard library only.
    const env = { ...process.env, GO111MODULE: 'off', GOFLAGS: '' }
    const source = join(PACKAGE_ROOT, 'bench/native', `${program}.go`)
    execFileSync('go', ['build', '-o', path, source], { stdio: ['ignore', 'ignore', 'inherit'], env })
  }
}
