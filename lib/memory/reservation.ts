import { checkInteger, MOST_ALIGNMENT } from '../arguments.ts'
import { AllocatorError } from '../errors.ts'
import { machineMemory } from '../os/machine.ts'
import type { Mapper, Mapping } from '../os/mapper.ts'
import { warnOnce } from '../warning.ts'
import { leastSpanPages, MOST_HEAP_BYTES, Page } from './page.ts'

/** A smaller reservation than this isn't tried for. */
const LEAST_RESERVATION_BYTES = 16 * 2 ** 20

const NO_GUARD =
  'the system refused a heap 4 GiB of address space (ulimit -v?): postMessage or structuredClone of a buffer copies the whole heap here, instead of throwing'

/** What a heap's address space is reserved by. */
export interface ReservationOptions {
  limitBytes: number
  /** Whether other threads are to attach. Only memory that isn't the system's has to know before it is reserved. */
  shared: boolean
}

/** The limit that a heap's constructor was given: by default all that the machine or the cgroup has. */
export function checkLimitBytes(limitBytes: number | undefined): number {
  const most = Math.min(machineMemory(), MOST_HEAP_BYTES)
  return checkInteger('limitBytes', limitBytes, Page.Bytes, MOST_HEAP_BYTES, most)
}

/**
 * Reserves what the limit asks for, and no less than the mapper's guard; where the system refuses (under `ulimit -v`, say) without the guard,
 * which is told once, and then half, until it is too little.
 */
export function reserve(
  mapper: Mapper,
  { limitBytes, shared }: ReservationOptions
): { mapping: Mapping; limitPages: number } {
  // What alignedAlloc promises holds for real addresses too.
  const alignment = Math.min(MOST_ALIGNMENT, mapper.maxAlignment)
  const leastPages = leastSpanPages(mapper.systemPageSize)
  const mostPages = MOST_HEAP_BYTES / Page.Bytes - Page.First
  let limitPages = Math.min(mostPages, Math.floor(limitBytes / Page.Bytes))
  limitPages -= limitPages % leastPages
  let leastBytes = mapper.guardBytes
  for (;;) {
    const byteLength = (Page.First + limitPages) * Page.Bytes
    const mapping = mapper.reserve({ byteLength, leastBytes, shared, alignment, hugePages: true })
    if (typeof mapping !== 'number') {
      if (mapping.reservedBytes < mapper.guardBytes) warnOnce(NO_GUARD)
      return { mapping, limitPages }
    }
    if (byteLength < leastBytes) {
      leastBytes = 0
      continue
    }
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

/** Address space for a heap's tables, and memory for their first `fixedBytes`. @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY` */
export function reserveTables(mapper: Mapper, byteLength: number, fixedBytes: number): Mapping {
  const mapping = mapper.reserve({ byteLength, shared: true, alignment: 4096, hugePages: false })
  if (typeof mapping === 'number') throw tablesRefused(mapping, byteLength)
  const errno = mapping.grow(0, fixedBytes)
  if (errno === 0) return mapping
  throw tablesRefused(errno, fixedBytes)
}

/** The error for a system that has no memory for a heap's tables. */
export function tablesRefused(errno: number, requested: number): AllocatorError {
  return new AllocatorError('ERR_HEAP_OUT_OF_MEMORY', `the system refused ${requested} bytes for a heap's tables`, {
    requested,
    syscall: 'mmap',
    errno,
  })
}
