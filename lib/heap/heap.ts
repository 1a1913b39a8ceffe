import { isSharedArrayBuffer } from 'node:util/types'
import type { Address, Allocator, HeapStats } from '../base/allocator.ts'
import {
  checkAlignment,
  checkBoolean,
  checkCount,
  checkOptions,
  checkSupported,
  checkViewLength,
} from '../base/arguments.ts'
import { AllocatorError, wrongType } from '../base/errors.ts'
import { makePrintable } from '../base/printed.ts'
import type { ArrayOf, BufferOptions, TypedArrayConstructor } from '../buffers/heap-buffers.ts'
import { HeapView } from '../buffers/heap-view.ts'
import type { DetailedStats } from '../buffers/owner-stats.ts'
import type { PassedBlock } from '../buffers/passed-block.ts'
import { type Finding, tell } from '../debug/misuse.ts'
import { type Arena, type ArenaOptions, openArena } from '../lifetime/arena.ts'
import { allocateBlock, type Block } from '../lifetime/block.ts'
import type { LeaseOptions } from '../lifetime/block-leases.ts'
import { HandleTable, type HandleTableOptions } from '../lifetime/handle-table.ts'
import { HeapHost, HOST, opensHeaps } from '../lifetime/host.ts'
import type { Lease } from '../lifetime/lease.ts'
import { Loop } from '../memory/block-bytes.ts'
import { Address32, Granule, isNatural32 } from '../memory/page.ts'
import { doorNamed } from '../os/open-mapper.ts'
import { Small } from '../tcmalloc/size-class.ts'
import { TCMalloc } from '../tcmalloc/tcmalloc.ts'
import { COPY, checkToken, type HeapToken, TOKEN_VERSION, whyUnknown } from '../tcmalloc/token.ts'
import { givenBack, wrongAddress } from '../tcmalloc/wrong-address.ts'
import { Attachment, type AttachOptions, checkWatch, type HeapOptions, Opening } from './heap-options.ts'

const STATS_OPTIONS = { detail: true } as const

/** The calls that have a slow path. */
const enum Call {
  Malloc,
  Free,
  Calloc,
  Realloc,
  AlignedAlloc,
}

/**
 * TCMalloc's design. Small blocks (up to 256 KiB) come from this thread's own cache, which a central cache fills from spans of pages;
 * medium (to 1 MiB) and large blocks are spans of their own. Every call is checked, always.
 * @example
 * ```ts
 * import { Heap } from 'spanheap'
 *
 * using heap = new Heap({ limitBytes: 256 * 2 ** 20 })
 * const buffer = heap.allocBuffer(65536) // a Node Buffer; contents undefined
 * buffer.fill(7)
 * heap.freeBuffer(buffer)
 *
 * const address = heap.malloc(100) // as in C: an offset in the heap
 * heap.view(address, 100).fill(7)
 * heap.free(address)
 * console.log(heap.stats().liveBytes) // 0
 * ```
 */
export class Heap extends Opening implements Allocator {
  /**
   * Whether this thread's part of the memory is given back. `HeapHost.isOpen` ends earlier: `close` may wait for operations in between, or
   * be struck, and then goes on when it is called again.
   */
  #isClosed = false
  readonly #mapper = Opening.made!.mapper
  readonly #tiers = Opening.made!.tiers
  readonly #watch = Opening.made!.watch
  // Read on the usual path; the same objects as the tiers'.
  readonly #cache = this.#tiers.cache
  readonly #classBySize = this.#tiers.classBySize
  /** The first address behind the heap. */
  readonly #endAddress = this.#tiers.endAddress
  readonly #buffer = this.#tiers.mapping.buffer as SharedArrayBuffer
  readonly #host = new HeapHost(this, this.#tiers, this.#mapper, this.#watch)
  readonly #memory = this.#host.memory
  readonly #bytes = this.#host.bytes
  readonly #buffers = this.#host.buffers
  readonly #arenas = this.#host.arenas

  /** @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY` if the system refuses even a small reservation */
  constructor(options?: HeapOptions)
  /** @internal One more thread attaches to an existing heap. */
  constructor(options: Attachment)
  constructor(options: HeapOptions | Attachment = {}) {
    super(options)
    Opening.made = undefined
  }

  /**
   * All of the heap's address space, for Atomics and for trusted code: a write beyond the pages that have grown ends the process. A block's
   * address is its offset here. Buffers and views of the heap are over an ordinary ArrayBuffer of the same memory. Without the addon it is
   * a growable SharedArrayBuffer, or a resizable ArrayBuffer if the heap is made without the option `shared`.
   */
  get buffer(): SharedArrayBuffer {
    return this.#buffer
  }

  /** The heap's parts, for the library itself. @hidden */
  get [HOST](): HeapHost {
    return this.#host
  }

  /**
   * Opens a heap of another thread in this one: allocate here, free there. Close it here when this thread is done with it; the last close
   * frees the memory. If a thread ends without closing, the other threads clear up after it.
   * @param token the value of `share`, from this process
   * @param options `leaks` selects which of this thread's buffers are watched; `mapper` is for tests that attach in the thread that
   * simulates the system, and is that same mapper
   * @throws AllocatorError `ERR_HEAP_INVALID_TOKEN` (no token, of another version, or of a heap that is closed),
   * `ERR_HEAP_TOO_MANY_WORKERS`, `ERR_HEAP_UNSUPPORTED` (this thread can't load the addon that the heap was made with)
   */
  static attach(token: HeapToken, options: AttachOptions = {}): Heap {
    checkToken(token)
    const watch = checkWatch(options)
    const mapper = options.mapper ?? doorNamed(token.system)
    if (mapper === undefined)
      throw new AllocatorError('ERR_HEAP_UNSUPPORTED', `a heap over ${token.system} memory can't be attached here`)
    const heap = new Heap(new Attachment(mapper, TCMalloc.attach(mapper, token, whyUnknown(token)), watch))
    heap.#host.clearUp()
    return heap
  }

  /**
   * A token by which other threads of this process attach: for `workerData` or `postMessage`. It holds the heap's addresses, so anyone who
   * has it knows them.
   * @throws AllocatorError `ERR_HEAP_NOT_SHARED` without the addon, if the heap was made without the option `shared`
   */
  share(): HeapToken {
    this.#host.checkOpen()
    if (!isSharedArrayBuffer(this.#buffer))
      throw new AllocatorError(
        'ERR_HEAP_NOT_SHARED',
        'without the addon, only a heap made with { shared: true } can be shared'
      )
    return { spanheap: TOKEN_VERSION, system: this.#mapper.name, copy: COPY, ...this.#tiers.share() }
  }

  /** Gives this thread's cache back to the other threads. For a thread that will be idle: a worker that waits for work, say. */
  threadIdle(): void {
    this.#host.checkOpen()
    this.#tiers.idle()
  }

  /**
   * A Buffer of exactly `size` bytes over a block of its own, until `freeBuffer`. Its contents are undefined, like those of
   * `Buffer.allocUnsafe`. Its `buffer` is the whole heap's: any code that gets it can read and change everything.
   * @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY`; RangeError `ERR_OUT_OF_RANGE` also if Node can't make a Buffer of that length
   */
  allocBuffer(size: number, options?: BufferOptions): Buffer<ArrayBuffer> {
    if (isNatural32(size) && options === undefined && this.#watch.untilWatched > 0) {
      const memory = this.#memory.current
      const granule =
        size <= Small.MostBytes
          ? this.#cache.pop(this.#classBySize[(size + (Granule.Bytes - 1)) >>> Granule.Shift]!)
          : this.#tiers.takeKept(size)
      if (granule !== 0) {
        this.#watch.untilWatched--
        const address = granule * Granule.Bytes
        const isLow = granule <= Address32.MostGranule
        return HeapView.buffer(isLow ? memory : this.#memory.over(address, size), address, size, this, granule)
      }
    }
    return this.#buffers.allocate(size, options)
  }

  /** A typed array of `length` elements, of any class, over a block of its own; free it by `freeBuffer`. */
  allocArray<Class extends TypedArrayConstructor>(
    type: Class,
    length: number,
    options: BufferOptions = {}
  ): ArrayOf<Class> {
    return this.#buffers.allocateArray(type, length, options) as ArrayOf<Class>
  }

  /** A block for `using`. Any use after its free throws. @throws as `allocBuffer` */
  block(size: number, options?: BufferOptions): Block {
    return allocateBlock(this.#host, size, options)
  }

  /**
   * A buffer of exactly `size` bytes with a count of its users, which goes back with the last of them. Nothing else can free its block.
   * @throws as `allocBuffer`
   */
  lease(size: number, options?: LeaseOptions): Lease<Buffer<ArrayBuffer>> {
    return this.#host.leases.lease(size, options)
  }

  /** Takes a passed block, as `adopt` does, in a lease. @throws as `adopt` */
  adoptLease(passed: PassedBlock): Lease<Buffer<ArrayBuffer>> {
    return this.#host.leases.adopt(passed)
  }

  /** An arena for `using`: all its allocations are freed at once. @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY` */
  arena(options: ArenaOptions = {}): Arena {
    return openArena(this.#host, options)
  }

  /** A table of blocks known by handles; a stale handle is recognized. @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY` */
  handles(options?: HandleTableOptions): HandleTable {
    return new HandleTable(this, options)
  }

  /**
   * Frees the block that a view starts with: any view, in any thread that has the heap open. Other views of it show the memory's next
   * contents. Freeing a Buffer from `allocBuffer` twice is an error even if its block has a new owner by then.
   * @throws AllocatorError `ERR_HEAP_DOUBLE_FREE`, `ERR_HEAP_INVALID_ADDRESS` (a part of a block that doesn't start with it, a
   * pool's buffer, or no memory of this heap)
   */
  freeBuffer(view: ArrayBufferView): void {
    const key = typeof view === 'object' && view !== null ? HeapView.keyOf(view, this) : 0
    if (key > 0) {
      if (!this.#cache.push(key)) this.slow(Call.Free, key * Granule.Bytes)
      HeapView.revoke(view)
    } else if (key === 0) {
      this.freeOther(view)
    } else {
      this.#host.checkOpen()
      throw givenBack(-key * Granule.Bytes)
    }
  }

  /**
   * Gives up the block that a view starts with. It has no owner until a thread adopts it, and nothing else can be done with it. The
   * returned value is small and plain, and stands for exactly the view's bytes: send it by `postMessage`, `workerData`, or any other way to
   * a thread that has this heap open. Until then the block counts in `stats().passedBytes`.
   * @throws AllocatorError `ERR_HEAP_INVALID_ADDRESS` (no live block of the heap starts there, or only a pool, an arena or a table may free
   * it, or it was passed already), `ERR_HEAP_DOUBLE_FREE`, `ERR_HEAP_OUT_OF_MEMORY` if 2^20 blocks wait to be adopted; RangeError
   * `ERR_OUT_OF_RANGE` if the view is longer than its block, or its `byteLength` isn't its real length
   */
  pass(view: ArrayBufferView): PassedBlock {
    return this.#buffers.pass(view, this.#host.passable(view))
  }

  /**
   * Takes a passed block, once, in any thread that has this heap open. The thread that passed it may take it back if no other has adopted
   * it. The block then belongs to this thread, which frees it by `freeBuffer`. A block that was watched for a leak (see the option `leaks`)
   * is watched in this thread.
   * @throws AllocatorError `ERR_HEAP_STALE_HANDLE` if it was adopted already, or the value is another heap's, or `pass` never gave it;
   * TypeError `ERR_INVALID_ARG_TYPE` if it isn't an object
   */
  adopt(passed: PassedBlock): Buffer<ArrayBuffer> {
    this.#host.checkOpen()
    return this.#buffers.adopt(passed)
  }

  /**
   * The address of the block that a view starts with. Any view of this heap's memory will do, including one of `buffer`.
   * @throws AllocatorError `ERR_HEAP_INVALID_ADDRESS`, `ERR_HEAP_DOUBLE_FREE` if the block is free
   */
  addressOf(view: ArrayBufferView): Address {
    if (!ArrayBuffer.isView(view)) throw wrongType('view', 'a view of a buffer', view)
    this.#host.checkOpen()
    const offset = this.#host.offsetOf(view)
    return offset < 0 ? this.#buffers.isolated.addressOf(view) : this.#host.liveGranule(offset) * Granule.Bytes
  }

  /**
   * A Buffer over the first `length` bytes of a live block, by default all usable ones. Nothing is copied, and the block's owner stays the
   * same.
   */
  bufferAt(address: Address, length?: number): Buffer<ArrayBuffer> {
    const bytes = checkViewLength(length, this.usableSize(address))
    const granule = address / Granule.Bytes
    const { buffer, byteOffset } = this.#memory.at(address, bytes)
    return HeapView.buffer(buffer, byteOffset, bytes, this, granule)
  }

  /** Stops watching a buffer (see the option `leaks`): because it goes to another thread by postMessage, say, and is freed there. */
  unwatch(view: ArrayBufferView): void {
    this.#buffers.unwatch(this.addressOf(view) / Granule.Bytes)
  }

  malloc(size: number): Address {
    if (typeof size === 'number' && size >>> 0 === size && size <= Small.MostBytes) {
      const granule = this.#cache.pop(this.#classBySize[(size + (Granule.Bytes - 1)) >>> Granule.Shift]!)
      // One comparison for both: it is an object, and its address a small integer.
      if ((granule - 1) >>> 0 < Address32.MostGranule) return granule << Granule.Shift
      if (granule !== 0) return granule * Granule.Bytes
    }
    // The plus tells V8 that it is a number: in a caller that wants an integer, none of the three is converted to a double.
    return +this.slow(Call.Malloc, size)
  }

  free(address: Address): void {
    // One comparison for all: a small integer, not negative, a multiple of 16. Its granule has a state, whatever the limit.
    if (typeof address === 'number' && (address & Address32.Right) === address) {
      if (this.#cache.push(address >>> Granule.Shift)) return
    }
    this.slow(Call.Free, address)
  }

  calloc(count: number, size: number): Address {
    if (isNatural32(count) && isNatural32(size) && count * size <= Loop.MostCleared) {
      const bytes = count * size
      const granule = this.#cache.pop(this.#classBySize[(bytes + (Granule.Bytes - 1)) >>> Granule.Shift]!)
      if ((granule - 1) >>> 0 < Address32.MostGranule) {
        this.#bytes.zeroShort(granule << Granule.Shift, bytes)
        return granule << Granule.Shift
      }
      this.#cache.push(granule) // it is above 2 GiB, or there is none
    }
    return +this.slow(Call.Calloc, count, size)
  }

  realloc(address: Address, size: number): Address {
    if (
      typeof address === 'number' &&
      (address & Address32.Right) === address &&
      typeof size === 'number' &&
      size >>> 0 === size &&
      size <= Small.MostBytes
    ) {
      const cache = this.#cache
      const granule = address >>> Granule.Shift
      const usable = cache.smallBytes(granule)
      if (usable >= size && usable > 0) {
        if (usable <= size * 2 || usable === Granule.Bytes) return address
      } else if (usable > 0 && usable <= Loop.MostCopied) {
        const moved = cache.pop(this.#classBySize[(size + (Granule.Bytes - 1)) >>> Granule.Shift]!)
        if ((moved - 1) >>> 0 < Address32.MostGranule) {
          this.#bytes.copyGranules(moved, granule, usable)
          if (!cache.push(granule)) this.#tiers.free(granule)
          return moved << Granule.Shift
        }
        cache.push(moved) // it is above 2 GiB, or there is none
      }
    }
    return +this.slow(Call.Realloc, address, size)
  }

  alignedAlloc(alignment: number, size: number): Address {
    return this.slow(Call.AlignedAlloc, alignment, size)
  }

  usableSize(address: Address): number {
    return this.#tiers.usableBytes(this.#host.liveGranule(address))
  }

  view(address: Address, length?: number): Uint8Array<ArrayBuffer> {
    const bytes = checkViewLength(length, this.usableSize(address))
    return new Uint8Array(this.#memory.over(address, bytes), address, bytes)
  }

  override stats(options?: { detail?: false }): HeapStats
  /** With `detail`, also the watched and pooled memory of this thread, by tag. */
  override stats(options: { detail: true }): DetailedStats
  override stats(options: { detail?: boolean } = {}): HeapStats | DetailedStats {
    checkOptions(options, STATS_OPTIONS)
    const stats = super.stats()
    if (!checkBoolean('detail', options.detail, false)) return stats
    return { ...stats, owners: this.#host.isOpen ? this.#buffers.ownerStats() : [] }
  }

  audit(): void {
    this.#host.checkOpen()
    this.#tiers.audit()
    throwFirst(this.#host.debug?.inspect())
  }

  /**
   * First gives back the caller's thread cache, since one cached object keeps a span from becoming free. In debug mode and without a
   * number, also gives back the blocks in quarantine.
   */
  releaseFreeMemory(bytes?: number): number {
    if (bytes !== undefined) checkCount('bytes', bytes)
    this.#host.checkOpen()
    this.#host.clearUp()
    return this.#tiers.release(bytes)
  }

  close(): void {
    if (this.#host.isOpen) this.#buffers.closeOwners()
    if (this.#isClosed) return
    if (this.#host.isOpen) {
      this.#arenas.close()
      // First close the heap to its own thread, in case the thread is struck before this ends. The usual path doesn't check for that, and
      // another thread may soon have the slot's area: so take from it what it needs.
      this.beginClose()
      this.#host.isOpen = false
      this.#tiers.seal()
      this.#watch.seal()
      this.#buffers.closeOwners() // nothing waits for buffers that are still out
    }
    if (this.#host.operations.areUnderWay) return // the last one's end calls this again
    const { member } = this.#tiers
    const found = member.isOver ? undefined : this.#host.debug?.inspect()
    if (!member.isOver) this.#host.shared.close()
    const last = member.close()
    this.#isClosed = true
    this.endClose(last)
    throwFirst(found)
  }

  /** @internal */
  protected ownStats(): ReturnType<TCMalloc['stats']> {
    this.#host.clearUp()
    this.#arenas.prune()
    return this.#tiers.stats()
  }

  /**
   * The unusual cases of all five calls: an empty or a full stack, blocks that are large or above 2 GiB, wrong arguments, a closed heap. It
   * is one function, so that its bytecode exceeds 460 bytes and V8 inlines it nowhere. Five separate ones were inlined into malloc and free
   * in every program that calls these, and left no room for malloc and free themselves (V8 stops at 920 bytes a function). A replay took 30
   * % longer.
   */
  private slow(call: Call.Malloc, size: number): number
  private slow(call: Call.Free, address: Address): number
  private slow(call: Call.Calloc, count: number, size: number): number
  private slow(call: Call.Realloc, address: Address, size: number): number
  private slow(call: Call.AlignedAlloc, alignment: number, size: number): number
  private slow(call: Call, first: number, second = 0): number {
    let granule: number
    switch (call) {
      case Call.Malloc: {
        const size = checkCount('size', first)
        this.#host.checkOpen()
        do
          granule =
            size <= Small.MostBytes
              ? this.#tiers.allocateSmall(this.#classBySize[(size + (Granule.Bytes - 1)) >>> Granule.Shift]!)
              : this.#tiers.allocateLarge(size, undefined)
        while (granule === 0 && this.#host.makeRoom(size))
        return granule * Granule.Bytes
      }
      case Call.Free: {
        const address = first
        if (typeof address === 'number' && address > Address32.Most && address < this.#endAddress) {
          granule = (address / Granule.Bytes) | 0 // above 2 GiB, a small integer again
          if (granule * Granule.Bytes === address && this.#cache.push(granule)) return 0
        }
        if (!this.#tiers.free(this.#host.ownGranule(address))) throw wrongAddress(this.#tiers, address)
        return 0
      }
      case Call.Calloc: {
        const size = checkCount('count', first) * checkCount('size', second)
        this.#host.checkOpen()
        if (size <= Small.MostBytes) {
          const address = this.malloc(size)
          this.#bytes.zero(address, size)
          return address
        }
        do granule = this.#tiers.allocateLarge(size, this.#bytes)
        while (granule === 0 && this.#host.makeRoom(size))
        return granule * Granule.Bytes
      }
      case Call.Realloc: {
        if (first === 0) return this.malloc(second)
        const address = checkCount('address', first)
        const size = checkCount('size', second)
        // Keep it watched until it is certain that the block moves: if there is no memory for it, everything stays as it was.
        granule = this.#host.unpooledGranule(address)
        if (this.#tiers.resize(granule, size)) {
          this.#buffers.unwatch(granule)
          return address
        }
        const moved = this.malloc(size)
        this.#bytes.copy(moved, address, Math.min(size, this.#tiers.usableBytes(granule)))
        this.free(address)
        return moved
      }
      case Call.AlignedAlloc: {
        const alignment = checkAlignment(first)
        const size = checkCount('size', second)
        this.#host.checkOpen()
        if (alignment <= Granule.Bytes) return this.malloc(size)
        checkSupported(alignment, this.#mapper.maxAlignment, size)
        do granule = this.#tiers.allocateAligned(alignment, size)
        while (granule === 0 && this.#host.makeRoom(size))
        return granule * Granule.Bytes
      }
    }
  }

  /** Frees the block that a view starts with if this thread didn't make the view: by its address, or an isolated one. */
  private freeOther(view: ArrayBufferView): void {
    this.#host.checkOpen()
    if (ArrayBuffer.isView(view) && this.#host.offsetOf(view) < 0) this.#buffers.isolated.free(view)
    else this.free(this.addressOf(view))
  }
}

makePrintable(Heap, 'Heap')
opensHeaps((token) => Heap.attach(token))

/** Throws the first finding of debug mode, from a call that may throw it. */
function throwFirst(found: readonly Finding[] = []): void {
  const [first] = found.map((one) => tell(one))
  if (first !== undefined) throw first
}
