import type { Address, Allocator } from '../base/allocator.ts'
import {
  checkAlignment,
  checkCount,
  checkInteger,
  checkOptions,
  checkSupported,
  checkViewLength,
  type OptionNames,
} from '../base/arguments.ts'
import { AllocatorError, closedError, outOfMemory, outOfRange, wrongType } from '../base/errors.ts'
import { makePrintable, staysHere } from '../base/printed.ts'
import { BlockBytes, Loop } from '../memory/block-bytes.ts'
import { MappedHeap } from '../memory/mapped-heap.ts'
import { Address32, Granule, isNatural32, Page } from '../memory/page.ts'
import { checkHeapLimit } from '../memory/reservation.ts'
import { ViewMemory } from '../memory/view-memory.ts'
import type { Mapper } from '../os/mapper.ts'
import type { LedgerOptions } from '../os/native-mapper.ts'
import { openMapper } from '../os/open-mapper.ts'
import type { CycleRecord, GoMemStats } from './mem-stats.ts'
import { GoSmall } from './size-class.ts'
import { Word8 } from './span.ts'
import { GoTiers } from './tiers.ts'
import type { TypeId, TypeLayout } from './types.ts'

/** Go's GOGC. */
const DEFAULT_GC_PERCENT = 100
const MOST_GC_PERCENT = 1_000_000

/** The calls that have a slow path. */
const enum Call {
  Refill,
  Malloc,
  Free,
  Calloc,
  Realloc,
  AlignedAlloc,
  Allocate,
}

/** Options of a {@link GoHeap}. */
export interface GoHeapOptions {
  /**
   * The most bytes that the heap may map for objects, up to 32 GiB.
   * @default three quarters of the machine's memory, or of the tightest limit of the process's cgroups
   */
  limitBytes?: number
  /**
   * Go's GOGC: how much may be allocated before a cycle ends, in per cent of what the last cycle found live; -1 is off.
   * @default 100
   */
  gcPercent?: number
  /**
   * Go's GOMEMLIMIT, in bytes: a soft limit, which the collector works harder to keep.
   * @default Infinity
   */
  memoryLimit?: number
  /**
   * Called with a record of each cycle of the collector when it has ended; as a string the record is a line like Go's gctrace.
   * @default undefined
   */
  onCycle?: (record: CycleRecord) => void
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

const GO_OPTIONS: OptionNames<GoHeapOptions> = {
  limitBytes: true,
  gcPercent: true,
  memoryLimit: true,
  onCycle: true,
  ledger: true,
  mapper: true,
}

/**
 * Go's design, with its collector. Objects from `allocate` are typed, and live while they are reachable from roots. Blocks from `malloc`
 * are freed by the program. They hold no pointers for the collector, which neither moves nor frees them. A cycle of the collector advances
 * only inside `collect`, `collectStep` and calls that allocate. One thread only.
 * @example
 * ```ts
 * import { GoHeap } from 'spanheap/go'
 *
 * using heap = new GoHeap()
 * const node = heap.defineType({ size: 16, pointers: [0] }) // a pointer, then 8 bytes of data
 * const list = heap.allocate(node)
 * const root = heap.addRoot(list)
 * heap.setPointer(list, 0, heap.allocate(node))
 * heap.collect()
 * console.log(heap.memStats().HeapObjects) // 2
 * heap.removeRoot(root)
 * heap.collect()
 * console.log(heap.getPointer(heap.allocate(node), 0)) // 0
 * ```
 */
export class GoHeap extends MappedHeap implements Allocator {
  /** @internal */ readonly notCloneable = staysHere('a GoHeap')
  readonly #buffer: SharedArrayBuffer
  readonly #memory: ViewMemory
  readonly #mapper: Mapper
  readonly #tiers: GoTiers
  readonly #bytes: BlockBytes

  // Read on the usual path; the same objects as the tiers'.
  readonly #manual: GoTiers['manual']
  readonly #objects: GoTiers['objects']
  readonly #classBySize16: Int8Array

  static {
    makePrintable(GoHeap, 'GoHeap')
  }

  /** @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY` if the system refuses even a small reservation */
  constructor(options: GoHeapOptions = {}) {
    checkOptions(options, GO_OPTIONS)
    const reservation = { ...checkHeapLimit(options.limitBytes), shared: false }
    const gcPercent = checkInteger('gcPercent', options.gcPercent, -1, MOST_GC_PERCENT, DEFAULT_GC_PERCENT)
    const memoryLimit = checkLimit(options.memoryLimit)
    const { onCycle } = options
    if (onCycle !== undefined && typeof onCycle !== 'function') throw wrongType('onCycle', 'a function', onCycle)
    const mapper = options.mapper ?? openMapper(options.ledger ?? {})
    super(mapper)
    this.#mapper = mapper
    this.#tiers = new GoTiers(mapper, reservation, { gcPercent, memoryLimit, onCycle })
    this.#buffer = this.#tiers.mapping.buffer as SharedArrayBuffer
    this.#memory = new ViewMemory(this.#tiers.mapping)
    this.#bytes = new BlockBytes(this.#tiers.mapping.unshared())
    this.#manual = this.#tiers.manual
    this.#objects = this.#tiers.objects
    this.#classBySize16 = this.#tiers.classBySize16
  }

  /** All of the heap's address space; an address is an offset here. For trusted code: a write beyond the grown part ends the process. */
  get buffer(): SharedArrayBuffer {
    return this.#buffer
  }

  malloc(size: number): Address {
    if (typeof size === 'number' && (size | 0) === size && size >>> 0 <= GoSmall.MostBytes) {
      const sizeClass = this.#classBySize16[(size + (Granule.Bytes - 1)) >>> Granule.Shift]!
      const granule = this.#manual.pop(sizeClass)
      if ((granule - 1) >>> 0 < Address32.MostGranule) return granule << Granule.Shift
      if (granule !== 0) return granule * Granule.Bytes
      return +this.slow(Call.Refill, sizeClass, size)
    }
    return +this.slow(Call.Malloc, size, 0)
  }

  free(address: Address): void {
    // A small integer, not negative, a multiple of 16: its granule then has a bit, whatever the limit.
    if (typeof address === 'number' && (address | 0) === address && (address & Address32.Wrong) === 0) {
      if (this.#manual.push(address >>> Granule.Shift)) return
    }
    this.slow(Call.Free, address, 0)
  }

  calloc(count: number, size: number): Address {
    if (isNatural32(count) && isNatural32(size) && count * size <= Loop.MostCleared) {
      const bytes = count * size
      const address = this.malloc(bytes)
      this.#bytes.zeroShort(address, bytes)
      return address
    }
    return this.slow(Call.Calloc, count, size)
  }

  realloc(address: Address, size: number): Address {
    if (isNatural32(address) && (address & Address32.Wrong) === 0 && isNatural32(size)) {
      const usable = this.#manual.smallBytes(address >>> Granule.Shift)
      if (usable > 0) return this.#manual.servesWell(usable, size) ? address : this.move(address, size, usable)
    }
    return this.slow(Call.Realloc, address, size)
  }

  alignedAlloc(alignment: number, size: number): Address {
    return this.slow(Call.AlignedAlloc, alignment, size)
  }

  /** The usable bytes of a live block or object. */
  usableSize(address: Address): number {
    checkCount('address', address)
    this.checkOpen()
    const usable = this.#tiers.usableBytes(address)
    if (usable === 0) throw this.wrongAddress(address)
    return usable
  }

  view(address: Address, length?: number): Uint8Array<ArrayBuffer> {
    const usable = this.usableSize(address)
    const bytes = checkViewLength(length, usable)
    return new Uint8Array(this.#memory.over(address, bytes), address, bytes)
  }

  /**
   * Defines a type of object by its size and the byte offsets of its pointers.
   * @throws RangeError if an offset isn't a multiple of 8 inside, or occurs twice
   */
  defineType(layout: TypeLayout): TypeId {
    this.checkOpen()
    return this.#tiers.types.define(layout)
  }

  /**
   * Makes `count` objects of a type, one after the other, all zero. Returns the address of the first; all of them live as long as it is
   * reachable. Objects that hold pointers are multiples of 8 apart. The newest allocation is a root until the next one, and in a scope
   * until the scope ends.
   * @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY`, if a whole collection didn't help
   */
  allocate(type: TypeId, count = 1): Address {
    if (count === 1 && this.#tiers.types.has(type)) {
      const unit = this.#objects.allocateCached(type)
      if ((unit - 1) >>> 0 < Word8.MostUnit32) return unit << 3
      if (unit !== 0) return (unit >>> 0) * 8
    }
    return +this.slow(Call.Allocate, type, count)
  }

  /** Everything allocated until the scope is disposed is a root until then. Scopes may be nested, and ended in any order. */
  scope(): Disposable {
    this.checkOpen()
    const { roots } = this.#tiers
    const scope = roots.open()
    return { [Symbol.dispose]: () => roots.close(scope) }
  }

  /**
   * Stores a pointer in a field of an object; target 0 clears it. While a cycle marks, this also informs the collector (write barrier), so
   * pointers must be stored by this method only.
   * @throws AllocatorError `ERR_HEAP_INVALID_ADDRESS`; RangeError if the type has no pointer at that offset
   */
  setPointer(object: Address, offset: number, target: Address): void {
    const unit = this.pointerAt(object, offset)
    checkCount('target', target)
    // An object first: most targets are.
    if (target !== 0 && this.#objects.unitAt(target) === 0 && this.#tiers.usableBytes(target) === 0)
      throw this.wrongAddress(target)
    this.#objects.store(unit, target)
  }

  /** The pointer in a field of an object; 0 if it has none. @throws as `setPointer` */
  getPointer(object: Address, offset: number): Address {
    return this.#objects.load(this.pointerAt(object, offset))
  }

  /** Keeps an object, and all objects reachable from it, until the root is removed. Returns the root's id, from 1 on. */
  addRoot(address: Address): number {
    checkCount('address', address)
    this.checkOpen()
    const unit = this.#objects.unitAt(address)
    // A block from malloc is a root by itself, until it is freed.
    if (unit === 0 && this.#tiers.usableBytes(address) === 0) throw this.wrongAddress(address)
    const { roots, collector } = this.#tiers
    const root = unit || (address / 8) | 0
    if (collector.isMarking) collector.shade(root)
    return roots.add(root)
  }

  /** @throws AllocatorError `ERR_HEAP_INVALID_ADDRESS` if there is no root of that id */
  removeRoot(root: number): void {
    checkCount('root', root)
    this.checkOpen()
    const { roots, collector } = this.#tiers
    const unit = roots.remove(root)
    if (unit === 0) throw new AllocatorError('ERR_HEAP_INVALID_ADDRESS', `there is no root ${root}`)
    if (collector.isMarking) collector.shade(unit)
  }

  /** Ends a running cycle, then runs a whole one and sweeps: the statistics are exact afterwards. */
  collect(): void {
    this.checkOpen()
    this.#tiers.collector.collect()
  }

  /**
   * Runs a slice of a cycle, beginning one if none runs; true when the cycle is complete. The first slices of a cycle on a large heap
   * return false.
   * @param budgetMicros at most this many microseconds, plus some tens
   */
  collectStep(budgetMicros: number): boolean {
    checkCount('budgetMicros', budgetMicros)
    this.checkOpen()
    return this.#tiers.collector.step(budgetMicros)
  }

  /** Go's debug.SetGCPercent: sets GOGC, and returns the previous value; -1 is off. */
  setGCPercent(percent: number): number {
    if (percent === undefined) throw wrongType('percent', 'a number', percent)
    this.checkOpen()
    return this.#tiers.collector.setGCPercent(checkInteger('percent', percent, -1, MOST_GC_PERCENT, 0))
  }

  /** Go's debug.SetMemoryLimit: sets GOMEMLIMIT in bytes, and returns the previous value. */
  setMemoryLimit(bytes: number): number {
    if (bytes === undefined) throw wrongType('bytes', 'a number', bytes)
    this.checkOpen()
    return this.#tiers.collector.setMemoryLimit(checkLimit(bytes))
  }

  /** The heap's figures under the names of Go's runtime.MemStats. */
  memStats(): GoMemStats {
    this.checkOpen()
    return this.#tiers.goStats()
  }

  audit(): void {
    this.checkOpen()
    this.#tiers.audit()
  }

  releaseFreeMemory(bytes?: number): number {
    if (bytes !== undefined) checkCount('bytes', bytes)
    this.checkOpen()
    return this.#tiers.release(bytes)
  }

  close(): void {
    if (!this.beginClose()) return
    // The usual paths of these calls read memory that is now released. (The others find that nothing is cached.)
    for (const name of ['free', 'realloc']) Object.defineProperty(this, name, { value: throwClosed })
    this.#tiers.close()
    this.endClose()
  }

  /** @internal */
  protected ownStats(): ReturnType<GoTiers['stats']> {
    return this.#tiers.stats()
  }

  /** The unusual cases of all calls; one function, which V8 inlines nowhere (see the same of Heap). */
  private slow(call: Call, first: number, second: number): number {
    const tiers = this.#tiers
    switch (call) {
      case Call.Refill:
        this.checkOpen()
        return tiers.refill(first) * Granule.Bytes || this.refuse(second)
      case Call.Malloc: {
        checkCount('size', first)
        this.checkOpen()
        return tiers.malloc(first) || this.refuse(first)
      }
      case Call.Free: {
        checkCount('address', first)
        this.checkOpen()
        if (!tiers.free(first)) throw this.wrongAddress(first)
        return 0
      }
      case Call.Calloc: {
        const bytes = checkCount('count', first) * checkCount('size', second)
        this.checkOpen()
        const address = tiers.malloc(bytes) || this.refuse(bytes)
        if (bytes <= GoSmall.MostBytes || tiers.mheap.needsZero(address / Page.Bytes)) this.#bytes.zero(address, bytes)
        return address
      }
      case Call.Realloc: {
        if (first === 0) return this.malloc(second)
        checkCount('address', first)
        checkCount('size', second)
        this.checkOpen()
        const usable = tiers.manualBytes(first)
        if (usable === 0) throw this.wrongAddress(first)
        if (tiers.resize(first, usable, second)) return first
        return this.move(first, second, usable)
      }
      case Call.AlignedAlloc: {
        checkAlignment(first)
        checkCount('size', second)
        this.checkOpen()
        checkSupported(first, this.#mapper.maxAlignment, second)
        return tiers.alignedAlloc(first, second) || this.refuse(second)
      }
      case Call.Allocate: {
        if (typeof first !== 'number') throw wrongType('type', 'a type that defineType gave', first)
        if (!tiers.types.has(first)) throw outOfRange('type', 'a type that defineType gave', first)
        if (checkCount('count', second) === 0) throw outOfRange('count', 'at least 1', second)
        this.checkOpen()
        return tiers.allocate(first, second) || this.refuse(tiers.bytesOf(first, second))
      }
    }
  }

  private move(address: Address, size: number, usable: number): Address {
    const moved = this.malloc(size)
    this.#bytes.copy(moved, address, size < usable ? size : usable)
    this.free(address)
    return moved
  }

  /** The unit of a pointer field. */
  private pointerAt(object: Address, offset: number): number {
    checkCount('object', object)
    checkCount('offset', offset)
    this.checkOpen()
    const unit = this.#objects.unitAt(object)
    if (unit === 0) throw this.wrongAddress(object)
    if (!this.#objects.isPointer(unit, offset)) throw outOfRange('offset', "that of one of the type's pointers", offset)
    return (unit + offset / 8) | 0
  }

  private refuse(requested: number): never {
    throw outOfMemory(requested, this.#tiers.lastErrno)
  }

  private wrongAddress(address: Address): AllocatorError {
    return this.#tiers.isFreed(address)
      ? new AllocatorError('ERR_HEAP_DOUBLE_FREE', `the block at ${address} is free already`, { address })
      : new AllocatorError('ERR_HEAP_INVALID_ADDRESS', `no block of the program's starts at ${address}`, { address })
  }
}

function checkLimit(bytes: number | undefined): number {
  const none = Number.POSITIVE_INFINITY
  return bytes === undefined || bytes === none
    ? none
    : checkInteger('memoryLimit', bytes, 0, Number.MAX_SAFE_INTEGER, 0)
}

function throwClosed(): never {
  throw closedError()
}
