import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { PACKAGE_ROOT } from '../../package-root.ts'
import { isInstalled, Programs } from './programs.ts'

/** The programs in bench/native that suites run, by the name of their source. */
export type NativeProgram = 'replay' | 'patterns' | 'growth' | 'fragmentation' | 'syscalls'

/** Those in C. */
export class NativePrograms extends Programs<NativeProgram> {
  protected readonly suffix = ''

  /** Whether there is a compiler. */
  static areAvailable(): boolean {
    return isInstalled('cc', '--version')
  }

  protected build(program: NativeProgram, path: string): void {
    const source = join(PACKAGE_ROOT, 'bench/native', `${program}.c`)
    execFileSync('cc', ['-O2', '-pthread', '-o', path, source, '-ldl'], { stdio: ['ignore', 'ignore', 'inherit'] })
  }
}
