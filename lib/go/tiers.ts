import type { Address, HeapStats } from '../base/allocator.ts'
import { Granule, MOST_HEAP_BYTES, Page, pagesFor } from '../memory/page.ts'
import { type ReservationOptions, reserve, tablesRefused } from '../memory/reservation.ts'
import type { Mapper, Mapping } from '../os/mapper.ts'
import { auditGoHeap } from './audit.ts'
import { Collector, type CollectorSettings } from './collector.ts'
import { ManualSpans } from './manual-spans.ts'
import { Marker } from './marker.ts'
import { MCache } from './mcache.ts'
import { MCentral } from './mcentral.ts'
import { type GoMemStats, MemStats } from './mem-stats.ts'
import { MHeap } from './mheap.ts'
import { ObjectBits } from './object-bits.ts'
import { Objects } from './objects.ts'
import { PointerMap } from './pointer-map.ts'
import { Roots } from './roots.ts'
import { GoSizeClasses, GoSmall } from './size-class.ts'
import { Bits, PageEntry, PageWord, Span, SpanEntry } from './span.ts'
import { GoTables } from './tables.ts'
import { type Counts, Tally } from './tally.ts'
import { Tiny, TinyBlocks } from './tiny.ts'
import { TypeEntry, type TypeId, Types, TypeWord } from './types.ts'

/** Bytes of tables touched by each page of the heap that was used: its word, its entry, its bits in both sets and its pointer map. */
const PAGE_METADATA_BYTES = (4 << PageEntry.Shift) + SpanEntry.Bytes + 3 * Bits.PageWords * 4 + 1

/** The bytes that a page of tiny objects touches in addition: a word for each 16 bytes. */
const TINY_PAGE_BYTES = (Page.Bytes / Tiny.BlockBytes) * 4
/**
 * Live bytes are added up, for their peak, whenever the record of pages in use has grown by a sixteenth, but by 64 at least: that costs
 * little.
 */
const LEAST_NOTED_PAGES = 64
const NOTED_PART = 16

/** All tiers of a Go heap over one reservation, and the way of a block through them. 0 means that there is no memory. */
export class GoTiers {
  readonly mapping: Mapping
  readonly classes = new GoSizeClasses()
  /** The class of each size; see GoSizeClasses. */
  readonly classBySize16 = this.classes.classBySize16()
  readonly classBySize8 = this.classes.classBySize8()
  readonly types = new Types(this.classBySize8)
  readonly roots = new Roots()
  readonly mheap: MHeap
  readonly manual: ManualSpans
  readonly objects: Objects
  readonly collector: Collector
  readonly tables: GoTables
  readonly bits: ObjectBits
  readonly central: MCentral
  readonly cache: MCache
  readonly tally = new Tally(this.classes)
  private readonly memStats = new MemStats()
  private peakLiveBytes = 0
  private peakUsedPages = 0
  private notedPages = 0

  /** @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY` */
  constructor(mapper: Mapper, options: ReservationOptions, settings: CollectorSettings) {
    const { mapping, limitPages, tables } = reserve(mapper, options, (limitPages) =>
      openTables(mapper, Page.First + limitPages)
    )
    this.mapping = mapping
    this.tables = tables
    const { classes, tally, types, roots, memStats } = this
    const bits = new ObjectBits(tables)
    this.bits = bits
    // A cache without a span looks into page 0, which has no free slot.
    bits.words[0] = -1
    const mheap = new MHeap(tables, classes, bits, mapper, mapping, limitPages)
    this.mheap = mheap
    this.manual = new ManualSpans(tables, classes, bits, mheap)
    const central = new MCentral(tables, classes, bits, mheap, tally)
    this.central = central
    const cache = new MCache(tables, classes, bits, central, tally)
    this.cache = cache
    const pointers = new PointerMap(tables)
    const { buffer } = mapping
    const marker = new Marker(tables, classes, bits, pointers, buffer)
    const tiny = new TinyBlocks(tables)
    const tableBytes = () => this.metadataBytes
    const { size } = classes
    this.collector = new Collector(settings, {
      bits,
      mheap,
      central,
      cache,
      marker,
      roots,
      tiny,
      size,
      memStats,
      tableBytes,
    })
    const { collector } = this
    mheap.reclaim = (pages) => collector.reclaim(pages)
    this.objects = new Objects({
      tables,
      classes,
      classBySize8: this.classBySize8,
      bits,
      mheap,
      central,
      cache,
      tally,
      types,
      roots,
      pointers,
      tiny,
      collector,
      buffer,
    })
  }

  /** The system's error number for the last 0 that was returned here; 0 if the limit was reached. */
  get lastErrno(): number {
    return this.mheap.lastErrno
  }

  /** A small block of a class, as its granule, when the cache has none. */
  refill(sizeClass: number): number {
    const granule = this.manual.refill(sizeClass)
    if (granule === 0) return this.malloc(this.classes.size[sizeClass]!) / Granule.Bytes
    this.notePeaks()
    return granule
  }

  malloc(bytes: number): Address {
    if (!this.mheap.canHold(pagesFor(bytes))) return this.tooLarge()
    const address = this.tryMalloc(bytes) || this.afterMakingRoom(() => this.tryMalloc(bytes))
    this.notePeaks()
    return address
  }

  /** `count` objects of a type. */
  allocate(type: TypeId, count: number): Address {
    if (!this.mheap.canHold(pagesFor(this.bytesOf(type, count)))) return this.tooLarge()
    const allocate = () => this.objects.allocate(type, count)
    const address = allocate() || this.afterMakingRoom(allocate)
    this.notePeaks()
    return address
  }

  /** The bytes that `count` objects of a type take. */
  bytesOf(type: TypeId, count: number): number {
    return this.types.words[(type << TypeEntry.Shift) + TypeWord.Stride]! * count
  }

  alignedAlloc(alignment: number, bytes: number): Address {
    if (!this.mheap.canHold(pagesFor(bytes))) return this.tooLarge()
    const { classes } = this
    if (alignment <= Page.Bytes && bytes <= GoSmall.MostBytes) {
      // Spans start at pages: so the slots of a class are aligned to any power of two that divides its size.
      let sizeClass = this.classBySize16[Math.ceil(bytes / Granule.Bytes)]!
      while (sizeClass < classes.count && classes.size[sizeClass]! % Math.max(alignment, Granule.Bytes) !== 0)
        sizeClass++
      if (sizeClass < classes.count) return this.malloc(classes.size[sizeClass]!)
    }
    const pages = Math.max(1, alignment / Page.Bytes)
    const find = () => this.manual.allocateLarge(bytes, pages)
    const start = find() || this.afterMakingRoom(find)
    this.notePeaks()
    return start * Page.Bytes
  }

  /** Takes back one of the program's blocks. False if none starts there. */
  free(address: Address): boolean {
    if (!this.isLive(address)) return false
    const granule = address / Granule.Bytes
    const sizeClass = (this.infoOf(address) & PageWord.SpanClass) >>> 1
    if (sizeClass === 0) this.manual.freeLarge(address / Page.Bytes)
    else if (!this.manual.push(granule)) this.manual.overflow(granule, sizeClass)
    return true
  }

  /** Whether a slot for small blocks of the program starts at an address, and no block is live there. */
  isFreed(address: Address): boolean {
    const info = this.infoOf(address)
    const sizeClass = (info & PageWord.SpanClass) >>> 1
    if ((info & PageWord.Manual) === 0 || sizeClass === 0 || this.isLive(address)) return false
    const slot = (address - (info >>> PageWord.StartShift) * Page.Bytes) / this.classes.size[sizeClass]!
    return Number.isInteger(slot) && slot < this.classes.objects[sizeClass]!
  }

  /** The usable bytes of the program's block at an address; 0 if none starts there. */
  manualBytes(address: Address): number {
    if (!this.isLive(address)) return 0
    const start = address / Page.Bytes
    return (
      this.manual.smallBytes(address / Granule.Bytes) ||
      this.tables.spans[(start << SpanEntry.Shift) + Span.Pages]! * Page.Bytes
    )
  }

  /** The same of a block or an object. */
  usableBytes(address: Address): number {
    const bytes = this.manualBytes(address)
    if (bytes !== 0 || this.objects.unitAt(address) === 0) return bytes
    return this.objects.usableBytes(address)
  }

  /** Resizes the program's block in place. False if it must move, or had better. */
  resize(address: Address, usable: number, bytes: number): boolean {
    if (usable <= GoSmall.MostBytes && (this.infoOf(address) & PageWord.SpanClass) !== 1) {
      return this.manual.servesWell(usable, bytes)
    }
    if (bytes <= GoSmall.MostBytes || bytes > MOST_HEAP_BYTES) return false
    const resized = this.manual.resizeLarge(address / Page.Bytes, bytes)
    this.notePeaks()
    return resized
  }

  /** Gives free pages back to the system, first those of empty spans; returns bytes. */
  release(bytes: number | undefined): number {
    const { mheap } = this
    this.manual.flush()
    this.collector.flush()
    return mheap.release(bytes === undefined ? mheap.freePages : pagesFor(bytes)) * Page.Bytes
  }

  stats(): Omit<HeapStats, 'syscalls' | 'system'> {
    const { mheap } = this
    const { liveBytes } = this.totals()
    this.peakLiveBytes = Math.max(this.peakLiveBytes, liveBytes)
    const threadCacheBytes = this.manual.cachedBytes() + this.cache.cachedBytes()
    const mappedBytes = mheap.mappedPages * Page.Bytes
    return {
      liveBytes,
      mappedBytes,
      reservedBytes: this.mapping.reservedBytes + this.tables.reservedBytes,
      threadCacheBytes,
      centralCacheBytes: mheap.usedPages * Page.Bytes - liveBytes - threadCacheBytes,
      pageHeapFreeBytes: mheap.freePages * Page.Bytes,
      pageHeapReleasedBytes: mheap.releasedPages * Page.Bytes,
      metadataBytes: this.metadataBytes,
      peakLiveBytes: this.peakLiveBytes,
      peakMappedBytes: mappedBytes, // pages are given back, but never their addresses
      threads: 1,
      deadThreadsBytes: 0,
      passedBytes: 0,
    }
  }

  /** The figures of Go's runtime.ReadMemStats. */
  goStats(): GoMemStats {
    const { mheap, tally, memStats, collector, classes } = this
    const { mallocs, frees, totalBytes, liveBytes } = this.totals()
    const bySize = Array.from({ length: classes.count }, (_, sizeClass) => {
      // Class 0 has no size; it stands elsewhere for large objects, which aren't listed by size.
      const counts = sizeClass === 0 ? { mallocs: 0, frees: 0 } : this.counts(sizeClass)
      return { Size: classes.size[sizeClass]!, Mallocs: counts.mallocs, Frees: counts.frees }
    })
    const idle = (mheap.mappedPages - mheap.usedPages) * Page.Bytes
    return {
      ...memStats.go(),
      Alloc: liveBytes,
      TotalAlloc: totalBytes,
      Sys: mheap.mappedPages * Page.Bytes + this.metadataBytes,
      Mallocs: mallocs + tally.tinyAllocs,
      Frees: frees + tally.tinyAllocs, // in both, so that their difference is HeapObjects
      HeapAlloc: liveBytes,
      HeapSys: mheap.mappedPages * Page.Bytes,
      HeapIdle: idle,
      HeapInuse: mheap.usedPages * Page.Bytes,
      HeapReleased: (mheap.releasedPages + mheap.newPages) * Page.Bytes,
      HeapObjects: mallocs - frees,
      GCSys: this.metadataBytes,
      NextGC: collector.nextGC,
      BySize: bySize,
    }
  }

  /** How many objects of a class were handed out and taken back, both blocks and collected ones. */
  counts(sizeClass: number): Counts {
    const { manual, tally } = this
    const { mallocs, frees } = tally.of(sizeClass)
    if (sizeClass === 0) return { mallocs: mallocs + manual.largeMallocs, frees: frees + manual.largeFrees }
    const blocks = manual.mallocs[sizeClass]!
    return {
      mallocs: mallocs + this.cache.pending(sizeClass) + blocks,
      frees: frees + blocks - manual.liveObjects(sizeClass),
    }
  }

  /** @throws AllocatorError `ERR_HEAP_CORRUPT` */
  audit(): void {
    auditGoHeap(this)
  }

  close(): void {
    this.collector.stop()
    this.cache.close()
    this.manual.close()
    const pages = this.mheap.mappedPages
    if (pages > 0) this.mapping.discard(Page.First * Page.Bytes, pages * Page.Bytes)
    this.tables.close()
  }

  /** Objects of all classes, and their bytes: all ever allocated, and the live ones. It looks at every cached span. */
  private totals(): Counts & { totalBytes: number; liveBytes: number } {
    const { tally, manual, classes } = this
    const totals = {
      mallocs: 0,
      frees: 0,
      totalBytes: tally.allLargeBytes + manual.allLargeBytes,
      liveBytes: tally.largeBytes + manual.largeBytes,
    }
    for (let sizeClass = 0; sizeClass < classes.count; sizeClass++) {
      const { mallocs, frees } = this.counts(sizeClass)
      totals.mallocs += mallocs
      totals.frees += frees
      totals.totalBytes += mallocs * classes.size[sizeClass]!
      totals.liveBytes += (mallocs - frees) * classes.size[sizeClass]!
    }
    return totals
  }

  private get metadataBytes(): number {
    this.peakUsedPages = Math.max(this.peakUsedPages, this.mheap.usedPages)
    return this.peakUsedPages * PAGE_METADATA_BYTES + this.mheap.tinyPages * TINY_PAGE_BYTES
  }

  /** The word of an address's page; 0 if it is in no span. */
  private infoOf(address: Address): number {
    const page = Math.floor(address / Page.Bytes)
    return page < this.mheap.endPage ? this.tables.pages[page << PageEntry.Shift]! : 0
  }

  /** Whether a live block of the program starts at an address. */
  private isLive(address: Address): boolean {
    const info = this.infoOf(address)
    if (address % Granule.Bytes !== 0 || !this.manual.isLive(address / Granule.Bytes)) return false
    // Inside a large block, the bits for starts may have any value.
    return (info & PageWord.SpanClass) > 1 || address === (info >>> PageWord.StartShift) * Page.Bytes
  }

  private tryMalloc(bytes: number): Address {
    if (bytes > GoSmall.MostBytes) return this.manual.allocateLarge(bytes) * Page.Bytes
    const sizeClass = this.classOf(bytes)
    return (this.manual.pop(sizeClass) || this.manual.refill(sizeClass)) * Granule.Bytes
  }

  private classOf(bytes: number): number {
    return this.classBySize16[(bytes + (Granule.Bytes - 1)) >>> Granule.Shift]!
  }

  /** Before a request is refused: turns everything empty or dead into free pages, and tries again. */
  private afterMakingRoom(allocate: () => number): number {
    this.manual.flush()
    this.collector.flush()
    if (this.central.pages > 0) this.collector.collect()
    return allocate()
  }

  private tooLarge(): number {
    this.mheap.lastErrno = 0
    return 0
  }

  /** If clearly more pages are in use than at the last look, the heap may have more live bytes than ever. */
  private notePeaks(): void {
    const { usedPages } = this.mheap
    if (usedPages <= this.notedPages + Math.max(LEAST_NOTED_PAGES, this.notedPages / NOTED_PART)) return
    this.notedPages = usedPages
    this.peakLiveBytes = Math.max(this.peakLiveBytes, this.totals().liveBytes)
  }
}

/** Tables that cover the part that the caches look at from the start: page 0. */
function openTables(mapper: Mapper, pages: number): GoTables {
  const tables = new GoTables(mapper, pages)
  const errno = tables.cover(Page.First)
  if (errno === 0) return tables
  tables.close()
  throw tablesRefused(errno, tables.reservedBytes)
}
