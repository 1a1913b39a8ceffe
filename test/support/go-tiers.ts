import { type Span, SpanEntry } from '../../lib/go/span.ts'
import { GoTiers } from '../../lib/go/tiers.ts'
import { SimulatedMapper, type SimulatedSystem } from '../../lib/os/simulated-mapper.ts'

const PAGE_BYTES = 8192

export interface GoTiersOptions {
  limitPages?: number
  system?: SimulatedSystem
}

/** Go's tiers one by one, over a simulated system. No cycle begins by itself. */
export function openGoTiers({ limitPages = 4096, system = {} }: GoTiersOptions = {}): {
  mapper: SimulatedMapper
  tiers: GoTiers
} {
  const mapper = new SimulatedMapper(system)
  const tiers = new GoTiers(
    mapper,
    { shared: true, isDefault: false, limitBytes: limitPages * PAGE_BYTES },
    { gcPercent: -1, memoryLimit: Number.POSITIVE_INFINITY, onCycle: undefined }
  )
  return { mapper, tiers }
}

/** The class of exactly this size. */
export function classOf({ classes }: Pick<GoTiers, 'classes'>, size: number): number {
  const found = classes.size.indexOf(size)
  if (found < 1) throw new Error(`there is no class of ${size} bytes`)
  return found
}

/** One word of a span's entry. */
export function spanWord({ tables }: Pick<GoTiers, 'tables'>, start: number, word: Span): number {
  return tables.spans[(start << SpanEntry.Shift) + word]!
}

/** Marks slots of a span, as the marker would. */
export function mark({ bits }: Pick<GoTiers, 'bits'>, start: number, slots: Iterable<number>): void {
  for (const slot of slots) bits.words[bits.marked + start * 32 + (slot >>> 5)]! |= 1 << (slot & 31)
}
