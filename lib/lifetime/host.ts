import type { Address } from '../base/allocator.ts'
import { checkCount, checkOptions, type OptionNames } from '../base/arguments.ts'
import { closedError, invalidToken } from '../base/errors.ts'
import { HeapBuffers } from '../buffers/heap-buffers.ts'
import { HeapView } from '../buffers/heap-view.ts'
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
import type { TCMalloc } from '../tcmalloc/tcmalloc.ts'
import { checkToken, type HeapToken, notAHeap } from '../tcmalloc/token.ts'
import { givenBack, isolated, notYours, wrongAddress } from '../tcmalloc/wrong-address.ts'
import type { ThreadSlots } from '../threads/thread-slots.ts'
import { ArenaRegistry } from './arena-registry.ts'

/** The property of a heap by which the library's own parts reach what the heap is made of. A symbol: programs have no use for it. */
export const HOST = Symbol('host')

/** A heap, as those see it who live in it: single blocks, handles and arenas here, pools, channels and structs above. */
export interface HostHeap extends FrontedHeap {
  readonly buffer: SharedArrayBuffer
  readonly [HOST]: HeapHost
  addressOf(view: ArrayBufferView): Address
  /** @throws AllocatorError `ERR_HEAP_NOT_SHARED` */
  share(): HeapToken
}

/** What a heap is made of in one thread, and what its own parts may do with it that a program may not. */
export class HeapHost {
  readonly heap: HostHeap
  readonly tiers: TCMalloc
  /** What views are over. */
  readonly memory: ViewMemory
  readonly bytes: BlockBytes
  /** Buffers that are watched or isolated, and those who keep buffers of this heap. */
  readonly buffers: HeapBuffers
  /** The arenas that the heap has in all threads. */
  readonly arenas: ArenaRegistry
  /** Operations of the system's that read or write blocks, in this thread. A close doesn't take the memory from them. */
  readonly operations: Operations
  /** In debug mode: what stands in front of the calls that move blocks. */
  readonly debug: DebugBlocks | undefined
  /** Whether this thread may still use the heap. Only the heap's `close` ends it. */
  isOpen = true

  /** REQUIRES: nothing is called of `heap` here, which is being made. */
  constructor(heap: HostHeap, tiers: TCMalloc, mapper: Mapper, watch: LeakWatch) {
    const { mapping } = tiers
    this.heap = heap
    this.tiers = tiers
    const debugMemory = tiers.quarantine && new DebugMemory(mapping)
    this.memory = debugMemory ?? new ViewMemory(mapping)
    this.bytes = new BlockBytes(mapping.unshared())
    this.buffers = new HeapBuffers(this, tiers, watch)
    this.arenas = new ArenaRegistry(tiers)
    this.operations = new Operations(() => {
      if (!this.isOpen) heap.close()
    })
    this.debug = debugMemory && debugged(this, debugMemory, mapper)
  }

  /** @throws AllocatorError `ERR_HEAP_CLOSED` */
  checkOpen(): void {
    if (!this.isOpen) throw closedError()
  }

  /** Whether a token is this heap's. */
  isOf(token: HeapToken): boolean {
    return this.tiers.isOf(token)
  }

  /** The thread slot by which this thread holds locks, and how to tell whether others live. */
  thread(): { slots: ThreadSlots; slot: number; tag: number } {
    this.checkOpen()
    return this.tiers.member.thread()
  }

  /** Runs a few loads and stores, and nothing else, that other threads don't come in between with theirs. */
  exclusively<T>(work: () => T): T {
    this.checkOpen()
    return this.tiers.member.exclusively(work)
  }

  /** Frees a block that a part of the library gives up for good: in debug mode, what is wrong with it is told, not thrown. */
  discard(address: Address): void {
    if (this.debug === undefined) this.heap.free(address)
    else this.debug.discard(address)
  }

  /** Whether an address is that of a pool's block. */
  isPooled(address: Address): boolean {
    return this.tiers.stateOf(address / Granule.Bytes) === ObjectState.Pooled
  }

  /** A live block that only a pool may free, from now on or, with false, not any more. */
  setPooled(address: Address, pooled: boolean): void {
    const granule = this.liveGranule(address)
    this.buffers.unwatch(granule)
    this.tiers.setState(granule, pooled ? ObjectState.Pooled : ObjectState.Live)
  }

  /**
   * Where in this heap's memory a view begins that is over what views here are over, or over `buffer`, as it is here or came from another
   * thread; -1 for any other.
   */
  offsetOf(view: ArrayBufferView): number {
    const offset = this.memory.addressOf(view)
    if (offset >= 0) return offset
    const { mapping } = this.tiers
    const { buffer } = view
    return buffer === mapping.buffer || mapping.isUnder(buffer) ? view.byteOffset : -1
  }

  /** The granule of a live block. @throws the error for what the address is instead */
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

  /** The same of a block that its owner may free. Nobody watches it any more. */
  ownGranule(address: Address): number {
    const granule = this.unpooledGranule(address)
    // A thread that is too late here would free what is another's by now.
    if (this.tiers.stateOf(granule) === ObjectState.Watched && !this.buffers.unwatch(granule))
      throw wrongAddress(this.tiers, address)
    return granule
  }

  /** The granule of the block that a view starts with, if its owner may free it, and so give it up. @throws as `heap.pass` */
  passableGranule(view: ArrayBufferView): number {
    const key = ArrayBuffer.isView(view) && this.isOpen ? HeapView.keyOf(view, this.heap) : 0
    if (key < 0) throw givenBack(-key * Granule.Bytes)
    return this.unpooledGranule(this.heap.addressOf(view))
  }
}

/** Where what threads share is attached. */
export interface AttachToOptions {
  /**
   * The heap that it is in, if this thread has that open. By default it opens the heap by the token, and closes it when it is closed itself.
   * @default one of its own
   */
  heap?: HostHeap
}

const ATTACH_TO_OPTIONS: OptionNames<AttachToOptions> = { heap: true }

/** Opens a heap by its token. The class of heaps says how, since it is made of what is here. */
let openHeap: (token: HeapToken) => HostHeap

export function opensHeaps(open: typeof openHeap): void {
  openHeap = open
}

/**
 * Opens what a token names, in a heap that this thread has open, or in one of its own.
 * @param open makes it; with `true` if the heap is its own, which it is to close
 * @throws TypeError; AllocatorError `ERR_HEAP_INVALID_TOKEN` where the token is of no heap, or of another, `ERR_HEAP_CLOSED`; what `open` throws
 */
export function attachTo<T>(
  token: { readonly heap?: unknown } | undefined,
  { heap }: AttachToOptions,
  open: (host: HeapHost, ownsHeap: boolean) => T
): T {
  const given = heap === undefined ? undefined : checkHeap(heap)
  const heapToken = token?.heap
  checkToken(heapToken)
  if (given !== undefined) {
    if (!given.isOf(heapToken)) throw invalidToken('it is of another heap')
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

/** Checks the options of a call of `attach` that has no others. */
export function checkAttachTo(options: AttachToOptions): AttachToOptions {
  checkOptions(options, ATTACH_TO_OPTIONS)
  return options
}

/** Checks that an argument is an open heap. */
export function checkHeap(value: unknown): HeapHost {
  const host = typeof value === 'object' && value !== null ? (value as Partial<HostHeap>)[HOST] : undefined
  if (!(host instanceof HeapHost)) throw notAHeap(value)
  host.checkOpen()
  return host
}
