import { constants } from 'node:buffer'
import type { Address, Allocator } from '../base/allocator.ts'
import { checkAlignment, checkBoolean, checkCount, checkOptions, type OptionNames } from '../base/arguments.ts'
import { outOfRange, wrongType } from '../base/errors.ts'
import type { BufferOptions, BufferOwner, HeapBuffers } from '../buffers/heap-buffers.ts'
import { HeapView } from '../buffers/heap-view.ts'
import type { Operations } from '../buffers/in-flight.ts'
import type { Watched } from '../buffers/leak-watch.ts'
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

  get kind(): 'lease' {
    return 'lease'
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
    if (this.weak !== undefined) this.leases.host.buffers.watch.unwatch(this)
    this.leases.remove(this)
  }
}

/**
 * Leases of single blocks of a heap, each of exactly the length that was asked for. A leased block has the state `Pooled`: no call but its
 * lease's can free, move or pass it. For the figures of a dead thread it counts as any block that the thread had allocated.
 */
export class BlockLeases implements BufferOwner {
  readonly host: LeaseHost
  private readonly ended: () => void
  private newest: LeasedBlock | undefined
  private out = 0

  /** @param ended called when one has ended */
  constructor(host: LeaseHost, ended: () => void = () => {}) {
    this.host = host
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
      const lease = new Lease(block, 0, HeapView.buffer(buffer, byteOffset, length, block, granule))
      const { watch } = host.buffers
      if (watch.next()) {
        block.weak = new WeakRef(lease)
        watch.watch(lease, block, true)
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
  adopt(passed: PassedBlock): BufferLease {
    const { host } = this
    host.checkOpen()
    const buffer = host.buffers.adopt(passed)
    const address = host.heap.addressOf(buffer)
    host.buffers.unwatch(address / Granule.Bytes)
    return this.leaseBlock(address, buffer.length)
  }

  /** The lease in whose buffer a view lies; undefined if it is none of these. */
  of(view: ArrayBufferView): BufferLease | undefined {
    const owner = HeapView.ownerOf(view)
    if (owner instanceof LeasedBlock && owner.leases === this) return leaseOf(owner)
    const offset = this.host.offsetOf(view)
    for (const block of this.blocks())
      if (offset >= block.address && offset < block.address + block.bytes) return leaseOf(block)
    return undefined
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
