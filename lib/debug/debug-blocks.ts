import type { Address } from '../base/allocator.ts'
import { checkAlignment, checkCount } from '../base/arguments.ts'
import { callStack } from '../base/call-stack.ts'
import { AllocatorError, outOfMemory } from '../base/errors.ts'
import { HeapView } from '../buffers/heap-view.ts'
import { Granule, MOST_HEAP_BYTES } from '../memory/page.ts'
import type { Mapper } from '../os/mapper.ts'
import { ObjectState } from '../tcmalloc/object-state.ts'
import { POISON, type Quarantine, type Written } from '../tcmalloc/quarantine.ts'
import type { TCMalloc } from '../tcmalloc/tcmalloc.ts'
import { wrongAddress } from '../tcmalloc/wrong-address.ts'
import type { DebugMemory } from './debug-memory.ts'
import { type BlockRecord, type Finding, finding, isTold, tell, warn } from './misuse.ts'

/**
 * The extra bytes of a block: a canary of at least 8 bytes behind the requested size; that size in two words, the second with the thread's
 * slot and a check in its upper bits; the number of a watched block (HeapBuffers).
 */
const GUARD_BYTES = 24
/** The distance of the size's words from the end of the block. */
const SIZE_FROM_END = 16
const CANARY = 0xca
/** The size's bits of the second word: a heap has up to 2^35 bytes. */
const HIGH_BITS = 0xf
const SLOT_BITS = 0xff0
const SLOT_SHIFT = 4
/** The most records of freed blocks, and the most distinct stacks; beyond that the oldest are dropped. */
const MOST_FREED = 16_384
const MOST_STACKS = 4096

/** The heap's calls without debug mode. */
export interface PlainCalls {
  malloc(size: number): Address
  alignedAlloc(alignment: number, size: number): Address
  free(address: Address): void
  freeBuffer(view: ArrayBufferView): void
}

/** The parts of their heap that blocks in debug mode need. */
export interface DebuggedHeap {
  readonly heap: object
  readonly tiers: TCMalloc
  /** A new block in this thread's hand. @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY` */
  takePlain(bytes: number, alignment: number, zeroed: boolean): Address
  /** The granule of a live block that its owner may free. @throws AllocatorError */
  unpooledGranule(address: Address): number
  /** The same, and ends the watch of the block. @throws AllocatorError */
  ownGranule(address: Address): number
}

/**
 * A heap's calls in debug mode. Every block ends in a canary, which is checked when the block is freed. A freed block is poisoned and waits
 * in the quarantine; memory that is handed out again must still be poison. Each Buffer has an ArrayBuffer of its own, which is detached
 * when its block is freed. The stacks of this thread's allocations and frees are recorded.
 *
 * A subscriber to findings may call the heap. So the heap is consistent, and no lock is held, before a finding is reported.
 */
export class DebugBlocks {
  private readonly host: DebuggedHeap
  private readonly memory: DebugMemory
  private readonly plain: PlainCalls
  private readonly tiers: TCMalloc
  private readonly quarantine: Quarantine
  private readonly slot: number
  private readonly bytes: ArrayBuffer
  /** Whether all free memory is poison or zeros. If released pages come back with other contents, there is nothing to check. */
  private readonly isFreePoisoned: boolean
  private readonly canRelease: boolean
  private readonly live = new Map<number, BlockRecord>()
  private readonly freed = new Map<number, BlockRecord>()
  /** Each distinct stack once: there are many blocks, but few places that allocate them. */
  private readonly stacks = new Map<string, string>()

  constructor(host: DebuggedHeap, memory: DebugMemory, plain: PlainCalls, mapper: Mapper) {
    const { tiers } = host
    this.host = host
    this.memory = memory
    this.plain = plain
    this.tiers = tiers
    this.quarantine = tiers.quarantine!
    this.slot = tiers.member.thread().slot
    this.bytes = tiers.mapping.unshared()
    this.canRelease = mapper.canRelease && mapper.releaseZeroes
    this.isFreePoisoned = this.canRelease || !mapper.canRelease
    tiers.whenCollected = (granule) => this.collected(granule)
  }

  malloc(size: number): Address {
    checkCount('size', size)
    return this.guarded(size, () => this.plain.malloc(size + GUARD_BYTES))
  }

  alignedAlloc(alignment: number, size: number): Address {
    checkAlignment(alignment)
    checkCount('size', size)
    if (alignment <= Granule.Bytes) return this.malloc(size)
    return this.guarded(size, () => this.plain.alignedAlloc(alignment, size + GUARD_BYTES))
  }

  calloc(count: number, size: number): Address {
    const bytes = checkCount('count', count) * checkCount('size', size)
    if (bytes > MOST_HEAP_BYTES) throw outOfMemory(bytes, 0)
    const address = this.malloc(bytes)
    this.slice(address / Granule.Bytes, 0, bytes).fill(0)
    return address
  }

  /** A block for a part of the library, in this thread's hand. */
  take(bytes: number, alignment: number, zeroed: boolean): Address {
    const address = this.guarded(bytes, () => this.host.takePlain(bytes + GUARD_BYTES, alignment, false))
    if (zeroed) this.slice(address / Granule.Bytes, 0, bytes).fill(0)
    return address
  }

  /** Always moves the block, so that the use of a stale pointer is detected. */
  realloc(address: Address, size: number): Address {
    if (address === 0) return this.malloc(size)
    const granule = this.freeable(address)
    checkCount('size', size)
    this.checkEnd(granule)
    const moved = this.malloc(size)
    const kept = Math.min(this.sizeOf(granule), size)
    this.slice(moved / Granule.Bytes, 0, kept).set(this.slice(granule, 0, kept))
    try {
      this.free(address)
    } catch (error) {
      this.undo(moved / Granule.Bytes)
      throw error
    }
    return moved
  }

  free(address: Address): void {
    this.freeChecked(address, false)
  }

  /** Frees the block in this thread's hand. Damage to it is reported, and it is freed all the same: the caller can't handle an error. */
  discard(): void {
    const { tiers } = this
    const granule = tiers.hand.block[0]!
    if (granule === 0) return
    tiers.setState(granule, ObjectState.Live)
    this.freeChecked(granule * Granule.Bytes, true)
  }

  freeBuffer(view: ArrayBufferView): void {
    try {
      if (!ArrayBuffer.isView(view)) {
        this.plain.freeBuffer(view)
        return
      }
      this.checkNotEnded(view)
      const key = HeapView.keyOf(view, this.host.heap)
      if (key > 0) {
        this.free(key * Granule.Bytes)
        HeapView.revoke(view)
        return
      }
      const isolated = this.tiers.isolated?.granuleOf(view.buffer) ?? 0
      if (isolated > 0) this.checkEnd(isolated)
      this.plain.freeBuffer(view)
    } catch (error) {
      throw this.wrongFree(error)
    }
  }

  /**
   * @throws AllocatorError `ERR_HEAP_DOUBLE_FREE` if the block of a view was freed, in whichever way: its address may belong to another
   * block by now
   */
  checkNotEnded(view: ArrayBufferView): void {
    const address = this.memory.endedAt(view)
    if (address < 0) return
    const message = `the buffer at ${address} was freed or passed already`
    throw this.wrongFree(new AllocatorError('ERR_HEAP_DOUBLE_FREE', message, { address }))
  }

  /** The requested size. */
  sizeOf(granule: number): number {
    // A chunk of an arena has no guard, nor has any other block allocated without debug mode's calls.
    return this.readSize(granule) ?? this.live.get(granule)?.bytes ?? this.tiers.usableBytes(granule)
  }

  /** Drops this thread's record of a block that was passed. */
  giveUp(granule: number): void {
    this.memory.end(granule * Granule.Bytes)
    this.live.delete(granule)
  }

  /** Records the tag that a block was allocated with. */
  setTag(granule: number, tag: string): void {
    const record = this.live.get(granule)
    if (record !== undefined) record.tag = tag
  }

  /** Called when a pool's buffer becomes idle. Its bytes are poison until it is acquired, or the zeros that the pool filled it with. */
  retire(granule: number, bytes: number, isZeroed: boolean): void {
    // A buffer that the program released was checked before; one from a lease wasn't.
    const broken = this.brokenGuard(granule)
    if (broken !== undefined) warn(broken)
    this.freed.delete(granule)
    this.live.set(granule, { ...this.recordOf(granule), freed: this.stack() })
    this.memory.end(granule * Granule.Bytes)
    if (!isZeroed) this.quarantine.poison(granule, bytes)
  }

  /** Called when a pool's buffer is acquired. If it was written to while idle, mends it and returns the error. */
  awaken(granule: number, bytes: number, isZeroed: boolean): AllocatorError | undefined {
    this.memory.end(granule * Granule.Bytes)
    const record = this.record(granule)
    const fill = isZeroed ? 0 : POISON
    const offset = this.quarantine.firstWrite(granule, bytes, fill)
    const found = offset < 0 ? undefined : this.writeAfterFree({ granule, offset })
    if (record !== undefined) record.freed = undefined
    if (found === undefined) return undefined
    if (isZeroed) this.slice(granule, 0, bytes).fill(0)
    else this.quarantine.poison(granule, bytes)
    return tell(found)
  }

  /** @throws AllocatorError `ERR_HEAP_CORRUPT` if bytes behind a block's end were written; the guard is restored first */
  checkEnd(granule: number): void {
    const broken = this.brokenGuard(granule)
    if (broken !== undefined) throw tell(broken)
  }

  /** Reports an error that refuses a wrong free, and adds the block's record to it. Returns any other error unchanged. */
  wrongFree<E>(error: E): E | AllocatorError {
    if (!(error instanceof AllocatorError) || error.address === undefined || isTold(error)) return error
    if (error.code === 'ERR_HEAP_UNSUPPORTED') return error // not a mistake about the block
    const granule = error.address / Granule.Bytes
    const record = this.live.get(granule) ?? this.freed.get(granule)
    return tell(finding('wrong-free', error.code, error.message, error.address, record))
  }

  /**
   * Checks all blocks in quarantine, and the ends of all blocks that this thread has allocated. Mends damage and returns it, without
   * reporting it.
   */
  inspect(): Finding[] {
    const found = this.quarantine.inspect().map((written) => this.writeAfterFree(written))
    // Another thread may have freed one of these blocks and be allocating it now, with its guard half written.
    const { tiers } = this
    const isStill = tiers.member.thread().slots.deaths === 0 && tiers.member.isAlone()
    for (const granule of this.live.keys()) {
      if (!isGuarded(tiers.stateOf(granule)) || !(isStill || this.slotOf(granule) === this.slot)) continue
      const broken = this.brokenGuard(granule)
      if (broken !== undefined) found.push(broken)
    }
    return found
  }

  /** Frees all blocks in quarantine. @throws AllocatorError `ERR_HEAP_CORRUPT` at the first that was written to */
  emptyQuarantine(): void {
    for (const written of this.quarantine.makeRoom(Number.POSITIVE_INFINITY, false))
      throw tell(this.writeAfterFree(written))
  }

  /** Allocates a block with a guard behind it. */
  private guarded(size: number, allocate: () => Address): Address {
    if (size > MOST_HEAP_BYTES) throw outOfMemory(size, 0)
    let address: Address
    try {
      address = this.withRoom(allocate)
    } catch (error) {
      // Report the caller's size, without the guard.
      throw isOutOfMemory(error) ? outOfMemory(size, error.errno ?? 0) : error
    }
    const granule = address / Granule.Bytes
    const usable = this.tiers.usableBytes(granule)
    if (this.isFreePoisoned && this.quarantine.takes(usable)) {
      const offset = this.quarantine.firstWrite(granule, usable, POISON, 0)
      if (offset >= 0) {
        this.undo(granule)
        throw tell(this.writeAfterFree({ granule, offset }))
      }
    }
    this.writeGuard(granule, size)
    // Another thread may have freed this thread's earlier block here.
    this.memory.end(address)
    this.freed.delete(granule)
    this.live.set(granule, { bytes: size, tag: undefined, allocated: this.stack(), freed: undefined })
    return address
  }

  /** Allocates, emptying the quarantine if need be. */
  private withRoom(allocate: () => Address): Address {
    try {
      return allocate()
    } catch (error) {
      if (!isOutOfMemory(error) || this.quarantine.blocks === 0) throw error
      this.emptyQuarantine()
      return allocate()
    }
  }

  /** Frees a block that this call has allocated but doesn't return. */
  private undo(granule: number): void {
    this.quarantine.poison(granule)
    this.live.delete(granule)
    const { hand } = this.tiers
    if (hand.block[0] === granule) hand.empty()
    else this.plain.free(granule * Granule.Bytes)
  }

  /** Frees a block. Damage is thrown before anything is changed; of the block in this thread's hand it is only reported. */
  private freeChecked(address: Address, isInHand: boolean): void {
    const handle = (found: Finding) => {
      if (!isInHand) throw tell(found)
      warn(found)
    }
    const granule = this.freeable(address)
    const broken = this.brokenGuard(granule)
    if (broken !== undefined) handle(broken)
    const usable = this.tiers.usableBytes(granule)
    const stays = this.quarantine.takes(usable)
    if (stays) for (const written of this.quarantine.makeRoom(usable, isInHand)) handle(this.writeAfterFree(written))
    const record = { ...this.recordOf(granule), freed: this.stack() }
    try {
      this.host.ownGranule(address)
      if (!stays) this.empty(granule, usable)
      if (isInHand) {
        if (stays) this.tiers.hand.surrender(() => this.quarantine.enter(granule, ObjectState.Collected))
        else this.tiers.hand.empty()
      } else if (!(stays ? this.quarantine.enter(granule, ObjectState.Live) : this.tiers.free(granule)))
        throw wrongAddress(this.tiers, address)
    } catch (error) {
      throw this.wrongFree(error)
    }
    this.forget(granule, record)
  }

  private writeGuard(granule: number, size: number): void {
    const end = this.guardEnd(granule)
    this.slice(granule, size, end).fill(CANARY)
    const words = this.sizeWords(granule, end)
    words[0] = size | 0
    words[1] = secondWord(granule, size, this.slot)
  }

  /** The size in a block's guard; undefined if its words don't agree. */
  private readSize(granule: number): number | undefined {
    const end = this.guardEnd(granule)
    if (end < 0) return undefined
    const words = this.sizeWords(granule, end)
    const size = (words[0]! >>> 0) + (words[1]! & HIGH_BITS) * 2 ** 32
    return words[1] === secondWord(granule, size, slotIn(words[1]!)) && size <= end ? size : undefined
  }

  /** The slot of the thread that allocated a block, by its guard; undefined if the guard is broken. */
  private slotOf(granule: number): number | undefined {
    if (this.readSize(granule) === undefined) return undefined
    return slotIn(this.sizeWords(granule, this.guardEnd(granule))[1]!)
  }

  /** This thread's record of a live block. If the guard names another thread, the record is of an earlier block there. */
  private record(granule: number): BlockRecord | undefined {
    const record = this.live.get(granule)
    const slot = record === undefined ? undefined : this.slotOf(granule)
    return slot === undefined || slot === this.slot ? record : undefined
  }

  /** The damage to a block's guard, which is written anew; undefined if it is intact, or the block isn't live any more. */
  private brokenGuard(granule: number): Finding | undefined {
    const end = this.guardEnd(granule)
    const record = this.record(granule)
    const size = this.readSize(granule)
    // If the write destroyed the size, and another thread allocated the block, all of it counts as the program's bytes.
    const known = size ?? Math.min(record?.bytes ?? end, end)
    const at = this.slice(granule, known, end).findIndex((byte) => byte !== CANARY)
    if (size !== undefined && at < 0) return undefined
    // Another thread freed it during the check.
    if (!isGuarded(this.tiers.stateOf(granule))) return undefined
    this.writeGuard(granule, known)
    const address = granule * Granule.Bytes
    const offset = at < 0 ? end : known + at
    const message = `bytes behind the end of the block at ${address} were written: ${known} were asked for, byte ${offset} is the first`
    const of = record ?? { bytes: known, tag: undefined, allocated: undefined, freed: undefined }
    return finding('overflow', 'ERR_HEAP_CORRUPT', message, address, of, offset)
  }

  /** The end of the canary, at which the words of the size begin. */
  private guardEnd(granule: number): number {
    return this.tiers.usableBytes(granule) - SIZE_FROM_END
  }

  private sizeWords(granule: number, end: number): Int32Array {
    return new Int32Array(this.bytes, granule * Granule.Bytes + end, 2)
  }

  private slice(granule: number, start: number, end: number): Uint8Array {
    return new Uint8Array(this.bytes, granule * Granule.Bytes + start, end - start)
  }

  private writeAfterFree({ granule, offset }: Written): Finding {
    const address = granule * Granule.Bytes
    const message = `the block at ${address} was written to while it was free, byte ${offset} first`
    const record = this.freed.get(granule) ?? this.live.get(granule)
    return finding('write-after-free', 'ERR_HEAP_CORRUPT', message, address, record, offset)
  }

  private freeable(address: Address): number {
    try {
      return this.host.unpooledGranule(address)
    } catch (error) {
      throw this.wrongFree(error)
    }
  }

  private recordOf(granule: number): BlockRecord {
    // If there is no record, another thread allocated the block.
    return (
      this.record(granule) ?? { bytes: this.sizeOf(granule), tag: undefined, allocated: undefined, freed: undefined }
    )
  }

  /** Drops the record of a block that isn't live any more. */
  private forget(granule: number, record: BlockRecord): void {
    this.memory.end(granule * Granule.Bytes)
    this.live.delete(granule)
    this.freed.delete(granule)
    this.freed.set(granule, record)
    if (this.freed.size > MOST_FREED) this.freed.delete(this.freed.keys().next().value!)
  }

  /**
   * Checks an isolated block that V8 has let go of and this thread is freeing. This runs on a slow path of the heap, so damage is reported
   * after that.
   */
  private collected(granule: number): void {
    // Poison up to its end: a thread was struck after it had poisoned the block.
    if (this.sizeWords(granule, this.guardEnd(granule)).every((word) => word === POISON)) return
    const broken = this.brokenGuard(granule)
    if (broken !== undefined) queueMicrotask(() => warn(broken))
    this.forget(granule, { ...this.recordOf(granule), freed: this.stack() })
  }

  private stack(): string | undefined {
    const stack = callStack()
    if (stack === undefined) return undefined
    const known = this.stacks.get(stack)
    if (known !== undefined) return known
    if (this.stacks.size >= MOST_STACKS) this.stacks.clear()
    this.stacks.set(stack, stack)
    return stack
  }

  /** Fills a block that is too long for the quarantine with zeros or poison: released pages read as zeros. */
  private empty(granule: number, usable: number): void {
    const isGivenBack = this.canRelease && this.tiers.mapping.release(granule * Granule.Bytes, usable) === 0
    if (!isGivenBack) this.quarantine.poison(granule)
  }
}

function isOutOfMemory(error: unknown): error is AllocatorError {
  return error instanceof AllocatorError && error.code === 'ERR_HEAP_OUT_OF_MEMORY'
}

/** Whether a block in this state ends in a guard. */
function isGuarded(state: number): boolean {
  return (
    state === ObjectState.Live ||
    state === ObjectState.Watched ||
    state === ObjectState.Pooled ||
    state === ObjectState.Isolated ||
    state === ObjectState.Collected
  )
}

/** The size's upper bits, above them the slot of the allocating thread, and then a check that differs from block to block. */
function secondWord(granule: number, size: number, slot: number): number {
  const high = Math.floor(size / 2 ** 32)
  const check = Math.imul(granule ^ size ^ Math.imul(slot, 0x85ebca6b), 0x9e3779b1)
  return (check & ~SLOT_BITS & ~HIGH_BITS) | (slot << SLOT_SHIFT) | high
}

function slotIn(secondWord: number): number {
  return (secondWord & SLOT_BITS) >>> SLOT_SHIFT
}
