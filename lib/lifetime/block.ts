import { constants } from 'node:buffer'
import type { Address } from '../base/allocator.ts'
import { checkCount } from '../base/arguments.ts'
import { AllocatorError, outOfRange, staleHandle } from '../base/errors.ts'
import { makePrintable, staysHere } from '../base/printed.ts'
import {
  type ArrayOf,
  arrayOver,
  type BufferOptions,
  checkElementBytes,
  type TypedArrayConstructor,
} from '../buffers/heap-buffers.ts'
import { HeapView } from '../buffers/heap-view.ts'
import { Granule } from '../memory/page.ts'
import type { HeapHost } from './host.ts'

/** One symbol for all blocks: making one takes 100 ns. */
const STAYS = staysHere('a Block', ': send its address, for heap.bufferAt() there')
/** How many blocks this thread has made. */
let made = 0

/**
 * A block of a heap that ends with the scope that declares it: `using block = heap.block(1000)`. After its free, every use of it throws
 * `ERR_HEAP_STALE_HANDLE`.
 *
 * Views of it can't be taken back: after the free they read and write the memory's next contents.
 * @example
 * ```ts
 * import { Heap } from 'spanheap'
 *
 * using heap = new Heap()
 * {
 *   using block = heap.block(1000, { zero: true })
 *   console.log(block.as(Float64Array).length) // 125
 * }
 * console.log(heap.stats().liveBytes) // 0
 * ```
 */
export class Block implements Disposable {
  /** @internal */
  readonly notCloneable = STAYS
  /** Tells it from other blocks of this thread, of any heap. */
  readonly #number: number
  readonly #host: HeapHost
  /** 0 once it was freed. */
  #at: Address
  readonly #size: number
  #view: Uint8Array<ArrayBuffer> | undefined

  static {
    makePrintable(Block, 'Block', (block) => `${block.#number}`)
  }

  /** @internal */
  constructor(host: HeapHost, address: Address, size: number) {
    made = (made + 1) | 0
    this.#number = made
    this.#host = host
    this.#at = address
    this.#size = size
    this.#view = undefined
  }

  /** Its address, an offset in `heap.buffer`. @throws AllocatorError `ERR_HEAP_STALE_HANDLE`, as everything here but `free` */
  get address(): Address {
    this.checkLive()
    return this.#at
  }

  /** The number of bytes that were asked for. */
  get length(): number {
    this.checkLive()
    return this.#size
  }

  /** Its bytes, exactly `length` of them; the same array each time. */
  get bytes(): Uint8Array<ArrayBuffer> {
    this.checkLive()
    if (this.#view === undefined) {
      const { buffer, byteOffset } = this.#host.memory.at(this.#at, this.#size)
      this.#view = new Uint8Array(buffer, byteOffset, this.#size)
      // A view keeps its block from being collected, and so from being reported as a leak.
      HeapView.mark(this.#view, this, 1)
    }
    return this.#view
  }

  /** Its bytes as a new Buffer. */
  buffer(): Buffer<ArrayBuffer> {
    this.checkLive()
    const { buffer, byteOffset } = this.#host.memory.at(this.#at, this.#size)
    return HeapView.buffer(buffer, byteOffset, this.#size, this, 1)
  }

  /**
   * Its bytes as a typed array of any class. The array covers all of them, so the length has to be a multiple of an element's.
   * @throws RangeError `ERR_OUT_OF_RANGE` if it isn't; TypeError `ERR_INVALID_ARG_TYPE` if `type` is no typed array's class
   */
  as<Class extends TypedArrayConstructor>(type: Class): ArrayOf<Class> {
    this.checkLive()
    const bytes = checkElementBytes(type)
    if (this.#size % bytes !== 0) throw outOfRange('the length of the block', `a multiple of ${bytes}`, this.#size)
    const { buffer, byteOffset } = this.#host.memory.at(this.#at, this.#size)
    const array = arrayOver(buffer, type, byteOffset, this.#size / bytes)
    HeapView.mark(array, this, 1)
    return array as unknown as ArrayOf<Class>
  }

  /** The summary that `JSON.stringify`, loggers and `console.log` show. */
  toJSON(): object {
    return { address: this.#at, length: this.#size, isLive: this.isLive }
  }

  /** Whether it hasn't been freed yet. */
  get isLive(): boolean {
    return this.#at !== 0
  }

  /** Frees it. May be called again, also after the heap was closed: then there is nothing left to free. */
  free(): void {
    const address = this.#at
    if (address === 0) return
    this.#at = 0
    this.#view = undefined
    if (!this.#host.isOpen) return
    try {
      this.#host.heap.free(address)
    } catch (error) {
      // Debug mode has found an error, and freed nothing.
      if ((error as AllocatorError).code === 'ERR_HEAP_CORRUPT') this.#at = address
      throw error
    }
  }

  /** For `using`: frees the block, unless it was freed. */
  [Symbol.dispose](): void {
    this.free()
  }

  private checkLive(): void {
    if (this.#at === 0) throw staleHandle('the block was freed')
    this.#host.checkOpen()
  }
}

/** Makes a block of a heap, with the options of a buffer. */
export function allocateBlock(host: HeapHost, size: number, options?: BufferOptions): Block {
  const { buffers, heap } = host
  const { watch } = buffers
  if (options === undefined && watch.untilWatched > 0 && typeof size === 'number' && (size | 0) === size) {
    watch.untilWatched--
    return new Block(host, heap.malloc(size), size)
  }
  if (checkCount('size', size) > constants.MAX_LENGTH)
    throw outOfRange('size', `at most ${constants.MAX_LENGTH}, the longest Buffer`, size)
  if (options?.isolated) throw new AllocatorError('ERR_HEAP_UNSUPPORTED', 'only buffers and arrays can be isolated')
  return buffers.place(
    size,
    options === undefined ? {} : options,
    ({ key }) => new Block(host, key * Granule.Bytes, size)
  )
}
