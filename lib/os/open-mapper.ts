import { readFileSync, writeFileSync } from 'node:fs'
import { totalmem } from 'node:os'
import { warnOnce } from '../base/warning.ts'
import { isAddon, loadAddon } from './addon.ts'
import { cgroupMemoryLimit } from './cgroup.ts'
import { GrowableMapper } from './growable-mapper.ts'
import type { Mapper } from './mapper.ts'
import { checkLedger, type LedgerOptions, NativeMapper } from './native-mapper.ts'

/** The memory of this machine, or of the tightest of the cgroups that the process is confined to, in bytes. */
export function machineMemory(): number {
  // 0 where there is no limit, or more than the machine has where it is not known.
  const constrained = process.constrainedMemory() || Number.POSITIVE_INFINITY
  return Math.min(constrained, cgroupMemoryLimit(), totalmem())
}

/** How much of that a heap takes by default: the rest is for V8 and for everything else. And the most that any heap has. */
const DEFAULT_PART = 3 / 4
const MOST_DEFAULT_BYTES = 2 ** 35

/** The limit of a heap that nobody has given one, in bytes. */
export function defaultLimitBytes(): number {
  return Math.min(Math.floor(machineMemory() * DEFAULT_PART), MOST_DEFAULT_BYTES)
}

/** Addresses that the process may still take, in bytes, by `ulimit -v` and what it has; Infinity where there is no limit. */
export function addressRoom(): number {
  try {
    const [, limit] = /^Max address space +(\d+) /m.exec(readFileSync('/proc/self/limits', 'latin1'))!
    const [, kilobytes] = /^VmSize:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'latin1'))!
    return Number(limit) - Number(kilobytes) * 1024
  } catch {
    return Number.POSITIVE_INFINITY // no number, no limit; or no Linux
  }
}

/** The door that a heap of another thread was made through, by its name; undefined where this thread doesn't have it. */
export function doorNamed(name: string): Mapper | undefined {
  const addon = loadAddon()
  if (name === 'native') return isAddon(addon) ? new NativeMapper(addon) : undefined
  return name === 'growable' ? new GrowableMapper() : undefined
}

/** A door to the system: the shim, or what stands in for it where it can't be loaded. Says so once. */
export function openMapper(ledger: LedgerOptions): Mapper {
  const addon = loadAddon()
  if (isAddon(addon)) return new NativeMapper(addon, ledger)
  checkLedger(ledger)
  const { reason, remedy } = addon
  warnOnce(`no addon (${reason}): heaps give no memory back to the system. To change that, ${remedy}`)
  // There are no system calls to write down, but the file is there.
  if (ledger.file !== undefined) writeFileSync(ledger.file, '')
  return new GrowableMapper()
}
