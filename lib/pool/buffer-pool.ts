import type { FileHandle } from 'node:fs/promises'
import type { NetConnectOpts, Server, ServerOpts, Socket } from 'node:net'
import type { Writable } from 'node:stream'
import { checkOptions, type OptionNames } from '../base/arguments.ts'
import { invalidToken, wrongType } from '../base/errors.ts'
import { Heap } from '../heap/heap.ts'
import { HOST } from '../lifetime/host.ts'
import { checkToken, type HeapToken, notAHeap } from '../tcmalloc/token.ts'
import type { Abortable } from './abort.ts'
import { Lease } from './lease.ts'
import { BEHAVIOUR_OPTIONS, checkBehaviour, type PoolBehaviour } from './pool-options.ts'
import { PoolSlots } from './pool-slots.ts'
import { connectPooled, createPooledServer } from './pooled-socket.ts'
import { type ReadOptions, type ReadSource, read } from './read.ts'
import { type PoolBuffer, RecycledBuffers } from './recycled-buffers.ts'
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
 * A pool of buffers of one size. Several threads can share it: what one acquires, another may release. Leases count who needs a buffer, and
 * whatever reads into one or writes from one holds it until it is done.
 */
export class BufferPool extends RecycledBuffers {
  /**
   * Opens a pool of another thread in this one. A thread may open it more than once: to the pool, all of these are one owner.
   * @param options what this thread chooses for itself; `heap` where it has the pool's heap open already
   * @throws AllocatorError `ERR_HEAP_INVALID_TOKEN`, `ERR_HEAP_TOO_MANY_WORKERS`
   */
  static attach(token: PoolToken, options: PoolBehaviour & { heap?: Heap } = {}): BufferPool {
    const { pool, generation, heap: heapToken } = (token ?? {}) as Partial<PoolToken>
    if (typeof pool !== 'number' || typeof generation !== 'number') throw invalidToken("it is no pool's")
    checkOptions(options, ATTACH_OPTIONS)
    if (options.heap !== undefined && !(options.heap instanceof Heap)) throw notAHeap(options.heap)
    const heap = options.heap ?? Heap.attach(heapToken!)
    try {
      checkToken(heapToken)
      const slots = heap[HOST].isOf(heapToken) ? PoolSlots.attach(heap, pool, generation) : undefined
      if (slots === undefined) throw invalidToken('no pool is there')
      const { shape } = slots
      const behaviour = checkBehaviour(options, shape.size)
      const ownsHeap = options.heap === undefined
      return new BufferPool({ heap, ownsHeap, shape, mostWhenShared: shape.most, ...behaviour }, slots)
    } catch (error) {
      if (options.heap === undefined) heap.close()
      throw error
    }
  }

  /**
   * A token by which other threads open the pool: for `workerData` or `postMessage`. From the first call on, every acquire and release
   * takes some atomic operations: 60 ns each, instead of 5.
   * @throws AllocatorError `ERR_HEAP_NOT_SHARED`, `ERR_HEAP_OUT_OF_MEMORY`
   */
  share(): PoolToken {
    this.checkOpen()
    const heap = this.heap.share()
    const { slots } = this.blocks
    const most = Math.max(this.settings.mostWhenShared, slots.used)
    if (!slots.isShared) this.move(most, () => slots.shared(this.heap, most))
    // On its own: this thread may have been struck between the two, in an earlier call. Nobody has had a token of it then.
    if (!this.blocks.slots.isJoined) this.join()
    const { address: pool, generation } = this.blocks.slots
    return { pool, generation, heap }
  }

  /** A buffer with a count of those who need it; for `using`. @throws as `acquire` */
  lease(): Lease<PoolBuffer> {
    return this.leaseOut(this.acquire())
  }

  /** The same, once there is one. */
  async leaseAsync(options?: Abortable): Promise<Lease<PoolBuffer>> {
    const buffer = await this.acquireAsync(options)
    if (this.isOpen) return this.leaseOut(buffer)
    // It was closed when the buffer was on its way already.
    if (!this.isEnded) this.release(buffer)
    return this.lease()
  }

  /** The lease in whose buffer a view lies; undefined where it is none of this thread's. */
  leaseOf(view: ArrayBufferView): Lease<PoolBuffer> | undefined {
    const slot = this.isEnded ? -1 : this.blocks.slotUnder(view)
    return this.leases.of(slot) as Lease<PoolBuffer> | undefined
  }

  /**
   * For operations: keeps the buffer that a view lies in, of a lease or acquired, from being anybody else's until the returned function
   * is called, whatever else is called meanwhile; a release counts after that. An isolated buffer of the pool's heap is held as well, and its free counts after
   * that. Undefined where the memory is neither's, or the pool has ended.
   * @throws AllocatorError `ERR_POOL_DOUBLE_RELEASE` where the buffer is free, `ERR_POOL_LEASED` where another thread's lease has it
   */
  hold(view: ArrayBufferView): (() => void) | undefined {
    if (this.isEnded) return undefined
    const slot = this.blocks.slotUnder(view)
    if (slot < 0 && !this.blocks.isGone(view)) return this.heap[HOST].buffers.isolated.hold(view)
    const letGo = slot < 0 ? undefined : this.leases.hold(slot)
    if (letGo !== undefined) return letGo
    throw slot >= 0 && this.leases.isElsewhere(slot) ? this.blocks.leased(view) : this.blocks.doubleRelease(view)
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
    const listen = typeof options === 'function' ? options : listener
    if (listen !== undefined && typeof listen !== 'function') throw wrongType('listener', 'a function', listen)
    // None are as good as `{}` to Node, and which there are it knows better.
    const chosen = typeof options === 'function' ? {} : (options ?? {})
    if (typeof chosen !== 'object') throw wrongType('options', 'an object', chosen)
    return createPooledServer(this, chosen, listen)
  }

  /** A lease; undefined where all buffers are in use, or the pool is closed. */
  tryLease(): Lease<PoolBuffer> | undefined {
    const buffer = this.isOpen ? this.tryAcquire() : undefined
    return buffer === undefined ? undefined : this.leaseOut(buffer)
  }

  /** @internal A view of a lease's first bytes by which the lease is found at once. */
  first(lease: Lease, length: number): Buffer {
    return this.blocks.first(this.blocks.slotUnder(lease.buffer), length)
  }

  private leaseOut(buffer: PoolBuffer): Lease<PoolBuffer> {
    return this.leases.leaseOut(this.blocks.slotOf(buffer)) as Lease<PoolBuffer>
  }
}
