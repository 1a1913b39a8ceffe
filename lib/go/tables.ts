import { MOST_SYSTEM_PAGE_BYTES, roundUp } from '../memory/page.ts'
import { reserveTables } from '../memory/reservation.ts'
import type { Mapper, Mapping } from '../os/mapper.ts'
import { PageAlloc } from './page-alloc.ts'
import { Bits, PageEntry, SpanEntry } from './span.ts'

/** Tables grow for so many pages at a time: 64 MiB, one of Go's arenas (heapArenaBytes). */
const ARENA_PAGES = 8192
/** A word of starts and ends for every 16 bytes; see tiny.ts. */
const TINY_PAGE_WORDS = 512

/** A part of the tables: so many bytes for each page of the heap. */
interface Section {
  readonly offset: number
  readonly pageBytes: number
  /** The first page that it doesn't cover yet. */
  endPage: number
}

/**
 * A Go heap's metadata, in one mapping beside its memory, so that a program's stray writes can't damage it. All of it is indexed by page
 * and grows with the heap, except for the page bitmap, whose size is fixed.
 *
 * Two sets of bits say which objects are allocated and which are marked; the collector swaps their roles (see ObjectBits).
 */
export class GoTables {
  /** Two words a page; see PageEntry. */
  readonly pages: Int32Array
  readonly spans: Int32Array
  /** Both sets of object bits: those of page p start at `p * 32` in the first, and at `bitsPerSet + p * 32` in the second. */
  readonly bits: Int32Array
  readonly bitsPerSet: number
  /**
   * One bit for every 8 bytes of the heap. In collected spans: 1 if an object holds a pointer there (see PointerMap; in spans without
   * pointers it means nothing). In manual spans: 1 if a live block starts there.
   */
  readonly unitBits: Int32Array
  /** Objects that are marked and wait to be scanned, but didn't fit on the mark stack. */
  readonly greyBits: Int32Array
  /** Where tiny objects start and end in their blocks. */
  readonly tiny: Int32Array
  /** 1: handed out since the system provided it. 2: given back to the system. 0: neither. */
  readonly pageState: Int8Array
  readonly pageAlloc: PageAlloc
  readonly reservedBytes: number
  private readonly mapper: Mapper
  private readonly mapping: Mapping
  private readonly sections: readonly Section[]
  private readonly fixedBytes: number
  private readonly pageCount: number

  /** @param pages of the heap's reservation. @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY` */
  constructor(mapper: Mapper, pages: number) {
    const allocWords = PageAlloc.wordsFor(pages)
    let end = roundUp(allocWords * 4, MOST_SYSTEM_PAGE_BYTES)
    this.fixedBytes = end
    const section = (pageBytes: number): Section => {
      const offset = end
      end += roundUp(pages * pageBytes, MOST_SYSTEM_PAGE_BYTES)
      return { offset, pageBytes, endPage: 0 }
    }
    const pageEntries = section(4 << PageEntry.Shift)
    const spans = section(SpanEntry.Bytes)
    const bits = [section(Bits.PageWords * 4), section(Bits.PageWords * 4)] as const
    const unitBits = section(Bits.PageWords * 4)
    const greyBits = section(Bits.PageWords * 4)
    const tiny = section(TINY_PAGE_WORDS * 4)
    const pageState = section(1)
    this.sections = [pageEntries, spans, ...bits, unitBits, greyBits, tiny, pageState]
    this.reservedBytes = end
    this.pageCount = pages
    this.mapper = mapper
    const mapping = reserveTables(mapper, end, this.fixedBytes)
    this.mapping = mapping
    const { buffer } = mapping
    const words = ({ offset, pageBytes }: Section) => new Int32Array(buffer, offset, (pages * pageBytes) / 4)
    this.pages = words(pageEntries)
    this.spans = words(spans)
    this.bitsPerSet = (bits[1].offset - bits[0].offset) / 4
    this.bits = new Int32Array(buffer, bits[0].offset, this.bitsPerSet + pages * Bits.PageWords)
    this.unitBits = words(unitBits)
    this.greyBits = words(greyBits)
    this.tiny = words(tiny)
    this.pageState = new Int8Array(buffer, pageState.offset, pages)
    this.pageAlloc = new PageAlloc(new Int32Array(buffer, 0, allocWords), pages)
  }

  /** Makes the tables cover the pages before `endPage`. Returns 0, or the system's error number. */
  cover(endPage: number): number {
    const to = Math.min(this.pageCount, roundUp(endPage, ARENA_PAGES))
    for (const section of this.sections) {
      if (section.endPage >= to) continue
      const start = grownOf(section)
      const end = roundUp(to * section.pageBytes, MOST_SYSTEM_PAGE_BYTES)
      const errno = end > start ? this.mapping.grow(section.offset + start, end - start) : 0
      if (errno !== 0) return errno
      section.endPage = to
    }
    return 0
  }

  /** Gives all memory of the tables back; they may not be used from now on. */
  close(): void {
    if (this.mapper.canRelease) {
      for (const section of this.sections) {
        const length = grownOf(section)
        if (length > 0) this.mapping.release(section.offset, length)
      }
      this.mapping.release(0, this.fixedBytes)
    }
  }
}

function grownOf({ endPage, pageBytes }: Section): number {
  return roundUp(endPage * pageBytes, MOST_SYSTEM_PAGE_BYTES)
}
