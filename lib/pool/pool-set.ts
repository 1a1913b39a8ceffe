import type { FileHandle } from 'node:fs/promises'
import type { NetConnectOpts, Server, ServerOpts, Socket } from 'node:net'
import type { Writable } from 'node:stream'
import { ABORTABLE, type Abortable, checkSignal, eitherOf } from '../base/abort.ts'
import { checkCount, checkOptions, type OptionNames } from '../base/arguments.ts'
import { AllocatorError, invalidToken, outOfRange, wrongType } from '../base/errors.ts'
import { makePrintable, staysHere } from '../base/printed.ts'
import { HeapView } from '../buffers/heap-view.ts'
import { checkLeakLevel, defaultLeakLevel, LeakWatch } from '../buffers/leak-watch.ts'
import type { PassedBlock } from '../buffers/passed-block.ts'
import { Heap } from '../heap/heap.ts'
import { BlockLeases, type LeaseOptions } from '../lifetime/block-leases.ts'
import { attachTo, HOST } from '../lifetime/host.ts'
import { Lease } from '../lifetime/lease.ts'
import { type WriteOptions, write } from '../streams/write.ts'
import { generateSizeClasses, Small } from '../tcmalloc/size-class.ts'
import { type HeapToken, notAHeap } from '../tcmalloc/token.ts'
import { BufferPool, type PoolToken } from './buffer-pool.ts'
import { type CollectOptions, type CollectSource, collect } from './collect.ts'
import type { PoolBehaviour, PoolBuffer } from './pool-options.ts'
import { BEHAVIOUR_OPTIONS, numberedTag, POOL_OPTIONS, type PoolOptions } from './pool-options.ts'
import type { PoolStats } from './pool-stats.ts'
import type { ReadOptions, ReadSource } from './read.ts'

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
/** Files and sockets are read into buffers of the first pool that has so many bytes, as many as Node reads at once. */
const CHUNK_BYTES = 65_536

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

/** A token by which another thread attaches to a set of pools. It survives structured clone. */
export interface PoolSetToken {
  /** Its pools. */
  readonly pools: readonly Omit<PoolToken, 'heap'>[]
  /** The heap that they are in. */
  readonly heap: HeapToken
}

const { size: _, ...ofPools } = POOL_OPTIONS
const SET_OPTIONS: OptionNames<PoolSetOptions> = { sizes: true, ...ofPools }
const ATTACH_OPTIONS: OptionNames<PoolBehaviour & { heap?: Heap }> = { heap: true, ...BEHAVIOUR_OPTIONS }
const WRITE_OPTIONS: OptionNames<WriteOptions> = { position: true, signal: true }
const COLLECT_OPTIONS: OptionNames<CollectOptions> = { sizeHint: true, maxBytes: true, signal: true }

/** What a set is made of. */
interface SetParts {
  readonly heap: Heap
  readonly ownsHeap: boolean
  /** The smallest size first. */
  readonly pools: readonly BufferPool[]
  readonly tag: string
  /** How blocks are made that are too large for the pools. */
  readonly block: LeaseOptions
  readonly leaks: PoolOptions['leaks'] | undefined
}

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
export class PoolSet implements Disposable, AsyncDisposable {
  /** @internal */
  readonly notCloneable = staysHere('a PoolSet', ': use share(), and PoolSet.attach() in the other one')
  readonly #heap: Heap
  readonly #ownsHeap: boolean
  readonly #tag: string
  readonly #pools: readonly BufferPool[]
  /** The pool that files and sockets are read into. */
  readonly #chunks: BufferPool
  #isOpen = true
  #havePoolsEnded = false
  /** Buffers in use that are too large for any pool. Each is a lease that the program doesn't see. */
  readonly #large: BlockLeases
  readonly #block: LeaseOptions
  /** Leases too large for any pool, and those that collected a source. */
  readonly #leases: BlockLeases
  /** Ends all collections when the set closes. One for all: a controller takes some 50 µs. */
  readonly #closing = new AbortController()
  /** How many sources are being collected. */
  #collecting = 0
  readonly #ended: Promise<void>
  #tellEnded!: () => void
  /** The largest size that there is a pool for. */
  readonly #mostBytes: number
  /** By size in steps, rounded up: the first pool that may be large enough. */
  readonly #firstByStep: Int32Array

  static {
    makePrintable(PoolSet, 'PoolSet')
  }

  /** @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY` */
  constructor(options?: PoolSetOptions)
  /** @internal */
  constructor(options: undefined, parts: SetParts)
  constructor(options: PoolSetOptions = {}, parts: SetParts = makePools(options)) {
    const { heap, ownsHeap, pools, tag, block, leaks } = parts
    this.#heap = heap
    this.#ownsHeap = ownsHeap
    this.#tag = tag
    this.#pools = pools
    this.#block = block
    const most = pools.at(-1)!.size
    this.#mostBytes = most
    this.#firstByStep = Int32Array.from({ length: (most >>> STEP_SHIFT) + 2 }, (_, step) =>
      pools.findIndex(({ size }) => size > (step - 1) * STEP)
    )
    this.#chunks = pools.find(({ size }) => size >= CHUNK_BYTES) ?? pools.at(-1)!
    const ended = () => this.finish()
    const watch = (fallback: PoolOptions['leaks'] & string) => new LeakWatch(checkLeakLevel(leaks, fallback))
    this.#large = new BlockLeases(heap[HOST], { ended, watch: watch('off'), kind: 'buffer' })
    this.#leases = new BlockLeases(heap[HOST], { ended, watch: watch(defaultLeakLevel()), kind: 'lease' })
    this.#ended = new Promise((resolve) => {
      this.#tellEnded = resolve
    })
  }

  /**
   * Opens a set of another thread in this one.
   * @param options this thread's own choices, as for a pool, with `idleBytes` of all pools together; `heap` if it has the heap open already
   * @throws AllocatorError `ERR_HEAP_INVALID_TOKEN`, `ERR_HEAP_TOO_MANY_WORKERS`
   */
  static attach(token: PoolSetToken, options: PoolBehaviour & { heap?: Heap } = {}): PoolSet {
    return attachTo(
      token,
      options,
      (host, ownsHeap) => {
        const tokens: unknown = token.pools
        if (!Array.isArray(tokens) || tokens.length === 0) throw invalidToken("it is no set of pools'")
        const heap = host.heap as Heap
        const { idleBytes, tag = numberedTag('pool set'), leaks } = options
        const each = { ...options, heap, tag, idleBytes: share(idleBytes, tokens.length) }
        const pools: BufferPool[] = []
        try {
          for (const one of tokens) pools.push(BufferPool.attach({ ...one, heap: token.heap }, each))
          pools.sort((a, b) => a.size - b.size)
          const { alignment, zero } = pools[0]!.blocks.slots.shape
          const block = blockOptions(zero !== 0, alignment || undefined, tag)
          return new PoolSet(undefined, { heap, ownsHeap, pools, tag, block, leaks })
        } catch (error) {
          for (const pool of pools) pool.close()
          throw error
        }
      },
      ATTACH_OPTIONS
    )
  }

  /** The heap of its buffers. */
  get heap(): Heap {
    return this.#heap
  }

  /** The name of the buffers' user, by the option or by number. */
  get tag(): string {
    return this.#tag
  }

  /**
   * A buffer of at least `size` bytes: as long as all buffers of its pool. For exactly that many, take a `subarray`, and release the whole
   * buffer; or take a lease. @throws AllocatorError `ERR_POOL_EXHAUSTED`, `ERR_POOL_CLOSED`, `ERR_HEAP_OUT_OF_MEMORY`
   */
  acquire(size: number): PoolBuffer {
    const pools = this.#pools
    if (typeof size === 'number' && (size | 0) === size && size >= 0 && size <= this.#mostBytes) {
      let at = this.#firstByStep[(size + (STEP - 1)) >>> STEP_SHIFT]!
      while (pools[at]!.size < size) at++
      return pools[at]!.acquire()
    }
    return this.large(size)
  }

  /** The same; undefined if its pool is at `max`. @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY`, `ERR_POOL_CLOSED` */
  tryAcquire(size: number): PoolBuffer | undefined {
    const pool = this.poolFor(size)
    return pool === undefined ? this.large(size) : pool.tryAcquire()
  }

  /** The same, once there is one: see `BufferPool.acquireAsync`. */
  async acquireAsync(size: number, options: Abortable = {}): Promise<PoolBuffer> {
    const pool = this.poolFor(size)
    if (pool !== undefined) return pool.acquireAsync(options)
    checkAbortable(options)
    return this.large(size)
  }

  /** Takes back a buffer of any of the pools. @throws AllocatorError as the pool's `release`; `ERR_POOL_CLOSED` */
  release(buffer: ArrayBufferView): void {
    if (!ArrayBuffer.isView(buffer)) throw wrongType('buffer', 'a view of a buffer', buffer)
    const pools = this.#pools
    const { byteLength } = buffer
    if (byteLength <= this.#mostBytes) {
      // A buffer of a pool is as long as all others of it.
      let at = this.#firstByStep[(byteLength + (STEP - 1)) >>> STEP_SHIFT]!
      while (pools[at]!.size < byteLength) at++
      const pool = pools[at]!
      if (pool.size === byteLength && HeapView.keyOf(buffer, pool) !== 0) {
        pool.release(buffer)
        return
      }
    }
    this.releaseUnusual(buffer)
  }

  /**
   * Gives up a buffer, for another thread that has the set: see `BufferPool.pass`.
   * @throws AllocatorError `ERR_POOL_DOUBLE_RELEASE`, `ERR_POOL_FOREIGN_BUFFER`, `ERR_POOL_LEASED`
   */
  pass(buffer: ArrayBufferView): PassedBlock {
    const pool = this.poolOf(buffer)
    return pool === undefined ? this.largeOf(buffer).pass() : pool.pass(buffer)
  }

  /** Takes a passed buffer, once: see `BufferPool.adopt`. @throws AllocatorError `ERR_HEAP_STALE_HANDLE`; TypeError */
  adopt(passed: PassedBlock): PoolBuffer {
    const pool = this.passedBy(passed)
    return pool === undefined ? this.#large.adopt(passed, this.#tag).buffer : pool.adopt(passed)
  }

  /** The same in a lease. @throws as `adopt` */
  adoptLease(passed: PassedBlock): Lease<PoolBuffer> {
    const pool = this.passedBy(passed)
    return pool === undefined ? this.#leases.adopt(passed, this.#tag) : pool.adoptLease(passed)
  }

  /** A lease of exactly `size` bytes. @throws as `acquire` */
  lease(size: number): Lease<PoolBuffer> {
    return this.poolFor(size)?.leaseFirst(size) ?? this.#leases.lease(size, this.#block)
  }

  /** The same, once there is one: see `BufferPool.acquireAsync`. */
  async leaseAsync(size: number, options: Abortable = {}): Promise<Lease<PoolBuffer>> {
    const pool = this.poolFor(size)
    if (pool !== undefined) return pool.leaseFirstAsync(size, options)
    checkAbortable(options)
    return this.#leases.lease(size, this.#block)
  }

  /** The lease in whose buffer a view lies; undefined if no lease of this thread has it. */
  leaseOf(view: ArrayBufferView): Lease<PoolBuffer> | undefined {
    return this.poolOf(view)?.leaseOf(view) ?? this.#leases.of(view)
  }

  /**
   * For operations: pins the buffer that a view lies in, until the returned function is called: see `BufferPool.hold`.
   * @throws AllocatorError `ERR_POOL_DOUBLE_RELEASE` if the buffer is free, `ERR_POOL_LEASED` if another thread's lease has it
   */
  hold(view: ArrayBufferView): (() => void) | undefined {
    const pool = this.poolOf(view)
    if (pool !== undefined) return pool.hold(view)
    const lease = this.#leases.of(view) ?? this.#large.of(view)
    if (lease !== undefined) return lease.hold()
    if (this.#large.made(view) || this.#leases.made(view)) throw doubleRelease()
    return this.#heap[HOST].buffers.isolated.hold(view)
  }

  /** Chunks of a source, each in a buffer of the first pool that has 64 KiB, or else of the largest one: see `BufferPool.read`. */
  read(source: ReadSource, options: ReadOptions = {}): AsyncGenerator<PoolBuffer, void, void> {
    return this.#chunks.read(source, options)
  }

  /** Writes a lease's buffer, a part of one, an acquired buffer, or any other view to a stream or a file: see `BufferPool.write`. */
  async write(
    target: Writable | FileHandle,
    data: Lease<PoolBuffer> | ArrayBufferView,
    options: WriteOptions = {}
  ): Promise<void> {
    checkOptions(options, WRITE_OPTIONS)
    const view = data instanceof Lease ? data.buffer : data
    if (!ArrayBuffer.isView(view)) throw wrongType('data', 'a lease or a view of a buffer', view)
    return write(target, view, options, () => (data instanceof Lease ? data.hold() : this.hold(view)))
  }

  /**
   * All bytes of a source, in a lease of one block that grows with them: of a stream, a request, a response, a Blob, an async iterable, or a
   * file from its position on. Nothing is kept in a list, and nothing concatenated. If it fails, the source is destroyed, but for a
   * FileHandle, and the block is freed.
   * @throws AllocatorError `ERR_POOL_SOURCE_TOO_LARGE` beyond `maxBytes`, `ERR_HEAP_OUT_OF_MEMORY`, `ERR_POOL_CLOSED`; TypeError for what
   * is no source, was read already, or brings anything but bytes; the signal's reason; the source's own error
   */
  async collect(source: CollectSource, options: CollectOptions = {}): Promise<Lease<PoolBuffer>> {
    checkOptions(options, COLLECT_OPTIONS)
    const { sizeHint, maxBytes, signal } = options
    if (sizeHint !== undefined) checkCount('sizeHint', sizeHint)
    if (maxBytes !== undefined) checkCount('maxBytes', maxBytes)
    checkSignal(signal)
    this.checkOpen()
    const { signal: stop, forget } = eitherOf(this.#closing.signal, signal)
    this.#collecting++
    try {
      const collector = { host: this.#heap[HOST], leases: this.#leases, tag: this.#tag, chunks: this.#chunks }
      return await collect(collector, source, options, stop)
    } finally {
      this.#collecting--
      forget()
      this.finish()
    }
  }

  /** A connection that reads into buffers as `read` does: see `BufferPool.connect`. */
  connect(options: NetConnectOpts, listener?: () => void): Socket
  connect(port: number, host?: string, listener?: () => void): Socket
  connect(port: number, listener?: () => void): Socket
  connect(path: string, listener?: () => void): Socket
  connect(...args: unknown[]): Socket {
    return this.#chunks.connect(...(args as Parameters<BufferPool['connect']>))
  }

  /** A server whose connections read into buffers as `read` does: see `BufferPool.createServer`. */
  createServer(listener?: (socket: Socket) => void | Promise<void>): Server
  createServer(options?: ServerOpts, listener?: (socket: Socket) => void | Promise<void>): Server
  createServer(...args: unknown[]): Server {
    return this.#chunks.createServer(...(args as Parameters<BufferPool['createServer']>))
  }

  /** A token by which other threads open the set: see `BufferPool.share`. */
  share(): PoolSetToken {
    const tokens = this.#pools.map((pool) => pool.share())
    return { pools: tokens.map(({ pool, generation }) => ({ pool, generation })), heap: tokens[0]!.heap }
  }

  /** Takes back the buffers that dead threads had acquired, and returns how many there were: see `BufferPool.reclaim`. */
  reclaim(): number {
    return this.#pools.reduce((sum, pool) => sum + pool.reclaim(), 0)
  }

  /** Gives all idle buffers back to the heap. Returns how many bytes they had. */
  trim(): number {
    return this.#pools.reduce((sum, pool) => sum + pool.trim(), 0)
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

  /** Closes all pools, and ends what collects. A heap of the set's own is closed once the last buffer is released. May be called again. */
  close(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#closing.abort(closedError())
    void Promise.all(this.#pools.map((pool) => pool[Symbol.asyncDispose]())).then(() => {
      this.#havePoolsEnded = true
      this.finish()
    })
  }

  /** `close`, for `using`. */
  [Symbol.dispose](): void {
    this.close()
  }

  /** Closes, and waits until every buffer is back. */
  [Symbol.asyncDispose](): Promise<void> {
    this.close()
    return this.#ended
  }

  /** Ends a closed set, and closes a heap of its own, once none of its buffers is in use. */
  private finish(): void {
    if (!this.#havePoolsEnded || this.#collecting > 0) return
    const { isOpen, buffers } = this.#heap[HOST]
    if (isOpen && this.#large.count + this.#leases.count > 0) return
    buffers.removeOwner(this.#large)
    buffers.removeOwner(this.#leases)
    if (this.#ownsHeap) this.#heap.close()
    this.#tellEnded()
  }

  /** The smallest pool that has room for `size` bytes; undefined if none has. @throws AllocatorError `ERR_POOL_CLOSED` */
  private poolFor(size: number): BufferPool | undefined {
    checkCount('size', size)
    this.checkOpen()
    if (size > this.#mostBytes) return undefined
    const pools = this.#pools
    let at = this.#firstByStep[(size + (STEP - 1)) >>> STEP_SHIFT]!
    while (pools[at]!.size < size) at++
    return pools[at]
  }

  /** The pool in whose buffer a view lies, of this thread or another; undefined if none has it. */
  private poolOf(view: ArrayBufferView): BufferPool | undefined {
    if (!ArrayBuffer.isView(view)) throw wrongType('view', 'a view of a buffer', view)
    const owner = HeapView.ownerOf(view)
    const pools = this.#pools
    return pools.find((pool) => pool === owner) ?? pools.find((pool) => pool.blocks.slotUnder(view) >= 0)
  }

  /** The pool that passed a buffer; undefined if it was none of these. */
  private passedBy(passed: PassedBlock): BufferPool | undefined {
    this.checkOpen()
    if (typeof passed !== 'object' || passed === null) throw wrongType('passed', 'what pass has returned', passed)
    return this.#pools.find((pool) => pool.blocks.slots.generation === passed.owner)
  }

  /** An acquired buffer that is too large for any pool. */
  private large(size: number): PoolBuffer {
    checkCount('size', size)
    this.checkOpen()
    return this.#large.lease(size, this.#block).buffer
  }

  private largeOf(buffer: ArrayBufferView): Lease<PoolBuffer> {
    const lease = this.#large.of(buffer)
    if (lease !== undefined && buffer.byteOffset === lease.buffer.byteOffset) return lease
    if (this.#large.made(buffer)) throw doubleRelease()
    throw this.#leases.of(buffer) !== undefined || this.#leases.made(buffer) ? leased() : foreignBuffer()
  }

  /** Takes back one that another thread acquired, that was adopted from a lease, or that is too large for any pool; or throws. */
  private releaseUnusual(buffer: ArrayBufferView): void {
    if (!this.#heap[HOST].isOpen) throw closedError()
    const pool = this.poolOf(buffer)
    if (pool === undefined) this.largeOf(buffer).release()
    else pool.release(buffer)
  }

  private checkOpen(): void {
    if (!this.#isOpen) throw closedError()
  }
}

/** The pools of a new set. @throws TypeError, RangeError */
function makePools(options: PoolSetOptions): SetParts {
  checkOptions(options, SET_OPTIONS)
  const { sizes = defaultSizes(), heap, idleBytes, tag = numberedTag('pool set'), ...rest } = options
  const { leaks, zero, alignment } = rest
  if (!Array.isArray(sizes)) throw wrongType('sizes', 'an array of numbers', sizes)
  if (heap !== undefined && !(heap instanceof Heap)) throw notAHeap(heap)
  const sorted = [...new Set(sizes.map((size, i) => checkCount(`sizes[${i}]`, size)))].sort((a, b) => a - b)
  const most = sorted.at(-1) ?? 0
  if (most === 0 || sorted[0] === 0 || most > MOST_POOLED_BYTES)
    throw outOfRange('sizes', `from 1 to ${MOST_POOLED_BYTES}`, sizes)
  const ownsHeap = heap === undefined
  const opened = heap ?? new Heap()
  try {
    const each = { ...rest, heap: opened, tag, idleBytes: share(idleBytes, sorted.length) }
    const pools = sorted.map((size) => new BufferPool({ ...each, size }))
    const block = blockOptions(zero !== undefined && zero !== false, alignment, tag)
    return { heap: opened, ownsHeap, pools, tag, block, leaks }
  } catch (error) {
    if (ownsHeap) opened.close()
    throw error
  }
}

function share(idleBytes: number | undefined, pools: number): number {
  return Math.floor(checkCount('idleBytes', idleBytes ?? DEFAULT_IDLE_BYTES) / pools)
}

function blockOptions(zero: boolean, alignment: number | undefined, tag: string): LeaseOptions {
  return alignment === undefined ? { zero, tag } : { zero, tag, alignment }
}

function checkAbortable(options: Abortable): void {
  checkOptions(options, ABORTABLE)
  checkSignal(options.signal)
}

function closedError(): AllocatorError {
  return new AllocatorError('ERR_POOL_CLOSED', 'the pools are closed')
}

function doubleRelease(): AllocatorError {
  return new AllocatorError('ERR_POOL_DOUBLE_RELEASE', 'the buffer was given back or passed already')
}

function leased(): AllocatorError {
  return new AllocatorError('ERR_POOL_LEASED', 'the buffer belongs to a lease, which gives it back')
}

function foreignBuffer(): AllocatorError {
  return new AllocatorError('ERR_POOL_FOREIGN_BUFFER', 'the buffer is of none of the pools')
}
