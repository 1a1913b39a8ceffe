import { randomInt } from 'node:crypto'
import type { Address } from '../base/allocator.ts'
import { checkCount, checkInteger, checkOptions, type OptionNames } from '../base/arguments.ts'
import { AllocatorError, staleHandle } from '../base/errors.ts'
import { makePrintable, staysHere } from '../base/printed.ts'
import { Address32, Granule } from '../memory/page.ts'
import { ObjectState } from '../tcmalloc/object-state.ts'
import type { HeapToken } from '../tcmalloc/token.ts'
import { blockKind, SharedBlock, SharedWord } from '../threads/shared-block.ts'
import { chunkOf, firstOf, Generation, Handle, Slot, State, slotsOf, Word } from './handle-words.ts'
import { type AttachToOptions, attachTo, checkHeap, type HeapHost, type HostHeap } from './host.ts'

/** How many slots a thread takes or gives back at once (fewer in a small table); it keeps fewer than twice as many. */
const MOST_BATCH = 128
const BATCHES_OF_TABLE = 256

const KIND = blockKind({ magic: 0x484e_4402, name: 'table', isLocked: true, end: freeAll })

/** Options of a {@link HandleTable}. */
export interface HandleTableOptions {
  /**
   * The most handles that may be live at once, at most 2^24. Each thread may keep a 128th of them for its next allocations.
   * @default 2 ** 24
   */
  max?: number
}

const TABLE_OPTIONS: OptionNames<HandleTableOptions> = { max: true }

/** A token by which another thread attaches to a table. It survives structured clone. */
export interface HandleTableToken {
  /** Where the table's words are in the heap. */
  readonly handles: number
  /** Tells the table from others that might be there. */
  readonly generation: number
  /** The heap that the table is in. */
  readonly heap: HeapToken
}

/**
 * Blocks known by handles. A handle is an integer that is stale once its block was freed, even if the memory has another owner by then.
 *
 * A handle is the number of a slot (24 bits) and the slot's generation (29 bits), which rises with each block and never repeats. A slot
 * that has reached its last generation, after half a billion blocks, is retired. A table's generations start with a random number below
 * 2^24. So a handle of another table, or a made-up one, passes for one of this table with odds of about one in 2^24 for each block that the
 * slot has had.
 *
 * The table is in the heap's memory. All threads that attach to it allocate, resolve and free any block; if two free one at once, one gets
 * an error. A thread that dies leaves nothing half done: its blocks stay live in the table. The last thread to close the table frees all
 * blocks that are live in it, and so does any other thread of the heap once all that had the table open have died.
 * @example
 * ```ts
 * import { Heap } from 'spanheap'
 *
 * using heap = new Heap()
 * using table = heap.handles()
 * const handle = table.alloc(100)
 * table.view(handle).fill(1)
 * table.free(handle)
 * console.log(table.isLive(handle)) // false
 * ```
 */
export class HandleTable implements Disposable {
  /** @internal */ readonly notCloneable = staysHere(
    'a HandleTable',
    ': use share(), and HandleTable.attach() in the other one'
  )
  readonly #host: HeapHost
  readonly #block: SharedBlock
  readonly #words: Int32Array
  readonly #tag: number
  readonly #batch: number
  /** The states of the heap's blocks, and the one in this thread's hand. */
  readonly #states: Int8Array
  readonly #hand: Int32Array
  #isOpen = true
  /** Whether `attach` has opened the heap: then the heap is closed with the table. */
  #ownsHeap = false
  /** The words of each chunk of slots that this thread has met. */
  readonly #chunks: Int32Array[] = []
  /** The slots that this thread keeps, the last one freed on top. */
  readonly #stack: Int32Array
  #kept = 0

  static {
    makePrintable(HandleTable, 'HandleTable')
  }

  /** @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY`; TypeError, RangeError for wrong options */
  constructor(heap: HostHeap, options?: HandleTableOptions)
  /** @internal */
  constructor(heap: HostHeap, options: HandleTableOptions, token: Partial<HandleTableToken>)
  constructor(heap: HostHeap, options: HandleTableOptions = {}, token?: Partial<HandleTableToken>) {
    const host = checkHeap(heap)
    checkOptions(options, TABLE_OPTIONS)
    const most = checkInteger('max', options.max, 1, Handle.MostSlots, Handle.MostSlots)
    this.#host = host
    this.#states = host.tiers.tables.states
    this.#hand = host.tiers.hand.block
    const found = token && SharedBlock.find(host, KIND, token.handles, token.generation)
    // Everything that may fail comes before the block, and before the seat.
    this.#batch = batchOf(found?.words[Word.Most] ?? most)
    this.#stack = new Int32Array(2 * this.#batch)
    this.#block =
      found ??
      SharedBlock.create(
        host,
        KIND,
        SharedWord.Count,
        (words) => {
          words[Word.Most] = most
        },
        randomInt(1, Generation.FirstBelow)
      )
    this.#words = this.#block.words
    this.#tag = this.#block.tag
    found?.join()
  }

  /** Opens a table of another thread in this one. @throws AllocatorError `ERR_HEAP_INVALID_TOKEN`, `ERR_HEAP_TOO_MANY_WORKERS` */
  static attach(token: HandleTableToken, options: AttachToOptions = {}): HandleTable {
    return attachTo(token, options, (host, ownsHeap) => {
      const table = new HandleTable(host.heap, {}, token)
      table.#ownsHeap = ownsHeap
      return table
    })
  }

  /** A token by which other threads attach. @throws AllocatorError `ERR_HEAP_NOT_SHARED` */
  share(): HandleTableToken {
    this.checkOpen()
    return { handles: this.#block.address, generation: this.#block.generation, heap: this.#host.heap.share() }
  }

  /** A handle of a new block of `size` bytes; its contents are undefined. @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY`, also at `max` */
  alloc(size: number): number {
    if (this.#kept === 0) this.refill()
    const host = this.#host
    const address = host.take(checkCount('size', size))
    const granule = address / Granule.Bytes
    const short = size < 2 ** 31 ? size : size - host.heap.usableSize(address) - 1
    const index = this.#stack[this.#kept - 1]!
    const words = this.#chunks[chunkOf(index)]!
    const at = (index - firstOf(chunkOf(index))) << Handle.SlotShift
    const generation = words[at + Slot.State]! >>> Generation.Shift
    this.#states[granule] = ObjectState.Pooled
    words[at + Slot.Granule] = granule
    words[at + Slot.Size] = short
    words[at + Slot.Link] = 0
    words[at + Slot.State] = (generation << Generation.Shift) | State.Live
    this.#hand[0] = 0
    this.#kept--
    return generation * Handle.MostSlots + index
  }

  /**
   * The address of a handle's block.
   * @throws AllocatorError `ERR_HEAP_STALE_HANDLE` if it was freed, `ERR_HEAP_INVALID_ADDRESS` if this table never gave the handle
   */
  address(handle: number): Address {
    const at = this.find(handle)
    return addressIn(this.#chunks[chunkOf(handle & Handle.IndexMask)]!, at)
  }

  /** The bytes of a handle's block, as many as were asked for. @throws as `address` */
  view(handle: number): Uint8Array<ArrayBuffer> {
    const at = this.find(handle)
    const words = this.#chunks[chunkOf(handle & Handle.IndexMask)]!
    const address = addressIn(words, at)
    const size = words[at + Slot.Size]!
    const length = size >= 0 ? size : this.#host.heap.usableSize(address) + size + 1
    return new Uint8Array(this.#host.memory.over(address, length), address, length)
  }

  /** Frees a handle's block. If several threads do so at once, one succeeds; the others get an error. @throws as `address` */
  free(handle: number): void {
    const at = this.find(handle)
    if (this.#kept === this.#stack.length) this.giveBack(this.#batch)
    const index = handle & Handle.IndexMask
    const words = this.#chunks[chunkOf(index)]!
    const live = liveWord(handle)
    const kept = live + ((1 << Generation.Shift) + State.Kept - State.Live)
    const isLast = live >>> Generation.Shift === Generation.Most
    const next = isLast ? State.Retired : kept
    if (this.#hand[0] !== 0) this.#host.tiers.hand.clear()
    if (Atomics.compareExchange(words, at + Slot.State, live, next) !== live) throw freed(handle)
    // Behind the compare-and-exchange this thread can't be struck before the block is in its hand.
    this.#hand[0] = words[at + Slot.Granule]!
    if (!isLast) {
      words[at + Slot.Link] = this.#tag
      this.#stack[this.#kept] = index
      this.#kept++
    }
    this.#host.emptyHand()
  }

  /** Whether a handle's block is live. Also false if the handle was never one of this table's. */
  isLive(handle: number): boolean {
    checkCount('handle', handle)
    this.checkOpen()
    return this.look(handle) >= 0
  }

  /** How many handles are live. It looks at each slot that was ever in use. */
  count(): number {
    this.checkOpen()
    let live = 0
    this.locked(() => {
      for (let index = 0; index < this.#words[Word.Used]!; index++) if (this.stateOf(index) === State.Live) live++
    })
    return live
  }

  /** The summary that `JSON.stringify`, loggers and `console.log` show. It has no `count()`, which looks at each slot that was ever in use. */
  toJSON(): object {
    const isOpen = this.#isOpen && this.#host.isOpen
    const words = this.#words
    return { isOpen, max: isOpen ? words[Word.Most]! : 0, used: isOpen ? words[Word.Used]! : 0 }
  }

  /** This thread is done with the table. The last thread frees all live blocks, and the table. May be called again. */
  close(): void {
    if (this.#isOpen && this.#host.isOpen) this.giveBack(this.#kept)
    this.#isOpen = false
    this.#block.leave()
    // From now on this thread finds nothing here.
    this.#kept = 0
    this.#chunks.length = 0
    if (this.#ownsHeap) this.#host.heap.close()
  }

  /** `close`, for `using`. */
  [Symbol.dispose](): void {
    this.close()
  }

  /** Where a live handle's slot is in the words of its chunk. @throws the error for any other value */
  private find(handle: number): number {
    if (typeof handle !== 'number') return this.findSlowly(handle)
    const index = handle & Handle.IndexMask
    const chunk = chunkOf(index)
    const words = this.#chunks[chunk]
    if (words !== undefined && this.#host.isOpen) {
      const at = (index - firstOf(chunk)) << Handle.SlotShift
      const generation = (handle / Handle.MostSlots) | 0
      const word = words[at + Slot.State]!
      if (
        word >> Generation.Shift === generation &&
        (word & Generation.StateMask) === State.Live &&
        generation * Handle.MostSlots + index === handle
      )
        return at
    }
    return this.findSlowly(handle)
  }

  /** The same for a chunk that another thread has made, and for all errors. */
  private findSlowly(handle: number): number {
    checkCount('handle', handle)
    this.checkOpen()
    const at = this.look(handle)
    if (at >= 0) return at
    throw at === FREED ? freed(handle) : neverGiven(handle)
  }

  /** Where a live handle's slot is; FREED or NEVER_GIVEN for all else. */
  private look(handle: number): number {
    const index = handle & Handle.IndexMask
    if (index >= Atomics.load(this.#words, Word.Used)) return NEVER_GIVEN
    const generation = Math.floor(handle / Handle.MostSlots)
    const words = this.chunkWith(index)
    const at = this.placeOf(index)
    const word = Atomics.load(words, at + Slot.State)
    const state = word & Generation.StateMask
    const present = state === State.Retired ? Generation.Most + 1 : word >>> Generation.Shift
    if (generation === present && state === State.Live) return at
    const isEarlier = generation < present && generation >= this.#block.generation
    return isEarlier ? FREED : NEVER_GIVEN
  }

  /** The words of a slot's chunk. */
  private chunkWith(index: number): Int32Array {
    const chunk = chunkOf(index)
    while (this.#chunks.length <= chunk) {
      const { length } = this.#chunks
      const address = Atomics.load(this.#words, Word.Chunks + length) * Granule.Bytes
      this.#chunks.push(new Int32Array(this.#host.heap.buffer, address, slotsOf(length) << Handle.SlotShift))
    }
    return this.#chunks[chunk]!
  }

  private placeOf(index: number): number {
    return (index - firstOf(chunkOf(index))) << Handle.SlotShift
  }

  private stateOf(index: number): number {
    return Atomics.load(this.chunkWith(index), this.placeOf(index) + Slot.State) & Generation.StateMask
  }

  /** Gets slots for the next allocations: free ones, those of dead threads, or new ones. @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY` */
  private refill(): void {
    this.checkOpen()
    const words = this.#words
    this.locked(() => {
      this.takeFree()
      if (this.#kept > 0) return
      const deaths = this.#block.threads.countDeaths()
      if (words[Word.ClearedDeaths] !== deaths || words[Word.Used] === words[Word.Most]) {
        this.takeFromTheDead()
        words[Word.ClearedDeaths] = deaths
        this.takeFree()
        if (this.#kept > 0) return
      }
      this.takeNew()
    })
    if (this.#kept === 0)
      throw new AllocatorError('ERR_HEAP_OUT_OF_MEMORY', `the table's ${words[Word.Most]} handles are in use`)
  }

  private takeFree(): void {
    const words = this.#words
    const tag = this.#tag
    while (this.#kept < this.#batch && words[Word.Free] !== 0) {
      const index = words[Word.Free]! - 1
      const chunk = this.chunkWith(index)
      const at = this.placeOf(index)
      const word = chunk[at + Slot.State]!
      words[Word.Free] = chunk[at + Slot.Link]!
      chunk[at + Slot.Link] = tag
      chunk[at + Slot.State] = word | State.Kept
      this.#stack[this.#kept] = index
      this.#kept++
    }
  }

  /** Returns the slots that dead threads kept to the free list. */
  private takeFromTheDead(): void {
    for (let index = 0; index < this.#words[Word.Used]!; index++) {
      if (this.stateOf(index) !== State.Kept) continue
      const chunk = this.chunkWith(index)
      const link = this.placeOf(index) + Slot.Link
      // 0 while a live thread is just freeing it.
      const owner = chunk[link]!
      if (owner === 0 || this.#block.threads.isAlive(owner)) continue
      // Looked at again now that its owner is dead: before, that may have given it a block.
      if (this.stateOf(index) === State.Kept && chunk[link] === owner) this.unkeep(index)
    }
  }

  /** Takes slots that were never used, from one more chunk if there are none. */
  private takeNew(): void {
    const words = this.#words
    const tag = this.#tag
    const generation = this.#block.generation
    while (this.#kept < this.#batch && words[Word.Used]! < words[Word.Most]!) {
      const index = words[Word.Used]!
      const number = chunkOf(index)
      if (words[Word.Chunks + number] === 0) {
        if (this.#kept > 0) return
        this.addChunk(number)
      }
      const chunk = this.chunkWith(index)
      const at = this.placeOf(index)
      chunk[at + Slot.Link] = tag
      chunk[at + Slot.State] = (generation << Generation.Shift) | State.Kept
      // By an Atomics store: a thread that sees the slot in use must also see the address of its chunk, which was stored before. A thread
      // that is struck here hasn't taken the slot.
      Atomics.store(words, Word.Used, index + 1)
      this.#stack[this.#kept] = index
      this.#kept++
    }
  }

  private addChunk(number: number): void {
    const granule = this.#host.take(slotsOf(number) << (Handle.SlotShift + 2), 0, true) / Granule.Bytes
    this.#states[granule] = ObjectState.Pooled
    this.#words[Word.Chunks + number] = granule
    this.#hand[0] = 0
  }

  /** Returns slots that this thread keeps to the free list, the last freed first. */
  private giveBack(count: number): void {
    this.locked(() => {
      for (let i = 0; i < count; i++) {
        this.unkeep(this.#stack[this.#kept - 1]!)
        this.#kept--
      }
    })
  }

  /** Returns a kept slot to the free list. */
  private unkeep(index: number): void {
    const words = this.#words
    const chunk = this.chunkWith(index)
    const at = this.placeOf(index)
    const word = chunk[at + Slot.State]!
    chunk[at + Slot.Link] = words[Word.Free]!
    chunk[at + Slot.State] = word & ~Generation.StateMask
    words[Word.Free] = index + 1
  }

  private locked<T>(run: () => T): T {
    return this.#block.locks.holding(0, run)
  }

  private checkOpen(): void {
    this.#host.checkOpen()
    if (!this.#isOpen) throw new AllocatorError('ERR_HEAP_CLOSED', 'the table of handles is closed')
  }
}

/** The results of `look` for handles that aren't live. */
const FREED = -1
const NEVER_GIVEN = -2

/** A slot's first word while a handle is live. */
function liveWord(handle: number): number {
  return (((handle / Handle.MostSlots) | 0) << Generation.Shift) | State.Live
}

/** Frees all live blocks, and then the chunks. */
function freeAll({ words }: SharedBlock, { heap, tiers: { hand } }: HeapHost): void {
  const { block } = hand
  hand.clear()
  for (let number = 0; number < Word.MostChunks; number++) {
    const granule = words[Word.Chunks + number]!
    if (granule === 0) continue
    const slots = Math.min(slotsOf(number), words[Word.Used]! - firstOf(number))
    const chunk = new Int32Array(heap.buffer, granule * Granule.Bytes, slotsOf(number) << Handle.SlotShift)
    for (let slot = 0; slot < slots; slot++) {
      const at = slot << Handle.SlotShift
      if ((chunk[at + Slot.State]! & Generation.StateMask) !== State.Live) continue
      block[0] = chunk[at + Slot.Granule]!
      chunk[at + Slot.State] = State.Retired
      hand.empty()
    }
    words[Word.Chunks + number] = 0
    block[0] = granule
    hand.empty()
  }
}

function addressIn(words: Int32Array, at: number): Address {
  const granule = words[at + Slot.Granule]!
  return granule <= Address32.MostGranule ? granule << Granule.Shift : granule * Granule.Bytes
}

/** How many slots a thread takes at once, in a table of `most` slots. */
function batchOf(most: number): number {
  return Math.max(1, Math.min(MOST_BATCH, Math.floor(most / BATCHES_OF_TABLE)))
}

function freed(handle: number): AllocatorError {
  return staleHandle(`the block of handle ${handle} was freed`)
}

function neverGiven(handle: number): AllocatorError {
  return new AllocatorError('ERR_HEAP_INVALID_ADDRESS', `${handle} is no handle of this table`)
}
