import { constants } from 'node:buffer'
import { types } from 'node:util'
import type { Address, Allocator } from '../base/allocator.ts'
import { checkAlignment, checkBoolean, checkCount, checkOptions, type OptionNames } from '../base/arguments.ts'
import { type AllocatorError, outOfMemory, outOfRange, wrongType } from '../base/errors.ts'
import type { BlockBytes } from '../memory/block-bytes.ts'
import { Granule } from '../memory/page.ts'
import type { ViewMemory } from '../memory/view-memory.ts'
import { ObjectState } from '../tcmalloc/object-state.ts'
import type { PassSlots } from '../tcmalloc/pass-slots.ts'
import type { TCMalloc } from '../tcmalloc/tcmalloc.ts'
import { wrongAddress } from '../tcmalloc/wrong-address.ts'
import { HeapView } from './heap-view.ts'
import { IsolatedBuffers } from './isolated.ts'
import type { LeakWatch, Watched } from './leak-watch.ts'
import type { OwnerStats } from './owner-stats.ts'
import { checkPassed, type PassedBlock, passedBlock, stalePass } from './passed-block.ts'

/** What a block that is watched is longer by: its number, at the end of its usable bytes. */
const NUMBER_BYTES = 8

/** A typed array's class: one of JavaScript's, or one that extends it. */
export interface TypedArrayConstructor<T extends ArrayBufferView = ArrayBufferView> {
  new (buffer: never, byteOffset: number, length: number): T
  /** Bytes of an element: the block has `length` times as many. */
  readonly BYTES_PER_ELEMENT: number
}

/** JavaScript's typed arrays over an ArrayBuffer, each with its class. */
type ArrayClasses =
  | [Int8ArrayConstructor, Int8Array<ArrayBuffer>]
  | [Uint8ArrayConstructor, Uint8Array<ArrayBuffer>]
  | [Uint8ClampedArrayConstructor, Uint8ClampedArray<ArrayBuffer>]
  | [Int16ArrayConstructor, Int16Array<ArrayBuffer>]
  | [Uint16ArrayConstructor, Uint16Array<ArrayBuffer>]
  | [Int32ArrayConstructor, Int32Array<ArrayBuffer>]
  | [Uint32ArrayConstructor, Uint32Array<ArrayBuffer>]
  | [Float32ArrayConstructor, Float32Array<ArrayBuffer>]
  | [Float64ArrayConstructor, Float64Array<ArrayBuffer>]
  | [BigInt64ArrayConstructor, BigInt64Array<ArrayBuffer>]
  | [BigUint64ArrayConstructor, BigUint64Array<ArrayBuffer>]

/** What a class makes of a heap's memory; one that extends JavaScript's, what it says itself. */
export type ArrayOf<Class extends TypedArrayConstructor> = [Extract<ArrayClasses, [Class, unknown]>] extends [never]
  ? InstanceType<Class>
  : Extract<ArrayClasses, [Class, unknown]>[1]

/** What a buffer is allocated with. */
export interface BufferOptions {
  /**
   * True: all bytes are 0. Otherwise they are whatever was there before, as with `Buffer.allocUnsafe`.
   * @default false
   */
  zero?: boolean
  /**
   * A power of two up to 64 MiB: the address, and the memory's real one, is a multiple of it.
   * @default 16
   */
  alignment?: number
  /**
   * Whose it is, for `stats({ detail: true })` and for reports of leaks. Such a buffer is watched, which costs about a microsecond.
   * @default undefined
   */
  tag?: string
  /**
   * True: an ArrayBuffer of the block alone, for `transfer`, `structuredClone` and code that isn't to see the whole heap. `freeBuffer`
   * detaches it, and every view of it has length 0 then. V8 frees it if it is collected first, with its last view, slice and operation:
   * so it is never a leak, and may be left to V8. It takes about a microsecond, and isn't watched.
   * @default false
   */
  isolated?: boolean
}

const BUFFER_OPTIONS: OptionNames<BufferOptions> = { zero: true, alignment: true, tag: true, isolated: true }

/** Where a new buffer's bytes are, and what its view is remembered by. */
interface Place {
  readonly memory: ArrayBuffer
  readonly offset: number
  readonly owner: object
  readonly key: number
}

/** What buffers need of what the heap is made of whose blocks they are over. */
export interface BufferHost {
  readonly heap: Allocator & { readonly buffer: SharedArrayBuffer }
  readonly memory: ViewMemory
  readonly bytes: BlockBytes
  /** In debug mode. */
  readonly debug: { setTag(granule: number, tag: string): void; giveUp(granule: number): void } | undefined
  readonly isOpen: boolean
}

/** One who keeps buffers of a heap, and says how many: a pool. */
export interface BufferOwner {
  ownerStats(): OwnerStats
  /** The heap is about to be closed; and again, when it takes no calls any more. Who has no end of his own needn't be told. */
  close?(): void
}

/**
 * The buffers of a heap that aren't usual: those with options, and those that are watched.
 *
 * A watched block is in a state of its own, so the usual free doesn't take it, and the slow one says here that it is gone. Any thread
 * may free it. Only the thread that watches it knows more of it, and that one finds by the number that a block ends with whether
 * it is still the same: a scribbled number makes it another one, which is then nobody's leak.
 */
export class HeapBuffers {
  readonly watch: LeakWatch
  readonly isolated: IsolatedBuffers
  /** Blocks on their way from one thread to another. */
  readonly passes: PassSlots
  private readonly host: BufferHost
  private readonly heap: BufferHost['heap']
  private readonly tiers: TCMalloc
  private readonly tag: number
  private numbers = 0
  private readonly watched = new Map<number, Watched>()
  private readonly owners = new Set<BufferOwner>()
  private readonly closers: (() => void)[] = []

  constructor(host: BufferHost, tiers: TCMalloc, watch: LeakWatch) {
    this.host = host
    this.heap = host.heap
    this.tiers = tiers
    this.watch = watch
    this.isolated = new IsolatedBuffers(host, tiers)
    this.passes = tiers.passes
    this.tag = tiers.member.thread().tag
  }

  /** A Buffer of exactly `size` bytes. */
  allocate(size: number, options: BufferOptions = {}): Buffer<ArrayBuffer> {
    if (checkCount('size', size) > constants.MAX_LENGTH)
      throw outOfRange('size', `at most ${constants.MAX_LENGTH}, the longest Buffer`, size)
    return this.place(size, options, ({ memory, offset, owner, key }) =>
      HeapView.buffer(memory, offset, size, owner, key)
    )
  }

  /** A typed array of `length` elements. */
  allocateArray(type: TypedArrayConstructor, length: number, options: BufferOptions): ArrayBufferView {
    const size = checkArrayBytes(type, length)
    return this.place(size, options, ({ memory, offset, owner, key }) => {
      const array = arrayOver(memory, type, offset, length)
      HeapView.mark(array, owner, key)
      return array
    })
  }

  /**
   * A block is about to be freed, or moved, or to be somebody else's: whoever watches it needn't any more. False where it isn't watched:
   * another thread, or who collected its view, may have been faster.
   */
  unwatch(granule: number): boolean {
    if (this.tiers.stateOf(granule) !== ObjectState.Watched) return false
    const number = this.watchedAs(granule)
    if (!this.tiers.changeState(granule, ObjectState.Watched, ObjectState.Live)) return false
    this.drop(number)
    return true
  }

  /** The number by which this thread watches a block; 0 where it doesn't. */
  watchedAs(granule: number): number {
    if (this.tiers.stateOf(granule) !== ObjectState.Watched) return 0
    const [tag, number] = this.numberAt(granule)
    const watched = tag === this.tag ? this.watched.get(number!) : undefined
    return watched?.address === granule * Granule.Bytes ? number! : 0
  }

  /** This thread doesn't watch any more what it watches by a number. */
  drop(number: number): void {
    const watched = this.watched.get(number)
    if (watched === undefined) return
    this.watched.delete(number)
    this.watch.unwatch(watched)
  }

  /** Gives up the block that a view starts with. @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY`, or for what it is instead of live */
  pass(view: ArrayBufferView, granule: number): PassedBlock {
    const { passes } = this
    const owner = this.tiers.generation
    passes.ready()
    const { slot, sequence } = passes
    const address = granule * Granule.Bytes
    const passed = passedBlock({ from: 'heap', owner, slot, sequence, address, length: view.byteLength })
    const watchedAs = this.watchedAs(granule)
    if (!passes.pass(granule, passed.length)) throw this.notLive(granule)
    this.gaveUp(view, granule, watchedAs)
    return passed
  }

  /** The error for a granule whose block was live a moment ago, and isn't any more. */
  notLive(granule: number): AllocatorError {
    return wrongAddress(this.tiers, granule * Granule.Bytes)
  }

  /** The block of a view was passed: it isn't watched here any more, and the view can't free it. */
  gaveUp(view: ArrayBufferView, granule: number, watchedAs: number): void {
    this.drop(watchedAs)
    if (HeapView.keyOf(view, this.heap) > 0) HeapView.revoke(view)
    this.host.debug?.giveUp(granule)
  }

  /** Takes what `pass` has given up, in whichever thread. @throws AllocatorError `ERR_HEAP_STALE_HANDLE` */
  adopt(value: unknown): Buffer<ArrayBuffer> {
    const { passes } = this
    const passed = checkPassed(value, 'heap', this.tiers.generation)
    const { slot, sequence, address, length } = passed
    const granule = passes.granuleOf(slot, sequence)
    if (granule === 0 || granule * Granule.Bytes !== address || passes.lengthOf(slot) !== length) throw stalePass()
    const wasWatched = passes.wasWatched(slot)
    // Made before the block is this thread's: an error after that would lose it.
    const view = this.viewOf(granule, length)
    if (!passes.adopt(slot, sequence, granule)) throw stalePass()
    return this.received(view, granule, wasWatched)
  }

  /** A Buffer over a block that is this thread's, or is about to be. */
  viewOf(granule: number, length: number): Buffer<ArrayBuffer> {
    const { buffer, byteOffset } = this.host.memory.at(granule * Granule.Bytes, length)
    return HeapView.buffer(buffer, byteOffset, length, this.heap, granule)
  }

  /** The block of a view is this thread's now. If another watched it for a leak until it passed it, this one does. */
  received(view: Buffer<ArrayBuffer>, granule: number, wasWatched: boolean): Buffer<ArrayBuffer> {
    if (wasWatched && this.watch.isOn) this.watchBlock(view, granule * Granule.Bytes, view.length, undefined, true)
    return view
  }

  /** Somebody keeps buffers, and says how many, until he is taken out again. */
  addOwner(owner: BufferOwner): void {
    this.owners.add(owner)
  }

  removeOwner(owner: BufferOwner): void {
    this.owners.delete(owner)
  }

  /** Calls `closer` when the heap is about to be closed: records let go of the memory before it goes, since a write would end the process. */
  atClose(closer: () => void): void {
    this.closers.push(closer)
  }

  /** The heap is about to be closed, and so are those who keep its buffers. */
  closeOwners(): void {
    for (const owner of [...this.owners]) owner.close?.()
    for (const closer of this.closers.splice(0)) closer()
  }

  /** What this thread watches, and what its pools keep, by tag; the largest first. */
  ownerStats(): OwnerStats[] {
    const byTag = new Map<string | undefined, OwnerStats>()
    const add = ({ tag, buffers, bytes }: OwnerStats) => {
      const sum = byTag.get(tag) ?? { tag, buffers: 0, bytes: 0 }
      byTag.set(tag, { tag, buffers: sum.buffers + buffers, bytes: sum.bytes + bytes })
    }
    for (const { tag, bytes } of [...this.watched.values()].filter((watched) => watched.isHeld()))
      add({ tag, buffers: 1, bytes })
    for (const stats of this.isolated.ownerStats()) add(stats)
    for (const owner of this.owners) add(owner.ownerStats())
    return [...byTag.values()].sort((a, b) => b.bytes - a.bytes)
  }

  /** What `make` makes of a new block, with the options that a buffer has: watched, it is what must be held. */
  place<T extends object>(size: number, options: BufferOptions, make: (place: Place) => T): T {
    checkOptions(options, BUFFER_OPTIONS)
    const { tag, alignment } = options
    const zero = checkBoolean('zero', options.zero, false)
    const isolated = checkBoolean('isolated', options.isolated, false)
    if (tag !== undefined && typeof tag !== 'string') throw wrongType('tag', 'a string', tag)
    if (alignment !== undefined) checkAlignment(alignment)
    if (!Number.isSafeInteger(size + NUMBER_BYTES)) throw outOfMemory(size, 0)
    if (isolated) {
      this.isolated.check()
      const memory = this.isolated.isolate(this.block(size, size, alignment, zero), size, tag)
      return make({ memory, offset: 0, owner: this.isolated, key: 1 })
    }
    const noted = this.watch.next()
    const isWatched = noted || tag !== undefined
    // In debug mode every block has room for the number.
    const bytes = isWatched && this.host.debug === undefined ? size + NUMBER_BYTES : size
    const address = this.block(bytes, size, alignment, zero)
    let view: T
    try {
      const { buffer: memory, byteOffset: offset } = this.host.memory.at(address, size)
      view = make({ memory, offset, owner: this.heap, key: address / Granule.Bytes })
    } catch (error) {
      this.heap.free(address)
      throw error
    }
    if (isWatched) this.watchBlock(view, address, size, tag, noted)
    if (tag !== undefined) this.host.debug?.setTag(address / Granule.Bytes, tag)
    return view
  }

  /** A block of `bytes`, of which the first `size` are the buffer's. */
  private block(bytes: number, size: number, alignment: number | undefined, zero: boolean): Address {
    if (alignment === undefined) return zero ? this.heap.calloc(1, bytes) : this.heap.malloc(bytes)
    const address = this.heap.alignedAlloc(alignment, bytes)
    if (zero) this.host.bytes.zero(address, size)
    return address
  }

  private watchBlock(holder: object, address: Address, bytes: number, tag: string | undefined, noted: boolean): void {
    const granule = address / Granule.Bytes
    this.numbers = (this.numbers + 1) | 0
    const number = this.numbers
    this.numberAt(granule).set([this.tag, number])
    const isHeld = () => {
      if (!this.host.isOpen || this.tiers.stateOf(granule) !== ObjectState.Watched) return false
      const [foundTag, foundNumber] = this.numberAt(granule)
      return foundTag === this.tag && foundNumber === number
    }
    const watched: Watched = {
      kind: 'buffer',
      address,
      bytes,
      tag,
      isHeld,
      forget: () => {
        this.watched.delete(number)
        // Reported once; from then on it is a block like any other that nobody frees.
        if (isHeld()) this.tiers.changeState(granule, ObjectState.Watched, ObjectState.Live)
      },
    }
    this.watched.set(number, watched)
    this.tiers.setState(granule, ObjectState.Watched)
    this.watch.watch(holder, watched, noted)
  }

  /** Where a watched block's number is: the slot's tag, and a count of its own. */
  private numberAt(granule: number): Int32Array {
    const end = granule * Granule.Bytes + this.tiers.usableBytes(granule)
    return new Int32Array(this.heap.buffer, end - NUMBER_BYTES, NUMBER_BYTES / 4)
  }
}

/** Bytes of an element of a typed array's class, of whatever realm. Only {@link arrayOver} finds out whether it makes such arrays. */
export function checkElementBytes(type: TypedArrayConstructor): number {
  const bytes = typeof type === 'function' ? type.BYTES_PER_ELEMENT : undefined
  if (bytes !== 1 && bytes !== 2 && bytes !== 4 && bytes !== 8) throw wrongType('type', "a typed array's class", type)
  return bytes
}

/** A typed array over memory. @throws TypeError if the class makes something else */
export function arrayOver<T extends ArrayBufferView>(
  memory: ArrayBufferLike,
  type: TypedArrayConstructor<T>,
  address: Address,
  length: number
): T {
  const array = new type(memory as never, address, length)
  if (!types.isTypedArray(array)) throw wrongType('type', "a typed array's class", type)
  return array
}

/** Checks what a typed array is to be made of; returns its bytes. */
export function checkArrayBytes(type: TypedArrayConstructor, length: number): number {
  const elementBytes = checkElementBytes(type)
  if (checkCount('length', length) > constants.MAX_LENGTH)
    throw outOfRange('length', `at most ${constants.MAX_LENGTH}, the longest array`, length)
  return length * elementBytes
}
