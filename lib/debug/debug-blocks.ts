import type { Address } from '../allocator.ts'
import { checkCount } from '../arguments.ts'
import { callStack } from '../buffers/call-stack.ts'
import { HeapView } from '../buffers/heap-view.ts'
import { AllocatorError, outOfMemory } from '../errors.ts'
import { ObjectState } from '../memory/object-state.ts'
import { Granule, MOST_HEAP_BYTES } from '../memory/page.ts'
import type { ViewMemory } from '../memory/view-memory.ts'
import type { Mapper } from '../os/mapper.ts'
import type { Quarantine } from '../tcmalloc/quarantine.ts'
import type { TCMalloc } from '../tcmalloc/tcmalloc.ts'
import { wrongAddress } from '../tcmalloc/wrong-address.ts'
import { type BlockRecord, misuse } from './misuse.ts'

/**
 * What a block is longer by: a canary of at least 8 bytes behind the size that was asked for, then that size in two words, the second with a
 * check in its upper bits, then the number of a watched block (HeapBuffers).
 */
const GUARD_BYTES = 24
/** Where the words of the size are, from the end of the block on. */
const SIZE_FROM_END = 16
const CANARY = 0xca
/** Bits of the second word that are the size's: a heap has up to 2^35 bytes. */
const HIGH_BITS = 0xf
/** Records of blocks that were freed; the oldest are forgotten. */
const MOST_FREED = 65_536

/** The calls that a heap does without debug mode. */
export interface PlainCalls {
  malloc(size: number): Address
  alignedAlloc(alignment: number, size: number): Address
  free(address: Address): void
  freeBuffer(view: ArrayBufferView): void
}

/** What debug mode needs of the heap that it stands in front of. */
export interface DebuggedHeap {
  readonly memory: ViewMemory
  /** The granule of a live block that its owner may free. @throws AllocatorError */
  unpooledGranule(address: Address): number
  /** The same, and nobody watches the block any more. @throws AllocatorError */
  ownGranule(address: Address): number
  free(address: Address): void
}

/**
 * A heap's calls in debug mode. Every block ends in a canary, which is looked at when it is freed; a freed block is poisoned and waits in the
 * quarantine; memory that is handed out again must be poison still; Buffers are each over an ArrayBuffer of their own, which is detached when
 * their block is freed. Of what this thread has allocated or freed it knows the stacks.
 */
export class DebugBlocks {
  private readonly heap: DebuggedHeap
  private readonly plain: PlainCalls
  private readonly tiers: TCMalloc
  private readonly quarantine: Quarantine
  private readonly bytes: ArrayBuffer
  /** Whether all memory that is free is poison or zeros. A system that gives back pages with other contents tells nothing. */
  private readonly isFreePoisoned: boolean
  private readonly canRelease: boolean
  private readonly live = new Map<number, BlockRecord>()
  private readonly freed = new Map<number, BlockRecord>()

  constructor(heap: DebuggedHeap, plain: PlainCalls, tiers: TCMalloc, quarantine: Quarantine, mapper: Mapper) {
    this.heap = heap
    this.plain = plain
    this.tiers = tiers
    this.quarantine = quarantine
    this.bytes = tiers.mapping.unshared()
    this.canRelease = mapper.canRelease && mapper.releaseZeroes
    this.isFreePoisoned = this.canRelease || !mapper.canRelease
  }

  malloc(size: number): Address {
    checkCount('size', size)
    return this.guarded(size, () => this.plain.malloc(size + GUARD_BYTES))
  }

  alignedAlloc(alignment: number, size: number): Address {
    checkCount('size', size)
    return this.guarded(size, () => this.plain.alignedAlloc(alignment, size + GUARD_BYTES))
  }

  calloc(count: number, size: number): Address {
    const bytes = checkCount('count', count) * checkCount('size', size)
    if (bytes > MOST_HEAP_BYTES) throw outOfMemory(bytes, 0)
    const address = this.malloc(bytes)
    new Uint8Array(this.bytes, address, bytes).fill(0)
    return address
  }

  /** Always to another place: a pointer to the old one is stale, and is found. */
  realloc(address: Address, size: number): Address {
    if (address === 0) return this.malloc(size)
    checkCount('size', size)
    const before = this.checkedSize(this.freeable(address))
    const moved = this.malloc(size)
    const kept = Math.min(before, size)
    new Uint8Array(this.bytes, moved, kept).set(new Uint8Array(this.bytes, address, kept))
    this.heap.free(address)
    return moved
  }

  free(address: Address): void {
    const granule = this.freeable(address)
    this.checkedSize(granule)
    const usable = this.tiers.usableBytes(granule)
    const stays = this.quarantine.takes(usable)
    const written = stays ? this.quarantine.makeRoom(usable) : undefined
    if (written !== undefined) throw this.writtenFree(written.granule, written.offset)
    this.heap.ownGranule(address)
    if (!stays) this.empty(granule, usable)
    const isFreed = stays
      ? this.quarantine.enter(granule, ObjectState.Live)
      : this.tiers.free(granule, ObjectState.Live)
    if (!isFreed) throw this.wrongFree(wrongAddress(this.tiers, address))
    this.forget(granule)
  }

  freeBuffer(view: ArrayBufferView): void {
    const key = HeapView.keyOf(view, this.heap)
    if (key > 0) {
      this.heap.free(key * Granule.Bytes)
      HeapView.giveBack(view)
      return
    }
    try {
      this.plain.freeBuffer(view)
    } catch (error) {
      // Whatever else is wrong with it was told by `free`.
      throw key < 0 && error instanceof AllocatorError ? this.wrongFree(error) : error
    }
  }

  /** The size that was asked for. */
  sizeOf(granule: number): number {
    // A chunk of an arena has no guard, nor anything else that came another way.
    return this.readSize(granule) ?? this.live.get(granule)?.bytes ?? this.tiers.usableBytes(granule)
  }

  /** A block isn't this thread's any more: it was passed. */
  giveUp(granule: number): void {
    this.heap.memory.end(granule * Granule.Bytes)
    this.live.delete(granule)
  }

  /** A block was allocated with a tag. */
  setTag(granule: number, tag: string): void {
    const record = this.live.get(granule)
    if (record !== undefined) record.tag = tag
  }

  /** Fills a block that is idle in a pool with poison, and notes who gave it back. */
  retire(granule: number, bytes: number): void {
    this.recordOf(granule).freed = callStack()
    this.quarantine.poison(granule, bytes)
  }

  /** The error for an idle block that was written to, which is poisoned anew; undefined where it is as it was. */
  checkIdle(granule: number, bytes: number): AllocatorError | undefined {
    const at = this.quarantine.firstWrite(granule, bytes, false)
    if (at < 0) return undefined
    this.quarantine.poison(granule, bytes)
    return this.writtenFree(granule, at)
  }

  /** @throws AllocatorError `ERR_HEAP_CORRUPT` where bytes behind a block's end were written; they are as they were after that */
  checkEnd(granule: number): void {
    this.checkedSize(granule)
  }

  /** A wrong free was refused with an error: it is told, and carries what is known of the block. */
  wrongFree(error: AllocatorError): AllocatorError {
    if (error.address === undefined) return error
    const granule = error.address / Granule.Bytes
    const record = this.live.get(granule) ?? this.freed.get(granule)
    return misuse('wrong-free', error.code, error.message, error.address, record)
  }

  /** Looks at all that is in quarantine, and at the ends of all blocks that this thread has allocated. Returns what is wrong. */
  inspect(): AllocatorError[] {
    const errors: AllocatorError[] = []
    for (const { granule, offset } of this.quarantine.inspect()) errors.push(this.writtenFree(granule, offset))
    for (const granule of this.live.keys()) {
      const state = this.tiers.stateOf(granule)
      if (state !== ObjectState.Live && state !== ObjectState.Watched && state !== ObjectState.Pooled) continue
      try {
        this.checkedSize(granule)
      } catch (error) {
        errors.push(error as AllocatorError)
      }
    }
    return errors
  }

  /** A block with a guard behind it. */
  private guarded(size: number, allocate: () => Address): Address {
    if (size > MOST_HEAP_BYTES) throw outOfMemory(size, 0)
    let address: Address
    try {
      try {
        address = allocate()
      } catch (error) {
        if (this.quarantine.blocks === 0 || !isOutOfMemory(error)) throw error
        const written = this.quarantine.makeRoom(Number.POSITIVE_INFINITY)
        if (written !== undefined) throw this.writtenFree(written.granule, written.offset)
        address = allocate()
      }
    } catch (error) {
      // The guard is nothing that the caller has asked for.
      throw isOutOfMemory(error) ? outOfMemory(size, error.errno ?? 0) : error
    }
    const granule = address / Granule.Bytes
    const usable = this.tiers.usableBytes(granule)
    if (this.isFreePoisoned && this.quarantine.takes(usable)) {
      const at = this.quarantine.firstWrite(granule, usable, true)
      if (at >= 0) {
        this.quarantine.poison(granule)
        this.plain.free(address)
        throw this.writtenFree(granule, at)
      }
    }
    this.writeGuard(granule, size)
    this.freed.delete(granule)
    this.live.set(granule, { bytes: size, tag: undefined, allocated: callStack(), freed: undefined })
    return address
  }

  private writeGuard(granule: number, size: number): void {
    const address = granule * Granule.Bytes
    const end = this.tiers.usableBytes(granule) - SIZE_FROM_END
    new Uint8Array(this.bytes, address + size, end - size).fill(CANARY)
    const words = new Int32Array(this.bytes, address + end, 2)
    words[0] = size | 0
    words[1] = secondWord(granule, size)
  }

  /** The size that a block's guard says; undefined where its words don't agree. */
  private readSize(granule: number): number | undefined {
    const end = this.tiers.usableBytes(granule) - SIZE_FROM_END
    if (end < 0) return undefined
    const words = new Int32Array(this.bytes, granule * Granule.Bytes + end, 2)
    const size = (words[0]! >>> 0) + (words[1]! & HIGH_BITS) * 2 ** 32
    return words[1] === secondWord(granule, size) && size <= end ? size : undefined
  }

  /** The same, where all of the guard is whole. @throws AllocatorError `ERR_HEAP_CORRUPT` after the guard was written anew */
  private checkedSize(granule: number): number {
    const address = granule * Granule.Bytes
    const end = this.tiers.usableBytes(granule) - SIZE_FROM_END
    const record = this.live.get(granule)
    const size = this.readSize(granule)
    // A write that went so far that the size is gone, of a block of another thread: all of it is taken for the program's.
    const known = size ?? record?.bytes ?? Math.max(0, end - 8)
    const canary = new Uint8Array(this.bytes, address + known, end - known)
    const at = canary.findIndex((byte) => byte !== CANARY)
    if (size !== undefined && at < 0) return size
    this.writeGuard(granule, known)
    const offset = at < 0 ? end : known + at
    const message = `bytes behind the end of the block at ${address} were written: ${known} were asked for, byte ${offset} is the first`
    throw misuse('overflow', 'ERR_HEAP_CORRUPT', message, address, record, offset)
  }

  private writtenFree(granule: number, at: number): AllocatorError {
    const address = granule * Granule.Bytes
    const record = this.freed.get(granule) ?? this.live.get(granule)
    const message = `the block at ${address} was written to while it was free, byte ${at} first`
    return misuse('write-after-free', 'ERR_HEAP_CORRUPT', message, address, record, at)
  }

  private freeable(address: Address): number {
    try {
      return this.heap.unpooledGranule(address)
    } catch (error) {
      throw error instanceof AllocatorError ? this.wrongFree(error) : error
    }
  }

  private recordOf(granule: number): BlockRecord {
    let record = this.live.get(granule)
    if (record === undefined) {
      // Another thread has allocated it.
      record = { bytes: this.sizeOf(granule), tag: undefined, allocated: undefined, freed: undefined }
      this.live.set(granule, record)
    }
    return record
  }

  private forget(granule: number): void {
    const record = this.recordOf(granule)
    record.freed = callStack()
    this.heap.memory.end(granule * Granule.Bytes)
    this.live.delete(granule)
    this.freed.delete(granule)
    this.freed.set(granule, record)
    if (this.freed.size > MOST_FREED) this.freed.delete(this.freed.keys().next().value!)
  }

  /** Makes a block zeros or poison that is too long for the quarantine: pages that are given back read as zeros. */
  private empty(granule: number, usable: number): void {
    const isGivenBack = this.canRelease && this.tiers.mapping.release(granule * Granule.Bytes, usable) === 0
    if (!isGivenBack) this.quarantine.poison(granule)
  }
}

function isOutOfMemory(error: unknown): error is AllocatorError {
  return error instanceof AllocatorError && error.code === 'ERR_HEAP_OUT_OF_MEMORY'
}

/** The size's upper bits, and above them a check that differs from block to block. */
function secondWord(granule: number, size: number): number {
  const high = Math.floor(size / 2 ** 32)
  return (Math.imul(granule ^ size, 0x9e3779b1) & ~HIGH_BITS) | high | 0
}
