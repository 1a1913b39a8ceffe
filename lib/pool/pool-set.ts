import { checkCount, checkOptions } from '../arguments.ts'
import { AllocatorError, wrongType } from '../errors.ts'
import { Heap } from '../heap.ts'
import type { MemoryKind } from '../os/mapper.ts'
import { BufferPool } from './buffer-pool.ts'
import type { PoolOptions } from './pool-options.ts'
import type { PoolStats } from './pool-stats.ts'
import type { PoolBuffer } from './recycled-buffers.ts'

/** Sizes that waste a quarter of a buffer on average, and half at most. */
const DEFAULT_SIZES = Array.from({ length: 11 }, (_, power) => 1024 * 2 ** power)

/** How a {@link PoolSet} is made: as its pools, each of its own size. */
export interface PoolSetOptions<Kind extends MemoryKind = MemoryKind> extends Omit<PoolOptions<Kind>, 'size'> {
  /** The lengths of buffers that there are pools for; 1 KiB to 1 MiB in powers of two by default. */
  sizes?: readonly number[]
}

/**
 * Pools of several sizes over one heap, for those who don't know theirs. What is larger than the largest comes from the heap, and
 * goes back there.
 */
export class PoolSet<Kind extends MemoryKind = 'shared'> implements Disposable {
  /** Whose memory it is. */
  readonly heap: Heap<Kind>
  private readonly ownsHeap: boolean
  private readonly pools: readonly BufferPool<Kind>[]
  private isOpen = true

  /** @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY` */
  constructor(options: PoolSetOptions<Kind> = {}) {
    checkOptions(options)
    const { sizes = DEFAULT_SIZES, heap, memory, ...rest } = options
    if (!Array.isArray(sizes)) throw wrongType('sizes', 'an array of numbers', sizes)
    const sorted = [...new Set(sizes.map((size, i) => checkCount(`sizes[${i}]`, size)))].sort((a, b) => a - b)
    this.ownsHeap = heap === undefined
    this.heap = heap ?? new Heap<Kind>(memory === undefined ? {} : { memory })
    try {
      this.pools = sorted.map((size) => new BufferPool<Kind>({ ...rest, heap: this.heap, size }))
    } catch (error) {
      if (this.ownsHeap) this.heap.close()
      throw error
    }
  }

  /**
   * A buffer of at least `size` bytes: as long as the buffers of the pool that it is from. For exactly so many, take a `subarray`, and
   * release the whole. @throws AllocatorError `ERR_POOL_EXHAUSTED`, `ERR_POOL_CLOSED`, `ERR_HEAP_OUT_OF_MEMORY`
   */
  acquire(size: number): PoolBuffer<Kind> {
    checkCount('size', size)
    for (const pool of this.pools) if (size <= pool.size) return pool.acquire()
    this.checkOpen()
    return this.heap.allocBuffer(size)
  }

  /** Takes a buffer back, of whichever pool. @throws AllocatorError as the pool's `release`; `ERR_POOL_CLOSED` */
  release(buffer: ArrayBufferView): void {
    if (!ArrayBuffer.isView(buffer)) throw wrongType('buffer', 'a view of a buffer', buffer)
    const pool = this.pools.find(({ size }) => size === buffer.byteLength)
    if (pool !== undefined) pool.release(buffer)
    else if (this.heap.owns(buffer.buffer) && this.isOpen) this.heap.freeBuffer(buffer)
    else if (!this.isOpen) this.checkOpen()
    else throw new AllocatorError('ERR_POOL_FOREIGN_BUFFER', 'the buffer is of none of the pools')
  }

  /** What each pool comes to, the smallest size first. */
  stats(): PoolStats[] {
    return this.pools.map((pool) => pool.stats())
  }

  /** Closes all pools. A heap of its own is closed with the last buffer that is released. May be called again. */
  close(): void {
    if (!this.isOpen) return
    this.isOpen = false
    const ends = this.pools.map((pool) => pool[Symbol.asyncDispose]())
    if (this.ownsHeap) void Promise.all(ends).then(() => this.heap.close())
  }

  [Symbol.dispose](): void {
    this.close()
  }

  private checkOpen(): void {
    if (!this.isOpen) throw new AllocatorError('ERR_POOL_CLOSED', 'the pools are closed')
  }
}
