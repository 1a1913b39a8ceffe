import { Granule, MOST_SYSTEM_PAGE_BYTES, Page, roundUp } from '../memory/page.ts'
import { reserveTables } from '../memory/reservation.ts'
import type { Mapper, Mapping } from '../os/mapper.ts'

/** Start bits grow by this much: the bits of 128 MiB of heap. */
const STEP_BYTES = 2 ** 20
const GRANULES_PER_BYTE = 8

/**
 * The metadata that headers can't hold, in a mapping beside the heap.
 *
 * Start bits, one per granule: set if a block's header is there. Without them a free could not distinguish a header from a program's data
 * inside its block. Released pages, a byte for each system page: any page of a free block may be given back, and a merge joins two such
 * sets.
 */
export class SideTables {
  /** 1 for a system page that was given back. INVARIANT: it lies in a free block, after header and links. */
  readonly released: Int8Array
  readonly reservedBytes: number
  private readonly starts: Int32Array
  private readonly mapper: Mapper
  private readonly mapping: Mapping
  private readonly startsOffset: number
  private startsGrown = 0

  /** @param pages of the heap's reservation. @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY` */
  constructor(mapper: Mapper, pages: number) {
    const systemPages = (pages * Page.Bytes) / mapper.systemPageSize
    const startBytes = roundUp((pages * Page.Granules) / GRANULES_PER_BYTE, MOST_SYSTEM_PAGE_BYTES)
    this.startsOffset = roundUp(systemPages, MOST_SYSTEM_PAGE_BYTES)
    this.reservedBytes = this.startsOffset + startBytes
    const mapping = reserveTables(mapper, this.reservedBytes, this.startsOffset)
    this.mapper = mapper
    this.mapping = mapping
    this.released = new Int8Array(mapping.buffer, 0, systemPages)
    this.starts = new Int32Array(mapping.buffer, this.startsOffset, startBytes / 4)
  }

  /** Makes the start bits cover the granules before `end`. Returns 0, or the system's error number. */
  cover(end: number): number {
    const most = this.reservedBytes - this.startsOffset
    const needed = Math.min(most, roundUp(end / GRANULES_PER_BYTE, STEP_BYTES))
    if (needed <= this.startsGrown) return 0
    const errno = this.mapping.grow(this.startsOffset + this.startsGrown, needed - this.startsGrown)
    if (errno === 0) this.startsGrown = needed
    return errno
  }

  isStart(granule: number): boolean {
    return (this.starts[granule >>> 5]! & (1 << (granule & 31))) !== 0
  }

  setStart(granule: number): void {
    this.starts[granule >>> 5]! |= 1 << (granule & 31)
  }

  clearStart(granule: number): void {
    this.starts[granule >>> 5]! &= ~(1 << (granule & 31))
  }

  /** How many start bits are set. */
  countStarts(): number {
    let count = 0
    for (let word = 0; word < this.startsGrown / 4; word++) {
      for (let bits = this.starts[word]!; bits !== 0; bits &= bits - 1) count++
    }
    return count
  }

  /** How many pages are marked as released. */
  countReleased(): number {
    let count = 0
    for (let page = 0; page < this.released.length; page++) count += this.released[page]!
    return count
  }

  /** Bytes of the tables that describe a heap of so many bytes. */
  touchedBytes(heapBytes: number): number {
    return heapBytes / (Granule.Bytes * GRANULES_PER_BYTE) + heapBytes / this.mapper.systemPageSize
  }

  /** Gives all memory of the tables back; they may not be used from now on. */
  close(): void {
    if (this.mapper.canRelease) this.mapping.release(0, this.startsOffset + this.startsGrown)
  }
}
