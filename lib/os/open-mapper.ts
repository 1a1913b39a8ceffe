import { writeFileSync } from 'node:fs'
import { warnOnce } from '../base/warning.ts'
import { isAddon, loadAddon } from './addon.ts'
import { GrowableMapper } from './growable-mapper.ts'
import type { Mapper } from './mapper.ts'
import { checkLedger, type LedgerOptions, NativeMapper } from './native-mapper.ts'

/** A mapper of the kind that another thread's heap was made with, by its name; undefined if this thread doesn't have it. */
export function doorNamed(name: string): Mapper | undefined {
  const addon = loadAddon()
  if (name === 'native') return isAddon(addon) ? new NativeMapper(addon) : undefined
  return name === 'growable' ? new GrowableMapper() : undefined
}

/** Opens a mapper: the shim's or, if it can't be loaded, the JavaScript one, with one warning. */
export function openMapper(ledger: LedgerOptions): Mapper {
  const addon = loadAddon()
  if (isAddon(addon)) return new NativeMapper(addon, ledger)
  checkLedger(ledger)
  const { reason, remedy } = addon
  warnOnce(`no addon (${reason}): heaps give no memory back to the system. To change that, ${remedy}`)
  // There are no system calls to record, but the file is created.
  if (ledger.file !== undefined) writeFileSync(ledger.file, '')
  return new GrowableMapper()
}
