import { readFileSync } from 'node:fs'

/** What a process has of memory that no file backs, in bytes. */
export interface ProcessMemory {
  readonly residentBytes: number
  /** Mapped to be written to: address space that is only set aside isn't in it. */
  readonly mappedBytes: number
}

/** This process's; null where there is no /proc. */
export function processMemory(): ProcessMemory | null {
  try {
    return {
      residentBytes: figure('/proc/self/smaps_rollup', 'Anonymous'),
      mappedBytes: figure('/proc/self/status', 'VmData'),
    }
  } catch {
    return null
  }
}

/** Bytes of memory that can be had without swapping; null where the system doesn't say. */
export function availableBytes(): number | null {
  try {
    return figure('/proc/meminfo', 'MemAvailable')
  } catch {
    return null
  }
}

/** A line `Name:  number kB`, in bytes. */
function figure(path: string, name: string): number {
  const found = readFileSync(path, 'latin1').match(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm'))
  if (found === null) throw new Error(`${path} has no ${name}`)
  return Number(found[1]) * 1024
}
