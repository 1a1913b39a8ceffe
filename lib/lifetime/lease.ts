import type { FileHandle } from 'node:fs/promises'
import type { Writable } from 'node:stream'
import { checkOptions, type OptionNames } from '../base/arguments.ts'
import { AllocatorError, staleHandle } from '../base/errors.ts'
import { makePrintable, staysHere } from '../base/printed.ts'
import type { PassedBlock } from '../buffers/passed-block.ts'
import { type EndOptions, end, type WriteOptions, write } from '../streams/write.ts'

/** The heap or pool whose buffers are leased. */
export interface Lender {
  /** The last reference was released: the buffer is free again. If it throws, the lease is as it was. */
  endLease(key: number): void
  /** The lease's only user gives the buffer up, for another thread. */
  passLease(key: number, view: unknown): PassedBlock
  /** Begins an operation that needs the memory itself, whatever is closed. The returned function ends it. */
  beginOperation(): () => void
}

const WRITE_OPTIONS: OptionNames<WriteOptions> = { position: true, signal: true }
const END_OPTIONS: OptionNames<EndOptions> = { signal: true }

/** One symbol for all leases: making one takes 100 ns. */
const STAYS = staysHere('a Lease', ': send a copy of its buffer, or what pass() gives')
/** How many leases this thread has made. */
let made = 0

/**
 * A buffer of a heap or a pool with a count of its users. It goes back when the count reaches 0, and not before: while an operation holds
 * it, neither closing the pool, nor an abort, nor a destroyed socket lets it be used again.
 * @example
 * ```ts
 * import { BufferPool } from 'spanheap'
 *
 * using pool = new BufferPool({ size: 4096 })
 * {
 *   using lease = pool.lease()
 *   const other = lease.retain() // one more needs it
 *   other.release()
 * }
 * console.log(pool.stats().idle) // 1
 * ```
 */
export class Lease<B = Buffer> implements Disposable, AsyncDisposable {
  /** @internal */
  readonly notCloneable = STAYS
  /** Tells it from other leases of this thread, of any pool. */
  readonly #number: number
  readonly #lender: Lender
  readonly #key: number
  readonly #view: B
  /** Users and operations. */
  #count = 1
  /** How many of these are operations. Only their own ends take them away. */
  #operations = 0
  #disposed = false
  /** Those that wait for its end, if any ever did. */
  #ended: (() => void)[] | undefined

  static {
    makePrintable(Lease, 'Lease', (lease) => `${lease.#number}`)
  }

  /** @internal Heaps and pools make them. @param key the lender's own, by which it knows the buffer */
  constructor(lender: Lender, key: number, view: B) {
    made = (made + 1) | 0
    this.#number = made
    this.#lender = lender
    this.#key = key
    this.#view = view
  }

  /** The buffer. @throws AllocatorError `ERR_HEAP_STALE_HANDLE` once the last reference was released, or it was passed */
  get buffer(): B {
    this.checkLive()
    return this.#view
  }

  /** The summary that `JSON.stringify`, loggers and `console.log` show. */
  toJSON(): object {
    return { references: this.#count }
  }

  /** How many users it has, and operations that hold it: 1 at first, 0 once the last has released it. */
  get references(): number {
    return this.#count
  }

  /** Adds a user, who will release it. @throws AllocatorError `ERR_HEAP_STALE_HANDLE` */
  retain(): this {
    this.checkLive()
    this.#count++
    return this
  }

  /** Removes a user. @throws AllocatorError `ERR_POOL_DOUBLE_RELEASE` if there was none */
  release(): void {
    if (this.#count === this.#operations)
      throw new AllocatorError('ERR_POOL_DOUBLE_RELEASE', 'the lease was released already')
    this.letGo()
  }

  /**
   * Gives up the buffer, for another thread, or for this one later: see `pass` and `adopt` of the heap or pool that it is of. The lease ends.
   * @throws AllocatorError `ERR_POOL_LEASED` if it has other users, or an operation holds it; `ERR_HEAP_STALE_HANDLE`; the errors of that
   * `pass`
   */
  pass(): PassedBlock {
    this.checkLive()
    if (this.#count > 1)
      throw new AllocatorError('ERR_POOL_LEASED', 'the lease has other users: only the last can pass it')
    const passed = this.#lender.passLease(this.#key, this.#view)
    this.#count = 0
    this.tellEnded()
    return passed
  }

  /** Holds the buffer until an operation has settled, either way, and returns its result or throws its error. */
  async during<T>(operation: PromiseLike<T> | (() => PromiseLike<T>)): Promise<T> {
    const letGo = this.hold()
    try {
      return await (typeof operation === 'function' ? operation() : operation)
    } finally {
      letGo()
    }
  }

  /**
   * Writes the whole buffer to a stream or a file, and releases the caller's reference: the buffer goes back once the target has consumed
   * it. Of wrong arguments nothing is released. See `pool.write` for which targets get the memory itself, and which a copy.
   * @throws as `pool.write`
   */
  async writeTo(target: Writable | FileHandle, options: WriteOptions = {}): Promise<void> {
    checkOptions(options, WRITE_OPTIONS)
    await this.givenAway(() => write(target, this.buffer as ArrayBufferView, options, () => this.hold()))
  }

  /**
   * The same to a stream's end: the buffer is the last, or the only, that it gets. A message of HTTP that has sent no headers yet gets the
   * header `Content-Length`. Resolves when the target has consumed the buffer.
   * @throws as `writeTo`
   */
  async end(target: Writable, options: EndOptions = {}): Promise<void> {
    checkOptions(options, END_OPTIONS)
    await this.givenAway(() => end(target, this.buffer as ArrayBufferView, options, () => this.hold()))
  }

  /** @internal Holds the buffer for an operation. The first call of the returned function ends that. */
  hold(): () => void {
    this.retain()
    this.#operations++
    const end = this.#lender.beginOperation()
    let isHeld = true
    return () => {
      if (!isHeld) return
      isHeld = false
      this.#operations--
      this.letGo()
      end()
    }
  }

  /** Releases one reference, the first time, unless none is left. */
  [Symbol.dispose](): void {
    if (this.#disposed || this.#count === this.#operations) return
    this.#disposed = true
    this.release()
  }

  /** Releases one reference, and waits until no operation holds the buffer either. */
  async [Symbol.asyncDispose](): Promise<void> {
    this[Symbol.dispose]()
    if (this.#count > 0) {
      this.#ended ??= []
      const ended = this.#ended
      await new Promise<void>((resolve) => ended.push(resolve))
    }
  }

  /** Starts an operation that holds the buffer, and releases the caller's reference, which `using` then doesn't release again. */
  private givenAway(start: () => Promise<void>): Promise<void> {
    if (this.#count === this.#operations) throw staleHandle('the lease was released or passed')
    const done = start()
    this.#disposed = true
    this.release()
    return done
  }

  private letGo(): void {
    if (--this.#count > 0) return
    try {
      this.#lender.endLease(this.#key)
    } catch (error) {
      this.#count++
      throw error
    }
    this.tellEnded()
  }

  private tellEnded(): void {
    if (this.#ended !== undefined) for (const tell of this.#ended.splice(0)) tell()
  }

  private checkLive(): void {
    if (this.#count === 0) throw staleHandle('the lease was released or passed')
  }
}
