import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { ROOT } from './peers.ts'

/** The programs in bench/native that suites run, by the name of their source. */
export type NativeProgram = 'replay' | 'patterns' | 'growth' | 'fragmentation' | 'syscalls'

/** Builds programs for the time of a run, each when it is first asked for. */
export class NativePrograms {
  private readonly folder: string
  private readonly built = new Map<NativeProgram, string>()

  constructor(folder: string) {
    this.folder = folder
  }

  /** Whether there is a compiler. */
  static areAvailable(): boolean {
    try {
      execFileSync('cc', ['--version'], { stdio: 'ignore' })
      return true
    } catch {
      return false
    }
  }

  /** Where the executable is. */
  path(program: NativeProgram): string {
    const known = this.built.get(program)
    if (known !== undefined) return known
    const path = join(this.folder, program)
    const source = join(ROOT, 'bench/native', `${program}.c`)
    execFileSync('cc', ['-O2', '-pthread', '-o', path, source, '-ldl'], { stdio: ['ignore', 'ignore', 'inherit'] })
    this.built.set(program, path)
    return path
  }
}
