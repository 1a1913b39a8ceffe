import { type Address, type Allocator, type HeapStats, NO_BYTES } from '../base/allocator.ts'
import {
  checkAlignment,
  checkChoice,
  checkCount,
  checkNumber,
  checkOptions,
  checkSupported,
  checkViewLength,
  type OptionNames,
} from '../base/arguments.ts'
import { AllocatorError, outOfMemory } from '../base/errors.ts'
import { makePrintable, staysHere } from '../base/printed.ts'
import { BlockBytes } from '../memory/block-bytes.ts'
import { MappedHeap } from '../memory/mapped-heap.ts'
import { Granule, MOST_HEAP_BYTES } from '../memory/page.ts'
import { checkHeapLimit } from '../memory/reservation.ts'
import { ViewMemory } from '../memory/view-memory.ts'
import type { Mapper } from '../os/mapper.ts'
import type { LedgerOptions } from '../os/native-mapper.ts'
import { openMapper } from '../os/open-mapper.ts'
import { audit } from './audit.ts'
import { Collector } from './collector.ts'
import { checkGrowth, type Growth } from './growth.ts'
import { ListAllocator } from './list-allocator.ts'
import { Mutator, type MutatorHeap } from './mutator.ts'
import { HeaderSize, usedState } from './object-header.ts'
import type { ObjectType } from './object-type.ts'

const DEFAULT_COLLECT_AFTER_BYTES = 32 * 2 ** 20

/** Options of a {@link FreeListHeap}. */
export interface FreeListHeapOptions {
  /**
   * The most bytes that the heap may map for blocks, up to 32 GiB.
   * @default three quarters of the machine's memory, or of the tightest limit of the process's cgroups
   */
  limitBytes?: number
  /**
   * First fit over `all` blocks, as in the textbook heap, or over the `free` ones only: faster, and it chooses the same blocks.
   * @default 'all'
   */
  search?: 'all' | 'free'
  /**
   * By how much the heap grows.
   * @default { percent: 25 }
   */
  growth?: Growth
  /**
   * How many bytes of objects may be allocated between two collections. `Infinity`: until memory runs out.
   * @default 32 * 2 ** 20
   */
  collectAfterBytes?: number
  /**
   * Which system calls are recorded, beside the counts in `stats()`.
   * @default counts only
   */
  ledger?: LedgerOptions
  /**
   * The source of memory; tests give a simulated one.
   * @default the operating system
   */
  mapper?: Mapper
}

const LIST_OPTIONS: OptionNames<FreeListHeapOptions> = {
  limitBytes: true,
  search: true,
  growth: true,
  collectAfterBytes: true,
  ledger: true,
  mapper: true,
}

/**
 * The textbook heap: one contiguous block of memory, a header in front of each block in it, and one list of all blocks, which every malloc
 * searches from its start. It exists for comparison: its time grows with the number of blocks. One worker may use it.
 * @example
 * ```ts
 * import { FreeListHeap } from 'spanheap/freelist'
 *
 * using heap = new FreeListHeap({ search: 'free' })
 * const address = heap.malloc(100)
 * heap.view(address).fill(7)
 * heap.free(address)
 * console.log(heap.stats().liveBytes) // 0
 * ```
 */
export class FreeListHeap extends MappedHeap implements Allocator {
  /** @internal */ readonly notCloneable = staysHere('a FreeListHeap')
  readonly #buffer: SharedArrayBuffer
  readonly #memory: ViewMemory
  readonly #mapper: Mapper
  readonly #allocator: ListAllocator
  readonly #collector: Collector
  readonly #bytes: BlockBytes
  readonly #mutatorHeap: MutatorHeap

  static {
    makePrintable(FreeListHeap, 'FreeListHeap')
  }

  /** @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY` if the system refuses even a small reservation */
  constructor(options: FreeListHeapOptions = {}) {
    checkOptions(options, LIST_OPTIONS)
    const limit = checkHeapLimit(options.limitBytes)
    const search = checkChoice('search', options.search, ['all', 'free'], 'all')
    const after = checkNumber(
      'collectAfterBytes',
      options.collectAfterBytes,
      0,
      Number.POSITIVE_INFINITY,
      DEFAULT_COLLECT_AFTER_BYTES
    )
    const mapper = options.mapper ?? openMapper(options.ledger ?? {})
    super(mapper)
    this.#mapper = mapper
    const growth = checkGrowth(options.growth, mapper.systemPageSize)
    this.#allocator = new ListAllocator(mapper, { limit, search, growth })
    this.#collector = new Collector(this.#allocator, after)
    const { mapping } = this.#allocator
    this.#buffer = mapping.buffer as SharedArrayBuffer
    this.#memory = new ViewMemory(mapping)
    this.#bytes = new BlockBytes(mapping.unshared())
    this.#mutatorHeap = {
      memory: this.#memory,
      collector: this.#collector,
      allocateObject: (type) => this.allocateObject(type),
      checkOpen: () => this.checkOpen(),
    }
  }

  /** All of the heap's address space, headers included. A block's address is its offset here. */
  get buffer(): SharedArrayBuffer {
    return this.#buffer
  }

  malloc(size: number): Address {
    checkCount('size', size)
    this.checkOpen()
    return addressOf(this.obtain(size, Granule.Bytes, 0))
  }

  calloc(count: number, size: number): Address {
    const bytes = checkCount('count', count) * checkCount('size', size)
    this.checkOpen()
    const address = addressOf(this.obtain(bytes, Granule.Bytes, 0))
    this.#bytes.zero(address, bytes)
    return address
  }

  realloc(address: Address, size: number): Address {
    if (address === 0) return this.malloc(size)
    const block = this.ownBlock(address)
    checkCount('size', size)
    if (size <= MOST_HEAP_BYTES && this.#allocator.resize(block, granulesFor(size))) return address
    const usable = this.usableBytes(block)
    const moved = this.malloc(size)
    this.#bytes.copy(moved, address, Math.min(size, usable))
    this.#allocator.free(block)
    return moved
  }

  alignedAlloc(alignment: number, size: number): Address {
    checkAlignment(alignment)
    checkCount('size', size)
    this.checkOpen()
    checkSupported(alignment, this.#mapper.maxAlignment, size)
    return addressOf(this.obtain(size, Math.max(alignment, Granule.Bytes), 0))
  }

  /** The program can't free an object of a mutator: that is `ERR_HEAP_INVALID_ADDRESS`. */
  free(address: Address): void {
    this.#allocator.free(this.ownBlock(address))
  }

  usableSize(address: Address): number {
    return this.usableBytes(this.liveBlock(address))
  }

  view(address: Address, length?: number): Uint8Array<ArrayBuffer> {
    const usable = this.usableBytes(this.liveBlock(address))
    const bytes = checkViewLength(length, usable)
    return new Uint8Array(this.#memory.over(address, bytes), address, bytes)
  }

  /** A holder of collected objects. A program may have several: each holds the objects that its handles name. */
  mutator(): Mutator {
    this.checkOpen()
    return new Mutator(this.#mutatorHeap)
  }

  /** Scans the whole heap, and frees the objects that no mutator's handles reach. Returns the bytes that were freed. */
  collect(): number {
    this.checkOpen()
    return this.#collector.collect()
  }

  /** Collections so far, including those that an allocation caused. */
  get collections(): number {
    return this.#collector.collections
  }

  audit(): void {
    this.checkOpen()
    audit(this.#allocator, this.#collector)
  }

  /** Gives back whole system pages inside free blocks. */
  releaseFreeMemory(bytes?: number): number {
    if (bytes !== undefined) checkCount('bytes', bytes)
    this.checkOpen()
    const { systemPageSize } = this.#mapper
    return this.#allocator.release(Math.ceil((bytes ?? MOST_HEAP_BYTES) / systemPageSize)) * systemPageSize
  }

  close(): void {
    if (!this.beginClose()) return
    this.#allocator.close()
    this.endClose()
  }

  /** @internal */
  protected ownStats(): Omit<HeapStats, 'syscalls' | 'system'> {
    const allocator = this.#allocator
    const { mappedBytes, headerBytes, releasedBytes } = allocator
    const liveBytes = allocator.liveGranules * Granule.Bytes
    return {
      ...NO_BYTES,
      liveBytes,
      mappedBytes,
      reservedBytes: allocator.reservedBytes,
      centralCacheBytes: headerBytes,
      pageHeapFreeBytes: mappedBytes - liveBytes - headerBytes - releasedBytes,
      pageHeapReleasedBytes: releasedBytes,
      metadataBytes: allocator.tables.touchedBytes(mappedBytes),
      peakLiveBytes: allocator.peakLiveGranules * Granule.Bytes,
      peakMappedBytes: mappedBytes, // it never shrinks
      threads: 1,
    }
  }

  private allocateObject(type: ObjectType): number {
    this.#collector.prepare(type.size)
    const block = this.obtain(type.size, Granule.Bytes, type.id)
    this.#bytes.zero(addressOf(block), type.size)
    this.#collector.count(type.size)
    return block
  }

  /** A block; if there is no memory for it, unreachable objects make room. */
  private obtain(bytes: number, alignment: number, type: number): number {
    if (bytes > MOST_HEAP_BYTES) throw outOfMemory(bytes, 0)
    const allocator = this.#allocator
    const granules = granulesFor(bytes)
    let block = allocator.allocate(granules, alignment / Granule.Bytes, usedState(type))
    if (block === 0 && this.#collector.collect() > 0) {
      block = allocator.allocate(granules, alignment / Granule.Bytes, usedState(type))
    }
    if (block === 0) throw outOfMemory(bytes, allocator.lastErrno)
    return block
  }

  private usableBytes(block: number): number {
    return this.#allocator.list.size(block) * Granule.Bytes
  }

  /** The block at an address, if the program may free it. */
  private ownBlock(address: Address): number {
    const block = this.liveBlock(address)
    if (this.#allocator.list.typeOf(block) === 0) return block
    throw new AllocatorError('ERR_HEAP_INVALID_ADDRESS', `the object at ${address} is the collector's`, { address })
  }

  /** The block at an address. @throws the error for any other address */
  private liveBlock(address: Address): number {
    checkCount('address', address)
    this.checkOpen()
    const { list } = this.#allocator
    const block = address / Granule.Bytes - HeaderSize.Granules
    if (!list.isBlock(block)) {
      throw new AllocatorError('ERR_HEAP_INVALID_ADDRESS', `no block starts at ${address}`, { address })
    }
    list.following(block)
    if (list.isUsed(block)) return block
    throw new AllocatorError('ERR_HEAP_DOUBLE_FREE', `the block at ${address} is free already`, { address })
  }
}

function addressOf(block: number): Address {
  return (block + HeaderSize.Granules) * Granule.Bytes
}

/** Even size 0 has a granule, so that its address is its own. */
function granulesFor(bytes: number): number {
  return Math.max(1, Math.ceil(bytes / Granule.Bytes))
}
