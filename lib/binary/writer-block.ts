import { constants } from 'node:buffer'
import type { Address } from '../base/allocator.ts'
import { type AllocatorError, outOfRange } from '../base/errors.ts'
import { NodeBuffer } from '../buffers/heap-view.ts'
import { Heap } from '../heap/heap.ts'
import { type HeapHost, HOST, type HostHeap } from '../lifetime/host.ts'
import type { Lease } from '../lifetime/lease.ts'
import { Small } from '../tcmalloc/size-class.ts'

/** A full block is doubled up to this many bytes. A longer one gets half as much again: it may grow where it is. */
const MOST_DOUBLED = 2 ** 20
/** How many objects of ended writers a thread keeps for a heap's next ones: registering one with the collector takes a microsecond. */
const MOST_IDLE = 16

/** Less than is needed to write nothing. */
const NO_ROOM = -1
const NO_BYTES: Buffer<ArrayBuffer> = new NodeBuffer(new ArrayBuffer(0), 0, 0)
const NO_VIEW = new DataView(NO_BYTES.buffer)

/** Where a block is, in an object of its own: so the block can be freed after its writer was collected. */
interface Held {
  readonly blocks: WriterBlocks
  readonly self: WeakRef<WriterBlock>
  /** 0 if there is none. */
  address: Address
}

/** Frees the blocks of writers that were dropped before they had finished. */
const dropped = new FinalizationRegistry<Held>((held) => held.blocks.forget(held))

/**
 * What a writer writes: a block of a heap, and views of it. All writers that have begun nothing share one that has room for nothing,
 * {@link NOTHING}: so a write needs one comparison for all that is unusual.
 */
export class WriterBlock {
  /** Views of the whole block, over an ArrayBuffer that no program can take (see `ViewMemory`). */
  bytes: Buffer<ArrayBuffer> = NO_BYTES
  view: DataView<ArrayBuffer> = NO_VIEW
  /** How many bytes were written. */
  length = 0
  /** How many the block has room for. {@link NO_ROOM} if there is no block, or the heap is closed, or the views are of another. */
  room = NO_ROOM
  /** Undefined for {@link NOTHING} alone. */
  readonly held: Held | undefined
  /** The address that the views begin at. Their block may have been freed since, and often the next one is the same. */
  private viewed: Address = 0
  /** The size that their block was asked for with; 0 if it has grown since. A block of that size at that address is as long. */
  private asked = 0

  constructor(blocks?: WriterBlocks) {
    this.held = blocks && { blocks, self: new WeakRef(this), address: 0 }
  }

  /**
   * Makes room for `more` bytes. If it can't, all that was written is as it was.
   * @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY`, `ERR_HEAP_CLOSED`; RangeError `ERR_OUT_OF_RANGE`
   */
  grow(more: number): void {
    const held = this.held!
    const { room } = this
    const { host } = held.blocks
    host.checkOpen()
    const least = this.length + more
    if (least > constants.MAX_LENGTH)
      throw outOfRange('length', `at most ${constants.MAX_LENGTH}, the longest Buffer`, least)
    const wanted = Math.min(room > MOST_DOUBLED ? Math.ceil(room * 1.5) : room * 2, constants.MAX_LENGTH)
    this.room = NO_ROOM
    try {
      held.address = longer(host.heap, held.address, wanted, least)
    } catch (error) {
      this.room = room
      throw error
    }
    this.look(held)
  }

  /** Takes a block of `size` bytes or more. @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY` */
  begin(size: number): void {
    const held = this.held!
    if (held.address !== 0) held.blocks.free(held) // an error came before it had views
    held.address = held.blocks.host.heap.malloc(size)
    if (held.address === this.viewed && size === this.asked) this.room = this.bytes.length
    else {
      this.look(held)
      this.asked = size
    }
    this.length = 0
  }

  /** Gives the block away, cut to what was written. @throws AllocatorError `ERR_HEAP_CLOSED` */
  finish(): Lease<Buffer<ArrayBuffer>> {
    const held = this.held!
    const { length, room } = this
    const { host } = held.blocks
    host.checkOpen()
    if (length * 2 < room) {
      try {
        held.address = shorter(host, held.address, length, room)
      } catch (error) {
        if (!isOutOfMemory(error)) throw error
      }
    }
    this.room = NO_ROOM
    const { address } = held
    held.address = 0
    return host.leases.leaseBlock(address, length)
  }

  /** Frees the block, if it has one. */
  free(): void {
    this.room = NO_ROOM
    this.held!.blocks.free(this.held!)
  }

  /** Called when the heap is closed: the memory is nobody's. */
  lose(): void {
    this.held!.address = 0
    this.room = NO_ROOM
    this.viewed = 0
    this.bytes = NO_BYTES
    this.view = NO_VIEW
  }

  /** Makes views of the block, unless these are. */
  private look({ address, blocks }: Held): void {
    const { host, memory } = blocks
    const room = Math.min(host.heap.usableSize(address), constants.MAX_LENGTH)
    this.asked = 0
    if (this.viewed !== address || this.bytes.length !== room) {
      this.viewed = 0
      this.bytes = new NodeBuffer(memory, address, room)
      this.view = new DataView(memory, address, room)
      this.viewed = address
    }
    this.room = room
  }
}

/** What a writer has before it begins and after it ends. */
export const NOTHING = new WriterBlock()

function isOutOfMemory(error: unknown): boolean {
  return (error as AllocatorError).code === 'ERR_HEAP_OUT_OF_MEMORY'
}

/** A block made as long as is wanted; if there is no memory for that, as long as it must be. */
function longer(heap: HostHeap, address: Address, wanted: number, least: number): Address {
  try {
    return heap.realloc(address, Math.max(wanted, least))
  } catch (error) {
    if (wanted <= least || !isOutOfMemory(error)) throw error
    return heap.realloc(address, least)
  }
}

/**
 * A block of `room` bytes, cut or moved to a shorter one. For short ones this is what `realloc` does, but not on its slow path, where it takes
 * 70 ns more.
 */
function shorter({ heap, bytes, debug }: HeapHost, address: Address, length: number, room: number): Address {
  if (room > Small.MostBytes || debug !== undefined) return heap.realloc(address, length)
  const moved = heap.malloc(length)
  bytes.copy(moved, address, length)
  heap.free(address)
  return moved
}

/** The blocks of a heap's writers, in this thread. */
export class WriterBlocks {
  readonly host: HeapHost
  /** The memory that views of blocks are over. */
  readonly memory: ArrayBuffer
  private readonly idle: WriterBlock[] = []
  private readonly all = new Set<Held>()

  private constructor(host: HeapHost) {
    this.host = host
    this.memory = host.tiers.mapping.unshared()
    host.buffers.atClose(() => {
      for (const { self } of this.all) self.deref()?.lose()
    })
  }

  /** Those of the writers that are made without a heap. */
  static common(): WriterBlocks {
    if (common === undefined || !common[HOST].isOpen) common = new Heap()
    return WriterBlocks.of(common[HOST])
  }

  static of(host: HeapHost): WriterBlocks {
    let blocks = ofHosts.get(host)
    if (blocks === undefined) {
      blocks = new WriterBlocks(host)
      ofHosts.set(host, blocks)
    }
    return blocks
  }

  /** A block of `size` bytes or more. @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY`, `ERR_HEAP_CLOSED` */
  take(size: number): WriterBlock {
    this.host.checkOpen()
    const block = this.idle[this.idle.length - 1] ?? this.make()
    block.begin(size)
    this.idle.pop()
    return block
  }

  /** Takes back an object whose block was given away or freed. */
  giveBack(block: WriterBlock): void {
    if (this.idle.length < MOST_IDLE) this.idle.push(block)
  }

  /** Frees a block. @throws AllocatorError `ERR_HEAP_CORRUPT` in debug mode if it was written to beyond its end; it is kept */
  free(held: Held): void {
    const { address } = held
    if (address === 0) return
    held.address = 0
    try {
      if (this.host.isOpen) this.host.heap.free(address)
    } catch (error) {
      held.address = address
      throw error
    }
  }

  /** Called when an object was collected. */
  forget(held: Held): void {
    this.all.delete(held)
    try {
      this.free(held)
    } catch {
      // Debug mode has reported it, and nobody calls.
    }
  }

  private make(): WriterBlock {
    const block = new WriterBlock(this)
    const held = block.held!
    this.all.add(held)
    dropped.register(block, held)
    this.idle.push(block)
    return block
  }
}

/** The heap of the writers that are made without one. */
let common: Heap | undefined
const ofHosts = new WeakMap<HeapHost, WriterBlocks>()
