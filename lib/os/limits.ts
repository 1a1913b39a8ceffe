import { readFileSync } from 'node:fs'
import { totalmem } from 'node:os'
import { cgroupMemoryLimit } from './cgroup.ts'

/** The machine's memory or, if less, the tightest limit of the process's cgroups, in bytes. */
export function machineMemory(): number {
  // 0 if there is no limit; more than the machine has if it isn't known.
  const constrained = process.constrainedMemory() || Number.POSITIVE_INFINITY
  return Math.min(constrained, cgroupMemoryLimit(), totalmem())
}

/** The part of that memory that a heap takes by default; the rest is for V8 and everything else. Then the most of any heap. */
const DEFAULT_PART = 3 / 4
const MOST_DEFAULT_BYTES = 2 ** 35

/** The default limit of a heap, in bytes. */
export function defaultLimitBytes(): number {
  return Math.min(Math.floor(machineMemory() * DEFAULT_PART), MOST_DEFAULT_BYTES)
}

/** Address space that `ulimit -v` leaves to the process, in bytes; Infinity if there is no limit. */
export function addressRoom(): number {
  try {
    const [, limit] = /^Max address space +(\d+) /m.exec(readFileSync('/proc/self/limits', 'latin1'))!
    const [, kilobytes] = /^VmSize:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'latin1'))!
    return Number(limit) - Number(kilobytes) * 1024
  } catch {
    return Number.POSITIVE_INFINITY // no number, no limit; or no Linux
  }
}
