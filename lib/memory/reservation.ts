import { AllocatorError } from '../errors.ts'
import type { Mapper, Mapping, MemoryKind } from '../os/mapper.ts'
import { MOST_HEAP_BYTES, Page } from './page.ts'

/** A smaller reservation than this isn't tried for. */
const LEAST_RESERVATION_BYTES = 16 * 2 ** 20

/** What a heap's address space is reserved by. */
export interface ReservationOptions {
  memory: MemoryKind
  limitBytes: number
  /** What the memory's real address is a multiple of. */
  alignment: number
}

/** Reserves what the limit asks for; where the system refuses (under `ulimit -v`, say) half, until it is too little. */
export function reserve(
  mapper: Mapper,
  { memory, limitBytes, alignment }: ReservationOptions,
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
