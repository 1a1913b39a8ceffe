import type { FileHandle } from 'node:fs/promises'
import type { NetConnectOpts, Server, ServerOpts, Socket } from 'node:net'
import type { Writable } from 'node:stream'
import { clearInterval, setInterval } from 'node:timers'
import { ABORTABLE, type Abortable, checkSignal } from '../base/abort.ts'
import { checkCount, checkOptions, type OptionNames } from '../base/arguments.ts'
import { AllocatorError, wrongType } from '../base/errors.ts'
import { makePrintable } from '../base/printed.ts'
import { HeapView } from '../buffers/heap-view.ts'
import type { LeakWatch } from '../buffers/leak-watch.ts'
import type { OwnerStats } from '../buffers/owner-stats.ts'
import type { PassedBlock } from '../buffers/passed-block.ts'
import type { Heap } from '../heap/heap.ts'
import { attachTo, HOST } from '../lifetime/host.ts'
import type { HeapToken } from '../tcmalloc/token.ts'
import { Waiters } from '../threads/waiters.ts'
import { WakeWord } from '../threads/wake-word.ts'
import { IdleSlots } from './idle-slots.ts'
import { Lease } from './lease.ts'
import { Leases } from './leases.ts'
import { PoolBlocks } from './pool-blocks.ts'
import { publish } from './pool-events.ts'
import {
  BEHAVIOUR_OPTIONS,
  type CheckedPool,
  checkBehaviour,
  Opening,
  type PoolBehaviour,
  type PoolBuffer,
  type PoolOptions,
} from './pool-options.ts'
import { isLeased, isOut, PoolSlots, Slot, Word } from './pool-slots.ts'
import { type PoolStats, poolStats } from './pool-stats.ts'
import { connectPooled, createPooledServer } from './pooled-socket.ts'
import { type ReadOptions, type ReadSource, read } from './read.ts'
import { type WriteOptions, write } from './write.ts'

/** What another thread attaches to a pool by. It survives structured clone. */
export interface PoolToken {
  /** The address of its words, in the heap. */
  readonly pool: number
  /** Tells it from other pools that were or will be there: a random number, the same as another's once in two billion times. */
  readonly generation: number
  /** The heap that it is in. */
  readonly heap: HeapToken
}

const ATTACH_OPTIONS: OptionNames<PoolBehaviour & { heap?: Heap }> = { heap: true, ...BEHAVIOUR_OPTIONS }
const READ_OPTIONS: OptionNames<ReadOptions> = { start: true, end: true, signal: true }
const WRITE_OPTIONS: OptionNames<WriteOptions> = { position: true, signal: true }

/**
 * A pool of buffers of one size that are used again and again. `acquire` and `release` move a number from one stack to another: they make no
 * object, and so no garbage. Several threads can share the pool: a buffer that one acquires, another may release. Leases count the users of a
 * buffer, and an operation that reads into one or writes from one holds it until it is done.
 *
 * INVARIANT: a slot whose word says Free belongs to nobody; every other that has a block, to the thread that its word names. While the
 * slots are one thread's, every free slot is among the idle ones.
 * @example
 * ```ts
 * import { BufferPool } from 'spanheap'
 *
 * using pool = new BufferPool({ size: 65536, max: 256 })
 * const buffer = pool.acquire()
 * console.log(buffer.length) // 65536
 * pool.release(buffer)
 * console.log(pool.stats().idle) // 1
 * ```
 */
export class BufferPool extends Opening implements Disposable, AsyncDisposable {
  readonly #settings = Opening.made!.checked
  readonly #heap: Heap = this.#settings.heap
  readonly #host = this.#heap[HOST]
  readonly #watch = this.#settings.watch
  readonly #leaseWatch = this.#settings.leaseWatch
  readonly #blocks = new PoolBlocks(this.#heap, Opening.made!.slots, this, this)
  readonly #leases = new Leases(this)
  readonly #waiters = new Waiters<Buffer>((length) => this.#blocks.slots.noteWaiting(length))
  #state: 'open' | 'closing' | 'closed' = 'open'
  /** A slot that a close waits for: the first to be looked at again. */
  #waitedFor = 0
  #timer: NodeJS.Timeout | undefined
  #tellClosed!: () => void
  readonly #closed = new Promise<void>((resolve) => {
    this.#tellClosed = resolve
  })

  // What the usual path reads.
  #words = this.#blocks.slots.words
  readonly #views = this.#blocks.views
  /** The word of a slot whose buffer this thread has acquired. */
  readonly #acquired = this.#blocks.slots.own(Slot.Acquired)
  readonly #idle = new IdleSlots(this.#blocks)
  /** So many more acquires may take the usual path before one is looked at, for a leak; 0 where none may. */
  #untilSlow = 0
  /** What `untilSlow` was when it was last set. */
  #untilSlowAtFirst = 0
  /** Below so many slots on the stack a release may take the usual path; 0 where none may. */
  #plainRelease = 0

  static {
    makePrintable(BufferPool, 'BufferPool')
  }

  /** @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY` where the system refuses address space for a heap of its own */
  constructor(options: PoolOptions)
  /** @internal */
  constructor(options: CheckedPool, slots: PoolSlots)
  constructor(options: PoolOptions | CheckedPool, slots?: PoolSlots) {
    super(options, slots)
    Opening.made = undefined
    this.#host.buffers.addOwner(this)
    this.choosePaths()
  }

  /**
   * Opens a pool of another thread in this one. A thread may open it more than once: to the pool, all of these are one owner.
   * @param options what this thread chooses for itself; `heap` where it has the pool's heap open already
   * @throws AllocatorError `ERR_HEAP_INVALID_TOKEN`, `ERR_HEAP_TOO_MANY_WORKERS`
   */
  static attach(token: PoolToken, options: PoolBehaviour & { heap?: Heap } = {}): BufferPool {
    checkOptions(options, ATTACH_OPTIONS)
    return attachTo(token, options, (host, ownsHeap) => {
      const heap = host.heap as Heap
      const slots = PoolSlots.find(heap, token.pool, token.generation)
      const end = () => new PoolBlocks(heap, slots, { size: slots.shape.size, tag: undefined }, {}).endShared()
      slots.block!.join(end)
      try {
        const { shape } = slots
        const behaviour = checkBehaviour(options, shape.size)
        return new BufferPool({ heap, ownsHeap, shape, mostWhenShared: shape.most, ...behaviour }, slots)
      } catch (error) {
        slots.block!.leave(end)
        throw error
      }
    })
  }

  /** Whose memory they are. */
  get heap(): Heap {
    return this.#heap
  }

  /** @internal */
  get blocks(): PoolBlocks {
    return this.#blocks
  }

  /** @internal Of acquired buffers. */
  get watch(): LeakWatch {
    return this.#watch
  }

  /** @internal */
  get leaseWatch(): LeakWatch {
    return this.#leaseWatch
  }

  /** A buffer, which is the caller's until `release`. @throws AllocatorError `ERR_POOL_EXHAUSTED` at `max`, `ERR_HEAP_OUT_OF_MEMORY` */
  acquire(): PoolBuffer {
    const idle = this.#idle
    const top = (idle.top - 1) | 0
    if (top >= 0 && this.#untilSlow > 0) {
      const slot = idle.stack[top]!
      const word = Word.Slots + (slot << 1)
      const view = this.#views[slot] as PoolBuffer
      // Of length 0 is one whose ArrayBuffer was taken (see ViewMemory).
      if (this.#words[word] === Slot.Free && view.length > 0) {
        this.#words[word] = this.#acquired
        idle.top = top
        if (top < idle.low) idle.low = top
        this.#untilSlow = (this.#untilSlow - 1) | 0
        return view
      }
    }
    const buffer = this.obtain()
    if (buffer !== undefined) return buffer as PoolBuffer
    publish('exhausted', 'acquire found all buffers in use', this)
    const message = `all ${this.max} buffers are in use: release one, wait by acquireAsync(), or raise max`
    throw new AllocatorError('ERR_POOL_EXHAUSTED', message)
  }

  /** The same; undefined at `max`. @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY` */
  tryAcquire(): PoolBuffer | undefined {
    return this.obtain() as PoolBuffer | undefined
  }

  /**
   * The same, once there is one. Those who wait in one thread are served in the order in which they came. Rejects with the signal's
   * reason when it is aborted, and with `ERR_POOL_CLOSED` when the pool is closed first.
   */
  acquireAsync(options: Abortable = {}): Promise<PoolBuffer> {
    // No async function: that would be one promise more for each, and a few turns of the queue of microtasks.
    try {
      checkOptions(options, ABORTABLE)
      const { signal } = options
      checkSignal(signal)
      const buffer = this.#waiters.length === 0 ? this.obtain() : undefined
      if (buffer !== undefined) return Promise.resolve(buffer as PoolBuffer)
      this.checkOpen()
      publish('wait', 'all buffers are in use', this)
      const waiting = this.#waiters.wait(() => this.obtain(), signal)
      this.choosePaths()
      if (this.#blocks.slots.isShared) this.watchOthers()
      return waiting as Promise<PoolBuffer>
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /**
   * Takes a buffer back, of this thread or, where the pool is shared, of any other. It may be handed out again at once.
   * @throws AllocatorError `ERR_POOL_DOUBLE_RELEASE`, `ERR_POOL_FOREIGN_BUFFER`, `ERR_POOL_LEASED` where it is a lease's
   */
  release(buffer: ArrayBufferView): void {
    const key = typeof buffer === 'object' && buffer !== null ? HeapView.keyOf(buffer, this) : 0
    const idle = this.#idle
    const { top } = idle
    if (key > 0 && top < this.#plainRelease) {
      const word = Word.Slots - 2 + (key << 1)
      if (this.#words[word] === this.#acquired) {
        this.#words[word] = Slot.Free
        idle.stack[top] = key - 1
        idle.top = (top + 1) | 0
        return
      }
    }
    this.takeBack(buffer)
  }

  /**
   * Gives up a buffer, for another thread that shares the pool, or for this one later: it is nobody's until it is adopted. The value is small
   * and plain; send it by `postMessage`, or any other way. In `stats().passed` until then.
   * @throws AllocatorError `ERR_POOL_DOUBLE_RELEASE` where the buffer was released or passed, `ERR_POOL_FOREIGN_BUFFER`, `ERR_POOL_LEASED`
   * where it is a lease's, or an operation holds it
   */
  pass(buffer: ArrayBufferView): PassedBlock {
    this.checkUsable()
    const passed = this.#blocks.pass(buffer)
    this.#leases.unwatch(passed.slot)
    return passed
  }

  /**
   * Takes a buffer that was passed, once, in any thread that shares the pool. Whoever has passed it may take it back, if nobody else has
   * adopted it. Returns this thread's own view of it, which is to be released as one that was acquired.
   * @throws AllocatorError `ERR_HEAP_STALE_HANDLE` where it was adopted already, or another pool's value, or none that `pass` gave; TypeError
   * `ERR_INVALID_ARG_TYPE` where it isn't an object
   */
  adopt(passed: PassedBlock): PoolBuffer {
    this.checkUsable()
    const slot = this.#blocks.adopt(passed)
    return (this.nextIsNoted() ? this.#leases.watchBuffer(slot) : this.#blocks.viewOf(slot)) as PoolBuffer
  }

  /** A buffer with a count of those who need it; for `using`. @throws as `acquire` */
  lease(): Lease<PoolBuffer> {
    return this.leaseOut(this.acquire())
  }

  /** The same, once there is one. */
  async leaseAsync(options?: Abortable): Promise<Lease<PoolBuffer>> {
    const buffer = await this.acquireAsync(options)
    if (this.#state === 'open') return this.leaseOut(buffer)
    // It was closed when the buffer was on its way already.
    if (this.#state !== 'closed') this.release(buffer)
    return this.lease()
  }

  /** The lease in whose buffer a view lies; undefined where it is none of this thread's. */
  leaseOf(view: ArrayBufferView): Lease<PoolBuffer> | undefined {
    const slot = this.#state === 'closed' ? -1 : this.#blocks.slotUnder(view)
    return this.#leases.of(slot) as Lease<PoolBuffer> | undefined
  }

  /**
   * For operations: keeps the buffer that a view lies in, of a lease or acquired, from being anybody else's until the returned function
   * is called, whatever else is called meanwhile; a release counts after that. An isolated buffer of the pool's heap is held as well, and its free counts after
   * that. Undefined where the memory is neither's, or the pool has ended.
   * @throws AllocatorError `ERR_POOL_DOUBLE_RELEASE` where the buffer is free, `ERR_POOL_LEASED` where another thread's lease has it
   */
  hold(view: ArrayBufferView): (() => void) | undefined {
    if (this.#state === 'closed') return undefined
    const slot = this.#blocks.slotUnder(view)
    if (slot < 0 && !this.#blocks.isGone(view)) return this.#host.buffers.isolated.hold(view)
    const letGo = slot < 0 ? undefined : this.#leases.hold(slot)
    if (letGo !== undefined) return letGo
    throw slot >= 0 && this.#leases.isElsewhere(slot) ? this.#blocks.leased(view) : this.#blocks.doubleRelease(view)
  }

  /**
   * Chunks of a source, each in a buffer of the pool that goes back by itself when the next is asked for, or the loop is left. `write`
   * holds it longer, and so does `leaseOf(chunk).retain()`.
   *
   * A FileHandle is read into the pool's buffers, and so is a socket of `connect` or `createServer`. What another stream has read is copied.
   * A file or socket of these can be read on after the loop was left: nothing is missed. Another stream is destroyed, as by any loop over it.
   */
  read(source: ReadSource, options: ReadOptions = {}): AsyncGenerator<PoolBuffer, void, void> {
    checkOptions(options, READ_OPTIONS)
    return read(this, source, options) as AsyncGenerator<PoolBuffer, void, void>
  }

  /**
   * Writes all of a lease's buffer, of a part of one, of an acquired one, or of any other view to a stream or a file, and resolves when that
   * is done with it. Until then the buffer is held, whatever is released, closed, aborted or destroyed.
   *
   * Files, sockets and HTTP/1 messages of Node's own are written from the buffer itself. Any other stream gets a copy, since it may keep what it
   * gets, or pass it on. If it takes no callback, the promise resolves when it has room for more.
   * @throws TypeError `ERR_INVALID_ARG_TYPE`; the signal's reason; whatever the stream or the file reports, or an Error that it was closed
   */
  async write(
    target: Writable | FileHandle,
    data: Lease<PoolBuffer> | ArrayBufferView,
    options: WriteOptions = {}
  ): Promise<void> {
    checkOptions(options, WRITE_OPTIONS)
    const view = data instanceof Lease ? data.buffer : data
    if (!ArrayBuffer.isView(view)) throw wrongType('data', 'a lease or a view of a buffer', view)
    // Another pool's lease is held there.
    const hold = () => this.hold(view) ?? (data instanceof Lease ? data.hold() : undefined)
    return write(target, view, options, hold)
  }

  /**
   * A connection, as of `net.connect`, that reads into the pool's buffers: options, a port and a host, or a path, and a listener of the event
   * `connect`. To be read by `read`, since it has no event `data`.
   */
  connect(options: NetConnectOpts, listener?: () => void): Socket
  connect(port: number, host?: string, listener?: () => void): Socket
  connect(port: number, listener?: () => void): Socket
  connect(path: string, listener?: () => void): Socket
  connect(...args: unknown[]): Socket {
    this.checkOpen()
    return connectPooled(this, args)
  }

  /**
   * A server, as of `net.createServer`, whose connections read into the pool's buffers. If a listener of `connection` returns a promise that is
   * rejected, its socket is destroyed with the error, and the server goes on.
   */
  createServer(listener?: (socket: Socket) => void): Server
  createServer(options?: ServerOpts, listener?: (socket: Socket) => void): Server
  createServer(options?: ServerOpts | ((socket: Socket) => void), listener?: (socket: Socket) => void): Server {
    this.checkOpen()
    return createPooledServer(this, options, listener)
  }

  /** A lease; undefined where all buffers are in use, or the pool is closed. */
  tryLease(): Lease<PoolBuffer> | undefined {
    const buffer = this.#state === 'open' ? this.tryAcquire() : undefined
    return buffer === undefined ? undefined : this.leaseOut(buffer)
  }

  /**
   * A token by which other threads open the pool: for `workerData` or `postMessage`. From the first call on, every acquire and release
   * takes some atomic operations: 60 ns each, instead of 5.
   * @throws AllocatorError `ERR_HEAP_NOT_SHARED`, `ERR_HEAP_OUT_OF_MEMORY`
   */
  share(): PoolToken {
    this.checkOpen()
    const heap = this.#heap.share()
    const { slots } = this.blocks
    const most = Math.max(this.#settings.mostWhenShared, slots.used)
    if (!slots.isShared) this.move(most, () => slots.shared(this.#heap, most))
    // Each time: this thread may have been struck between the two, in an earlier call. Nobody has had a token of it then.
    this.enterShared()
    const { block, generation } = this.#blocks.slots
    return { pool: block!.address, generation, heap }
  }

  /**
   * Takes back what threads that died had acquired, and returns how many buffers that were. What they had sent to others before they
   * died is taken from these: so it is for a program that knows that they hadn't, or that adopts what it is sent.
   */
  reclaim(): number {
    this.checkOpen()
    const { slots } = this.#blocks
    this.#blocks.clearUp()
    let taken = 0
    for (let slot = 0; slot < slots.used; slot++) {
      const word = slots.state(slot)
      if (slots.isDead(word) && isOut(word) && this.makeFree(slot, word)) taken++
    }
    return taken
  }

  /** Gives idle buffers back to the heap until `keep` are left, busy ones among them. Returns how many bytes they had. */
  trim(keep = 0): number {
    checkCount('keep', keep)
    this.checkOpen()
    return this.trimIdle(Number.POSITIVE_INFINITY, keep, 'trim was called') * this.size
  }

  /** What there is. It looks at every buffer: not for a loop. */
  stats(): PoolStats {
    const { slots } = this.#blocks
    const isClosed = this.#state === 'closed'
    const waiting = slots.isShared && !isClosed ? slots.waiting : this.#waiters.length
    return poolStats(isClosed ? undefined : slots, this.size, this.max, waiting)
  }

  /** What `JSON.stringify`, loggers and `console.log` show: the same as `stats()`. */
  toJSON(): PoolStats {
    return this.stats()
  }

  /** @internal */
  ownerStats(): OwnerStats {
    const { buffers, bytes } = this.stats()
    return { tag: this.tag, buffers, bytes }
  }

  /**
   * Nothing can be acquired any more. Idle buffers go at once, each other when it is released, and then a heap of the pool's own. Where
   * the pool is shared, it goes on in other threads, and this thread only waits for what operations and leases hold. To close the heap
   * closes its pools too. May be called again.
   */
  close(): void {
    if (this.#state !== 'open') {
      this.finish()
      return
    }
    this.#state = 'closing'
    this.choosePaths()
    clearInterval(this.#timer)
    this.#waiters.end(closedError())
    publish('close', 'close was called', this)
    if (!this.#blocks.slots.isShared) this.trimIdle(Number.POSITIVE_INFINITY, 0, 'the pool was closed')
    this.finish()
  }

  /** `close`, for `using`. */
  [Symbol.dispose](): void {
    this.close()
  }

  /** Closes, and waits until every buffer is back and the memory given back. */
  [Symbol.asyncDispose](): Promise<void> {
    this.close()
    return this.#closed
  }

  /** @internal Makes a slot that is out, by its word, free, or gives its block back. False where it wasn't any more. */
  makeFree(slot: number, word: number): boolean {
    const blocks = this.#blocks
    const { slots } = blocks
    if (!blocks.areThere) return this.forget(slot, word)
    const isWanted = this.#state === 'open' || slots.isShared
    const idle = this.#idle
    const { idleMost } = this.#settings
    if (slots.isShared && idle.top >= Math.min(idleMost, slots.capacity)) idle.compact()
    const isSurplus = !isWanted || (idle.top >= idleMost && this.#waiters.length === 0)
    const isFilled = !isSurplus && (this.#settings.shape.zero === 2 || this.#host.debug !== undefined)
    // Not filled before it is this thread's: it may have been given back a moment ago, and be another's.
    if (!(isSurplus || isFilled ? blocks.take(slot, word) : slots.change(slot, word, Slot.Free))) return false
    if (isFilled) blocks.renew(slot)
    if (isSurplus) {
      blocks.drop(slot)
      publish('trim', isWanted ? 'more would be idle than idleBytes allows' : 'the pool was closed', this)
    } else {
      if (this.#host.debug === undefined) blocks.viewOf(slot)
      idle.push(slot)
    }
    this.serve()
    this.finish()
    return true
  }

  /** The same where the heap was closed before: other threads may have the block, where there are any. */
  private forget(slot: number, word: number): boolean {
    const { slots } = this.#blocks
    let changed: boolean
    if (slots.isShared) {
      changed = this.#blocks.take(slot, word)
      if (changed) this.#blocks.renew(slot)
    } else changed = slots.change(slot, word, Slot.Empty)
    slots.wake()
    this.finish()
    return changed
  }

  private get max(): number {
    const { slots } = this.#blocks
    return slots.isShared ? slots.capacity : this.#settings.shape.most
  }

  /** A buffer by whatever way there is; undefined at `max`. */
  private obtain(): Buffer | undefined {
    this.checkOpen()
    let slot = this.takeFree(false)
    if (slot < 0) slot = this.make()
    if (slot < 0) slot = this.takeFree(true)
    if (slot < 0 && this.#blocks.clearUp()) {
      slot = this.takeFree(true)
      if (slot < 0) slot = this.make()
    }
    if (slot < 0) return undefined
    const buffer = this.nextIsNoted() ? this.#leases.watchBuffer(slot) : this.#blocks.viewOf(slot)
    if (this.#settings.shape.zero === 1) this.#blocks.zero(slot)
    return buffer
  }

  /** Counts one acquire more, beside those of the usual path. True where its leak is to be reported. */
  private nextIsNoted(): boolean {
    if (this.#untilSlowAtFirst === 0) return this.#watch.next()
    this.choosePaths()
    const noted = this.#watch.next()
    this.choosePaths()
    return noted
  }

  /** A free slot, acquired; -1 where there is none on the stack, and where others left one, that was found; `everywhere`: at all. */
  private takeFree(everywhere: boolean): number {
    const { slots } = this.#blocks
    const idle = this.#idle
    for (let slot = idle.pop(); slot >= 0; slot = idle.pop())
      if (slots.change(slot, Slot.Free, this.#acquired)) return this.intact(slot)
    return slots.isShared ? this.intact(slots.takeFree(this.#acquired, everywhere)) : -1
  }

  /** A slot that was just taken, or -1. @throws AllocatorError in debug mode, where its buffer was written to while it was free */
  private intact(slot: number): number {
    const blocks = this.#blocks
    const error = slot < 0 ? undefined : blocks.awaken(slot)
    if (error === undefined) return slot
    // It is as it should be again, and can be had by the next call.
    if (blocks.slots.change(slot, this.#acquired, Slot.Free)) this.#idle.push(slot)
    throw error
  }

  /** A slot with a new block, acquired; -1 at `max`. */
  private make(): number {
    const blocks = this.#blocks
    let slot = blocks.make()
    if (slot < 0 && blocks.mayGrow) {
      this.move(2 * blocks.slots.capacity, () => blocks.slots.grown(this.#heap))
      slot = blocks.make()
    }
    if (slot >= 0) this.startTrimming()
    return slot
  }

  private takeBack(buffer: ArrayBufferView): void {
    this.checkNotClosed()
    const blocks = this.#blocks
    const slot = blocks.slotOf(buffer)
    const word = blocks.slots.state(slot)
    if (isLeased(word)) {
      const isOurs = word === blocks.slots.own(Slot.Leased)
      if (isOurs && this.#leases.releaseHeld(slot)) return
      // Only operations have it: the program has released it before.
      throw isOurs && this.#leases.of(slot) === undefined ? blocks.doubleRelease(buffer) : blocks.leased(buffer)
    }
    if (isOut(word)) {
      blocks.checkEnd(slot)
      this.#leases.unwatch(slot)
      if (this.makeFree(slot, word)) return
    }
    throw blocks.areThere ? blocks.doubleRelease(buffer) : closedError()
  }

  /** Who waits here looks for what other threads release, too. */
  private watchOthers(): void {
    void this.#waiters.watch(new WakeWord(this.#blocks.slots.block!, Word.Wake, Word.Waiters))
  }

  /** A slot is free: the first that waits gets it. */
  private serve(): void {
    const { slots } = this.#blocks
    if (this.#waiters.length > 0 && this.#state === 'open') {
      this.#waiters.serve(1)
      if (this.#waiters.length === 0) this.choosePaths()
    }
    slots.wake()
  }

  /** Frees idle buffers, at most `most`, until `keep` buffers are left. Returns how many. */
  private trimIdle(most: number, keep: number, reason: string): number {
    const gone = this.#idle.trim(most, keep)
    if (gone > 0) publish('trim', reason, this, gone)
    return gone
  }

  /** A timer that keeps neither the process open nor the pool alive. */
  private startTrimming(): void {
    const { trimMs } = this.#settings
    if (this.#timer !== undefined || trimMs === 0) return
    const weak = new WeakRef(this)
    const timer = setInterval(() => {
      const pool = weak.deref()
      if (pool === undefined) clearInterval(timer)
      else pool.trimUnneeded()
    }, trimMs)
    timer.unref()
    this.#timer = timer
  }

  /** Half of what nobody needed since the last time goes. */
  private trimUnneeded(): void {
    const low = this.#idle.takeLow()
    if (low > 0) this.trimIdle(Math.ceil(low / 2), this.#settings.min, 'nobody needed them for a while')
  }

  /**
   * @internal The slots are elsewhere from now on, with room for `capacity`, for the usual path too, which has their words for itself. Whatever may fail
   * comes first; then all of it is stored, and nothing comes between.
   */
  private move(capacity: number, to: () => PoolSlots): void {
    const stack = this.#idle.withRoom(capacity)
    const blocks = this.#blocks
    const slots = to()
    const { words } = slots
    blocks.slots = slots
    this.#words = words
    this.#idle.stack = stack
  }

  /**
   * Which calls may take the usual path. Where threads share the slots, or somebody waits, or zeros are to be written, none may. The
   * acquires that did since the last time are counted here.
   */
  private choosePaths(): void {
    const watch = this.#watch
    const settings = this.#settings
    watch.untilWatched -= this.#untilSlowAtFirst - this.#untilSlow
    const isPlain = this.#state === 'open' && !this.#blocks.slots.isShared && this.#host.debug === undefined
    this.#untilSlow = isPlain && settings.shape.zero !== 1 ? watch.untilWatched : 0
    this.#untilSlowAtFirst = this.#untilSlow
    const mayRelease = isPlain && settings.shape.zero !== 2 && this.#waiters.length === 0
    this.#plainRelease = mayRelease ? Math.min(settings.idleMost, 2 ** 30) : 0
  }

  /** The slots are where other threads see them, and this thread has a seat. */
  private enterShared(): void {
    this.choosePaths()
    this.#blocks.slots.noteWaiting(this.#waiters.length)
    if (this.#waiters.length > 0) this.watchOthers()
  }

  /** @internal Ends a closed pool once nothing is out that it must wait for. */
  finish(): void {
    if (this.#state === 'open') return
    const { slots } = this.#blocks
    if (this.#state === 'closing') {
      const leased = slots.own(Slot.Leased)
      const onlyLeased = slots.isShared || !this.#blocks.areThere
      this.#waitedFor = slots.findFrom(this.#waitedFor, (word) => (onlyLeased ? word === leased : word !== Slot.Empty))
      if (this.#waitedFor >= 0) return
      this.#state = 'closed'
    }
    // Again too where this thread was struck here before.
    slots.block?.leave(() => this.#blocks.endShared())
    this.#host.buffers.removeOwner(this)
    if (this.#settings.ownsHeap) this.#heap.close()
    this.#tellClosed()
  }

  /** @throws AllocatorError `ERR_POOL_CLOSED` */
  private checkOpen(): void {
    if (this.#state !== 'open') throw closedError()
  }

  /** @throws AllocatorError `ERR_POOL_CLOSED` also where only the heap is closed: what lies there can't be anybody's any more */
  private checkUsable(): void {
    this.checkNotClosed()
    if (!this.#blocks.areThere) throw closedError()
  }

  private checkNotClosed(): void {
    if (this.#state === 'closed') throw closedError()
  }

  /** @internal A view of a lease's first bytes by which the lease is found at once. */
  first(lease: Lease, length: number): Buffer {
    return this.#blocks.first(this.#blocks.slotUnder(lease.buffer), length)
  }

  private leaseOut(buffer: PoolBuffer): Lease<PoolBuffer> {
    return this.#leases.leaseOut(this.#blocks.slotOf(buffer)) as Lease<PoolBuffer>
  }
}

function closedError(): AllocatorError {
  return new AllocatorError('ERR_POOL_CLOSED', 'the pool is closed')
}
