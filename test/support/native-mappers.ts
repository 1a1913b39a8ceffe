import type { Mapping } from '../../lib/index.ts'
import { isAddon, loadAddon } from '../../lib/os/addon.ts'
import { type LedgerOptions, NativeMapper } from '../../lib/os/native-mapper.ts'

export const ALIGNMENT = 2 ** 26

/** The real system, which a test asks directly. */
export function nativeMapper(ledger: LedgerOptions = {}): NativeMapper {
  const addon = loadAddon()
  if (!isAddon(addon)) throw new Error(`these tests need the addon: ${addon.reason}`)
  return new NativeMapper(addon, ledger)
}

/** Memory that must not be refused. */
export function reserve(mapper: NativeMapper, byteLength: number, hugePages = true): Mapping {
  const mapping = mapper.reserve({ byteLength, shared: true, alignment: ALIGNMENT, hugePages })
  if (typeof mapping === 'number') throw new Error(`the reservation was refused: ${mapping}`)
  return mapping
}
