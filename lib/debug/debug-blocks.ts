import type { Address } from '../base/allocator.ts'
import { checkAlignment, checkCount } from '../base/arguments.ts'
import { AllocatorError, outOfMemory } from '../base/errors.ts'
import { callStack } from '../buffers/call-stack.ts'
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
 * What a block is longer by: a canary of at least 8 bytes behind the size that was asked for, then that size in two words, the second with
 * the thread's slot and a check in its upper bits, then the number of a watched block (HeapBuffers).
 */
const GUARD_BYTES = 24
/** Where the words of the size are, from the end of the block on. */
const SIZE_FROM_END = 16
const CANARY = 0xca
/** Bits of the second word that are the size's: a heap has up to 2^35 bytes. */
const HIGH_BITS = 0xf
const SLOT_BITS = 0xff0
const SLOT_SHIFT = 4
/** Records of blocks that were freed, and different stacks: the oldest are forgotten. */
const MOST_FREED = 16_384
const MOST_STACKS = 4096

/** The calls that a heap does without debug mode. */
export interface PlainCalls {
  malloc(size: number): Address
  alignedAlloc(alignment: number, size: number): Address
  free(address: Address): void
  freeBuffer(view: ArrayBufferView): void
}

/** What blocks in debug mode need of the heap that they are in. */
export interface DebuggedHeap {
  readonly heap: object
  readonly tiers: TCMalloc
  /** The granule of a live block that its owner may free. @throws AllocatorError */
  unpooledGranule(address: Address): number
  /** The same, and nobody watches the block any more. @throws AllocatorError */
  ownGranule(address: Address): number
}

/**
 * A heap's calls in debug mode. Every block ends in a canary, which is looked at when it is freed; a freed block is poisoned and waits in the
 * quarantine; memory that is handed out again must be poison still; Buffers are each over an ArrayBuffer of their own, which is detached when
 * their block is freed. Of what this thread has allocated or freed it knows the stacks.
 *
 * A listener of what is found may call the heap: so all is as it should be, and no lock held, before anybody is told.
 */
export class DebugBlocks {
  private readonly host: DebuggedHeap
  private readonly memory: DebugMemory
  private readonly plain: PlainCalls
  private readonly tiers: TCMalloc
  private readonly quarantine: Quarantine
  private readonly slot: number
  private readonly bytes: ArrayBuffer
  /** Whether all memory that is free is poison or zeros. A system that gives back pages with other contents tells nothing. */
  private readonly isFreePoisoned: boolean
  private readonly canRelease: boolean
  private readonly live = new Map<number, BlockRecord>()
  private readonly freed = new Map<number, BlockRecord>()
  /** Each stack once: blocks are many, and the places that allocate them few. */
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

  /** Always to another place: a pointer to the old one is stale, and is found. */
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

  /** The same for a part of the library, which can't go on without: what is wrong with the block is told, and it is freed all the same. */
  discard(address: Address): void {
    this.freeChecked(address, true)
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

  /** @throws AllocatorError `ERR_HEAP_DOUBLE_FREE` if the block of a view was freed, in whichever way: it may be another's by now */
  checkNotEnded(view: ArrayBufferView): void {
    const address = this.memory.endedAt(view)
    if (address < 0) return
    const message = `the buffer at ${address} was freed or passed already`
    throw this.wrongFree(new AllocatorError('ERR_HEAP_DOUBLE_FREE', message, { address }))
  }

  /** The size that was asked for. */
  sizeOf(granule: number): number {
    // A chunk of an arena has no guard, nor anything else that came another way.
    return this.readSize(granule) ?? this.live.get(granule)?.bytes ?? this.tiers.usableBytes(granule)
  }

  /** A block isn't this thread's any more: it was passed. */
  giveUp(granule: number): void {
    this.memory.end(granule * Granule.Bytes)
    this.live.delete(granule)
  }

  /** A block was allocated with a tag. */
  setTag(granule: number, tag: string): void {
    const record = this.live.get(granule)
    if (record !== undefined) record.tag = tag
  }

  /** A pool's buffer is idle from now on. Its bytes are poison until it is acquired, or the zeros that the pool has filled it with. */
  retire(granule: number, bytes: number, isZeroed: boolean): void {
    // Released by the program, it was looked at before; not so if it comes from a lease.
    const broken = this.brokenGuard(granule)
    if (broken !== undefined) warn(broken)
    this.freed.delete(granule)
    this.live.set(granule, { ...this.recordOf(granule), freed: this.stack() })
    this.memory.end(granule * Granule.Bytes)
    if (!isZeroed) this.quarantine.poison(granule, bytes)
  }

  /** A pool's buffer is acquired. Returns what is wrong with it, if it was written to since it was idle; it isn't any more then. */
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

  /** @throws AllocatorError `ERR_HEAP_CORRUPT` if bytes behind a block's end were written; they are as they were after that */
  checkEnd(granule: number): void {
    const broken = this.brokenGuard(granule)
    if (broken !== undefined) throw tell(broken)
  }

  /** An error that refuses a wrong free: it is told, and carries what is known of the block. Any other stays as it is. */
  wrongFree<E>(error: E): E | AllocatorError {
    if (!(error instanceof AllocatorError) || error.address === undefined || isTold(error)) return error
    if (error.code === 'ERR_HEAP_UNSUPPORTED') return error // it is no use, but no mistake about the block either
    const granule = error.address / Granule.Bytes
    const record = this.live.get(granule) ?? this.freed.get(granule)
    return tell(finding('wrong-free', error.code, error.message, error.address, record))
  }

  /** Looks at all that is in quarantine, and at the ends of all blocks that this thread has allocated. What is wrong is mended, and not told. */
  inspect(): Finding[] {
    const found = this.quarantine.inspect().map((written) => this.writeAfterFree(written))
    // Of another thread that has freed one of these blocks, and is making it another one just now, the guard may be half written.
    const { tiers } = this
    const isStill = tiers.member.thread().slots.deaths === 0 && tiers.member.isAlone()
    for (const granule of this.live.keys()) {
      if (!isGuarded(tiers.stateOf(granule)) || !(isStill || this.slotOf(granule) === this.slot)) continue
      const broken = this.brokenGuard(granule)
      if (broken !== undefined) found.push(broken)
    }
    return found
  }

  /** Frees all that is in quarantine. @throws AllocatorError `ERR_HEAP_CORRUPT` at the first that was written to */
  emptyQuarantine(): void {
    for (const written of this.quarantine.makeRoom(Number.POSITIVE_INFINITY, false))
      throw tell(this.writeAfterFree(written))
  }

  /** A block with a guard behind it. */
  private guarded(size: number, allocate: () => Address): Address {
    if (size > MOST_HEAP_BYTES) throw outOfMemory(size, 0)
    let address: Address
    try {
      address = this.withRoom(allocate)
    } catch (error) {
      // The guard is nothing that the caller has asked for.
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
    // Another thread may have freed what this one had here before.
    this.memory.end(address)
    this.freed.delete(granule)
    this.live.set(granule, { bytes: size, tag: undefined, allocated: this.stack(), freed: undefined })
    return address
  }

  /** Allocates, with what is in quarantine if need be. */
  private withRoom(allocate: () => Address): Address {
    try {
      return allocate()
    } catch (error) {
      if (!isOutOfMemory(error) || this.quarantine.blocks === 0) throw error
      this.emptyQuarantine()
      return allocate()
    }
  }

  /** A block that this call has allocated, and that nobody gets. */
  private undo(granule: number): void {
    this.quarantine.poison(granule)
    this.live.delete(granule)
    this.plain.free(granule * Granule.Bytes)
  }

  /** Frees a block. What is wrong is thrown before anything is changed, or with `passes` only told. */
  private freeChecked(address: Address, passes: boolean): void {
    const handle = (found: Finding) => {
      if (!passes) throw tell(found)
      warn(found)
    }
    const granule = this.freeable(address)
    const broken = this.brokenGuard(granule)
    if (broken !== undefined) handle(broken)
    const usable = this.tiers.usableBytes(granule)
    const stays = this.quarantine.takes(usable)
    if (stays) for (const written of this.quarantine.makeRoom(usable, passes)) handle(this.writeAfterFree(written))
    const record = { ...this.recordOf(granule), freed: this.stack() }
    try {
      this.host.ownGranule(address)
      if (!stays) this.empty(granule, usable)
      const isFreed = stays
        ? this.quarantine.enter(granule, ObjectState.Live)
        : this.tiers.free(granule, ObjectState.Live)
      if (!isFreed) throw wrongAddress(this.tiers, address)
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

  /** The size that a block's guard says; undefined where its words don't agree. */
  private readSize(granule: number): number | undefined {
    const end = this.guardEnd(granule)
    if (end < 0) return undefined
    const words = this.sizeWords(granule, end)
    const size = (words[0]! >>> 0) + (words[1]! & HIGH_BITS) * 2 ** 32
    return words[1] === secondWord(granule, size, slotIn(words[1]!)) && size <= end ? size : undefined
  }

  /** The slot of the thread that has allocated a block, by its guard; undefined if that is broken. */
  private slotOf(granule: number): number | undefined {
    if (this.readSize(granule) === undefined) return undefined
    return slotIn(this.sizeWords(granule, this.guardEnd(granule))[1]!)
  }

  /** What this thread knows of a live block. Of one that is another's by its guard, what it knows is of one that was there before. */
  private record(granule: number): BlockRecord | undefined {
    const record = this.live.get(granule)
    const slot = record === undefined ? undefined : this.slotOf(granule)
    return slot === undefined || slot === this.slot ? record : undefined
  }

  /** What is wrong with a block's guard, which is written anew; undefined if it is whole, or the block isn't live any more. */
  private brokenGuard(granule: number): Finding | undefined {
    const end = this.guardEnd(granule)
    const record = this.record(granule)
    const size = this.readSize(granule)
    // After a write that went so far that the size is gone, of a block of another thread, all of it is taken for the program's.
    const known = size ?? Math.min(record?.bytes ?? end, end)
    const at = this.slice(granule, known, end).findIndex((byte) => byte !== CANARY)
    if (size !== undefined && at < 0) return undefined
    // Freed by another thread while it was looked at.
    if (!isGuarded(this.tiers.stateOf(granule))) return undefined
    this.writeGuard(granule, known)
    const address = granule * Granule.Bytes
    const offset = at < 0 ? end : known + at
    const message = `bytes behind the end of the block at ${address} were written: ${known} were asked for, byte ${offset} is the first`
    const of = record ?? { bytes: known, tag: undefined, allocated: undefined, freed: undefined }
    return finding('overflow', 'ERR_HEAP_CORRUPT', message, address, of, offset)
  }

  /** Where the canary ends, and the words of the size begin. */
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
    // If it is none, another thread has allocated the block.
    return (
      this.record(granule) ?? { bytes: this.sizeOf(granule), tag: undefined, allocated: undefined, freed: undefined }
    )
  }

  /** A block isn't live any more. */
  private forget(granule: number, record: BlockRecord): void {
    this.memory.end(granule * Granule.Bytes)
    this.live.delete(granule)
    this.freed.delete(granule)
    this.freed.set(granule, record)
    if (this.freed.size > MOST_FREED) this.freed.delete(this.freed.keys().next().value!)
  }

  /**
   * V8 has let go of an isolated block, which this thread frees. It is on a slow path of the heap's: so what is wrong is told when that is over.
   */
  private collected(granule: number): void {
    // Poison up to its end: a thread that was struck had come so far.
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

  /** Makes a block zeros or poison that is too long for the quarantine: pages that are given back read as zeros. */
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

/** The size's upper bits, above them the slot of the thread that has allocated the block, and then a check that differs from block to block. */
function secondWord(granule: number, size: number, slot: number): number {
  const high = Math.floor(size / 2 ** 32)
  const check = Math.imul(granule ^ size ^ Math.imul(slot, 0x85ebca6b), 0x9e3779b1)
  return (check & ~SLOT_BITS & ~HIGH_BITS) | (slot << SLOT_SHIFT) | high
}

function slotIn(secondWord: number): number {
  return (secondWord & SLOT_BITS) >>> SLOT_SHIFT
}
