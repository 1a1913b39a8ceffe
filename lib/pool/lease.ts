import { AllocatorError } from '../base/errors.ts'
import { makePrintable, staysHere } from '../base/printed.ts'

/** The pool, as a lease needs it. */
export interface Lender<B> {
  /** The last reference was released: the buffer is free again. */
  endLease(slot: number, lease: Lease<B>): void
  /** Begins an operation that needs the memory itself, whatever is closed. The returned function ends it. */
  beginOperation(): () => void
}

/** One symbol for all leases: making one takes 100 ns. */
const STAYS = staysHere('a Lease', ': send a copy of its buffer, or acquire one and send what pool.pass() gives')
/** How many leases this thread has made. */
let made = 0

/**
 * A pool's buffer with a count of its users. It goes back when the count reaches 0, and not before: while an operation holds it, neither
 * closing the pool, nor an abort, nor a destroyed socket lets it be used again.
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
  readonly #lender: Lender<B>
  readonly #slot: number
  readonly #view: B
  #count = 1
  #disposed = false
  #ended: (() => void)[] = []

  static {
    makePrintable(Lease, 'Lease', (lease) => `${lease.#number}`)
  }

  /** @internal Pools make them. */
  constructor(lender: Lender<B>, slot: number, view: B) {
    made = (made + 1) | 0
    this.#number = made
    this.#lender = lender
    this.#slot = slot
    this.#view = view
  }

  /** The buffer. @throws AllocatorError `ERR_HEAP_STALE_HANDLE` once the last reference was released */
  get buffer(): B {
    if (this.#count === 0) throw new AllocatorError('ERR_HEAP_STALE_HANDLE', 'the lease was released')
    return this.#view
  }

  /** The summary that `JSON.stringify`, loggers and `console.log` show. */
  toJSON(): object {
    return { references: this.#count }
  }

  /** How many users it has: 1 at first, 0 once the last has released it. */
  get references(): number {
    return this.#count
  }

  /** Adds a user, who will release it. @throws AllocatorError `ERR_HEAP_STALE_HANDLE` */
  retain(): this {
    if (this.#count === 0) throw new AllocatorError('ERR_HEAP_STALE_HANDLE', 'the lease was released')
    this.#count++
    return this
  }

  /** Removes a user. @throws AllocatorError `ERR_POOL_DOUBLE_RELEASE` if there was none */
  release(): void {
    if (this.#count === 0) throw new AllocatorError('ERR_POOL_DOUBLE_RELEASE', 'the lease was released already')
    if (--this.#count > 0) return
    this.#lender.endLease(this.#slot, this)
    for (const tell of this.#ended.splice(0)) tell()
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

  /** @internal Holds the buffer for an operation. The first call of the returned function ends that. */
  hold(): () => void {
    this.retain()
    const end = this.#lender.beginOperation()
    let isHeld = true
    return () => {
      if (!isHeld) return
      isHeld = false
      this.release()
      end()
    }
  }

  /** Releases one reference, the first time, unless none is left. */
  [Symbol.dispose](): void {
    if (this.#disposed || this.#count === 0) return
    this.#disposed = true
    this.release()
  }

  /** Releases one reference, and waits until no operation holds the buffer either. */
  async [Symbol.asyncDispose](): Promise<void> {
    this[Symbol.dispose]()
    if (this.#count > 0) await new Promise<void>((resolve) => this.#ended.push(resolve))
  }
}
