import { readFileSync } from 'node:fs'
import { availableParallelism, cpus, release, totalmem } from 'node:os'
import { join } from 'node:path'
import { PACKAGE_ROOT } from '../../package-root.ts'

/** What a run was measured on. */
export interface Machine {
  readonly processor: string
  readonly cores: number
  readonly memoryBytes: number
  readonly system: string
  readonly node: string
  readonly v8: string
  readonly spanheap: string
}

export function thisMachine(): Machine {
  const text = readFileSync(join(PACKAGE_ROOT, 'package.json'), 'utf8')
  return {
    processor: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    system: `${process.platform} ${release()} ${process.arch}`,
    node: process.versions.node,
    v8: process.versions.v8,
    spanheap: (JSON.parse(text) as { version: string }).version,
  }
}
