import { randomInt } from 'node:crypto'
import type { HeapStats } from '../base/allocator.ts'
import { invalidToken } from '../base/errors.ts'
import type { BlockBytes } from '../memory/block-bytes.ts'
import { Granule, leastSpanPages, MOST_HEAP_BYTES, Page, pagesFor, roundUp } from '../memory/page.ts'
import { type ReservationOptions, reserve } from '../memory/reservation.ts'
import type { Mapper, Mapping } from '../os/mapper.ts'
import { busy } from '../threads/locks.ts'
import { auditTiers } from './audit.ts'
import { CacheBudget } from './cache-budget.ts'
import { CentralCache } from './central-cache.ts'
import { ARENA_LINE, ARENA_WORDS, HeapWord, Lock, MAGIC, PageWord, SHARED_WORDS } from './control.ts'
import { Hand } from './hand.ts'
import { IsolatedBlocks } from './isolated-blocks.ts'
import { Membership } from './membership.ts'
import { ObjectState } from './object-state.ts'
import { PAGE_HEAP_BUSY, PageHeap } from './page-heap.ts'
import { notePages, PagePast } from './page-past.ts'
import { PassSlots } from './pass-slots.ts'
import { QUARANTINE_WORDS, Quarantine } from './quarantine.ts'
import { SizeClassTable, Small } from './size-class.ts'
import { AreaWord, threadCacheLayout } from './slot-area.ts'
import { Location, Span, SpanEntry } from './span.ts'
import { StaleEntries } from './stale-entries.ts'
import { Figures } from './stats.ts'
import { Tables } from './tables.ts'
import { ThreadCache } from './thread-cache.ts'
import { TransferCache, transferLayout } from './transfer-cache.ts'

/** The options of the tiers, already checked by the heap. */
export interface TCMallocOptions extends ReservationOptions {
  /** The bytes that all thread caches together may hold. */
  cacheBytes: number
  releaseRate: number
  debug: boolean
}

/** The data by which a thread attaches to another thread's heap. */
export interface SharedHeap {
  /**
   * An empty view over the memory of all blocks: code that has its buffer can read and write them. It is empty because printing or
   * comparing a token would otherwise read the whole SharedArrayBuffer.
   */
  readonly memory: Uint8Array<SharedArrayBuffer>
  /** The same over the heap's tables: code that has its buffer can break the heap. */
  readonly tables: Uint8Array<SharedArrayBuffer>
  /** The heap's limit, in pages of 8 KiB. */
  readonly limitPages: number
  /** Tells the heap from any other. */
  readonly generation: number
}

/**
 * TCMalloc's three tiers over one reservation, and a block's path through them: thread cache, central cache, page heap. Blocks are granules
 * here, and 0 means that there is no memory.
 */
export class TCMalloc {
  readonly mapping: Mapping
  readonly cache: ThreadCache
  /** The class that serves each size up to Small.MostBytes, by the size in granules. */
  readonly classBySize: Int8Array
  readonly tables: Tables
  /** Blocks on their way from one thread to another. */
  readonly passes: PassSlots
  /** The block on its way to or from the words of an owner. */
  readonly hand: Hand
  /** Words of the control section for arenas (lib/lifetime/). */
  readonly arenaWords: Int32Array
  /** The same for blocks that threads share. */
  readonly sharedWords: Int32Array
  /** Holds recently freed blocks, in debug mode. */
  readonly quarantine: Quarantine | undefined
  readonly quarantineWords: Int32Array
  /** In debug mode: called for a block that V8 has let go of, before it is poisoned. */
  whenCollected: ((granule: number) => void) | undefined
  /** Undefined if the memory can't be isolated: without the addon. */
  readonly isolated: IsolatedBlocks | undefined
  /** This thread's part in the heap. */
  readonly member: Membership
  private readonly classes: SizeClassTable
  private readonly pageHeap: PageHeap
  private readonly central: CentralCache
  private readonly transfer: TransferCache
  private readonly budget: CacheBudget
  private readonly limitPages: number
  private readonly figures: Figures

  /** @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY` */
  static create(mapper: Mapper, options: TCMallocOptions): TCMalloc {
    const { mapping, limitPages, tables } = reserve(mapper, options, (limitPages, isTight) =>
      openTables(mapper, limitPages, isTight)
    )
    const { control } = tables
    CacheBudget.initialize(control, options.cacheBytes)
    control[HeapWord.ReleaseRate] = Math.round(options.releaseRate * 1000)
    control[HeapWord.Generation] = randomInt(1, 2 ** 31)
    control[HeapWord.Debug] = options.debug ? 1 : 0
    control[HeapWord.BudgetPages] = options.isDefault ? Math.floor(options.limitBytes / Page.Bytes) : 0
    control[PageWord.End] = Page.First
    control[HeapWord.Magic] = MAGIC
    return new TCMalloc(mapper, mapping, limitPages, tables, undefined)
  }

  /**
   * One more thread of a heap that exists.
   * @param unknown the likely reason if the mapper doesn't know the memory
   * @throws AllocatorError `ERR_HEAP_INVALID_TOKEN` if it is closed, or isn't one
   */
  static attach(mapper: Mapper, shared: SharedHeap, unknown: string): TCMalloc {
    const { limitPages, generation } = shared
    const memory = shared.memory.buffer
    const tables = shared.tables.buffer
    const mapping = mapper.adopt(memory)
    const tableMapping = mapper.adopt(tables)
    if (mapping === undefined || tableMapping === undefined) throw invalidToken(unknown)
    const isHeap = memory.byteLength === (Page.First + limitPages) * Page.Bytes
    // Checked before a slot is claimed: if this isn't a heap, that memory might be anything.
    if (!isHeap || new Int32Array(tables)[HeapWord.Magic] !== MAGIC)
      throw invalidToken('the heap is closed, or is none')
    const adopted = openTables(mapper, limitPages, false, tableMapping)
    const check = ({ control }: Tables) => {
      if (control[HeapWord.Magic] !== MAGIC || control[HeapWord.Generation] !== generation)
        throw invalidToken('the heap is closed')
    }
    for (;;) {
      const tiers = new TCMalloc(mapper, mapping, limitPages, adopted, check)
      if (!tiers.member.isSpare) return tiers
      // All slots were taken. Those of dead threads are free now.
    }
  }

  private constructor(
    mapper: Mapper,
    mapping: Mapping,
    limitPages: number,
    tables: Tables,
    checkAdopted: ((tables: Tables) => void) | undefined
  ) {
    this.classes = new SizeClassTable(leastSpanPages(mapper.systemPageSize))
    this.classBySize = this.classes.classBySize()
    const stacks = threadCacheLayout(this.classes)
    const transfers = transferLayout(this.classes)
    const arenas = roundUp(transfers.end, ARENA_LINE)
    this.mapping = mapping
    this.limitPages = limitPages
    this.tables = tables
    this.arenaWords = tables.control.subarray(arenas, arenas + ARENA_WORDS)
    const shared = arenas + ARENA_WORDS
    this.sharedWords = tables.control.subarray(shared, shared + SHARED_WORDS)
    this.quarantineWords = tables.control.subarray(shared + SHARED_WORDS)
    this.member = new Membership(tables, checkAdopted === undefined)
    const { slot, area, locks } = this.member
    const releaseRate = tables.control[HeapWord.ReleaseRate]! / 1000
    const budget = new CacheBudget(tables, locks)
    this.budget = budget
    const stale = new StaleEntries(tables, stacks)
    this.pageHeap = new PageHeap(tables, mapper, mapping, limitPages, releaseRate, locks, stale, slot)
    this.central = new CentralCache(tables, this.classes, this.pageHeap, slot)
    this.transfer = new TransferCache(tables, this.classes, transfers, this.central)
    const cacheOf = (slot: number) =>
      new ThreadCache(tables, this.classes, stacks, this.transfer, locks, budget, slot, tables.slotArea(slot))
    this.cache = cacheOf(slot)
    this.isolated = IsolatedBlocks.over(mapping, tables, this.cache, area)
    this.passes = new PassSlots(this, slot, area)
    this.hand = new Hand(this, area)
    const { member, classes, pageHeap, central, transfer, passes, cache, isolated } = this
    const reservedBytes = mapping.reservedBytes + tables.reservedBytes
    this.figures = new Figures(
      { member, tables, pageHeap, central, transfer, passes, cacheOf, quarantine: () => this.quarantine },
      reservedBytes,
      transfers.end * 4
    )
    if (tables.control[HeapWord.Debug] === 1) {
      const quarantine = new Quarantine(this)
      this.quarantine = quarantine
      this.transfer.scrub = (granule) => {
        if (this.stateOf(granule) === ObjectState.Collected) this.whenCollected?.(granule)
        quarantine.poison(granule)
      }
    }
    member.join({ mapping, classes, pageHeap, central, transfer, budget, cache, isolated, cacheOf }, checkAdopted)
  }

  /** Whether a token is of this very heap. */
  isOf({ generation }: SharedHeap): boolean {
    return generation === this.tables.control[HeapWord.Generation]
  }

  /** The first address behind the heap's limit. */
  get endAddress(): number {
    return (Page.First + this.limitPages) * Page.Bytes
  }

  /** The data by which another thread attaches. REQUIRES: the memory is shared. */
  share(): SharedHeap {
    this.member.listen()
    return {
      memory: new Uint8Array(this.mapping.buffer as SharedArrayBuffer, 0, 0),
      tables: new Uint8Array(this.tables.mapping.buffer as SharedArrayBuffer, 0, 0),
      limitPages: this.limitPages,
      generation: this.generation,
    }
  }

  /** Tells the heap from every other. */
  get generation(): number {
    return this.tables.control[HeapWord.Generation]!
  }

  /** The first page that hasn't grown yet. */
  get endPage(): number {
    return this.pageHeap.endPage
  }

  /**
   * The system's error number for the last allocation that returned 0; 0 if the limit refused.
   * @throws AllocatorError `ERR_HEAP_BUSY` if the cause was neither, but a thread that keeps the page heap
   */
  get lastErrno(): number {
    if (this.pageHeap.lastErrno === PAGE_HEAP_BUSY) throw busy(Lock.PageHeap)
    return this.pageHeap.lastErrno
  }

  /** The state of the object that starts at a granule. */
  stateOf(granule: number): number {
    return granule < this.tables.states.length ? this.tables.states[granule]! : ObjectState.None
  }

  /** Changes the state of a handed-out block: `isHandedOut` is true of both states. */
  setState(granule: number, state: ObjectState): void {
    this.tables.states[granule] = state
  }

  /** The same if another thread may be freeing the block now. False if its state isn't `from`. */
  changeState(granule: number, from: ObjectState, to: ObjectState): boolean {
    return Atomics.compareExchange(this.tables.states, granule, from, to) === from
  }

  /** Keeps this thread from using the heap by its usual path: it finds nothing, and takes nothing back, whatever calls it. */
  seal(): void {
    this.cache.seal()
  }

  /** Allocates an object of a class after the thread cache's stack had none. With `inHand` it is in this thread's hand. */
  allocateSmall(sizeClass: number, inHand = false): number {
    this.member.enter()
    let granule = this.cache.refill(sizeClass, inHand)
    if (granule === 0) {
      this.flush()
      granule = this.cache.refill(sizeClass, inHand)
    }
    this.figures.notePeaks()
    this.member.leave()
    return granule
  }

  /** A large block of exactly as many pages as `bytes` take, if this thread keeps one; else 0. */
  takeKept(bytes: number): number {
    return this.cache.spans.take(this.pageHeap.roundToUnit(pagesFor(bytes))) << Page.GranuleShift
  }

  /**
   * Allocates a block in a span of its own. With `zeroed`, bytes that aren't zero already are cleared. With `inHand` it is in this thread's
   * hand, not its own.
   */
  allocateLarge(bytes: number, zeroed: BlockBytes | undefined, inHand = false): number {
    if (bytes > MOST_HEAP_BYTES) return this.pageHeap.tooLarge()
    const pages = this.pageHeap.roundToUnit(pagesFor(bytes))
    // As with `pop`, a strike leaves nothing half done that a repair would have to know of.
    const kept = this.cache.spans.take(pages)
    if (kept !== 0) {
      if (inHand) {
        this.hand.block[0] = kept << Page.GranuleShift
        this.hand.area[AreaWord.HandedOut]! -= pages << Page.GranuleShift
      }
      if (zeroed !== undefined) this.zeroDirty(kept, pages, zeroed)
      return kept << Page.GranuleShift
    }
    this.member.enter()
    let start = this.pageHeap.allocate(pages)
    if (start === 0) {
      this.flush()
      start = this.pageHeap.allocate(pages)
    }
    if (start !== 0 && zeroed !== undefined) this.zeroDirty(start, pages, zeroed)
    const granule = this.handOutSpan(start, inHand)
    this.member.leave()
    return granule
  }

  /** A block whose address is a multiple of `alignment`, which is more than a granule. */
  allocateAligned(alignment: number, bytes: number, inHand = false): number {
    if (bytes > MOST_HEAP_BYTES) return this.pageHeap.tooLarge()
    if (alignment <= Page.Bytes && bytes <= Small.MostBytes) {
      // Spans start at pages, so a class's objects are aligned to any power of two that divides its size.
      let sizeClass = this.classBySize[Math.ceil(bytes / Granule.Bytes)]!
      while (sizeClass < this.classes.count && this.classes.size[sizeClass]! % alignment !== 0) sizeClass++
      if (sizeClass < this.classes.count) return this.allocateSmall(sizeClass, inHand)
    }
    const pages = Math.max(1, pagesFor(bytes))
    const alignmentPages = Math.max(1, alignment / Page.Bytes)
    this.member.enter()
    let start = this.pageHeap.allocate(pages, alignmentPages)
    if (start === 0) {
      this.flush()
      start = this.pageHeap.allocate(pages, alignmentPages)
    }
    const granule = this.handOutSpan(start, inHand)
    this.member.leave()
    return granule
  }

  /** Takes back a live block, or a large one in another state `from`. False if another thread was faster. */
  free(granule: number, from: number = ObjectState.Live): boolean {
    const page = granule >>> Page.GranuleShift
    const sizeClass = this.tables.pageClass[page]!
    if (from === ObjectState.Chunk) this.transfer.scrub?.(granule)
    if (sizeClass !== 0 ? this.cache.push(granule) : this.cache.spans.push(page, from)) return true
    this.member.enter()
    let taken: boolean
    if (sizeClass !== 0) taken = this.cache.overflow(granule, sizeClass)
    else if (this.cache.keepSpan(page, from)) taken = true
    else {
      const pages = this.tables.spans[(page << SpanEntry.Shift) + Span.Length]!
      taken = this.pageHeap.freeLarge(page, from)
      if (taken) this.cache.count(-(pages << Page.GranuleShift))
    }
    this.member.leave()
    return taken
  }

  /** Frees a block that no thread owns. Only the caller may take it out of its state. */
  freeUnowned(granule: number, from: ObjectState): void {
    this.member.enter()
    this.cache.freeUnowned(granule, from)
    this.member.leave()
  }

  /** The bytes that may be used of a live block. */
  usableBytes(granule: number): number {
    const page = granule >>> Page.GranuleShift
    const sizeClass = this.tables.pageClass[page]!
    if (sizeClass !== 0) return this.classes.size[sizeClass]!
    return this.tables.spans[(page << SpanEntry.Shift) + Span.Length]! * Page.Bytes
  }

  /** Whether a small block of `usable` bytes can stay in place for `bytes`: they fit, and use at least half of it. */
  servesWell(usable: number, bytes: number): boolean {
    return bytes <= usable && (bytes * 2 >= usable || usable === Granule.Bytes)
  }

  /** Makes a live block `bytes` long in place. False if it must move, or had better, since it would waste half its room. */
  resize(granule: number, bytes: number): boolean {
    const page = granule >>> Page.GranuleShift
    const sizeClass = this.tables.pageClass[page]!
    if (sizeClass !== 0) return this.servesWell(this.classes.size[sizeClass]!, bytes)
    if (bytes <= Small.MostBytes || bytes > MOST_HEAP_BYTES) return false
    const before = this.tables.spans[(page << SpanEntry.Shift) + Span.Length]!
    const pages = pagesFor(bytes)
    this.member.enter()
    let resized = true
    if (pages < before) this.pageHeap.shrink(page, pages)
    else {
      resized = this.pageHeap.extend(page, pages)
      // The pages behind may be a span that this thread keeps. Giving it back is cheaper than copying the block.
      if (!resized && this.cache.spans.giveBackAt(page + before)) resized = this.pageHeap.extend(page, pages)
    }
    const after = this.tables.spans[(page << SpanEntry.Shift) + Span.Length]!
    notePages(this.tables.pagePast, page + before, page + after, true)
    this.cache.count((after - before) << Page.GranuleShift)
    this.figures.notePeaks()
    this.member.leave()
    return resized
  }

  /** Gives free pages back to the system, after flushing the caches; returns bytes. Without a number, tables shrink too. */
  release(bytes: number | undefined): number {
    this.member.enter(true)
    const before = this.pageHeap.releasedPages
    this.flush()
    this.pageHeap.releaseDue() // counts too
    const wanted = bytes === undefined ? this.pageHeap.mappedPages : pagesFor(bytes)
    this.pageHeap.release(wanted - (this.pageHeap.releasedPages - before))
    if (bytes === undefined) this.pageHeap.trimTables()
    const given = this.pageHeap.releasedPages - before
    this.member.leave()
    return Math.max(0, given) * Page.Bytes
  }

  /** Counts a live block as this thread's own (`times` is 1), or no longer (-1). */
  countOwned(granule: number, times: number): void {
    this.cache.count((times * this.usableBytes(granule)) / Granule.Bytes)
  }

  /** Frees isolated blocks that V8 has let go of, from all threads. */
  freeCollected(): void {
    this.member.enter()
    this.member.leave()
  }

  /** Gives back this thread's cache and all its room, until needed again. */
  idle(): void {
    this.member.enter()
    this.cache.idle()
    this.member.leave()
  }

  /** In debug mode, frees the blocks in quarantine, up to one that was written to. Returns the number freed. */
  emptyQuarantine(): number {
    return this.quarantine?.freeIntact() ?? 0
  }

  /** One consistent snapshot: nothing moves between tiers meanwhile, and a block that a thread pops or pushes changes both sums. */
  stats(): Omit<HeapStats, 'syscalls' | 'system'> {
    return this.reading(() => this.figures.read())
  }

  /** @throws AllocatorError `ERR_HEAP_CORRUPT` */
  audit(): void {
    this.reading(() => this.auditHeld())
  }

  /** Runs `read` while no other thread moves anything between tiers. */
  private reading<T>(read: () => T): T {
    const run = () => this.member.reading(read)
    // The quarantine's lock comes before all others.
    return this.quarantine === undefined ? run() : this.quarantine.holding(run)
  }

  private auditHeld(): void {
    const { liveBytes, threadCacheBytes } = this.figures.read()
    auditTiers({
      tables: this.tables,
      classes: this.classes,
      pageHeap: this.pageHeap,
      central: this.central,
      cache: this.cache,
      transfer: this.transfer,
      budget: this.budget,
      quarantineBytes: this.quarantine?.bytes ?? 0,
      passes: this.passes,
      isAlone: () => this.member.isAlone(),
      inUseBytes: liveBytes + threadCacheBytes,
    })
  }

  /** Makes an allocated span one live object; 0 stays 0. */
  private handOutSpan(start: number, inHand: boolean): number {
    if (start === 0) return 0
    const { tables } = this
    const granule = start << Page.GranuleShift
    const entry = start << SpanEntry.Shift
    const pages = tables.spans[entry + Span.Length]!
    tables.pagePast.fill(PagePast.Dirty, start, start + pages)
    if (!inHand) this.cache.count(pages << Page.GranuleShift)
    tables.states[granule] = ObjectState.Live
    // Atomic, so that no processor shows it before the state: an audit by another thread would find a large block that isn't live.
    Atomics.store(tables.spans, entry + Span.Location, Location.Large)
    if (inHand) this.hand.block[0] = granule
    this.figures.notePeaks()
    return granule
  }

  /** Flushes the caches, since one cached object keeps a whole span. */
  private flush(): void {
    this.isolated?.free(true)
    this.cache.flush()
    for (let sizeClass = 1; sizeClass < this.classes.count; sizeClass++) {
      this.member.locks.acquire(Lock.FirstClass + sizeClass)
      this.transfer.flush(sizeClass)
      this.member.locks.release(Lock.FirstClass + sizeClass)
    }
  }

  private zeroDirty(start: number, pages: number, bytes: BlockBytes): void {
    const { pagePast } = this.tables
    let page = start
    while (page < start + pages) {
      let end = page
      while (end < start + pages && pagePast[end]! < 0) end++
      if (end > page) bytes.zero(page * Page.Bytes, (end - page) * Page.Bytes)
      page = end + 1
    }
  }
}

/** Makes the tables of a new heap, or opens those that another thread has made. */
function openTables(mapper: Mapper, limitPages: number, isTight: boolean, adopted?: Mapping): Tables {
  const classes = new SizeClassTable(leastSpanPages(mapper.systemPageSize))
  const controlWords = roundUp(transferLayout(classes).end, ARENA_LINE) + ARENA_WORDS + SHARED_WORDS + QUARANTINE_WORDS
  const slotBytes = threadCacheLayout(classes).end * 4
  return new Tables(mapper, { pages: Page.First + limitPages, controlWords, slotBytes, isTight }, adopted)
}
