import { Granule, Page, roundUp } from '../memory/page.ts'
import { type Limit, reserve } from '../memory/reservation.ts'
import type { Mapper, Mapping } from '../os/mapper.ts'
import { BlockList } from './block-list.ts'
import { type GrowthPolicy, growthBytes } from './growth.ts'
import { HeapWords } from './heap-words.ts'
import { HeaderSize, State } from './object-header.ts'
import { AllBlocks, FreeBlocks, type Search } from './search.ts'
import { SideTables } from './side-tables.ts'

/** The rest of a block becomes a block of its own if it has room for a header and 16 bytes. */
const LEAST_REST = HeaderSize.Granules + 1
/** The part of a free block that stays when its pages are given back: its header, and the links of {@link FreeBlocks}. */
const KEPT_GRANULES = HeaderSize.Granules + 1

/** The allocator's options; a heap has checked them. */
export interface ListAllocatorOptions {
  limit: Limit
  /** Which blocks a search looks at. */
  search: 'all' | 'free'
  growth: GrowthPolicy
}

/**
 * The allocator: it gets memory from the system, cuts blocks from free ones, and merges freed blocks with their neighbours. Everything is
 * in granules here, including alignments, and a block is named by the granule of its header.
 */
export class ListAllocator {
  /** Granules in used blocks, without headers. */
  liveGranules = 0
  peakLiveGranules = 0
  releasedPages = 0
  /** The system's error number for the last 0 that `allocate` returned; 0 if the limit was reached. */
  lastErrno = 0
  readonly list: BlockList
  readonly search: Search
  readonly tables: SideTables
  readonly mapping: Mapping
  private readonly mapper: Mapper
  private readonly limitBytes: number
  private readonly growth: GrowthPolicy

  /** @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY` if the system refuses even a small reservation, or the tables */
  constructor(mapper: Mapper, { limit, search, growth }: ListAllocatorOptions) {
    const { mapping, limitPages, tables } = reserve(
      mapper,
      { ...limit, shared: false },
      (limitPages) => new SideTables(mapper, Page.First + limitPages)
    )
    this.tables = tables
    this.list = new BlockList(new HeapWords(mapping.buffer), this.tables)
    this.search = search === 'all' ? new AllBlocks(this.list) : new FreeBlocks(this.list)
    this.mapper = mapper
    this.mapping = mapping
    this.limitBytes = limitPages * Page.Bytes
    this.growth = growth
  }

  get mappedBytes(): number {
    return (this.list.end - this.list.first) * Granule.Bytes
  }

  /** The header that is in front of every block. */
  get headerBytes(): number {
    return this.list.blocks * HeaderSize.Bytes
  }

  get releasedBytes(): number {
    return this.releasedPages * this.mapper.systemPageSize
  }

  /** Hands out a block in the given state; 0 if there is no memory. */
  allocate(granules: number, alignment: number, state: number): number {
    let block = this.find(granules, alignment)
    if (block === 0) {
      if (!this.grow(granules, alignment)) return 0
      block = this.list.last
    }
    return this.take(block, headerIn(block, alignment), granules, state)
  }

  /** Takes a used block back. Returns the free block that it is part of now. */
  free(block: number): number {
    const { list, search } = this
    const next = list.following(block)
    const previous = list.preceding(block)
    const size = list.size(block)
    // Everything that can fail fails before anything is changed.
    if (previous !== 0) list.following(previous)
    if (next !== list.end) list.following(next)
    const joinsPrevious = previous !== 0 && !list.isUsed(previous)
    const joinsNext = next !== list.end && !list.isUsed(next)
    if (joinsNext) search.check(next)
    if (joinsNext && joinsPrevious) search.remove(next)
    else if (joinsNext) search.replace(next, block)
    else if (!joinsPrevious) search.add(block)
    list.setState(block, State.Unused)
    this.liveGranules -= size
    if (joinsNext) list.join(block)
    if (!joinsPrevious) return block
    list.join(previous)
    return previous
  }

  /** Resizes a used block in place. False if it has no room to grow. */
  resize(block: number, granules: number): boolean {
    const { list } = this
    const next = list.following(block)
    const size = list.size(block)
    if (granules > size) {
      if (next === list.end) return false
      list.following(next)
      if (list.isUsed(next)) return false
      if (size + HeaderSize.Granules + list.size(next) < granules) return false
      // A part of the next block is taken, and then joined: its header becomes the program's.
      this.take(next, next, Math.max(1, granules - size - HeaderSize.Granules), State.Used)
      list.join(block)
      this.countLive(HeaderSize.Granules)
    } else if (size - granules >= LEAST_REST) {
      const rest = list.split(block, granules)
      // It counts as used, except for its new header, until it is merged like any freed block.
      this.liveGranules -= HeaderSize.Granules
      this.free(rest)
    }
    return true
  }

  /**
   * Gives whole system pages of free blocks back, first those with the highest addresses, since first fit wants them last. A page that the
   * system doesn't take stays. Returns the count.
   */
  release(pages: number): number {
    const { list } = this
    if (!this.mapper.canRelease) return 0
    const before = this.releasedPages
    for (let block = list.last; block !== 0; block = list.preceding(block)) {
      const wanted = pages - (this.releasedPages - before)
      if (wanted <= 0) break
      if (!list.isUsed(block)) this.releaseIn(block, wanted)
    }
    return this.releasedPages - before
  }

  /** The system pages of a free block that may be given back. */
  innerPages(block: number): { from: number; to: number } {
    const { systemPageSize } = this.mapper
    const from = Math.ceil(((block + KEPT_GRANULES) * Granule.Bytes) / systemPageSize)
    const to = Math.floor((this.list.following(block) * Granule.Bytes) / systemPageSize)
    return { from, to }
  }

  /** The heap's address space, and that of its tables. */
  get reservedBytes(): number {
    return this.mapping.reservedBytes + this.tables.reservedBytes
  }

  /** Gives all memory back; the allocator may not be used from now on. */
  close(): void {
    if (this.mappedBytes > 0) this.mapping.discard(Page.First * Page.Bytes, this.mappedBytes)
    this.tables.close()
  }

  /** The first free block that holds an aligned block; 0 if there is none. */
  private find(granules: number, alignment: number): number {
    let block = this.search.find(granules, 0)
    while (block !== 0) {
      const header = headerIn(block, alignment)
      if (header + HeaderSize.Granules + granules <= this.list.following(block)) break
      block = this.search.find(granules, block)
    }
    return block
  }

  /** Makes a used block of a part of a free one; the parts before and after it become free blocks. */
  private take(block: number, header: number, granules: number, state: number): number {
    const { list, search } = this
    search.check(block)
    const next = list.following(block)
    let rest = header + HeaderSize.Granules + granules
    if (next - rest < LEAST_REST) rest = next
    this.back(header, Math.min(next, rest + KEPT_GRANULES))
    if (header !== block) list.split(block, header - block - HeaderSize.Granules)
    else if (rest === next) search.remove(block)
    else search.replace(block, rest)
    list.setState(header, state)
    if (rest !== next) {
      list.split(header, granules)
      if (header !== block) search.add(rest)
    }
    this.countLive(list.size(header))
    return header
  }

  private countLive(granules: number): void {
    this.liveGranules += granules
    if (this.liveGranules > this.peakLiveGranules) this.peakLiveGranules = this.liveGranules
  }

  /** Renews given-back pages before the granules `[from, to)` in them are written. */
  private back(from: number, to: number): void {
    if (this.releasedPages === 0) return
    const { released } = this.tables
    const { systemPageSize } = this.mapper
    const end = Math.ceil((to * Granule.Bytes) / systemPageSize)
    for (let page = Math.floor((from * Granule.Bytes) / systemPageSize); page < end; page++) {
      this.releasedPages -= released[page]!
      released[page] = 0
    }
  }

  /** Grows the heap so that the block fits in its last one. False if the limit or the system refuses. */
  private grow(granules: number, alignment: number): boolean {
    const { list, mappedBytes } = this
    const tail =
      list.last !== 0 && list.following(list.last) === list.end && !list.isUsed(list.last) ? list.last : list.end
    const needed = (headerIn(tail, alignment) + HeaderSize.Granules + granules - list.end) * Granule.Bytes
    const least = roundUp(needed, this.mapper.systemPageSize)
    const most = this.limitBytes - mappedBytes
    this.lastErrno = 0
    if (least > most) return false
    const wanted = Math.min(most, growthBytes(this.growth, least, mappedBytes))
    // A system that has too little for the whole step may have enough for the block.
    return this.extend(wanted) || (wanted > least && this.extend(least))
  }

  private extend(bytes: number): boolean {
    const { list } = this
    const end = list.end + bytes / Granule.Bytes
    this.lastErrno = this.tables.cover(end) || this.mapping.grow(list.end * Granule.Bytes, bytes)
    if (this.lastErrno !== 0) return false
    const block = list.append(end)
    if (block !== 0) this.search.add(block)
    return true
  }

  private releaseIn(block: number, wanted: number): void {
    const { released } = this.tables
    const { systemPageSize } = this.mapper
    const { from, to } = this.innerPages(block)
    let end = to
    while (end > from && wanted > 0) {
      let start = end
      while (start > from && released[start - 1] === 0 && end - start < wanted) start--
      const pages = end - start
      if (pages > 0 && this.mapping.release(start * systemPageSize, pages * systemPageSize) === 0) {
        released.fill(1, start, end)
        this.releasedPages += pages
        wanted -= pages
      }
      // A page that was given back before is skipped.
      end = Math.min(start, end - 1)
    }
  }
}

/**
 * Where the header of an aligned block stands in a free one, or in one that starts there: at its start, or far enough after it that the
 * part in front is a block.
 */
function headerIn(block: number, alignment: number): number {
  const header = roundUp(block + HeaderSize.Granules, alignment) - HeaderSize.Granules
  return header === block || header - block >= LEAST_REST ? header : header + alignment
}
