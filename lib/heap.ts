import { type Address, type Allocator, closedStats, type HeapStats } from './allocator.ts'
import {
  checkAlignment,
  checkBoolean,
  checkCount,
  checkInteger,
  checkNumber,
  checkOptions,
  checkSupported,
  checkViewLength,
} from './arguments.ts'
import { AllocatorError, closedError, outOfMemory, wrongType } from './errors.ts'
import { BlockBytes, Loop } from './memory/block-bytes.ts'
import { isCached, ObjectState } from './memory/object-state.ts'
import { Address32, Granule, Page } from './memory/page.ts'
import { checkReservation } from './memory/reservation.ts'
import type { ThreadSlots } from './memory/thread-slots.ts'
import { doorNamed, openMapper } from './os/machine.ts'
import type { BufferOf, Mapper, MemoryKind, SystemCall } from './os/mapper.ts'
import type { LedgerOptions } from './os/native-mapper.ts'
import { Small } from './tcmalloc/size-class.ts'
import { TCMalloc } from './tcmalloc/tcmalloc.ts'
import { checkToken, type HeapToken, TOKEN_VERSION } from './token.ts'

/** TCMalloc's budget for all thread caches together (kDefaultOverallThreadCacheSize). */
const DEFAULT_CACHE_BYTES = 32 * 2 ** 20
/** What gperftools clips that budget to. */
const MOST_CACHE_BYTES = 2 ** 30

/** The calls that have a slow path. */
const enum Call {
  Malloc,
  Free,
  Calloc,
  Realloc,
  AlignedAlloc,
}

/** How a {@link Heap} is made. */
export interface HeapOptions<Kind extends MemoryKind = MemoryKind> {
  /** `shared` (the default): a SharedArrayBuffer. `private`: an ArrayBuffer, for APIs that refuse shared memory. */
  memory?: Kind
  /** The most bytes that the heap may map for objects, up to 32 GiB. By default the machine's or the cgroup's memory. */
  limitBytes?: number
  /** False sends every call to the caches that all threads share: slower, but nothing is free where another can't have it. */
  threadCache?: boolean
  /** What all thread caches together may hold, in bytes; 32 MiB by default, at most 1 GiB. */
  cacheBytes?: number
  /** How eagerly freed pages go back to the system by themselves: 1 by default, 10 ten times as fast, 0 never. */
  releaseRate?: number
  /** What is kept of system calls, beside the counts in `stats()`. */
  ledger?: LedgerOptions
  /** Where memory comes from. By default the operating system; tests give a simulated one. */
  mapper?: Mapper
}

/**
 * TCMalloc's design: small blocks (up to 256 KiB) from a cache of this thread's own, which a central cache fills from spans
 * of pages; medium (to 1 MiB) and large ones are spans of their own. Every call is checked, always.
 */
export class Heap<Kind extends MemoryKind = 'shared'> implements Allocator {
  /** All of the heap's address space. A block's address is its offset here. For code that one trusts: a write beyond the pages that have grown ends the process. */
  readonly buffer: BufferOf<Kind>
  private readonly mapper: Mapper
  private readonly tiers: TCMalloc
  private readonly bytes: BlockBytes
  private finalStats: HeapStats | undefined
  private isClosed = false

  // What the usual path reads; the same objects as the tiers'.
  private readonly cache: TCMalloc['cache']
  private readonly classBySize: Int8Array
  /** The first address behind the heap. */
  private readonly endAddress: number

  /** @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY` where the system refuses even a small reservation */
  constructor(options?: HeapOptions<Kind>)
  /** @internal One more thread of a heap that exists. */
  constructor(options: Attachment)
  constructor(options: HeapOptions<Kind> | Attachment = {}) {
    const { mapper, tiers } = options instanceof Attachment ? options : createTiers(options)
    this.mapper = mapper
    this.tiers = tiers
    this.buffer = tiers.mapping.buffer as BufferOf<Kind>
    this.bytes = new BlockBytes(tiers.mapping.unshared)
    this.cache = tiers.cache
    this.classBySize = tiers.classBySize
    this.endAddress = this.buffer.byteLength
  }

  /**
   * Opens a heap of another thread in this one: allocate here, free there. Close it here when this thread is done with it;
   * the memory goes with the last close. A thread that ends without it is cleared up behind by the others.
   * @param token what `share` gave, in this process
   * @param mapper for tests that attach in the thread in which a system is simulated: that one
   * @throws AllocatorError `ERR_HEAP_INVALID_TOKEN` (no token, of another version, or of a heap that is closed),
   * `ERR_HEAP_TOO_MANY_WORKERS`, `ERR_HEAP_UNSUPPORTED` (this thread can't load the addon that the heap was made with)
   */
  static attach(token: HeapToken, mapper = doorNamed(token?.system)): Heap {
    checkToken(token)
    if (mapper === undefined)
      throw new AllocatorError('ERR_HEAP_UNSUPPORTED', `a heap over ${token.system} memory can't be attached here`)
    return new Heap(new Attachment(mapper, TCMalloc.attach(mapper, token)))
  }

  /**
   * A token by which other threads of this process attach: for `workerData` or `postMessage`. It holds the heap's addresses,
   * and so does whoever holds it.
   * @throws AllocatorError `ERR_HEAP_NOT_SHARED` where the heap's memory is private
   */
  share(): HeapToken {
    this.checkOpen()
    if (!(this.buffer instanceof SharedArrayBuffer))
      throw new AllocatorError('ERR_HEAP_NOT_SHARED', 'private memory belongs to one thread')
    return { spanheap: TOKEN_VERSION, system: this.mapper.name, ...this.tiers.share() }
  }

  /** Gives what this thread has cached back to the others. For a thread that will be idle: a worker that waits for work, say. */
  threadIdle(): void {
    this.checkOpen()
    this.tiers.idle()
  }

  /** @internal The thread slot by which this thread holds locks, and how to tell whether others live. */
  thread(): { slots: ThreadSlots; slot: number; tag: number } {
    this.checkOpen()
    return this.tiers.thread()
  }

  /** @internal A live block is this thread's from now on: if the thread dies, it is counted as held by the dead. */
  own(address: Address): void {
    this.tiers.countOwned(address / Granule.Bytes, 1)
  }

  /** @internal A live block isn't this thread's any more. */
  disown(address: Address): void {
    this.tiers.countOwned(address / Granule.Bytes, -1)
  }

  /** The address of the block that a view starts with; of any view of this heap's memory, also one that came by postMessage. */
  addressOf(view: ArrayBufferView): Address {
    if (!ArrayBuffer.isView(view)) throw wrongType('view', 'a view of a buffer', view)
    this.checkOpen()
    if (view.buffer !== this.buffer && !this.tiers.mapping.isUnder(view.buffer)) throw notOurs(view.byteOffset)
    return this.liveGranule(view.byteOffset) * Granule.Bytes
  }

  /** Takes back the block that a view starts with. Any thread may do it, with any view; others of the block read what comes next. */
  freeBuffer(view: ArrayBufferView): void {
    this.free(this.addressOf(view))
  }

  malloc(size: number): Address {
    if (typeof size === 'number' && (size | 0) === size && size >>> 0 <= Small.MostBytes) {
      const granule = this.cache.pop(this.classBySize[(size + (Granule.Bytes - 1)) >>> Granule.Shift]!)
      // One comparison for both: it is an object, and its address a small integer.
      if ((granule - 1) >>> 0 < Address32.MostGranule) return granule << Granule.Shift
      if (granule !== 0) return granule * Granule.Bytes
    }
    // The plus tells V8 that it is a number: where the caller wants an integer, none of the three goes through a double.
    return +this.slow(Call.Malloc, size, 0)
  }

  free(address: Address): void {
    // A small integer, not negative, a multiple of 16: its granule then has a state, whatever the limit.
    if (typeof address === 'number' && (address | 0) === address && (address & Address32.Wrong) === 0) {
      if (this.cache.push(address >>> Granule.Shift)) return
    }
    if (typeof address === 'number' && address > Address32.Most && address < this.endAddress) {
      // The slow twin, for addresses above 2 GiB: the granule is a small integer again.
      const granule = (address / Granule.Bytes) | 0
      if (granule * Granule.Bytes === address && this.cache.push(granule)) return
    }
    this.slow(Call.Free, address, 0)
  }

  calloc(count: number, size: number): Address {
    if (isNatural32(count) && isNatural32(size) && count * size <= Loop.MostCleared) {
      const bytes = count * size
      const address = this.malloc(bytes)
      this.bytes.zeroShort(address, bytes)
      return address
    }
    return this.slow(Call.Calloc, count, size)
  }

  realloc(address: Address, size: number): Address {
    if (isNatural32(address) && (address & Address32.Wrong) === 0 && isNatural32(size)) {
      const usable = this.tiers.smallBytes(address >>> Granule.Shift)
      if (usable > 0) {
        return this.tiers.servesWell(usable, size) ? address : this.move(address, size, usable)
      }
    }
    return this.slow(Call.Realloc, address, size)
  }

  alignedAlloc(alignment: number, size: number): Address {
    return this.slow(Call.AlignedAlloc, alignment, size)
  }

  usableSize(address: Address): number {
    return this.tiers.usableBytes(this.liveGranule(address))
  }

  view(address: Address, length?: number): Uint8Array<BufferOf<Kind>> {
    const usable = this.tiers.usableBytes(this.liveGranule(address))
    return new Uint8Array(this.buffer, address, checkViewLength(length, usable))
  }

  stats(): HeapStats {
    return this.finalStats ?? this.currentStats()
  }

  audit(): void {
    this.checkOpen()
    this.tiers.audit()
  }

  /** The caller's thread cache is given back first, since one cached object keeps a span from becoming free. */
  releaseFreeMemory(bytes?: number): number {
    if (bytes !== undefined) checkCount('bytes', bytes)
    this.checkOpen()
    return this.tiers.release(bytes)
  }

  /** The newest system calls, oldest first, where the option `ledger.ring` asked for them. */
  systemCalls(): SystemCall[] {
    return this.mapper.ring()
  }

  /** Resident bytes of the heap and its tables, as the system tells; null where it can't. It reads a file: not for a loop. */
  residentBytes(): number | null {
    return this.finalStats === undefined ? this.mapper.residentBytes() : 0
  }

  close(): void {
    if (this.isClosed) return
    if (this.finalStats === undefined) {
      // First of all the heap is closed to its own thread, should this be struck before it comes to its end. The usual path
      // has no check for it, and the slot's area may soon be another thread's: so it is taken away.
      this.finalStats = closedStats(this.currentStats())
      for (const name of ['malloc', 'free', 'calloc', 'realloc'])
        Object.defineProperty(this, name, { value: throwClosed })
    }
    const last = this.tiers.close()
    this.isClosed = true
    this.finalStats.syscalls = this.mapper.syscalls()
    if (last) this.mapper.flush()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  private currentStats(): HeapStats {
    return { ...this.tiers.stats(), syscalls: this.mapper.syscalls(), system: this.mapper.name }
  }

  /**
   * What isn't usual, of all five calls: an empty or a full stack, blocks that are large or above 2 GiB, wrong arguments, a
   * closed heap. One function, and so one of more than 460 bytes of bytecode, which V8 inlines nowhere: as functions of their own
   * they were inlined into malloc and free wherever these are called, and left no room for malloc and free themselves (V8 stops at
   * 920 bytes a function). That made a replay 30 % slower, now and then with one heap, always with two.
   */
  private slow(call: Call, first: number, second: number): number {
    switch (call) {
      case Call.Malloc: {
        checkCount('size', first)
        this.checkOpen()
        const granule =
          first <= Small.MostBytes
            ? this.tiers.allocateSmall(this.classBySize[(first + (Granule.Bytes - 1)) >>> Granule.Shift]!)
            : this.tiers.allocateLarge(first, undefined)
        if (granule === 0) throw outOfMemory(first, this.tiers.lastErrno)
        return granule * Granule.Bytes
      }
      case Call.Free: {
        if (!this.tiers.free(this.liveGranule(first))) throw this.wrongAddress(first)
        return 0
      }
      case Call.Calloc: {
        const bytes = checkCount('count', first) * checkCount('size', second)
        this.checkOpen()
        if (bytes <= Small.MostBytes) {
          const address = this.malloc(bytes)
          this.bytes.zero(address, bytes)
          return address
        }
        const granule = this.tiers.allocateLarge(bytes, this.bytes)
        if (granule === 0) throw outOfMemory(bytes, this.tiers.lastErrno)
        return granule * Granule.Bytes
      }
      case Call.Realloc: {
        if (first === 0) return this.malloc(second)
        const granule = this.liveGranule(first)
        checkCount('size', second)
        if (this.tiers.resize(granule, second)) return first
        const moved = this.malloc(second)
        this.bytes.copy(moved, first, Math.min(second, this.tiers.usableBytes(granule)))
        this.free(first)
        return moved
      }
      case Call.AlignedAlloc: {
        checkAlignment(first)
        checkCount('size', second)
        this.checkOpen()
        if (first <= Granule.Bytes) return this.malloc(second)
        checkSupported(first, this.mapper.maxAlignment, second)
        const granule = this.tiers.allocateAligned(first, second)
        if (granule === 0) throw outOfMemory(second, this.tiers.lastErrno)
        return granule * Granule.Bytes
      }
    }
  }

  /** Moves a small block below 2 GiB. One function for all of it, so that V8 compiles it in one piece. */
  private move(address: Address, size: number, usable: number): Address {
    const moved = this.malloc(size)
    this.bytes.copy(moved, address, size < usable ? size : usable)
    const granule = address >>> Granule.Shift
    if (!this.cache.push(granule)) this.tiers.free(granule)
    return moved
  }

  /** The granule of a live block. @throws the error for what the address is instead */
  private liveGranule(address: Address): number {
    checkCount('address', address)
    this.checkOpen()
    const granule = address / Granule.Bytes
    if (Number.isInteger(granule) && this.tiers.stateOf(granule) === ObjectState.Live) return granule
    throw this.wrongAddress(address)
  }

  private wrongAddress(address: number): AllocatorError {
    const granule = address / Granule.Bytes
    const state = Number.isInteger(granule) ? this.tiers.stateOf(granule) : ObjectState.None
    if (state === ObjectState.Free || state === ObjectState.Transfer || isCached(state)) {
      return new AllocatorError('ERR_HEAP_DOUBLE_FREE', `the block at ${address} is free already`, { address })
    }
    // It was live a moment ago, when this call looked: another thread has freed it since, and it was handed out again.
    if (state === ObjectState.Live) {
      return new AllocatorError('ERR_HEAP_DOUBLE_FREE', `two threads freed the block at ${address} at once`, {
        address,
      })
    }
    const page = Math.floor(granule / 2 ** Page.GranuleShift)
    const grown = page >= Page.First && page < this.tiers.endPage
    return new AllocatorError(
      'ERR_HEAP_INVALID_ADDRESS',
      grown ? `no block starts at ${address}` : `${address} is not an address of this heap`,
      { address }
    )
  }

  private checkOpen(): void {
    if (this.finalStats !== undefined) throw closedError()
  }
}

/** A thread's part of a heap that another one made. */
class Attachment {
  readonly mapper: Mapper
  readonly tiers: TCMalloc

  constructor(mapper: Mapper, tiers: TCMalloc) {
    this.mapper = mapper
    this.tiers = tiers
  }
}

function createTiers(options: HeapOptions): Attachment {
  checkOptions(options)
  const reservation = checkReservation(options)
  const threadCache = checkBoolean('threadCache', options.threadCache, true)
  const cacheBytes = checkInteger('cacheBytes', options.cacheBytes, 0, MOST_CACHE_BYTES, DEFAULT_CACHE_BYTES)
  const releaseRate = checkNumber('releaseRate', options.releaseRate, 0, 10000, 1)
  const mapper = options.mapper ?? openMapper(options.ledger ?? {})
  const tiers = TCMalloc.create(mapper, {
    ...reservation,
    cacheBytes: threadCache ? cacheBytes : 0,
    releaseRate,
  })
  return new Attachment(mapper, tiers)
}

function throwClosed(): never {
  throw closedError()
}

function notOurs(address: number): AllocatorError {
  return new AllocatorError('ERR_HEAP_INVALID_ADDRESS', "the view is not of this heap's memory", { address })
}

/** Whether a value is a small integer to V8, and not negative. */
function isNatural32(value: unknown): value is number {
  return typeof value === 'number' && (value | 0) === value && value >= 0
}
