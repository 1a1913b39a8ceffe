import { constants } from 'node:buffer'
import { types } from 'node:util'
import type { Address, Allocator } from '../base/allocator.ts'
import { checkAlignment, checkBoolean, checkCount, checkOptions, type OptionNames } from '../base/arguments.ts'
import { type AllocatorError, closedError, outOfMemory, outOfRange, wrongType } from '../base/errors.ts'
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

/** The extra bytes of a watched block: its number, at the end of the usable bytes. */
const NUMBER_BYTES = 8

/** A typed array's class: one of JavaScript's, or an extension of one. */
export interface TypedArrayConstructor<T extends ArrayBufferView = ArrayBufferView> {
  new (buffer: never, byteOffset: number, length: number): T
  /** Bytes of an element; a block has `length` times that. */
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

/** The type of the arrays that a class makes over a heap's memory; for an extension, its own instances. */
export type ArrayOf<Class extends TypedArrayConstructor> = [Extract<ArrayClasses, [Class, unknown]>] extends [never]
  ? InstanceType<Class>
  : Extract<ArrayClasses, [Class, unknown]>[1]

/** The options of a new buffer. */
export interface BufferOptions {
  /**
   * True: all bytes are 0. Otherwise they are undefined, as with `Buffer.allocUnsafe`.
   * @default false
   */
  zero?: boolean
  /**
   * A power of two up to 64 MiB. The address, and the memory's real one, is a multiple of it.
   * @default 16
   */
  alignment?: number
  /**
   * The owner's name, for `stats({ detail: true })` and leak reports. A tagged buffer is watched, which costs about a microsecond.
   * @default undefined
   */
  tag?: string
  /**
   * True: the buffer has an ArrayBuffer of its own, for `transfer`, `structuredClone` and code that mustn't see the whole heap.
   * `freeBuffer` detaches it, after which every view of it has length 0. Otherwise V8 frees it after its last view, slice and operation, so
   * it never leaks and may be left to V8. Allocating it takes about a microsecond; it isn't watched.
   * @default false
   */
  isolated?: boolean
}

const BUFFER_OPTIONS: OptionNames<BufferOptions> = { zero: true, alignment: true, tag: true, isolated: true }

/** The place of a new buffer's bytes, and the key by which its view is recognized. */
interface Place {
  readonly memory: ArrayBuffer
  readonly offset: number
  readonly owner: object
  readonly key: number
}

/** The parts of their heap that buffers need. */
export interface BufferHost {
  readonly heap: Allocator & { readonly buffer: SharedArrayBuffer }
  readonly memory: ViewMemory
  readonly bytes: BlockBytes
  /** In debug mode. */
  readonly debug: { setTag(granule: number, tag: string): void; giveUp(granule: number): void } | undefined
  readonly isOpen: boolean
}

/** An object that keeps buffers of a heap and reports how many: a pool, leases. */
export interface BufferOwner {
  ownerStats(): readonly OwnerStats[]
  /** Called before the heap is closed, and again once it takes no calls any more. An owner with nothing to end doesn't need it. */
  close?(): void
}

/**
 * A heap's unusual buffers: those with options, and watched ones.
 *
 * A watched block has a state of its own: the usual free doesn't take it, and the slow one reports here that it is gone. Any thread may
 * free it. Only the watching thread has its record, and checks by the number at the block's end whether it is still the same block. If the
 * program overwrites the number, the block counts as another, and isn't reported as a leak.
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
   * Stops watching a block that is about to be freed, moved or given away. False if it isn't watched: another thread, or the report of its
   * collected view, may have been faster.
   */
  unwatch(granule: number): boolean {
    if (this.tiers.stateOf(granule) !== ObjectState.Watched) return false
    const number = this.watchedAs(granule)
    if (!this.tiers.changeState(granule, ObjectState.Watched, ObjectState.Live)) return false
    this.drop(number)
    return true
  }

  /** The number by which this thread watches a block; 0 if it doesn't. */
  watchedAs(granule: number): number {
    if (this.tiers.stateOf(granule) !== ObjectState.Watched) return 0
    const [tag, number] = this.numberAt(granule)
    const watched = tag === this.tag ? this.watched.get(number!) : undefined
    return watched?.address === granule * Granule.Bytes ? number! : 0
  }

  /** Drops this thread's watch of a number. */
  drop(number: number): void {
    const watched = this.watched.get(number)
    if (watched === undefined) return
    this.watched.delete(number)
    this.watch.unwatch(watched)
  }

  /** Gives up the block that a view starts with. @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY`, or the error for a block that isn't live */
  pass(view: ArrayBufferView, { granule, length }: { granule: number; length: number }): PassedBlock {
    const { passes } = this
    const owner = this.tiers.generation
    passes.ready()
    const { slot, sequence } = passes
    const address = granule * Granule.Bytes
    const passed = passedBlock({ from: 'heap', owner, slot, sequence, address, length })
    const watchedAs = this.watchedAs(granule)
    if (!passes.pass(granule, length)) throw this.notLive(granule)
    this.gaveUp(view, granule, watchedAs)
    return passed
  }

  /** The error for a granule whose block was live a moment ago and isn't any more. */
  notLive(granule: number): AllocatorError {
    return wrongAddress(this.tiers, granule * Granule.Bytes)
  }

  /** Called after a view's block was passed: stops watching it here, and the view can't free it any more. */
  gaveUp(view: ArrayBufferView, granule: number, watchedAs: number): void {
    this.drop(watchedAs)
    if (HeapView.keyOf(view, this.heap) > 0) HeapView.revoke(view)
    this.host.debug?.giveUp(granule)
  }

  /** Takes a block that `pass` gave up, in any thread. @throws AllocatorError `ERR_HEAP_STALE_HANDLE` */
  adopt(value: unknown): Buffer<ArrayBuffer> {
    const { passes } = this
    const passed = checkPassed(value, 'heap', this.tiers.generation)
    const { slot, sequence, address, length } = passed
    const granule = passes.granuleOf(slot, sequence)
    if (granule === 0 || granule * Granule.Bytes !== address || passes.lengthOf(slot) !== length) throw stalePass()
    const wasWatched = passes.wasWatched(slot)
    // Made before the block is this thread's: an error afterwards would lose the block.
    const view = this.viewOf(granule, length)
    if (!passes.adopt(slot, sequence, granule)) throw stalePass()
    return this.received(view, granule, wasWatched)
  }

  /** A Buffer over a block that is or soon will be this thread's. */
  viewOf(granule: number, length: number): Buffer<ArrayBuffer> {
    const { buffer, byteOffset } = this.host.memory.at(granule * Granule.Bytes, length)
    return HeapView.buffer(buffer, byteOffset, length, this.heap, granule)
  }

  /** Called when a view's block has become this thread's. If the sender watched it for a leak, this thread does from now on. */
  received(view: Buffer<ArrayBuffer>, granule: number, wasWatched: boolean): Buffer<ArrayBuffer> {
    if (wasWatched && this.watch.isOn) this.watchBlock(view, granule * Granule.Bytes, view.length, undefined, true)
    return view
  }

  /** Adds an owner that keeps buffers, until it is removed. */
  addOwner(owner: BufferOwner): void {
    this.owners.add(owner)
  }

  removeOwner(owner: BufferOwner): void {
    this.owners.delete(owner)
  }

  /** Calls `closer` before the heap is closed: records must let go of the memory before it is unmapped, since a write would end the process. */
  atClose(closer: () => void): void {
    this.closers.push(closer)
  }

  /** Closes the owners of buffers before the heap is closed. */
  closeOwners(): void {
    for (const owner of [...this.owners]) owner.close?.()
    for (const closer of this.closers.splice(0)) closer()
  }

  /** This thread's watched buffers, and those that its pools keep, by tag; the largest first. */
  ownerStats(): OwnerStats[] {
    const byTag = new Map<string | undefined, OwnerStats>()
    const add = ({ tag, buffers, bytes }: OwnerStats) => {
      const sum = byTag.get(tag) ?? { tag, buffers: 0, bytes: 0 }
      byTag.set(tag, { tag, buffers: sum.buffers + buffers, bytes: sum.bytes + bytes })
    }
    for (const { tag, bytes } of [...this.watched.values()].filter((watched) => watched.isHeld()))
      add({ tag, buffers: 1, bytes })
    for (const stats of this.isolated.ownerStats()) add(stats)
    for (const owner of this.owners) for (const stats of owner.ownerStats()) add(stats)
    return [...byTag.values()].sort((a, b) => b.bytes - a.bytes)
  }

  /** The object that `make` makes of a new block, with a buffer's options. If the block is watched, that object must stay reachable. */
  place<T extends object>(size: number, options: BufferOptions, make: (place: Place) => T): T {
    if (!this.host.isOpen) throw closedError()
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
    // In debug mode every block already has room for the number.
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
  block(bytes: number, size: number, alignment: number | undefined, zero: boolean): Address {
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
        // Reported once; from then on it is an ordinary block that is never freed.
        if (isHeld()) this.tiers.changeState(granule, ObjectState.Watched, ObjectState.Live)
      },
    }
    this.watched.set(number, watched)
    this.tiers.setState(granule, ObjectState.Watched)
    this.watch.watch(holder, watched, noted)
  }

  /** The words of a watched block's number: the slot's tag, and that slot's count. */
  private numberAt(granule: number): Int32Array {
    const end = granule * Granule.Bytes + this.tiers.usableBytes(granule)
    return new Int32Array(this.heap.buffer, end - NUMBER_BYTES, NUMBER_BYTES / 4)
  }
}

/**
 * Bytes of an element of a typed array's class, of whatever realm. Whether the class really makes such arrays, only {@link arrayOver} finds
 * out.
 */
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

/** Checks a typed array's class and length; returns its bytes. */
export function checkArrayBytes(type: TypedArrayConstructor, length: number): number {
  const elementBytes = checkElementBytes(type)
  if (checkCount('length', length) > constants.MAX_LENGTH)
    throw outOfRange('length', `at most ${constants.MAX_LENGTH}, the longest array`, length)
  return length * elementBytes
}
