import type { FileHandle } from 'node:fs/promises'
import type { NetConnectOpts, Server, ServerOpts, Socket } from 'node:net'
import type { Writable } from 'node:stream'
import { clearInterval, setInterval } from 'node:timers'
import { ABORTABLE, type Abortable, checkSignal } from '../base/abort.ts'
import { begin, during, end, quietly } from '../base/announce.ts'
import { checkCount, checkOptions, type OptionNames } from '../base/arguments.ts'
import { AllocatorError, wrongType } from '../base/errors.ts'
import { makePrintable } from '../base/printed.ts'
import { HeapView } from '../buffers/heap-view.ts'
import type { LeakWatch } from '../buffers/leak-watch.ts'
import type { OwnerStats } from '../buffers/owner-stats.ts'
import type { PassedBlock } from '../buffers/passed-block.ts'
import type { Heap } from '../heap/heap.ts'
import { attachTo, type HeapHost, HOST } from '../lifetime/host.ts'
import { Lease } from '../lifetime/lease.ts'
import { type WriteOptions, write } from '../streams/write.ts'
import type { HeapToken } from '../tcmalloc/token.ts'
import { Waiters } from '../threads/waiters.ts'
import { WakeWord } from '../threads/wake-word.ts'
import { IdleSlots } from './idle-slots.ts'
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
import { type ConnectionListener, connectPooled, createPooledServer } from './pooled-socket.ts'
import { type ReadOptions, type ReadSource, read } from './read.ts'

/** A token by which another thread attaches to a pool. It survives structured clone. */
export interface PoolToken {
  /** The address of its words, in the heap. */
  readonly pool: number
  /** Tells it from other pools, earlier or later, at that address: a random number, the same as another's once in two billion times. */
  readonly generation: number
  /** The heap that the pool is in. */
  readonly heap: HeapToken
}

const ATTACH_OPTIONS: OptionNames<PoolBehaviour & { heap?: Heap }> = { heap: true, ...BEHAVIOUR_OPTIONS }
const READ_OPTIONS: OptionNames<ReadOptions> = { start: true, end: true, signal: true }
/** How often, in milliseconds, a closed pool looks whether other threads have released the last buffers of this one. */
const LOOK_MS = 50
const WRITE_OPTIONS: OptionNames<WriteOptions> = { position: true, signal: true }

/**
 * A pool of buffers of one size that are used again and again. `acquire` and `release` move a number from one stack to another: they make
 * no object, and so no garbage. Several threads can share the pool: one may release a buffer that another has acquired. Leases count the
 * users of a buffer, and an operation that reads into a buffer or writes from it holds it until the operation is done.
 *
 * INVARIANT: a slot whose word says Free has no owner; every other slot that has a block belongs to the thread that its word names. While
 * one thread alone has the slots, every free slot is among the idle ones.
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
  /** The first slot that a close waits for: where the next look begins. */
  #waitedFor = 0
  #timer: NodeJS.Timeout | undefined
  #tellClosed!: () => void
  readonly #closed = new Promise<void>((resolve) => {
    this.#tellClosed = resolve
  })

  // Read on the usual path.
  #words = this.#blocks.slots.words
  readonly #views = this.#blocks.views
  /** The word of a slot whose buffer this thread has acquired. */
  readonly #acquired = this.#blocks.slots.own(Slot.Acquired)
  readonly #idle = new IdleSlots(this.#blocks)
  /** How many more acquires may take the usual path before one is examined for a leak; 0 if none may. */
  #untilSlow = 0
  /** The value of `untilSlow` when it was last set. */
  #untilSlowAtFirst = 0
  /** A release may take the usual path while fewer slots than this are on the stack; 0 if none may. */
  #plainRelease = 0

  static {
    makePrintable(BufferPool, 'BufferPool')
  }

  /** @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY` if the system refuses address space for a heap of its own */
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
   * Opens a pool of another thread in this one. A thread may open it more than once: the pool counts all of these as one owner.
   * @param options this thread's own choices; `heap` if it has the pool's heap open already
   * @throws AllocatorError `ERR_HEAP_INVALID_TOKEN`, `ERR_HEAP_TOO_MANY_WORKERS`
   */
  static attach(token: PoolToken, options: PoolBehaviour & { heap?: Heap } = {}): BufferPool {
    const open = (host: HeapHost, ownsHeap: boolean) => {
      const heap = host.heap as Heap
      const slots = PoolSlots.find(heap, token.pool, token.generation)
      slots.block!.join()
      try {
        const { shape } = slots
        const behaviour = checkBehaviour(options, shape.size)
        return new BufferPool({ heap, ownsHeap, shape, mostWhenShared: shape.most, ...behaviour }, slots)
      } catch (error) {
        slots.block!.leave()
        throw error
      }
    }
    return attachTo(token, options, open, ATTACH_OPTIONS)
  }

  /** The heap of its buffers. */
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

  /** A buffer, which the caller owns until `release`. @throws AllocatorError `ERR_POOL_EXHAUSTED` at `max`, `ERR_HEAP_OUT_OF_MEMORY` */
  acquire(): PoolBuffer {
    const idle = this.#idle
    const top = (idle.top - 1) | 0
    if (top >= 0 && this.#untilSlow > 0) {
      const slot = idle.stack[top]!
      const word = Word.Slots + (slot << 1)
      const view = this.#views[slot] as PoolBuffer
      // A view of length 0 has lost its ArrayBuffer (see ViewMemory).
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
   * The same, once there is one. Waiters of one thread are served in the order in which they came. Rejects with the signal's reason when it
   * is aborted, with `ERR_POOL_CLOSED` when the pool is closed first, and with `ERR_POOL_PEERS_DIED` if dead threads have all buffers and every
   * live thread of the pool waits.
   */
  acquireAsync(options: Abortable = {}): Promise<PoolBuffer> {
    // Not an async function: that would add a promise to each call, and a few turns of the queue of microtasks.
    try {
      checkOptions(options, ABORTABLE)
      const { signal } = options
      checkSignal(signal)
      const buffer = this.#waiters.length === 0 ? this.obtain() : undefined
      if (buffer !== undefined) return Promise.resolve(buffer as PoolBuffer)
      this.checkOpen()
      let attempts = 0
      const attempt = () => {
        const buffer = quietly(() => this.obtainReserved() ?? this.obtain())
        // At first it may only have come too late to the word that it is to watch.
        if (buffer === undefined && attempts++ > 0) this.#blocks.slots.noteStarving()
        return buffer
      }
      this.#blocks.slots.noteHope()
      const waiting = this.#waiters.wait(attempt, signal)
      this.choosePaths()
      if (this.#blocks.slots.isShared) this.watchOthers()
      publish('wait', 'all buffers are in use', this)
      return waiting as Promise<PoolBuffer>
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /**
   * Takes back a buffer of this thread or, if the pool is shared, of any other. The pool may hand it out again at once.
   * @throws AllocatorError `ERR_POOL_DOUBLE_RELEASE`, `ERR_POOL_FOREIGN_BUFFER`, `ERR_POOL_LEASED` if it is a lease's
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
   * Gives up a buffer, for another thread that shares the pool, or for this one later. It has no owner until a thread adopts it. The
   * returned value is small and plain; send it by `postMessage`, or any other way. Until then the buffer counts in `stats().passed`.
   * @throws AllocatorError `ERR_POOL_DOUBLE_RELEASE` if the buffer was released or passed, `ERR_POOL_FOREIGN_BUFFER`, `ERR_POOL_LEASED` if
   * it is a lease's, or an operation holds it
   */
  pass(buffer: ArrayBufferView): PassedBlock {
    this.checkUsable()
    const passed = this.#blocks.pass(buffer)
    this.#leases.unwatch(passed.slot)
    return passed
  }

  /**
   * Takes a passed buffer, once, in any thread that shares the pool. The thread that passed it may take it back if no other has adopted it.
   * Returns this thread's own view of it; release it like an acquired buffer. What a lease passed is as long as the lease's buffer was.
   * @throws AllocatorError `ERR_HEAP_STALE_HANDLE` if it was adopted already, or the value is another pool's, or `pass` never gave it;
   * TypeError `ERR_INVALID_ARG_TYPE` if it isn't an object
   */
  adopt(passed: PassedBlock): PoolBuffer {
    this.checkUsable()
    const { slot, length } = this.#blocks.adopt(passed)
    const buffer = this.nextIsNoted() ? this.#leases.watchBuffer(slot) : this.#blocks.viewOf(slot)
    return (length === this.size ? buffer : this.#blocks.first(slot, length)) as PoolBuffer
  }

  /** The same in a lease, whose buffer is as long as what was passed. @throws as `adopt` */
  adoptLease(passed: PassedBlock): Lease<PoolBuffer> {
    this.checkUsable()
    const { slot, length } = this.#blocks.adopt(passed)
    return this.leaseSlot(slot, length)
  }

  /** A buffer with a count of its users; for `using`. @throws as `acquire` */
  lease(): Lease<PoolBuffer> {
    return this.leaseFirst(this.size)
  }

  /** @internal The same of a buffer's first bytes. */
  leaseFirst(length: number): Lease<PoolBuffer> {
    return this.handingOut(() => this.leaseOut(this.acquire(), length))
  }

  /** The same as `lease`, once there is one. */
  async leaseAsync(options?: Abortable): Promise<Lease<PoolBuffer>> {
    return this.leaseFirstAsync(this.size, options)
  }

  /** @internal */
  async leaseFirstAsync(length: number, options?: Abortable): Promise<Lease<PoolBuffer>> {
    const buffer = await this.acquireAsync(options)
    if (this.#state === 'open') return this.leaseOut(buffer, length)
    // The pool may have been closed while the buffer was on its way.
    if (this.#state !== 'closed') this.release(buffer)
    return this.leaseFirst(length)
  }

  /** The lease in whose buffer a view lies; undefined if no lease of this thread has it. */
  leaseOf(view: ArrayBufferView): Lease<PoolBuffer> | undefined {
    const slot = this.#state === 'closed' ? -1 : this.#blocks.slotUnder(view)
    return this.#leases.of(slot) as Lease<PoolBuffer> | undefined
  }

  /**
   * For operations: pins the buffer that a view lies in, leased or acquired, until the returned function is called. No other user can get
   * it meanwhile, whatever is called; a release takes effect after that. An isolated buffer of the pool's heap is held as well, and its
   * free takes effect after that. Returns undefined if the memory is neither, or the pool has ended.
   * @throws AllocatorError `ERR_POOL_DOUBLE_RELEASE` if the buffer is free, `ERR_POOL_LEASED` if another thread's lease has it
   */
  hold(view: ArrayBufferView): (() => void) | undefined {
    if (this.#state === 'closed') return undefined
    const slot = this.#blocks.slotUnder(view)
    if (slot < 0 && !this.#blocks.isGone(view)) return this.#host.buffers.isolated.hold(view)
    const letGo = slot < 0 ? undefined : this.#leases.hold(slot)
    if (letGo !== undefined) return letGo
    throw slot >= 0 && this.#leases.isElsewhere(slot)
      ? this.#blocks.leasedElsewhere(view)
      : this.#blocks.doubleRelease(view)
  }

  /**
   * Chunks of a source, each in a buffer of the pool. A chunk's buffer goes back when the next chunk is asked for, or when the loop is
   * left; `write` and `leaseOf(chunk).retain()` hold it longer.
   *
   * A FileHandle is read into the pool's buffers, and so is a socket of `connect` or `createServer`. Chunks of any other stream are copied.
   * A FileHandle or such a socket can be read on after the loop was left, without loss. Any other stream is destroyed, as by any loop.
   */
  read(source: ReadSource, options: ReadOptions = {}): AsyncGenerator<PoolBuffer, void, void> {
    checkOptions(options, READ_OPTIONS)
    return read(this, source, options) as AsyncGenerator<PoolBuffer, void, void>
  }

  /**
   * Writes a lease's whole buffer, a part of one, an acquired buffer, or any other view to a stream or a file, and resolves when the target
   * has finished with it. Until then the buffer is held, whatever is released, closed, aborted or destroyed.
   *
   * Files, sockets and HTTP/1 messages of Node's own are written from the buffer itself. Any other stream gets a copy, since it may keep
   * its input, or pass it on. If it takes no callback, the promise resolves when it has room for more.
   * @throws TypeError `ERR_INVALID_ARG_TYPE`; the signal's reason; the error that the stream or the file reports, or an Error that it was
   * closed
   */
  async write(
    target: Writable | FileHandle,
    data: Lease<PoolBuffer> | ArrayBufferView,
    options: WriteOptions = {}
  ): Promise<void> {
    checkOptions(options, WRITE_OPTIONS)
    const view = data instanceof Lease ? data.buffer : data
    if (!ArrayBuffer.isView(view)) throw wrongType('data', 'a lease or a view of a buffer', view)
    // Another pool's lease is held by that pool.
    const hold = () => this.hold(view) ?? (data instanceof Lease ? data.hold() : undefined)
    return write(target, view, options, hold)
  }

  /**
   * A connection, as of `net.connect`, that reads into the pool's buffers. Takes options, a port and a host, or a path, and a listener of
   * the event `connect`. Read it by `read`, since it has no event `data`.
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
   * rejected, its socket is destroyed with the error, and the server goes on. A process warning shows the error, unless the program listens
   * for errors of the socket, or the error only says that the connection is over (its peer has reset it, say) or that a read was aborted.
   */
  createServer(listener?: (socket: Socket) => void | Promise<void>): Server
  createServer(options?: ServerOpts, listener?: (socket: Socket) => void | Promise<void>): Server
  createServer(options?: ServerOpts | ConnectionListener, listener?: ConnectionListener): Server {
    this.checkOpen()
    return createPooledServer(this, options, listener)
  }

  /** A lease; undefined if all buffers are in use, or the pool is closed. */
  tryLease(): Lease<PoolBuffer> | undefined {
    if (this.#state !== 'open') return undefined
    const lease = during(() => {
      const buffer = this.tryAcquire()
      return buffer === undefined ? undefined : this.leaseOut(buffer, this.size)
    })
    return this.#blocks.areThere ? lease : undefined
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
    // Words for more buffers than the heap has room for would only be memory lost, in a set of many pools above all.
    const room = Math.ceil(this.#host.tiers.endAddress / this.size)
    const most = Math.max(Math.min(this.#settings.mostWhenShared, room), slots.used)
    if (!slots.isShared) this.move(most, () => slots.shared(this.#heap, most))
    // At each call, since this thread may have been struck between the two steps in an earlier one, before any token existed.
    this.enterShared()
    const { block, generation } = this.#blocks.slots
    return { pool: block!.address, generation, heap }
  }

  /**
   * Takes back the buffers that dead threads had acquired, and returns how many there were. A buffer that a dead thread had sent to another
   * one is taken from the receiver: so call this only if the program sends no buffers, or adopts what it is sent.
   */
  reclaim(): number {
    this.checkOpen()
    const { slots } = this.#blocks
    return during(() => {
      this.#blocks.clearUp()
      let taken = 0
      for (let slot = 0; slot < slots.used; slot++) {
        const word = slots.state(slot)
        if (slots.isDead(word) && isOut(word) && this.makeFree(slot, word)) taken++
      }
      return taken
    })
  }

  /** Gives idle buffers back to the heap until `keep` buffers are left, including busy ones. Returns how many bytes they had. */
  trim(keep = 0): number {
    checkCount('keep', keep)
    this.checkOpen()
    return this.trimIdle(Number.POSITIVE_INFINITY, keep, 'trim was called') * this.size
  }

  /** The pool's numbers. It looks at every buffer: not for a loop. */
  stats(): PoolStats {
    const { slots } = this.#blocks
    const isClosed = this.#state === 'closed'
    const waiting = slots.isShared && !isClosed ? slots.waiting : this.#waiters.length
    return poolStats(isClosed ? undefined : slots, this.size, this.max, waiting)
  }

  /** The summary that `JSON.stringify`, loggers and `console.log` show: the same as `stats()`. */
  toJSON(): PoolStats {
    return this.stats()
  }

  /** @internal */
  ownerStats(): OwnerStats[] {
    const { buffers, bytes } = this.stats()
    return [{ tag: this.tag, buffers, bytes }]
  }

  /**
   * Ends acquiring. Idle buffers are freed at once, each other one when it is released, and finally a heap of the pool's own. A shared pool
   * goes on in other threads: this thread waits only for its operations and leases then, and the last thread for every buffer that a live
   * thread has. Closing the heap closes its pools too. May be called again.
   */
  close(): void {
    if (this.#state !== 'open') {
      this.finish()
      return
    }
    during(() => {
      this.#state = 'closing'
      this.choosePaths()
      this.repeat(0)
      this.#waiters.end(closedError())
      publish('close', 'close was called', this)
      if (!this.#blocks.slots.isShared) this.trimIdle(Number.POSITIVE_INFINITY, 0, 'the pool was closed')
      this.finish()
    })
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

  /** @internal Frees a slot that is out, by its word, or gives its block back. False if it no longer was. */
  makeFree(slot: number, word: number): boolean {
    begin()
    try {
      return this.freeSlot(slot, word)
    } finally {
      end()
    }
  }

  private freeSlot(slot: number, word: number): boolean {
    const blocks = this.#blocks
    const { slots } = blocks
    if (!blocks.areThere) return this.forget(slot, word)
    const isWanted = this.#state === 'open' || slots.isShared
    const idle = this.#idle
    const { idleMost } = this.#settings
    if (slots.isShared && idle.top >= Math.min(idleMost, slots.capacity)) idle.compact()
    const isSurplus = !isWanted || (idle.top >= idleMost && this.#waiters.length === 0)
    const isFilled = !isSurplus && (this.#settings.shape.zero === 2 || this.#host.debug !== undefined)
    // Fill it only once it is this thread's: it may have been given back a moment ago, and belong to another.
    if (!(isSurplus || isFilled ? blocks.take(slot, word) : slots.free(slot, word))) return false
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

  /** The same after the heap was closed: other threads, if any, may have the block. */
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

  /** Runs what hands out a buffer. @throws AllocatorError `ERR_POOL_CLOSED` also if a subscriber has closed the heap meanwhile */
  private handingOut<T>(work: () => T): T {
    const got = during(work)
    if (!this.#blocks.areThere) throw closedError()
    return got
  }

  /** A buffer by any of the ways; undefined at `max`. */
  private obtain(): Buffer | undefined {
    this.checkOpen()
    // A free slot comes without an event, but for debug mode's.
    const slot = this.#host.debug === undefined ? this.takeFree(false) : -1
    return slot >= 0 ? this.handOut(slot) : this.handingOut(() => this.find())
  }

  private find(): Buffer | undefined {
    let slot = this.takeFree(false)
    if (slot < 0) slot = this.make()
    if (slot < 0) slot = this.takeFree(true)
    if (slot < 0 && this.#blocks.clearUp()) {
      slot = this.takeFree(true)
      if (slot < 0) slot = this.make()
    }
    return slot < 0 ? undefined : this.handOut(slot)
  }

  /** The buffer that another thread has reserved for this one's waiters, if any. */
  private obtainReserved(): Buffer | undefined {
    const slot = this.intact(this.#blocks.slots.takeReserved(this.#acquired))
    return slot < 0 ? undefined : this.handOut(slot)
  }

  /** The buffer of a slot that was just acquired. */
  private handOut(slot: number): Buffer {
    const buffer = this.nextIsNoted() ? this.#leases.watchBuffer(slot) : this.#blocks.viewOf(slot)
    if (this.#settings.shape.zero === 1) this.#blocks.zero(slot)
    return buffer
  }

  /** Counts one more acquire, beside those of the usual path. True if its leak is to be reported. */
  private nextIsNoted(): boolean {
    if (this.#untilSlowAtFirst === 0) return this.#watch.next()
    this.choosePaths()
    const noted = this.#watch.next()
    this.choosePaths()
    return noted
  }

  /** Acquires a free slot of the stack or, failing that, one left by another thread; -1 if none was found. `everywhere`: look at all slots. */
  private takeFree(everywhere: boolean): number {
    const { slots } = this.#blocks
    const idle = this.#idle
    for (let slot = idle.pop(); slot >= 0; slot = idle.pop())
      if (slots.change(slot, Slot.Free, this.#acquired)) return this.intact(slot)
    return slots.isShared ? this.intact(slots.takeFree(this.#acquired, everywhere)) : -1
  }

  /** A slot that was just taken, or -1. @throws AllocatorError in debug mode, if its buffer was written to while it was free */
  private intact(slot: number): number {
    const blocks = this.#blocks
    const error = slot < 0 ? undefined : blocks.awaken(slot)
    if (error === undefined) return slot
    // It is repaired, and the next call can have it.
    if (blocks.slots.change(slot, this.#acquired, Slot.Free)) this.#idle.push(slot)
    throw error
  }

  /** A slot with a new block, acquired; -1 at `max`. */
  private make(): number {
    const blocks = this.#blocks
    let slot = blocks.make()
    if (slot < 0 && blocks.mayGrow) {
      this.move(blocks.slots.nextCapacity, () => blocks.slots.grown(this.#heap))
      slot = blocks.make()
    }
    if (slot >= 0 && this.#timer === undefined) this.repeat(this.#settings.trimMs)
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
      if (!isOurs) throw blocks.leasedElsewhere(buffer)
      // Only operations have it: the program has already released it.
      if (this.#leases.of(slot) === undefined) throw blocks.doubleRelease(buffer)
      throw blocks.leased(buffer, "a read loop, which gives it back: don't release it")
    }
    if (isOut(word)) {
      blocks.checkEnd(slot)
      this.#leases.unwatch(slot)
      if (this.makeFree(slot, word)) return
    }
    throw blocks.areThere ? blocks.doubleRelease(buffer) : closedError()
  }

  /** A thread with waiters also looks for buffers that other threads release. */
  private watchOthers(): void {
    const word = new WakeWord(this.#blocks.slots.block!, Word.Wake, Word.Waiters)
    let told = 0
    void this.#waiters.watch(word, (isIdle) => {
      const { slots } = this.#blocks
      if (!isIdle || !slots.areDead) return undefined
      const deaths = slots.countDeaths()
      const isNew = told !== deaths
      told = deaths
      const { used } = slots
      const reason = slots.giveUp() ? peersDied(used) : undefined
      if (isNew) publish('death', 'threads that died have all buffers, and reclaim was not called', this, used)
      return reason
    })
  }

  /** A slot is free: the first waiter gets it. */
  private serve(): void {
    const { slots } = this.#blocks
    if (this.#waiters.length > 0 && this.#state === 'open') {
      this.#waiters.serve(1)
      if (this.#waiters.length === 0) this.choosePaths()
    }
    slots.wake()
  }

  /** Frees at most `most` idle buffers, until `keep` buffers are left. Returns how many it freed. */
  private trimIdle(most: number, keep: number, reason: string): number {
    return during(() => {
      const gone = this.#idle.trim(most, keep)
      if (gone > 0) publish('trim', reason, this, gone)
      return gone
    })
  }

  /** Trims or, once it is closed, looks for its end every `ms`; 0: never. The timer keeps neither the process open nor the pool alive. */
  private repeat(ms: number): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    if (ms === 0) return
    const weak = new WeakRef(this)
    const timer = setInterval(() => {
      const pool = weak.deref()
      if (pool === undefined) clearInterval(timer)
      else if (pool.#state === 'open') pool.trimUnneeded()
      else pool.finish()
    }, ms)
    timer.unref()
    this.#timer = timer
  }

  /** Frees half of the buffers that were idle all the time since the last call. */
  private trimUnneeded(): void {
    const low = this.#idle.takeLow()
    if (low > 0) this.trimIdle(Math.ceil(low / 2), this.#settings.min, 'nobody needed them for a while')
  }

  /**
   * @internal Moves the slots to a place with room for `capacity`, and updates the usual path's own reference to their words. Every step that may fail
   * comes first; then all of it is stored, and nothing comes between: the heap knows the new place by then.
   */
  private move(capacity: number, to: () => PoolSlots): void {
    const stack = this.#idle.withRoom(capacity)
    const idle = this.#idle
    const blocks = this.#blocks
    const slots = to()
    blocks.slots = slots
    // As long as these fields have never changed, V8 takes 5.0 ns for an acquire and a release, later 5.3. Even the same value is a change.
    if (this.#words !== slots.words) this.#words = slots.words
    if (idle.stack !== stack) idle.stack = stack
    this.#host.emptyHand()
  }

  /**
   * Sets which calls may take the usual path. None may if threads share the slots, or have waiters, or zeros are to be written. Also
   * counts the acquires that took it since the last time.
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

  /** Adapts this thread once other threads see the slots and it has a seat. */
  private enterShared(): void {
    this.choosePaths()
    this.#blocks.slots.noteWaiting(this.#waiters.length)
    if (this.#waiters.length > 0) this.watchOthers()
  }

  /** @internal Ends a closed pool once it has no more buffers to wait for. */
  finish(): void {
    if (this.#state === 'open') return
    const { slots, areThere } = this.#blocks
    if (this.#state === 'closing') {
      const isLeased = (word: number) => word === slots.own(Slot.Leased)
      if (this.waitsFor(slots.isShared || !areThere ? isLeased : (word) => word !== Slot.Empty)) return
      // As the last thread that has the pool open, it also waits for what any live thread has.
      const isReady = () => !slots.isShared || !this.waitsFor((word) => isOut(word) && !slots.isDead(word))
      if (slots.home?.leave(isReady) === false) {
        // Another thread may release it, or join, and doesn't tell.
        if (this.#timer === undefined) this.repeat(LOOK_MS)
        return
      }
      this.#state = 'closed'
    }
    this.repeat(0)
    // Also if this thread was struck here before.
    slots.home?.leave()
    this.#host.buffers.removeOwner(this)
    if (this.#settings.ownsHeap) this.#heap.close()
    this.#tellClosed()
  }

  /** Whether a slot's word passes `test`. The look begins where the last one ended. */
  private waitsFor(test: (word: number) => boolean): boolean {
    const slot = this.#blocks.slots.findFrom(this.#waitedFor, test)
    if (slot >= 0) this.#waitedFor = slot
    return slot >= 0
  }

  /** @throws AllocatorError `ERR_POOL_CLOSED` */
  private checkOpen(): void {
    if (this.#state !== 'open') throw closedError()
  }

  /** @throws AllocatorError `ERR_POOL_CLOSED` also if only the heap is closed: then no one can own its memory any more */
  private checkUsable(): void {
    this.checkNotClosed()
    if (!this.#blocks.areThere) throw closedError()
  }

  private checkNotClosed(): void {
    if (this.#state === 'closed') throw closedError()
  }

  /** @internal A view of a lease's first bytes, from which the lease is found at once. */
  first(lease: Lease, length: number): Buffer {
    return this.#blocks.first(this.#blocks.slotUnder(lease.buffer), length)
  }

  private leaseOut(buffer: PoolBuffer, length: number): Lease<PoolBuffer> {
    return this.leaseSlot(this.#blocks.slotOf(buffer), length)
  }

  private leaseSlot(slot: number, length: number): Lease<PoolBuffer> {
    return this.#leases.leaseOut(slot, length) as Lease<PoolBuffer>
  }
}

function peersDied(buffers: number): AllocatorError {
  const message = `threads that died have all ${buffers} buffers, and no live one has any to release: reclaim() takes them back`
  return new AllocatorError('ERR_POOL_PEERS_DIED', message)
}

function closedError(): AllocatorError {
  return new AllocatorError('ERR_POOL_CLOSED', 'the pool is closed')
}
