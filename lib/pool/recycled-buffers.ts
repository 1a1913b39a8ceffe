import { clearInterval, setInterval } from 'node:timers'
import { checkCount, checkOptions } from '../base/arguments.ts'
import { AllocatorError, invalidToken } from '../base/errors.ts'
import { makePrintable, staysHere } from '../base/printed.ts'
import { HeapView } from '../buffers/heap-view.ts'
import type { LeakWatch } from '../buffers/leak-watch.ts'
import type { OwnerStats } from '../buffers/owner-stats.ts'
import type { PassedBlock } from '../buffers/passed-block.ts'
import type { Heap } from '../heap/heap.ts'
import { HOST } from '../lifetime/host.ts'
import { ABORTABLE, type Abortable, checkSignal } from './abort.ts'
import { Leases } from './leases.ts'
import { PoolBlocks } from './pool-blocks.ts'
import { publish } from './pool-events.ts'
import { type CheckedPool, checkPoolOptions, type PoolOptions } from './pool-options.ts'
import { isLeased, isOut, PoolSlots, Slot, Word } from './pool-slots.ts'
import { type PoolStats, poolStats } from './pool-stats.ts'
import { Waiters } from './waiters.ts'

/** A pool's buffer. */
export type PoolBuffer = Buffer<ArrayBuffer>

/** What the pool that is being made is made of; nobody else keeps it. */
let opened: { readonly checked: CheckedPool; readonly slots: PoolSlots } | undefined

/** Runs before a pool's fields are set: what is stored once is stored where it is declared, as in a heap. */
class Opening {
  /** The length of its buffers, in bytes. */
  readonly size: number
  /** Whose buffers they are, by the option or by number. */
  readonly tag: string
  /** @internal */
  readonly notCloneable: symbol

  constructor(options: PoolOptions | CheckedPool, slots: PoolSlots | undefined) {
    const checked = slots === undefined ? checkPoolOptions(options as PoolOptions) : (options as CheckedPool)
    const { heap, shape, tag } = checked
    this.size = shape.size
    this.tag = tag
    this.notCloneable = staysHere('a BufferPool', ': use share(), and BufferPool.attach() in the other one')
    opened = { checked, slots: slots ?? PoolSlots.local(heap, shape) }
  }
}

/**
 * Buffers of one size that are used again and again. `acquire` and `release` move a number from one stack to another: no buffer object
 * is made, nothing is collected.
 *
 * INVARIANT: a slot whose word says Free belongs to nobody; every other that has a block, to the thread that its word names. While the
 * slots are one thread's, every free slot is on the stack. Once they are shared, the stack is a memory of where free slots were.
 */
export class RecycledBuffers extends Opening implements Disposable, AsyncDisposable {
  readonly #settings = opened!.checked
  readonly #heap: Heap = this.#settings.heap
  readonly #host = this.#heap[HOST]
  readonly #watch = this.#settings.watch
  readonly #leaseWatch = this.#settings.leaseWatch
  readonly #blocks = new PoolBlocks(this.#heap, opened!.slots, this, this)
  readonly #leases = new Leases(this)
  readonly #waiters = new Waiters<Buffer>((length) => {
    if (this.#blocks.slots.isShared) this.#blocks.slots.noteWaiting(length)
  })
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
  /** Slots that are free, the one that was released last on top; as long as the slots' words. */
  #stack = new Int32Array(this.#blocks.slots.capacity)
  #top = 0
  /** So many more releases may find the stack of a shared pool full before it is looked through. */
  #untilCompact = 0
  /** The lowest that `top` was since the last look at what isn't needed. */
  #low = 0
  /** So many more acquires may take the usual path before one is looked at, for a leak; 0 where none may. */
  #untilSlow = 0
  /** What `untilSlow` was when it was last set. */
  #untilSlowAtFirst = 0
  /** Below so many slots on the stack a release may take the usual path; 0 where none may. */
  #plainRelease = 0

  static {
    makePrintable(RecycledBuffers, 'BufferPool')
  }

  /** @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY` where the system refuses address space for a heap of its own */
  constructor(options: PoolOptions)
  /** @internal */
  constructor(options: CheckedPool, slots: PoolSlots)
  constructor(options: PoolOptions | CheckedPool, slots?: PoolSlots) {
    super(options, slots)
    opened = undefined
    if (slots !== undefined) this.join()
    this.#host.buffers.addOwner(this)
    this.choosePaths()
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

  /** @internal */
  get leases(): Leases {
    return this.#leases
  }

  /** @internal */
  protected get settings(): CheckedPool {
    return this.#settings
  }

  /** A buffer, which is the caller's until `release`. @throws AllocatorError `ERR_POOL_EXHAUSTED` at `max`, `ERR_HEAP_OUT_OF_MEMORY` */
  acquire(): PoolBuffer {
    const top = (this.#top - 1) | 0
    if (top >= 0 && this.#untilSlow > 0) {
      const slot = this.#stack[top]!
      const word = Word.Slots + (slot << 1)
      const view = this.#views[slot] as PoolBuffer
      // Of length 0 is one whose ArrayBuffer was taken (see ViewMemory).
      if (this.#words[word] === Slot.Free && view.length > 0) {
        this.#words[word] = this.#acquired
        this.#top = top
        if (top < this.#low) this.#low = top
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
      const waiting = this.#waiters.wait(signal)
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
    const top = this.#top
    if (key > 0 && top < this.#plainRelease) {
      const word = Word.Slots - 2 + (key << 1)
      if (this.#words[word] === this.#acquired) {
        this.#words[word] = Slot.Free
        this.#stack[top] = key - 1
        this.#top = (top + 1) | 0
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
    if (slots.isShared && this.#top >= Math.min(this.#settings.idleMost, slots.capacity) && --this.#untilCompact < 0)
      this.compact()
    const isSurplus = !isWanted || (this.#top >= this.#settings.idleMost && this.#waiters.length === 0)
    const isFilled = !isSurplus && (this.#settings.shape.zero === 2 || this.#host.debug !== undefined)
    // Not filled before it is this thread's: it may have been given back a moment ago, and be another's.
    if (!(isSurplus || isFilled ? blocks.take(slot, word) : slots.change(slot, word, Slot.Free))) return false
    if (isFilled) blocks.clear(slot)
    if (isSurplus) {
      blocks.drop(slot)
      publish('trim', isWanted ? 'more would be idle than idleBytes allows' : 'the pool was closed', this)
    } else if (this.#top < slots.capacity) {
      if (this.#host.debug === undefined) blocks.viewOf(slot)
      this.#stack[this.#top++] = slot
    }
    this.serve()
    this.finish()
    return true
  }

  /**
   * Leaves on the stack of a shared pool only what is free still, and once: what others have acquired since isn't idle. It looks at all of it: so
   * it isn't done again before as many were released as are left.
   */
  private compact(): void {
    const stack = this.#stack
    const { slots } = this.#blocks
    const free = new Set(stack.subarray(0, this.#top).filter((slot) => slots.state(slot) === Slot.Free))
    this.#top = 0
    for (const slot of free) stack[this.#top++] = slot
    this.#low = Math.min(this.#low, this.#top)
    this.#untilCompact = this.#top
  }

  /** The same where the heap was closed before: other threads may have the block, where there are any. */
  private forget(slot: number, word: number): boolean {
    const { slots } = this.#blocks
    let changed: boolean
    if (slots.isShared) {
      changed = this.#blocks.take(slot, word)
      if (changed) this.#blocks.clear(slot)
    } else changed = slots.change(slot, word, Slot.Empty)
    if (slots.isShared) Waiters.wake(this.#words)
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
    while (this.#top > 0) {
      const slot = this.#stack[--this.#top]!
      if (this.#top < this.#low) this.#low = this.#top
      if (slots.change(slot, Slot.Free, this.#acquired)) return this.intact(slot)
    }
    return slots.isShared ? this.intact(slots.takeFree(this.#acquired, everywhere)) : -1
  }

  /** A slot that was just taken, or -1. @throws AllocatorError in debug mode, where its buffer was written to while it was free */
  private intact(slot: number): number {
    const blocks = this.#blocks
    const error = slot < 0 ? undefined : blocks.awaken(slot)
    if (error === undefined) return slot
    // It is as it should be again, and can be had by the next call.
    if (blocks.slots.change(slot, this.#acquired, Slot.Free) && this.#top < this.#stack.length)
      this.#stack[this.#top++] = slot
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
    void this.#waiters.watchOthers(this.#words, () => this.obtain())
  }

  /** A slot is free: the first that waits gets it. */
  private serve(): void {
    const { slots } = this.#blocks
    if (this.#waiters.length > 0 && this.#state === 'open') {
      this.#waiters.serve(() => this.obtain(), 1)
      if (this.#waiters.length === 0) this.choosePaths()
    }
    if (slots.isShared) Waiters.wake(this.#words)
  }

  /** Frees idle buffers, those that have lain longest first, at most `most`, until `keep` buffers are left. Returns how many. */
  private trimIdle(most: number, keep: number, reason: string): number {
    const blocks = this.#blocks
    const stack = this.#stack
    const { slots } = blocks
    blocks.settle()
    const wanted = Math.min(most, slots.count((word) => word !== Slot.Empty) - keep)
    const left: number[] = []
    let gone = 0
    for (let at = 0; at < this.#top; at++) {
      const slot = stack[at]!
      if (gone < wanted && blocks.take(slot, Slot.Free)) {
        blocks.drop(slot)
        gone++
      } else if (slots.state(slot) === Slot.Free) left.push(slot)
    }
    for (const [at, slot] of left.entries()) stack[at] = slot
    this.#top = left.length
    this.#low = this.#top
    // What other threads have released is on no stack of this one's: only who wants all of it gone looks for it.
    for (let slot = 0; slots.isShared && most === Number.POSITIVE_INFINITY && slot < slots.used; slot++) {
      if (gone >= wanted) break
      if (slots.state(slot) !== Slot.Free || !blocks.take(slot, Slot.Free)) continue
      blocks.drop(slot)
      gone++
    }
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
    const low = this.#low
    this.#low = this.#top
    if (low > 0) this.trimIdle(Math.ceil(low / 2), this.#settings.min, 'nobody needed them for a while')
  }

  /**
   * @internal The slots are elsewhere from now on, with room for `capacity`, for the usual path too, which has their words for itself. Whatever may fail
   * comes first; then all of it is stored, and nothing comes between.
   */
  protected move(capacity: number, to: () => PoolSlots): void {
    let stack = this.#stack
    if (stack.length < capacity) {
      stack = new Int32Array(capacity)
      stack.set(this.#stack)
    }
    const blocks = this.#blocks
    const slots = to()
    const { words } = slots
    blocks.slots = slots
    this.#words = words
    this.#stack = stack
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

  /** The slots are where other threads see them. */
  protected join(): void {
    const { slots } = this.#blocks
    this.choosePaths()
    const joined = slots.join(this.#heap)
    if (joined === undefined) throw invalidToken('the pool was closed')
    if (!joined) throw new AllocatorError('ERR_HEAP_TOO_MANY_WORKERS', `a pool serves ${Word.Seats} threads at most`)
    slots.noteWaiting(this.#waiters.length)
    if (this.#waiters.length > 0) this.watchOthers()
  }

  /** @internal Ends a closed pool once nothing is out that it must wait for. */
  finish(): void {
    if (this.#state !== 'closing') return
    const { slots } = this.#blocks
    const leased = slots.own(Slot.Leased)
    const onlyLeased = slots.isShared || !this.#blocks.areThere
    this.#waitedFor = slots.findFrom(this.#waitedFor, (word) => (onlyLeased ? word === leased : word !== Slot.Empty))
    if (this.#waitedFor >= 0) return
    this.#state = 'closed'
    if (slots.isShared && this.#blocks.areThere && slots.leave(this.#heap)) this.#blocks.endShared()
    this.#host.buffers.removeOwner(this)
    if (this.#settings.ownsHeap) this.#heap.close()
    this.#tellClosed()
  }

  /** Whether buffers can be acquired. */
  protected get isOpen(): boolean {
    return this.#state === 'open'
  }

  /** Whether it is closed, and done with whatever it waited for: its words may be somebody else's memory by now. */
  protected get isEnded(): boolean {
    return this.#state === 'closed'
  }

  /** @throws AllocatorError `ERR_POOL_CLOSED` */
  protected checkOpen(): void {
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
}

function closedError(): AllocatorError {
  return new AllocatorError('ERR_POOL_CLOSED', 'the pool is closed')
}
