import { AllocatorError } from '../errors.ts'
import { MOST_HEAP_BYTES, Page } from '../memory/page.ts'
import { type TableSizes, Tables } from '../memory/tables.ts'
import type { Mapper, Mapping, MemoryKind } from '../os/mapper.ts'

/** A smaller reservation than this isn't tried for. */
const LEAST_RESERVATION_BYTES = 16 * 2 ** 20

/** What the tiers are made with; a heap has checked it. */
export interface TCMallocOptions {
  memory: MemoryKind
  limitBytes: number
  /** What the memory's real address is a multiple of. */
  alignment: number
  /** What all thread caches together may hold. */
  cacheBytes: number
  releaseRate: number
}

/** Tables beside a reservation, which is given up where there is no memory for them. */
export function openTables(mapper: Mapper, mapping: Mapping, sizes: TableSizes, adopted: Mapping | undefined): Tables {
  try {
    return new Tables(mapper, sizes, adopted)
  } catch (error) {
    mapping.close()
    throw error
  }
}

/** Reserves what the limit asks for; where the system refuses (under `ulimit -v`, say) half, until it is too little. */
export function reserve(
  mapper: Mapper,
  { memory, limitBytes, alignment }: TCMallocOptions,
  leastPages: number
): { mapping: Mapping; limitPages: number } {
  const mostPages = MOST_HEAP_BYTES / Page.Bytes - Page.First
  let limitPages = Math.min(mostPages, Math.floor(limitBytes / Page.Bytes))
  limitPages -= limitPages % leastPages
  for (;;) {
    const byteLength = (Page.First + limitPages) * Page.Bytes
    const mapping = mapper.reserve({ byteLength, kind: memory, alignment, hugePages: true })
    if (typeof mapping !== 'number') return { mapping, limitPages }
    if (byteLength / 2 < LEAST_RESERVATION_BYTES) {
      throw new AllocatorError('ERR_HEAP_OUT_OF_MEMORY', `the system refused to reserve ${byteLength} bytes`, {
        requested: byteLength,
        syscall: 'mmap',
        errno: mapping,
      })
    }
    limitPages = Math.floor(limitPages / 2)
    limitPages -= limitPages % leastPages
  }
}

/** The slot of a new heap's first thread. Where there is no memory for its area, all is given up. */
export function claimFirst(tables: Tables, mapping: Mapping): { slot: number; area: Int32Array } {
  try {
    return tables.claimSlot()
  } catch (error) {
    tables.close()
    mapping.close()
    throw error
  }
}
