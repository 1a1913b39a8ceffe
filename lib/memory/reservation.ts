import { checkInteger, MOST_ALIGNMENT } from '../base/arguments.ts'
import { AllocatorError } from '../base/errors.ts'
import { warnOnce } from '../base/warning.ts'
import { addressRoom, defaultLimitBytes } from '../os/limits.ts'
import type { Mapper, Mapping } from '../os/mapper.ts'
import { leastSpanPages, MOST_HEAP_BYTES, Page } from './page.ts'

/** The smallest reservation to try. */
const LEAST_RESERVATION_BYTES = 16 * 2 ** 20

const NO_GUARD =
  'no 4 GiB of address space can be spared for a heap (ulimit -v?): postMessage or structuredClone of a buffer copies the whole heap here, instead of throwing'

/** If addresses are limited, a default heap takes at most this part of the remaining ones. */
const ADDRESS_PART = 1 / 2
/** Addresses that the tables of a small heap take: states for 2 GiB, the areas of all thread slots, pass slots. */
export const LEAST_TABLE_BYTES = 256 * 2 ** 20
/** The same without states for addresses beyond the heap's limit. */
export const TIGHT_TABLE_BYTES = 126 * 2 ** 20
/** The tables of a larger heap, per byte. */
const TABLE_PART = 1 / 14

/** The most that a heap may map for objects. */
export interface Limit {
  readonly limitBytes: number
  /** The limit is the default: a part of the machine's memory, which all such heaps of the process share. */
  readonly isDefault: boolean
}

/** How a heap's address space is reserved. */
export interface ReservationOptions extends Limit {
  /** Whether other threads may attach. Only memory from JavaScript has to know before it is reserved. */
  shared: boolean
}

/** The limit that a heap's constructor was given: by default three quarters of the memory of the machine or the cgroup, at most 32 GiB. */
export function checkHeapLimit(limitBytes: number | undefined): Limit {
  const isDefault = limitBytes === undefined
  const bytes = isDefault ? defaultLimitBytes() : checkInteger('limitBytes', limitBytes, Page.Bytes, MOST_HEAP_BYTES, 0)
  return { limitBytes: bytes, isDefault }
}

/** Address space of a heap. */
export interface Reserved<Tables> {
  mapping: Mapping
  limitPages: number
  tables: Tables
}

/**
 * Reserves address space for the limit, at least the mapper's guard, and opens the tables that describe it. If the system refuses either
 * (under `ulimit -v`, say), both are tried again without the guard, with one warning, and then with half of the limit each time, down to
 * the smallest reservation. A default limit leaves half of the available addresses to the rest of the program.
 * @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY`
 */
export function reserve<Tables>(
  mapper: Mapper,
  { limitBytes, isDefault, shared }: ReservationOptions,
  openTables: (limitPages: number, isTight: boolean) => Tables
): Reserved<Tables> {
  // alignedAlloc's promise holds for real addresses too.
  const alignment = Math.min(MOST_ALIGNMENT, mapper.maxAlignment)
  const leastPages = leastSpanPages(mapper.systemPageSize)
  const mostPages = MOST_HEAP_BYTES / Page.Bytes - Page.First
  const part = addressRoom() * ADDRESS_PART
  const isTight = part < LEAST_TABLE_BYTES + alignment + LEAST_RESERVATION_BYTES
  const room = part - (isTight ? TIGHT_TABLE_BYTES : LEAST_TABLE_BYTES + alignment)
  const roomy = isDefault ? Math.max(LEAST_RESERVATION_BYTES, room * (1 - TABLE_PART)) : Number.POSITIVE_INFINITY
  let limitPages = Math.min(mostPages, Math.floor(Math.min(limitBytes, roomy) / Page.Bytes))
  limitPages -= limitPages % leastPages
  let leastBytes = mapper.guardBytes <= room ? mapper.guardBytes : 0

  /**
   * Tries a reservation of this length; returns the system's refusal if there is one. A function of its own, so that nothing refers to a
   * failed attempt's memory.
   */
  const attempt = (byteLength: number): Reserved<Tables> | AllocatorError => {
    const mapping = mapper.reserve({ byteLength, leastBytes, shared, alignment, hugePages: true, isTight })
    if (typeof mapping === 'number') {
      return new AllocatorError('ERR_HEAP_OUT_OF_MEMORY', `the system refused to reserve ${byteLength} bytes`, {
        requested: byteLength,
        syscall: 'mmap',
        errno: mapping,
      })
    }
    try {
      const tables = openTables(limitPages, isTight)
      if (mapping.reservedBytes < mapper.guardBytes) warnOnce(NO_GUARD)
      return { mapping, limitPages, tables }
    } catch (error) {
      if (error instanceof AllocatorError && error.code === 'ERR_HEAP_OUT_OF_MEMORY') return error
      throw error
    }
  }

  for (;;) {
    const byteLength = (Page.First + limitPages) * Page.Bytes
    const reserved = attempt(byteLength)
    if (!(reserved instanceof AllocatorError)) return reserved
    if (byteLength < leastBytes) {
      leastBytes = 0
      continue
    }
    if (byteLength / 2 < LEAST_RESERVATION_BYTES) throw reserved
    limitPages = Math.floor(limitPages / 2)
    limitPages -= limitPages % leastPages
  }
}

/** Address space for a heap's tables, and memory for their first `fixedBytes`. @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY` */
export function reserveTables(mapper: Mapper, byteLength: number, fixedBytes: number): Mapping {
  const mapping = mapper.reserve({ byteLength, shared: true, alignment: 4096, hugePages: false })
  if (typeof mapping === 'number') throw tablesRefused(mapping, byteLength)
  const errno = mapping.grow(0, fixedBytes)
  if (errno === 0) return mapping
  throw tablesRefused(errno, fixedBytes)
}

/** The error for a system without memory for a heap's tables. */
export function tablesRefused(errno: number, requested: number): AllocatorError {
  return new AllocatorError('ERR_HEAP_OUT_OF_MEMORY', `the system refused ${requested} bytes for a heap's tables`, {
    requested,
    syscall: 'mmap',
    errno,
  })
}
