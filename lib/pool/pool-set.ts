import { checkCount, checkOptions, type OptionNames } from '../base/arguments.ts'
import { AllocatorError, outOfRange, wrongType } from '../base/errors.ts'
import { makePrintable, staysHere } from '../base/printed.ts'
import { HeapView } from '../buffers/heap-view.ts'
import { Heap } from '../heap/heap.ts'
import { HOST } from '../lifetime/host.ts'
import { generateSizeClasses, Small } from '../tcmalloc/size-class.ts'
import { notAHeap } from '../tcmalloc/token.ts'
import { BufferPool } from './buffer-pool.ts'
import type { PoolBuffer } from './pool-options.ts'
import { numberedTag, POOL_OPTIONS, type PoolOptions } from './pool-options.ts'
import type { PoolStats } from './pool-stats.ts'

const LEAST_DEFAULT = 1024
const MOST_DEFAULT = 2 ** 20
/** The most idle bytes of all pools together by default: with less, the larger sizes couldn't keep a buffer each. */
const DEFAULT_IDLE_BYTES = 64 * 2 ** 20

/**
 * The heap's own size classes, so that nothing is rounded up twice; beyond them, steps of an eighth of a power of two. They add 7 % on
 * average if sizes are spread evenly over doublings. Powers of two add 44 %.
 */
function defaultSizes(): number[] {
  const sizes = generateSizeClasses()
    .map(({ size }) => size)
    .filter((size) => size >= LEAST_DEFAULT)
  for (let size: number = Small.MostBytes; size < MOST_DEFAULT; ) {
    size += 2 ** Math.floor(Math.log2(size)) / 8
    sizes.push(size)
  }
  return sizes
}

/** The unit by which a pool is looked up, in bytes; pools whose sizes lie within one unit are tried in turn. */
const STEP_SHIFT = 10
const STEP = 1 << STEP_SHIFT
/** Larger buffers have no pool: the table would take more than it saves. */
const MOST_POOLED_BYTES = 64 * 2 ** 20

/** Options of a {@link PoolSet}: those of its pools, each of which has its own size. */
export interface PoolSetOptions extends Omit<PoolOptions, 'size' | 'tag'> {
  /**
   * The buffer lengths that there are pools for, up to 64 MiB.
   * @default the heap's size classes from 1 KiB on, and up to 1 MiB in steps of an eighth of a power of two
   */
  sizes?: readonly number[]
  /**
   * A name for the buffers' user, the same for all sizes.
   * @default 'pool set 1', 'pool set 2' and so on, by thread
   */
  tag?: string
  /**
   * The most idle bytes of all pools together; each pool has an equal share.
   * @default 64 * 2 ** 20
   */
  idleBytes?: number
}

const { size: _, ...ofPools } = POOL_OPTIONS
const SET_OPTIONS: OptionNames<PoolSetOptions> = { sizes: true, ...ofPools }

/**
 * Pools of several sizes over one heap, for programs whose sizes vary. Buffers above the largest size come from the heap, and go back
 * there.
 * @example
 * ```ts
 * import { PoolSet } from 'spanheap'
 *
 * using pools = new PoolSet()
 * const buffer = pools.acquire(5000)
 * console.log(buffer.length) // 5120
 * pools.release(buffer)
 * ```
 */
export class PoolSet implements Disposable {
  /** @internal */ readonly notCloneable = staysHere('a PoolSet')
  readonly #heap: Heap
  readonly #ownsHeap: boolean
  readonly #pools: readonly BufferPool[]
  #isOpen = true
  #havePoolsEnded = false
  /** Addresses of the buffers in use that are too large for any pool. */
  readonly #unpooled = new Set<number>()
  /** The largest size that there is a pool for. */
  readonly #mostBytes: number
  /** By size in steps, rounded up: the first pool that may be large enough. */
  readonly #firstByStep: Int32Array

  static {
    makePrintable(PoolSet, 'PoolSet')
  }

  /** @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY` */
  constructor(options: PoolSetOptions = {}) {
    checkOptions(options, SET_OPTIONS)
    const { sizes = defaultSizes(), heap, idleBytes = DEFAULT_IDLE_BYTES, tag, ...rest } = options
    if (!Array.isArray(sizes)) throw wrongType('sizes', 'an array of numbers', sizes)
    if (heap !== undefined && !(heap instanceof Heap)) throw notAHeap(heap)
    const sorted = [...new Set(sizes.map((size, i) => checkCount(`sizes[${i}]`, size)))].sort((a, b) => a - b)
    const most = sorted.at(-1) ?? 0
    if (most === 0 || sorted[0] === 0 || most > MOST_POOLED_BYTES)
      throw outOfRange('sizes', `from 1 to ${MOST_POOLED_BYTES}`, sizes)
    const idleShare = Math.floor(checkCount('idleBytes', idleBytes) / sorted.length)
    this.#mostBytes = most
    this.#firstByStep = Int32Array.from({ length: (most >>> STEP_SHIFT) + 2 }, (_, step) =>
      sorted.findIndex((size) => size > (step - 1) * STEP)
    )
    this.#ownsHeap = heap === undefined
    this.#heap = heap ?? new Heap()
    try {
      const shared = { ...rest, heap: this.#heap, idleBytes: idleShare, tag: tag ?? numberedTag('pool set') }
      this.#pools = sorted.map((size) => new BufferPool({ ...shared, size }))
    } catch (error) {
      if (this.#ownsHeap) this.#heap.close()
      throw error
    }
  }

  /** The heap of its buffers. */
  get heap(): Heap {
    return this.#heap
  }

  /**
   * A buffer of at least `size` bytes: as long as all buffers of its pool. For exactly that many, take a `subarray`, and release the whole
   * buffer. @throws AllocatorError `ERR_POOL_EXHAUSTED`, `ERR_POOL_CLOSED`, `ERR_HEAP_OUT_OF_MEMORY`
   */
  acquire(size: number): PoolBuffer {
    const pools = this.#pools
    if (typeof size === 'number' && (size | 0) === size && size >= 0 && size <= this.#mostBytes) {
      let at = this.#firstByStep[(size + (STEP - 1)) >>> STEP_SHIFT]!
      while (pools[at]!.size < size) at++
      return pools[at]!.acquire()
    }
    checkCount('size', size)
    this.checkOpen()
    const buffer = this.#heap.allocBuffer(size)
    this.#unpooled.add(this.#heap.addressOf(buffer))
    return buffer
  }

  /** Takes back a buffer of any of the pools. @throws AllocatorError as the pool's `release`; `ERR_POOL_CLOSED` */
  release(buffer: ArrayBufferView): void {
    if (!ArrayBuffer.isView(buffer)) throw wrongType('buffer', 'a view of a buffer', buffer)
    const pools = this.#pools
    const firstByStep = this.#firstByStep
    const mostBytes = this.#mostBytes
    const { byteLength } = buffer
    if (byteLength <= mostBytes) {
      // A buffer of a pool is as long as all others of it.
      let at = firstByStep[(byteLength + (STEP - 1)) >>> STEP_SHIFT]!
      while (pools[at]!.size < byteLength) at++
      if (pools[at]!.size === byteLength) {
        pools[at]!.release(buffer)
        return
      }
    }
    if (!this.#heap[HOST].isOpen) throw closedError()
    // A buffer of length 0 lost its bytes to the program, or was released before, in debug mode: its pool recognizes it.
    const pool = byteLength > 0 ? undefined : pools.find((candidate) => HeapView.keyOf(buffer, candidate) !== 0)
    if (pool !== undefined) {
      pool.release(buffer)
      return
    }
    this.#heap[HOST].debug?.checkNotEnded(buffer)
    const address = this.#heap[HOST].offsetOf(buffer) < 0 ? -1 : this.#heap.addressOf(buffer)
    if (!this.#unpooled.has(address))
      throw new AllocatorError('ERR_POOL_FOREIGN_BUFFER', 'the buffer is of none of the pools')
    this.#heap.freeBuffer(buffer)
    this.#unpooled.delete(address)
    this.finish()
  }

  /** The numbers of each pool, the smallest size first. */
  stats(): PoolStats[] {
    return this.#pools.map((pool) => pool.stats())
  }

  /** The summary that `JSON.stringify`, loggers and `console.log` show: the sums of `stats()`, and how many buffers there are of each size. */
  toJSON(): object {
    const pools = this.stats()
    const sum = (field: 'acquired' | 'leased' | 'idle' | 'waiting' | 'bytes') =>
      pools.reduce((total, stats) => total + stats[field], 0)
    const used = pools.filter(({ buffers }) => buffers > 0)
    return {
      acquired: sum('acquired'),
      leased: sum('leased'),
      idle: sum('idle'),
      waiting: sum('waiting'),
      bytes: sum('bytes'),
      buffers: Object.fromEntries(used.map(({ size, buffers }) => [size, buffers])),
    }
  }

  /** Closes all pools. A heap of the set's own is closed once the last buffer is released. May be called again. */
  close(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    void Promise.all(this.#pools.map((pool) => pool[Symbol.asyncDispose]())).then(() => {
      this.#havePoolsEnded = true
      this.finish()
    })
  }

  /** `close`, for `using`. */
  [Symbol.dispose](): void {
    this.close()
  }

  /** Closes a heap of the set's own once none of its buffers is in use. */
  private finish(): void {
    if (this.#havePoolsEnded && this.#unpooled.size === 0 && this.#ownsHeap) this.#heap.close()
  }

  private checkOpen(): void {
    if (!this.#isOpen) throw closedError()
  }
}

function closedError(): AllocatorError {
  return new AllocatorError('ERR_POOL_CLOSED', 'the pools are closed')
}
