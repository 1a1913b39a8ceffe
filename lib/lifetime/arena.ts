import { constants } from 'node:buffer'
import type { Address } from '../base/allocator.ts'
import { checkChoice, checkCount, checkInteger, checkOptions, type OptionNames } from '../base/arguments.ts'
import { AllocatorError, invalidToken, outOfMemory, outOfRange, staleHandle, wrongType } from '../base/errors.ts'
import { makePrintable, staysHere } from '../base/printed.ts'
import { type ArrayOf, arrayOver, checkArrayBytes, type TypedArrayConstructor } from '../buffers/heap-buffers.ts'
import { HeapView } from '../buffers/heap-view.ts'
import type { OwnerStats } from '../buffers/owner-stats.ts'
import { Address32, Granule, MOST_HEAP_BYTES } from '../memory/page.ts'
import type { HeapToken } from '../tcmalloc/token.ts'
import type { ArenaPlace } from './arena-registry.ts'
import { type AttachToOptions, attachTo, type HeapHost } from './host.ts'

/** The default and least size of the first chunk, and the greatest of later ones, each twice as long as the one before. */
const LEAST_CHUNK_BYTES = 64 * 2 ** 10
const GROWN_CHUNK_BYTES = 2 ** 20
/** Chunks start at pages; without the addon a page's real address is a multiple of no more than this. */
const MOST_ARENA_ALIGNMENT = 4096

/** Options of an {@link Arena}. */
export interface ArenaOptions {
  /**
   * A name for the arena's user, for `stats({ detail: true })`.
   * @default undefined
   */
  tag?: string
  /**
   * The most bytes that it may hand out, each allocation rounded up to 16; arenas made from it don't count.
   * @default Infinity
   */
  limitBytes?: number
  /**
   * `worker`: the arena ends when the thread that made it dies, or closes the heap. `none`: it doesn't end by itself. An arena made from
   * another has its parent's value by default.
   * @default 'none'
   */
  owner?: 'worker' | 'none'
  /**
   * The bytes that it first takes from the heap, at least 64 KiB; then twice as much each time, up to 1 MiB.
   * @default 65536
   */
  chunkBytes?: number
}

const ARENA_OPTIONS: OptionNames<ArenaOptions> = { tag: true, limitBytes: true, owner: true, chunkBytes: true }

/** A token by which another thread attaches to an arena. It survives structured clone. */
export interface ArenaToken {
  /** Its place among the heap's arenas. */
  readonly arena: number
  /** Tells it from the arenas that had that place before. */
  readonly generation: number
  /** The heap that the arena is in. */
  readonly heap: HeapToken
}

/** The options, checked. */
interface CheckedArena {
  readonly tag: string | undefined
  readonly limitBytes: number
  readonly endsWithThread: boolean
  readonly chunkBytes: number
}

/** Takes the place of options if another thread's arena is opened. */
const NO_OPTIONS: CheckedArena = { tag: undefined, limitBytes: 0, endsWithThread: false, chunkBytes: 0 }

/**
 * Memory for things that end together. An allocation only advances a number. Nothing in it is freed alone; `dispose` frees all of it, from
 * any thread, in time proportional to the number of its chunks, each of which is a large block of the heap.
 *
 * Only the thread that made an arena allocates from it.
 * @example
 * ```ts
 * import { Heap } from 'spanheap'
 *
 * using heap = new Heap()
 * {
 *   using arena = heap.arena({ tag: 'request' })
 *   for (let i = 0; i < 1000; i++) arena.malloc(64)
 * }
 * console.log(heap.stats().liveBytes) // 0
 * ```
 */
export class Arena implements Disposable {
  /** @internal */ readonly notCloneable = staysHere('an Arena', ': use share(), and Arena.attach() in the other one')
  /** The name of the arena's user, by the option. */
  readonly tag: string | undefined
  readonly #slot: number
  readonly #generation: number
  readonly #endsWithThread: boolean
  readonly #host: HeapHost
  /** Whether this thread has made it. Another thread's arena can only be ended here. */
  readonly #isOwn: boolean
  /** Whether `attach` has opened the heap: then the heap is closed with the arena's end. */
  #ownsHeap = false
  readonly #limitBytes: number
  #nextChunkBytes: number
  #heldBytes = 0

  // Read on the usual path: the registry's words, and in granules the free part of the newest chunk, up to the limit.
  readonly #words: Int32Array
  #top = 0
  #end = 0

  /** The granule of each chunk, the oldest first, and how many bytes were handed out before it. */
  readonly #chunks: number[] = []
  readonly #bases: number[] = []

  static {
    makePrintable(Arena, 'Arena')
  }

  /** @internal */
  constructor(host: HeapHost, isOwn: boolean, place: ArenaPlace, options: CheckedArena) {
    this.#host = host
    this.#isOwn = isOwn
    this.#slot = place.slot
    this.#generation = place.generation
    this.tag = options.tag
    this.#limitBytes = options.limitBytes
    this.#endsWithThread = options.endsWithThread
    this.#nextChunkBytes = options.chunkBytes
    this.#words = host.arenas.words
    if (!isOwn) return
    host.arenas.add(this)
    if (options.tag !== undefined) host.buffers.addOwner(this)
  }

  /** @internal */
  get slot(): number {
    return this.#slot
  }

  /** @internal */
  get generation(): number {
    return this.#generation
  }

  /** @internal */
  get endsWithThread(): boolean {
    return this.#endsWithThread
  }

  /**
   * Opens an arena of another thread in this one: to end it, not to allocate from it.
   * @throws AllocatorError `ERR_HEAP_INVALID_TOKEN`; `ERR_HEAP_STALE_HANDLE` if it has ended
   */
  static attach(token: ArenaToken, options: AttachToOptions = {}): Arena {
    return attachTo(token, options, (host, ownsHeap) => {
      const { arena: slot, generation } = token as Partial<ArenaToken>
      if (typeof slot !== 'number' || typeof generation !== 'number') throw invalidToken("it is no arena's")
      if (!host.arenas.isSlot(slot)) throw invalidToken('no arena is there')
      if (!host.arenas.isOpen({ slot, generation })) throw ended()
      const arena = new Arena(host, false, { slot, generation }, NO_OPTIONS)
      arena.#ownsHeap = ownsHeap
      return arena
    })
  }

  /**
   * The address of `size` more bytes, aligned to 16, or to a power of two up to 4096. Their contents are undefined.
   * @throws AllocatorError `ERR_HEAP_STALE_HANDLE` once the arena has ended, `ERR_HEAP_OUT_OF_MEMORY`
   */
  malloc(size: number, alignment?: number): Address {
    if (alignment === undefined && typeof size === 'number' && (size | 0) === size && size >= 0) {
      const top = this.#top
      // An allocation of no bytes also has an address of its own.
      const granules = (size + (Granule.Bytes - 1)) >>> Granule.Shift || 1
      if (granules <= ((this.#end - top) | 0) && this.#words[this.#slot] === this.#generation) {
        this.#top = (top + granules) | 0
        return top <= Address32.MostGranule ? top << Granule.Shift : top * Granule.Bytes
      }
    }
    return this.allocateSlowly(size, alignment)
  }

  /** A Buffer over `size` more bytes; it isn't freed by itself. @throws as `alloc` */
  allocBuffer(size: number): Buffer<ArrayBuffer> {
    if (checkCount('size', size) > constants.MAX_LENGTH)
      throw outOfRange('size', `at most ${constants.MAX_LENGTH}, the longest Buffer`, size)
    const address = this.malloc(size)
    return HeapView.buffer(this.#host.memory.over(address, size), address, size, this, 1)
  }

  /** A typed array of `length` elements, of any class. @throws as `alloc` */
  allocArray<Class extends TypedArrayConstructor>(type: Class, length: number): ArrayOf<Class> {
    const bytes = checkArrayBytes(type, length)
    const address = this.malloc(bytes)
    const top = this.#top
    try {
      return arrayOver(this.#host.memory.over(address, bytes), type, address, length) as unknown as ArrayOf<Class>
    } catch (error) {
      // The class can't be made. Its own allocations stay, if it made any, and then so does this one.
      if (this.#top === top) this.#top = address / Granule.Bytes
      throw error
    }
  }

  /** An arena with its own limit and chunks, which ends with this one at the latest. */
  arena(options: ArenaOptions = {}): Arena {
    const checked = checkArena(options, this.#endsWithThread)
    this.checkOwn()
    const host = this.#host
    const place = host.arenas.open(checked.endsWithThread, this)
    if (place === undefined) throw ended()
    return new Arena(host, true, place, checked)
  }

  /** The arena's position, for `rewind`: the bytes that it has handed out. */
  mark(): number {
    this.checkOwn()
    return this.position
  }

  /**
   * Goes back to a mark: later allocations are gone, and their memory is used again. Later marks become invalid. Arenas that were made from
   * this one stay.
   * @throws RangeError `ERR_OUT_OF_RANGE` for a mark beyond the arena's position
   */
  rewind(mark: number): void {
    if (checkCount('mark', mark) % Granule.Bytes !== 0) throw outOfRange('mark', 'what mark() returned', mark)
    this.checkOwn()
    if (mark > this.position) throw outOfRange('mark', `at most ${this.position}, where the arena is`, mark)
    if (this.#chunks.length === 0) return
    let chunk = this.#chunks.length - 1
    while (this.#bases[chunk]! > mark) chunk--
    const granule = this.#chunks[chunk]!
    if (chunk < this.#chunks.length - 1) {
      let bytes = 0
      for (const later of this.#chunks.slice(chunk + 1)) bytes += this.bytesOf(later)
      if (!this.#host.arenas.cut(this, granule)) throw ended()
      this.#heldBytes -= bytes
      this.#chunks.length = chunk + 1
      this.#bases.length = chunk + 1
    }
    this.setRoom(granule, this.bytesOf(granule), (mark - this.#bases[chunk]!) / Granule.Bytes)
  }

  /** A token by which another thread, which has the heap open, can end it. @throws AllocatorError `ERR_HEAP_NOT_SHARED` */
  share(): ArenaToken {
    if (!this.isOpen) throw ended()
    return { arena: this.#slot, generation: this.#generation, heap: this.#host.heap.share() }
  }

  /** Whether neither the arena has ended nor the heap was closed here. */
  get isOpen(): boolean {
    return this.#host.isOpen && this.#host.arenas.isOpen(this)
  }

  /** The summary that `JSON.stringify`, loggers and `console.log` show. */
  toJSON(): object {
    const { tag, isOpen } = this
    return { tag, isOpen, usedBytes: isOpen ? this.position : 0, heldBytes: isOpen ? this.#heldBytes : 0 }
  }

  /** Frees the arena and all arenas made from it. May be called again, also after another thread has done it, or the heap was closed. */
  dispose(): void {
    this.shut()
    if (!this.#host.isOpen) return
    this.#host.arenas.end(this)
    this.#host.arenas.remove(this)
    if (this.#ownsHeap) this.#host.heap.close()
  }

  /** `dispose`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose()
  }

  /** @internal */
  shut(): void {
    this.#top = 0
    this.#end = 0
    this.#host.buffers.removeOwner(this)
  }

  /** @internal The memory that it holds, for the heap's statistics. */
  ownerStats(): OwnerStats[] {
    const { tag, isOpen } = this
    return [{ tag, buffers: isOpen ? this.#chunks.length : 0, bytes: isOpen ? this.#heldBytes : 0 }]
  }

  private get position(): number {
    const last = this.#chunks.length - 1
    return last < 0 ? 0 : this.#bases[last]! + (this.#top - this.#chunks[last]!) * Granule.Bytes
  }

  private bytesOf(chunk: number): number {
    return this.#host.heap.usableSize(chunk * Granule.Bytes)
  }

  /** The unusual cases: an alignment, a full chunk, wrong arguments, an arena that has ended, or is another thread's. */
  private allocateSlowly(size: number, alignment: number | undefined): Address {
    checkCount('size', size)
    const unit = alignment === undefined ? Granule.Bytes : checkArenaAlignment(alignment)
    this.checkOwn()
    if (size > MOST_HEAP_BYTES) throw outOfMemory(size, 0)
    const granules = Math.max(1, Math.ceil(size / Granule.Bytes))
    const units = Math.max(1, unit / Granule.Bytes)
    let start = Math.ceil(this.#top / units) * units
    if (start + granules > this.#end) {
      this.addChunk(granules * Granule.Bytes, size)
      start = this.#top // a page's first granule
    }
    this.#top = start + granules
    return start * Granule.Bytes
  }

  /** @param bytes the room that the chunk must have */
  private addChunk(bytes: number, requested: number): void {
    const { position } = this
    const host = this.#host
    const left = this.#limitBytes - position
    if (bytes > left) throw outOfMemory(requested, 0, 'arena')
    // Take no more than the limit lets it hand out.
    const wanted = Math.max(bytes, Math.min(this.#nextChunkBytes, left))
    let granule = host.arenas.addChunk(this, wanted)
    if (granule === 0 && wanted > bytes) granule = host.arenas.addChunk(this, bytes)
    if (granule < 0) throw ended()
    if (granule === 0) throw outOfMemory(requested, host.arenas.lastErrno)
    this.#chunks.push(granule)
    this.#bases.push(position)
    const held = this.bytesOf(granule)
    this.#heldBytes += held
    this.#nextChunkBytes = Math.max(this.#nextChunkBytes, Math.min(this.#nextChunkBytes * 2, GROWN_CHUNK_BYTES))
    this.setRoom(granule, held, 0)
  }

  /** Makes it allocate from a chunk, from `used` granules on, up to the chunk's end or the limit. */
  private setRoom(granule: number, bytes: number, used: number): void {
    const left = this.#limitBytes - this.#bases[this.#bases.length - 1]!
    this.#top = granule + used
    this.#end = granule + Math.floor(Math.min(bytes, left) / Granule.Bytes)
  }

  private checkOwn(): void {
    this.#host.checkOpen()
    if (!this.#host.arenas.isOpen(this)) throw ended()
    if (!this.#isOwn)
      throw new AllocatorError('ERR_HEAP_UNSUPPORTED', 'only the thread that made an arena allocates from it')
  }
}

/** Makes an arena of a heap. @throws AllocatorError `ERR_HEAP_CLOSED`, `ERR_HEAP_OUT_OF_MEMORY` if there are too many */
export function openArena(host: HeapHost, options: ArenaOptions): Arena {
  const checked = checkArena(options, false)
  host.checkOpen()
  const place = host.arenas.open(checked.endsWithThread, undefined)!
  return new Arena(host, true, place, checked)
}

function checkArena(options: ArenaOptions, withThread: boolean): CheckedArena {
  checkOptions(options, ARENA_OPTIONS)
  const { tag } = options
  if (tag !== undefined && typeof tag !== 'string') throw wrongType('tag', 'a string', tag)
  const limitBytes = checkInteger('limitBytes', options.limitBytes, 1, Number.MAX_SAFE_INTEGER, MOST_HEAP_BYTES)
  const owner = checkChoice('owner', options.owner, ['worker', 'none'], withThread ? 'worker' : 'none')
  const { chunkBytes } = options
  return {
    tag,
    limitBytes,
    endsWithThread: owner === 'worker',
    chunkBytes: checkInteger('chunkBytes', chunkBytes, LEAST_CHUNK_BYTES, MOST_HEAP_BYTES, LEAST_CHUNK_BYTES),
  }
}

function checkArenaAlignment(value: number): number {
  const alignment = checkCount('alignment', value)
  if (alignment < 1 || alignment > MOST_ARENA_ALIGNMENT || (alignment & (alignment - 1)) !== 0)
    throw outOfRange('alignment', `a power of two from 1 to ${MOST_ARENA_ALIGNMENT}`, value)
  return alignment
}

function ended(): AllocatorError {
  return staleHandle('the arena has ended')
}
