import type { HeapStats } from '../base/allocator.ts'
import { Granule, Page } from '../memory/page.ts'
import type { CentralCache } from './central-cache.ts'
import { Control, HeapWord } from './control.ts'
import type { Membership } from './membership.ts'
import type { PageHeap } from './page-heap.ts'
import type { PassSlots } from './pass-slots.ts'
import type { Quarantine } from './quarantine.ts'
import { SpanEntry } from './span.ts'
import type { Tables } from './tables.ts'
import type { ThreadCache } from './thread-cache.ts'
import type { TransferCache } from './transfer-cache.ts'

// Words of the control section: the highest seen so far.
const PEAK_USED_PAGES = Control.Peaks
const PEAK_LIVE_GRANULES = Control.Peaks + 1

/** The tiers that the figures are read from. */
export interface CountedTiers {
  member: Membership
  tables: Tables
  pageHeap: PageHeap
  central: CentralCache
  transfer: TransferCache
  /** In debug mode. */
  quarantine(): Quarantine | undefined
  passes: PassSlots
  /** The cache in any slot's area. */
  cacheOf(slot: number): ThreadCache
}

/** The statistics of a heap and all its threads. Live bytes are the mapped pages less everything else. */
export class Figures {
  private readonly tiers: CountedTiers
  private readonly reservedBytes: number
  private readonly controlBytes: number

  constructor(tiers: CountedTiers, reservedBytes: number, controlBytes: number) {
    this.tiers = tiers
    this.reservedBytes = reservedBytes
    this.controlBytes = controlBytes
  }

  /** Reads all figures. REQUIRES: the caller holds all classes and the page heap, for reading. */
  read(): Omit<HeapStats, 'syscalls' | 'system'> {
    const { pageHeap } = this.tiers
    const open = this.tiers.member.openSlots()
    const threadCacheBytes = this.threadCacheBytes(open)
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
      metadataBytes: this.metadataBytes(open),
      peakLiveBytes: (this.tiers.tables.control[PEAK_LIVE_GRANULES]! >>> 0) * Granule.Bytes,
      peakMappedBytes: mappedBytes, // pages are given back, but never their addresses
      passedBytes: Math.min(liveBytes, this.tiers.passes.bytes()),
      threads: open.length,
      deadThreadsBytes: this.deadBytes(open, liveBytes),
    }
  }

  /** What the dead have of the live bytes; null if a thread has freed more than it was handed. */
  private deadBytes(open: readonly number[], liveBytes: number): number | null {
    const { tables, cacheOf } = this.tiers
    const { control } = tables
    if (open.some((slot) => cacheOf(slot).handedOut() < 0)) control[HeapWord.Uncounted] = 1
    if (control[HeapWord.Uncounted] === 1) return null
    return Math.min(liveBytes, Math.max(0, control[HeapWord.DeadGranules]!) * Granule.Bytes)
  }

  private threadCacheBytes(open: readonly number[]): number {
    return open.reduce((sum, slot) => sum + this.tiers.cacheOf(slot).bytes(), 0)
  }

  private centralBytes(): number {
    const { central, transfer, quarantine } = this.tiers
    return central.bytes() + transfer.bytes() + (quarantine()?.bytes ?? 0)
  }

  /** Called on slow paths: if more pages are in use than ever before, the live bytes may be a new peak. */
  notePeaks(): void {
    const { control } = this.tiers.tables
    const { pageHeap } = this.tiers
    // Another thread may be in the middle of its counting, so check again with the page heap held.
    if (this.usedPages() <= control[PEAK_USED_PAGES]! || !pageHeap.hold()) return
    const used = this.usedPages()
    if (used > control[PEAK_USED_PAGES]!) {
      control[PEAK_USED_PAGES] = used
      this.notePeakLive(used * Page.Bytes - this.threadCacheBytes(this.tiers.member.openSlots()) - this.centralBytes())
    }
    pageHeap.letGo()
  }

  private usedPages(): number {
    const { mappedPages, normalPages, releasedPages } = this.tiers.pageHeap
    return mappedPages - normalPages - releasedPages
  }

  private notePeakLive(bytes: number): void {
    const granules = bytes / Granule.Bytes
    const { control } = this.tiers.tables
    if (granules > control[PEAK_LIVE_GRANULES]! >>> 0) control[PEAK_LIVE_GRANULES] = granules
  }

  /** Bytes of tables touched so far, computed from their growth: states and span entries of every page, the slots' areas, the fixed part. */
  private metadataBytes(open: readonly number[]): number {
    const { endPage } = this.tiers.pageHeap
    const perPage = Page.Granules + SpanEntry.Bytes + 2
    const touched = open.reduce((sum, slot) => sum + this.tiers.cacheOf(slot).touchedBytes(), 0)
    return this.controlBytes + this.tiers.passes.touchedBytes() + endPage * perPage + touched
  }
}
