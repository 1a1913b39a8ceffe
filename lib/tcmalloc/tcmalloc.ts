import type { HeapStats } from '../allocator.ts'
import { AllocatorError } from '../errors.ts'
import type { BlockBytes } from '../memory/block-bytes.ts'
import { ObjectState } from '../memory/object-state.ts'
import { Granule, MOST_HEAP_BYTES, Page } from '../memory/page.ts'
import { Location, Span, SpanEntry } from '../memory/span.ts'
import { pagesFor, type TableSizes, Tables } from '../memory/tables.ts'
import type { Mapper, Mapping, MemoryKind } from '../os/mapper.ts'
import { auditTiers } from './audit.ts'
import { CentralCache } from './central-cache.ts'
import { Control } from './control.ts'
import { leastSpanPages, PageHeap } from './page-heap.ts'
import { SizeClassTable, Small } from './size-class.ts'
import { initializeBudget, ThreadCache, threadCacheLayout } from './thread-cache.ts'
import { TransferCache, transferLayout } from './transfer-cache.ts'

/** A smaller reservation than this isn't tried for. */
const LEAST_RESERVATION_BYTES = 16 * 2 ** 20

// Words of the control section: the highest seen so far.
const PEAK_USED_PAGES = Control.Peaks
const PEAK_LIVE_GRANULES = Control.Peaks + 1

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

/**
 * TCMalloc's three tiers over one reservation, and the way of a block through them: thread cache, central cache, page heap.
 * Blocks are granules here, and 0 means that there is no memory.
 */
export class TCMalloc {
  readonly mapping: Mapping
  readonly cache: ThreadCache
  /** The class that serves each size up to Small.MostBytes, by the size in granules. */
  readonly classBySize: Int8Array
  private readonly classes: SizeClassTable
  private readonly tables: Tables
  private readonly mapper: Mapper
  private readonly pageHeap: PageHeap
  private readonly central: CentralCache
  private readonly transfer: TransferCache
  private readonly slot: number
  private readonly reservedBytes: number
  private readonly controlBytes: number

  /** @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY` */
  constructor(mapper: Mapper, options: TCMallocOptions) {
    const leastPages = leastSpanPages(mapper.systemPageSize)
    this.mapper = mapper
    this.classes = new SizeClassTable(leastPages)
    this.classBySize = this.classes.classBySize()
    const stacks = threadCacheLayout(this.classes)
    const transfers = transferLayout(this.classes)
    this.controlBytes = transfers.end * 4
    const { mapping, limitPages } = reserve(mapper, options, leastPages)
    const pages = Page.First + limitPages
    this.mapping = mapping
    this.tables = openTables(mapper, mapping, { pages, controlWords: transfers.end, slotBytes: stacks.end * 4 })
    this.reservedBytes = mapping.buffer.byteLength + this.tables.reservedBytes
    this.pageHeap = new PageHeap(this.tables, mapper, mapping, limitPages, options.releaseRate)
    this.pageHeap.initialize()
    initializeBudget(this.tables.control, options.cacheBytes)
    this.central = new CentralCache(this.tables, this.classes, this.pageHeap)
    this.transfer = new TransferCache(this.tables, this.classes, transfers, this.central)
    const { slot, area } = this.claimSlot()
    this.slot = slot
    this.cache = new ThreadCache(this.tables, this.classes, stacks, this.transfer, slot, area)
  }

  /** The first page that hasn't grown yet. */
  get endPage(): number {
    return this.pageHeap.endPage
  }

  /** The system's error number for the last 0 that was returned here; 0 where it was the limit. */
  get lastErrno(): number {
    return this.pageHeap.lastErrno
  }

  /** The state of the object that starts at a granule. */
  stateOf(granule: number): number {
    return granule < this.tables.states.length ? this.tables.states[granule]! : ObjectState.None
  }

  /** An object of a class, when the thread cache's stack has none. */
  allocateSmall(sizeClass: number): number {
    let granule = this.cache.pop(sizeClass) || this.cache.refill(sizeClass)
    if (granule === 0) {
      this.flush()
      granule = this.cache.refill(sizeClass)
    }
    this.notePeaks()
    return granule
  }

  /** A span of its own. With `zeroed`, its bytes are cleared where they aren't zero already. */
  allocateLarge(bytes: number, zeroed: BlockBytes | undefined): number {
    if (bytes > MOST_HEAP_BYTES) return this.pageHeap.tooLarge()
    const pages = pagesFor(bytes)
    let start = this.pageHeap.allocate(pages)
    if (start === 0) {
      this.flush()
      start = this.pageHeap.allocate(pages)
    }
    if (start === 0) return 0
    if (zeroed !== undefined) this.zeroDirty(start, pages, zeroed)
    return this.handOutSpan(start)
  }

  /** A block whose address is a multiple of `alignment`, which is more than a granule. */
  allocateAligned(alignment: number, bytes: number): number {
    if (bytes > MOST_HEAP_BYTES) return this.pageHeap.tooLarge()
    if (alignment <= Page.Bytes && bytes <= Small.MostBytes) {
      // Spans start at pages: so the objects of a class are aligned to whatever divides its size.
      let sizeClass = this.classBySize[Math.ceil(bytes / Granule.Bytes)]!
      while (sizeClass < this.classes.count && this.classes.size[sizeClass]! % alignment !== 0) sizeClass++
      if (sizeClass < this.classes.count) return this.allocateSmall(sizeClass)
    }
    const pages = Math.max(1, pagesFor(bytes))
    const alignmentPages = Math.max(1, alignment / Page.Bytes)
    let start = this.pageHeap.allocateAligned(pages, alignmentPages)
    if (start === 0) {
      this.flush()
      start = this.pageHeap.allocateAligned(pages, alignmentPages)
    }
    return start === 0 ? 0 : this.handOutSpan(start)
  }

  /** Takes a live block back. */
  free(granule: number): void {
    const page = granule >>> Page.GranuleShift
    const sizeClass = this.tables.pageClass[page]!
    if (sizeClass !== 0) {
      if (!this.cache.push(granule)) this.cache.overflow(granule, sizeClass)
      return
    }
    this.tables.states[granule] = ObjectState.None
    this.tables.spans[(page << SpanEntry.Shift) + Span.Location] = Location.Transit
    this.pageHeap.free(page)
  }

  /** The bytes that may be used of a live block. */
  usableBytes(granule: number): number {
    const page = granule >>> Page.GranuleShift
    const sizeClass = this.tables.pageClass[page]!
    if (sizeClass !== 0) return this.classes.size[sizeClass]!
    return this.tables.spans[(page << SpanEntry.Shift) + Span.Length]! * Page.Bytes
  }

  /** The bytes that may be used of a live small block below 2 GiB; 0 for anything else. */
  smallBytes(granule: number): number {
    const { states, pageClass } = this.tables
    return states[granule] === ObjectState.Live && this.cache.open
      ? this.classes.size[pageClass[granule >>> Page.GranuleShift]!]!
      : 0
  }

  /** Whether a small block of `usable` bytes may as well stay when it must hold `bytes`: they fit, and use half of it. */
  servesWell(usable: number, bytes: number): boolean {
    return bytes <= usable && (bytes * 2 >= usable || usable === Granule.Bytes)
  }

  /** Makes a live block `bytes` long where it stands. False where it must move, or had better: it would waste half its room. */
  resize(granule: number, bytes: number): boolean {
    const page = granule >>> Page.GranuleShift
    const sizeClass = this.tables.pageClass[page]!
    if (sizeClass !== 0) return this.servesWell(this.classes.size[sizeClass]!, bytes)
    if (bytes <= Small.MostBytes || bytes > MOST_HEAP_BYTES) return false
    const before = this.tables.spans[(page << SpanEntry.Shift) + Span.Length]!
    const pages = pagesFor(bytes)
    if (pages < before) this.pageHeap.shrink(page, pages)
    else if (!this.pageHeap.extend(page, pages)) return false
    const after = this.tables.spans[(page << SpanEntry.Shift) + Span.Length]!
    if (after > before) this.tables.pageDirty.fill(1, page + before, page + after)
    this.notePeaks()
    return true
  }

  /** Gives free pages back to the system, what is cached first; returns bytes. Without a number, tables shrink too. */
  release(bytes: number | undefined): number {
    const before = this.pageHeap.releasedPages
    this.flush() // which may release some by itself
    const wanted = bytes === undefined ? this.pageHeap.mappedPages : pagesFor(bytes)
    this.pageHeap.release(wanted - (this.pageHeap.releasedPages - before))
    if (bytes === undefined) this.pageHeap.trimTables()
    return (this.pageHeap.releasedPages - before) * Page.Bytes
  }

  stats(): Omit<HeapStats, 'syscalls' | 'system'> {
    const { pageHeap } = this
    const threadCacheBytes = this.cache.bytes()
    const centralCacheBytes = this.centralBytes()
    const pageHeapFreeBytes = pageHeap.normalPages * Page.Bytes
    const pageHeapReleasedBytes = pageHeap.releasedPages * Page.Bytes
    const mappedBytes = pageHeap.mappedPages * Page.Bytes
    const liveBytes = mappedBytes - threadCacheBytes - centralCacheBytes - pageHeapFreeBytes - pageHeapReleasedBytes
    this.notePeakLive(liveBytes)
    return {
      liveBytes,
      mappedBytes,
      reservedBytes: this.reservedBytes,
      threadCacheBytes,
      centralCacheBytes,
      pageHeapFreeBytes,
      pageHeapReleasedBytes,
      metadataBytes: this.metadataBytes(),
      peakLiveBytes: (this.tables.control[PEAK_LIVE_GRANULES]! >>> 0) * Granule.Bytes,
      peakMappedBytes: mappedBytes, // pages are given back, but never the addresses that they have
    }
  }

  /** @throws AllocatorError `ERR_HEAP_CORRUPT` */
  audit(): void {
    auditTiers({
      tables: this.tables,
      classes: this.classes,
      pageHeap: this.pageHeap,
      central: this.central,
      cache: this.cache,
      transfer: this.transfer,
      cacheState: this.cache.state,
      liveBytes: this.stats().liveBytes,
    })
  }

  /** Gives all memory back. Stray calls find an empty cache from then on. */
  close(): void {
    const pages = this.pageHeap.mappedPages
    if (this.mapper.canRelease && pages > 0) this.mapping.release(Page.First * Page.Bytes, pages * Page.Bytes)
    this.mapping.close()
    this.cache.close()
    this.tables.releaseSlot(this.slot)
    this.tables.close()
  }

  private claimSlot(): { slot: number; area: Int32Array } {
    try {
      return this.tables.claimSlot()
    } catch (error) {
      this.tables.close()
      this.mapping.close()
      throw error
    }
  }

  /** Makes an allocated span one live object. */
  private handOutSpan(start: number): number {
    const { tables } = this
    const granule = start << Page.GranuleShift
    const entry = start << SpanEntry.Shift
    tables.pageDirty.fill(1, start, start + tables.spans[entry + Span.Length]!)
    tables.states[granule] = ObjectState.Live
    tables.spans[entry + Span.Location] = Location.Large
    this.notePeaks()
    return granule
  }

  /** Gives back what is cached, since one cached object keeps a whole span. */
  private flush(): void {
    this.cache.flush()
    this.transfer.flush()
  }

  private centralBytes(): number {
    return this.central.bytes() + this.transfer.bytes()
  }

  private zeroDirty(start: number, pages: number, bytes: BlockBytes): void {
    const { pageDirty } = this.tables
    let page = start
    while (page < start + pages) {
      let end = page
      while (end < start + pages && pageDirty[end] === 1) end++
      if (end > page) bytes.zero(page * Page.Bytes, (end - page) * Page.Bytes)
      page = end + 1
    }
  }

  /** A slow path has run: when more pages are in use than ever before, what is live may be a new peak. */
  private notePeaks(): void {
    const { control } = this.tables
    const { mappedPages, normalPages, releasedPages } = this.pageHeap
    const used = mappedPages - normalPages - releasedPages
    if (used <= control[PEAK_USED_PAGES]!) return
    control[PEAK_USED_PAGES] = used
    this.notePeakLive(used * Page.Bytes - this.cache.bytes() - this.centralBytes())
  }

  private notePeakLive(bytes: number): void {
    const granules = bytes / Granule.Bytes
    const { control } = this.tables
    if (granules > control[PEAK_LIVE_GRANULES]! >>> 0) control[PEAK_LIVE_GRANULES] = granules
  }

  /** Tables touched so far, from what has grown: states and span entries of every page, the slot's area, the fixed part. */
  private metadataBytes(): number {
    const { endPage } = this.pageHeap
    const perPage = Page.Granules + SpanEntry.Bytes + 2
    return this.controlBytes + endPage * perPage + this.cache.touchedBytes()
  }
}

/** Tables beside a reservation, which is given up where there is no memory for them. */
function openTables(mapper: Mapper, mapping: Mapping, sizes: TableSizes): Tables {
  try {
    return new Tables(mapper, sizes)
  } catch (error) {
    mapping.close()
    throw error
  }
}

/** Reserves what the limit asks for; where the system refuses (under `ulimit -v`, say) half, until it is too little. */
function reserve(
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
