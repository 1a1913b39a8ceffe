import { writeFileSync } from 'node:fs'
import { totalmem } from 'node:os'
import { warnOnce } from '../warning.ts'
import { isAddon, loadAddon } from './addon.ts'
import { GrowableMapper } from './growable-mapper.ts'
import type { Mapper } from './mapper.ts'
import { checkLedger, type LedgerOptions, NativeMapper } from './native-mapper.ts'

/** The memory of this machine, or of the cgroup that the process is confined to, in bytes. */
export function machineMemory(): number {
  // 0 where there is no limit, or more than the machine has where it is not known.
  const constrained = process.constrainedMemory()
  return constrained > 0 ? Math.min(constrained, totalmem()) : totalmem()
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
