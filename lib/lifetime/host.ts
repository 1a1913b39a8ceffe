import type { Address } from '../base/allocator.ts'
import { checkCount, checkOptions, type OptionNames } from '../base/arguments.ts'
import { closedError, invalidToken, outOfMemory, outOfRange } from '../base/errors.ts'
import { HeapBuffers } from '../buffers/heap-buffers.ts'
import { bytesOf, HeapView } from '../buffers/heap-view.ts'
import { Operations } from '../buffers/in-flight.ts'
import type { LeakWatch } from '../buffers/leak-watch.ts'
import type { DebugBlocks } from '../debug/debug-blocks.ts'
import { DebugMemory } from '../debug/debug-memory.ts'
import { debugged, type FrontedHeap } from '../debug/debugged.ts'
import { BlockBytes } from '../memory/block-bytes.ts'
import { Granule } from '../memory/page.ts'
import { ViewMemory } from '../memory/view-memory.ts'
import type { Mapper } from '../os/mapper.ts'
import { isHandedOut, ObjectState } from '../tcmalloc/object-state.ts'
import { Small } from '../tcmalloc/size-class.ts'
import type { TCMalloc } from '../tcmalloc/tcmalloc.ts'
import { checkToken, type HeapToken, notAHeap } from '../tcmalloc/token.ts'
import { givenBack, isolated, notYours, wrongAddress } from '../tcmalloc/wrong-address.ts'
import type { ThreadSlots } from '../threads/thread-slots.ts'
import { ArenaRegistry } from './arena-registry.ts'
import { BlockLeases } from './block-leases.ts'
import { SharedRegistry } from './shared-registry.ts'

/** The property of a heap by which the library itself reaches the heap's parts. A symbol: programs have no use for it. */
export const HOST = Symbol('host')

/** A heap, as its users inside the library see it: single blocks, handles and arenas here, pools, channels and structs above. */
export interface HostHeap extends FrontedHeap {
  readonly buffer: SharedArrayBuffer
  readonly [HOST]: HeapHost
  addressOf(view: ArrayBufferView): Address
  /** @throws AllocatorError `ERR_HEAP_NOT_SHARED` */
  share(): HeapToken
}

/** The parts of a heap in one thread, and the operations that are for the library, not for programs. */
export class HeapHost {
  readonly heap: HostHeap
  readonly tiers: TCMalloc
  /** The memory that views are over. */
  readonly memory: ViewMemory
  readonly bytes: BlockBytes
  /** The watched and isolated buffers, and the owners that keep buffers of this heap. */
  readonly buffers: HeapBuffers
  /** Leases of single blocks. */
  readonly leases: BlockLeases
  /** The heap's arenas, of all threads. */
  readonly arenas: ArenaRegistry
  /** Its channels, tables and pools, of all threads. */
  readonly shared: SharedRegistry
  /** The system's operations that read or write blocks, in this thread. A close doesn't take the memory from them. */
  readonly operations: Operations
  /** In debug mode: the checks in front of the calls that move blocks. */
  readonly debug: DebugBlocks | undefined
  /** Whether this thread may still use the heap. Only the heap's `close` ends it. */
  isOpen = true

  /** REQUIRES: no method of `heap` is called here, since it is still being made. */
  constructor(heap: HostHeap, tiers: TCMalloc, mapper: Mapper, watch: LeakWatch) {
    const { mapping } = tiers
    this.heap = heap
    this.tiers = tiers
    const debugMemory = tiers.quarantine && new DebugMemory(mapping)
    this.memory = debugMemory ?? new ViewMemory(mapping)
    this.bytes = new BlockBytes(mapping.unshared())
    this.buffers = new HeapBuffers(this, tiers, watch)
    this.arenas = new ArenaRegistry(tiers)
    this.shared = new SharedRegistry(this, tiers)
    this.operations = new Operations(() => {
      if (!this.isOpen) heap.close()
    })
    this.leases = new BlockLeases(this, { ended: () => {}, watch, kind: 'lease' })
    this.debug = debugMemory && debugged(this, debugMemory, mapper)
  }

  /** @throws AllocatorError `ERR_HEAP_CLOSED` */
  checkOpen(): void {
    if (!this.isOpen) throw closedError()
  }

  /** The thread slot by which this thread holds locks, and the table that says whether others live. */
  thread(): { slots: ThreadSlots; slot: number; tag: number } {
    this.checkOpen()
    return this.tiers.member.thread()
  }

  /** Runs a few loads and stores, and nothing else, without another thread's in between. */
  exclusively<T>(work: () => T): T {
    this.checkOpen()
    return this.tiers.member.exclusively(work)
  }

  /** Ends what dead threads have left: arenas, and what no other thread has open. Returns how many. */
  clearUp(): number {
    this.tiers.hand.clear()
    return this.arenas.clearUp() + this.shared.clearUp()
  }

  /** Memory for `bytes` ran out: ends what dead threads have left. @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY` */
  makeRoom(bytes: number): true {
    const errno = this.tiers.lastErrno
    if (this.clearUp() === 0) throw outOfMemory(bytes, errno)
    return true
  }

  /**
   * A new block for a part of the library, in this thread's hand (lib/tcmalloc/hand.ts) until the caller has it in words of its own.
   * @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY`
   */
  take(bytes: number, alignment = 0, zeroed = false): Address {
    this.checkOpen()
    if (this.debug !== undefined) return this.debug.take(bytes, alignment, zeroed)
    const address = this.takePlain(bytes, alignment, zeroed)
    // A large block's bytes are 0 already, but for an aligned one's.
    if (zeroed && (alignment > Granule.Bytes || bytes <= Small.MostBytes)) this.bytes.zero(address, bytes)
    return address
  }

  /** The same without debug mode's guard. `zeroed` concerns large blocks alone. */
  takePlain(bytes: number, alignment: number, zeroed: boolean): Address {
    let granule: number
    do granule = this.tiers.hand.take(bytes, alignment, zeroed ? this.bytes : undefined)
    while (granule === 0 && this.makeRoom(bytes))
    return granule * Granule.Bytes
  }

  /** Frees the block in this thread's hand. In debug mode, an error in it is reported, not thrown. */
  emptyHand(): void {
    if (this.debug === undefined) this.tiers.hand.empty()
    else this.debug.discard()
  }

  /** Whether an address is that of a pool's block. */
  isPooled(address: Address): boolean {
    return this.tiers.stateOf(address / Granule.Bytes) === ObjectState.Pooled
  }

  /**
   * The offset in this heap's memory at which a view begins: a view over the memory of this thread's views, or over `buffer`, made here or
   * in another thread; -1 for any other.
   */
  offsetOf(view: ArrayBufferView): number {
    const offset = this.memory.addressOf(view)
    if (offset >= 0) return offset
    const { mapping } = this.tiers
    const { buffer } = view
    return buffer === mapping.buffer || mapping.isUnder(buffer) ? view.byteOffset : -1
  }

  /** The granule of a live block. @throws the error for any other address */
  liveGranule(address: Address): number {
    checkCount('address', address)
    this.checkOpen()
    const granule = address / Granule.Bytes
    if (Number.isInteger(granule) && isHandedOut(this.tiers.stateOf(granule))) return granule
    throw wrongAddress(this.tiers, address)
  }

  /** The granule of a live block that isn't a pool's. */
  unpooledGranule(address: Address): number {
    const granule = this.liveGranule(address)
    const state = this.tiers.stateOf(granule)
    if (state === ObjectState.Pooled || state === ObjectState.Chunk) throw notYours(address)
    if (state === ObjectState.Isolated) throw isolated(address)
    return granule
  }

  /** The same for a block that its owner may free. It is no longer watched. */
  ownGranule(address: Address): number {
    const granule = this.unpooledGranule(address)
    // A thread that comes too late would free a block that has a new owner by now.
    if (this.tiers.stateOf(granule) === ObjectState.Watched && !this.buffers.unwatch(granule))
      throw wrongAddress(this.tiers, address)
    return granule
  }

  /**
   * The block that a view starts with, as its granule, and the view's bytes, if the block's owner may free it, and so give it up.
   * @throws as `heap.pass`
   */
  passable(view: ArrayBufferView): { granule: number; length: number } {
    const key = ArrayBuffer.isView(view) && this.isOpen ? HeapView.keyOf(view, this.heap) : 0
    if (key < 0) throw givenBack(-key * Granule.Bytes)
    const granule = this.unpooledGranule(this.heap.addressOf(view))
    const length = bytesOf(view)
    const usable = this.tiers.usableBytes(granule)
    // The receiver makes a view of this length: it must not reach beyond the block.
    if (length > usable) throw outOfRange('view.byteLength', `at most ${usable}, the bytes of its block`, length)
    const { byteLength } = view
    if (byteLength !== length) throw outOfRange('view.byteLength', `${length}, the view's real length`, byteLength)
    return { granule, length }
  }
}

/** Where a thread attaches to a shared object. */
export interface AttachToOptions {
  /**
   * The heap that it is in, if this thread has it open. By default the heap is opened by the token, and closed together with the object.
   * @default one of its own
   */
  heap?: HostHeap
}

const ATTACH_TO_OPTIONS: OptionNames<AttachToOptions> = { heap: true }

/** Opens a heap by its token. The class of heaps sets it, since that class is built on this file. */
let openHeap: (token: HeapToken) => HostHeap

export function opensHeaps(open: typeof openHeap): void {
  openHeap = open
}

/**
 * Opens a token's object, in a heap that this thread has open, or in one opened for it.
 * @param open makes it; gets `true` if the heap was opened for it, and is to be closed with it
 * @param names the options that the call may have
 * @throws TypeError; AllocatorError `ERR_HEAP_INVALID_TOKEN` if the token is of no heap, or of another, `ERR_HEAP_CLOSED`; the errors of
 * `open`
 */
export function attachTo<T>(
  token: { readonly heap?: unknown } | undefined,
  options: AttachToOptions,
  open: (host: HeapHost, ownsHeap: boolean) => T,
  names: Readonly<Record<string, true>> = ATTACH_TO_OPTIONS
): T {
  checkOptions(options, names)
  const { heap } = options
  const given = heap === undefined ? undefined : checkHeap(heap)
  const heapToken = token?.heap
  checkToken(heapToken)
  if (given !== undefined) {
    if (!given.tiers.isOf(heapToken)) throw invalidToken('it is of another heap')
    return open(given, false)
  }
  const own = openHeap(heapToken)
  try {
    return open(own[HOST], true)
  } catch (error) {
    own.close()
    throw error
  }
}

/** Checks that an argument is an open heap. */
export function checkHeap(value: unknown): HeapHost {
  const host = typeof value === 'object' && value !== null ? (value as Partial<HostHeap>)[HOST] : undefined
  if (!(host instanceof HeapHost)) throw notAHeap(value)
  host.checkOpen()
  return host
}
