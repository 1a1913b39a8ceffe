import { constants } from 'node:buffer'
import type { Address, Allocator } from '../base/allocator.ts'
import { checkAlignment, checkBoolean, checkCount, checkOptions, type OptionNames } from '../base/arguments.ts'
import { outOfRange, wrongType } from '../base/errors.ts'
import type { BufferOptions, BufferOwner, HeapBuffers } from '../buffers/heap-buffers.ts'
import { HeapView } from '../buffers/heap-view.ts'
import type { Operations } from '../buffers/in-flight.ts'
import type { LeakWatch, Watched } from '../buffers/leak-watch.ts'
import type { OwnerStats } from '../buffers/owner-stats.ts'
import type { PassedBlock } from '../buffers/passed-block.ts'
import { Granule } from '../memory/page.ts'
import type { ViewMemory } from '../memory/view-memory.ts'
import { ObjectState } from '../tcmalloc/object-state.ts'
import type { TCMalloc } from '../tcmalloc/tcmalloc.ts'
import { Lease, type Lender } from './lease.ts'

/** The options of a lease of a heap. */
export type LeaseOptions = Pick<BufferOptions, 'zero' | 'alignment' | 'tag'>

const LEASE_OPTIONS: OptionNames<LeaseOptions> = { zero: true, alignment: true, tag: true }

type BufferLease = Lease<Buffer<ArrayBuffer>>

/** The parts of their heap that leases need. */
export interface LeaseHost {
  readonly heap: Allocator & { addressOf(view: ArrayBufferView): Address }
  readonly tiers: TCMalloc
  readonly memory: ViewMemory
  readonly buffers: HeapBuffers
  readonly operations: Operations
  readonly isOpen: boolean
  checkOpen(): void
  offsetOf(view: ArrayBufferView): number
}

/** Choices of those who keep leases of their own. */
export interface LeaseKeeping {
  /** Called when one has ended, and when the heap is closed. */
  readonly ended: () => void
  readonly watch: LeakWatch
  /** What a report of a leak calls it. */
  readonly kind: Watched['kind']
}

/**
 * A block that is leased, as its heap knows it: an entry of a list, of which each thread has its own. A map would cost as much as all the
 * rest.
 */
class LeasedBlock implements Lender, Watched {
  readonly address: Address
  readonly bytes: number
  readonly tag: string | undefined
  readonly leases: BlockLeases
  /**
   * Its lease. If that is watched for a leak, only `weak` leads to it: once it is dropped, V8 must collect it. A WeakRef takes 80 ns, and V8
   * keeps all that it refers to for the rest of the turn.
   */
  lease: BufferLease | undefined
  weak: WeakRef<BufferLease> | undefined
  /** Its neighbours in the list; undefined at the ends. */
  older: LeasedBlock | undefined
  newer: LeasedBlock | undefined

  constructor(leases: BlockLeases, address: Address, bytes: number, tag: string | undefined) {
    this.address = address
    this.bytes = bytes
    this.tag = tag
    this.leases = leases
    this.lease = undefined
    this.weak = undefined
    this.older = undefined
    this.newer = undefined
  }

  get kind(): Watched['kind'] {
    return this.leases.kind
  }

  isHeld(): boolean {
    return this.leases.isOut(this) && this.leases.host.isOpen
  }

  forget(): void {
    // Its entry tells what is leased, also after a leak.
  }

  endLease(): void {
    const { host } = this.leases
    const granule = this.address / Granule.Bytes
    if (host.isOpen) {
      host.tiers.setState(granule, ObjectState.Live)
      try {
        host.heap.free(this.address)
      } catch (error) {
        // Debug mode has found an error, and freed nothing.
        host.tiers.setState(granule, ObjectState.Pooled)
        throw error
      }
    }
    this.leave()
  }

  passLease(_key: number, view: ArrayBufferView): PassedBlock {
    const { host } = this.leases
    const granule = this.address / Granule.Bytes
    host.checkOpen()
    host.tiers.setState(granule, ObjectState.Live)
    try {
      const passed = host.buffers.pass(view, { granule, length: this.bytes })
      this.leave()
      return passed
    } catch (error) {
      host.tiers.setState(granule, ObjectState.Pooled)
      throw error
    }
  }

  beginOperation(): () => void {
    return this.leases.host.operations.begin()
  }

  private leave(): void {
    if (this.weak !== undefined) this.leases.watch.unwatch(this)
    this.leases.remove(this)
  }
}

/** By the view of a watched lease the lease is found, and kept: a program may hold nothing else of it. The list doesn't lead here. */
class WatchedView {
  readonly block: LeasedBlock
  lease: BufferLease | undefined

  constructor(block: LeasedBlock) {
    this.block = block
    this.lease = undefined
  }
}

/**
 * Leases of single blocks of a heap, each of exactly the length that was asked for. A leased block has the state `Pooled`: no call but its
 * lease's can free, move or pass it. For the figures of a dead thread it counts as any block that the thread had allocated.
 */
export class BlockLeases implements BufferOwner {
  readonly host: LeaseHost
  readonly watch: LeakWatch
  readonly kind: Watched['kind']
  private readonly ended: () => void
  private newest: LeasedBlock | undefined
  private out = 0

  constructor(host: LeaseHost, { ended, watch, kind }: LeaseKeeping) {
    this.host = host
    this.watch = watch
    this.kind = kind
    this.ended = ended
    host.buffers.addOwner(this)
  }

  /** How many are out. */
  get count(): number {
    return this.out
  }

  /** A lease of a new block. @throws as `heap.allocBuffer` */
  lease(size: number, options: LeaseOptions = {}): BufferLease {
    checkOptions(options, LEASE_OPTIONS)
    const { tag, alignment } = options
    const zero = checkBoolean('zero', options.zero, false)
    if (tag !== undefined && typeof tag !== 'string') throw wrongType('tag', 'a string', tag)
    if (alignment !== undefined) checkAlignment(alignment)
    if (checkCount('size', size) > constants.MAX_LENGTH)
      throw outOfRange('size', `at most ${constants.MAX_LENGTH}, the longest Buffer`, size)
    this.host.checkOpen()
    return this.leaseBlock(this.host.buffers.block(size, size, alignment, zero), size, tag)
  }

  /** A lease of the first bytes of a block that the caller owns. If it can't be had, the block is freed. */
  leaseBlock(address: Address, length: number, tag?: string): BufferLease {
    const { host } = this
    const block = new LeasedBlock(this, address, length, tag)
    const granule = address / Granule.Bytes
    try {
      const { buffer, byteOffset } = host.memory.at(address, length)
      const watched = this.watch.next() ? new WatchedView(block) : undefined
      const lease = new Lease(block, 0, HeapView.buffer(buffer, byteOffset, length, watched ?? block, granule))
      if (watched !== undefined) {
        watched.lease = lease
        block.weak = new WeakRef(lease)
        this.watch.watch(lease, block, true)
      } else block.lease = lease
      host.tiers.setState(granule, ObjectState.Pooled)
      this.add(block)
      return lease
    } catch (error) {
      host.heap.free(address)
      throw error
    }
  }

  /** A lease of a block that was passed. @throws as `heap.adopt` */
  adopt(passed: PassedBlock, tag?: string): BufferLease {
    const { host } = this
    host.checkOpen()
    const buffer = host.buffers.adopt(passed)
    const address = host.heap.addressOf(buffer)
    host.buffers.unwatch(address / Granule.Bytes)
    return this.leaseBlock(address, buffer.length, tag)
  }

  /** The lease in whose buffer a view lies; undefined if it is none of these, or has ended. */
  of(view: ArrayBufferView): BufferLease | undefined {
    const known = this.blockOf(view)
    if (known !== undefined) return this.isOut(known) ? leaseOf(known) : undefined
    const offset = this.host.offsetOf(view)
    for (const block of this.blocks())
      if (offset >= block.address && offset < block.address + block.bytes) return leaseOf(block)
    return undefined
  }

  /** Whether a view is the buffer of one of these, which may have ended. */
  made(view: ArrayBufferView): boolean {
    return this.blockOf(view) !== undefined
  }

  /** Called when the heap is closed: nothing comes back any more. */
  close(): void {
    this.ended()
  }

  private blockOf(view: ArrayBufferView): LeasedBlock | undefined {
    const owner = HeapView.ownerOf(view)
    const block = owner instanceof WatchedView ? owner.block : owner
    return block instanceof LeasedBlock && block.leases === this ? block : undefined
  }

  ownerStats(): OwnerStats[] {
    return [...this.blocks()].map(({ tag, bytes }) => ({ tag, buffers: 1, bytes }))
  }

  isOut(block: LeasedBlock): boolean {
    return block.newer !== undefined || this.newest === block
  }

  /** A lease has ended. */
  remove(block: LeasedBlock): void {
    const { older, newer } = block
    block.newer = undefined
    if (newer === undefined) this.newest = older
    else newer.older = older
    if (older !== undefined) older.newer = newer
    this.out--
    this.ended()
  }

  private add(block: LeasedBlock): void {
    const { newest } = this
    block.older = newest
    if (newest !== undefined) newest.newer = block
    this.newest = block
    this.out++
  }

  private *blocks(): Generator<LeasedBlock> {
    for (let block = this.newest; block !== undefined; block = block.older) yield block
  }
}

function leaseOf({ lease, weak }: LeasedBlock): BufferLease | undefined {
  return lease ?? weak?.deref()
}
