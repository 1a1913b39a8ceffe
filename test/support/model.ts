import { AllocatorError, type Heap } from '../../lib/index.ts'
import { HOST } from '../../lib/lifetime/host.ts'
import { describe, type Operation } from './operations.ts'
import { Pattern } from './pattern.ts'

const GRANULE_BYTES = 16
/** More than this is never live: the next allocation that would make it more frees a run of blocks instead. */
const MOST_LIVE_BYTES = 192 * 2 ** 20
/** Blocks aligned to more than this are few: the address space has few such addresses. */
const COMMON_ALIGNMENT = 2 ** 20
const MOST_UNCOMMON = 4
const MOST_RUN_SIZE = 32 * 1024
const CALLS_BETWEEN_AUDITS = 1000
/** An audit of more than 2 GiB takes long. */
const CALLS_BETWEEN_LARGE_AUDITS = 20_000

interface Block {
  address: number
  size: number
  usable: number
  seed: number
  alignment: number
}

/** The heap and the reference differ. */
export class ModelError extends Error {
  /** The first operation that wasn't done right. */
  readonly index: number

  constructor(index: number, message: string, options: ErrorOptions) {
    super(message, options)
    this.index = index
  }
}

/** Which bytes of a heap are some live block's, by granule. Shared by the heaps of a test, one after the other. */
export type Occupancy = Uint8Array

export function occupancyFor(limitBytes: number): Occupancy {
  // The heap's reservation is a little longer than its limit.
  return new Uint8Array(limitBytes / GRANULE_BYTES + 2 ** 16)
}

/**
 * The reference: a list of live blocks and a map of the bytes that are theirs. It does each operation on the heap and on
 * itself, and throws where the two differ.
 */
export class HeapModel {
  /** Calls made on the heap. */
  calls = 0
  /** False where the system refuses calls: releases are then not expected to be complete. */
  reliable = true
  private readonly heap: Heap
  /** The largest alignment that the system promises; above it the heap must refuse with `ERR_HEAP_UNSUPPORTED`. */
  private readonly maxAlignment: number
  private readonly occupied: Occupancy
  private readonly pattern: Pattern
  private readonly blocks: Block[] = []
  private readonly held: Block[] = []
  private liveBytes = 0
  private mostLiveBytes = MOST_LIVE_BYTES
  private callsBetweenAudits = CALLS_BETWEEN_AUDITS
  private uncommon = 0
  private lastFreed = 0
  private auditAt = CALLS_BETWEEN_AUDITS

  constructor(heap: Heap, maxAlignment: number, occupied: Occupancy) {
    this.heap = heap
    this.maxAlignment = maxAlignment
    this.occupied = occupied
    this.pattern = new Pattern(heap.buffer)
  }

  /** Takes a large block that stays to the end: all others then lie behind it. */
  hold(size: number): void {
    this.calls++
    this.adopt(this.heap.malloc(size), size, 1)
    const block = this.blocks.pop()!
    this.held.push(block)
    this.mostLiveBytes += block.usable
    this.callsBetweenAudits = CALLS_BETWEEN_LARGE_AUDITS
  }

  /** Does operations in order, and looks at everything after each. @throws ModelError */
  play(operations: readonly Operation[]): void {
    for (const [index, operation] of operations.entries()) {
      try {
        this.apply(operation)
        this.checkStats()
        if (this.calls >= this.auditAt) this.checkAll()
      } catch (cause) {
        throw new ModelError(index, `operation ${index}, ${describe(operation)}: ${String(cause)}`, { cause })
      }
    }
  }

  /**
   * Does an operation that the system may refuse memory for. False where it did: everything is as it was then, and the
   * operation may be tried again. (What a run had done before it was refused stays.)
   */
  attempt(operation: Operation): boolean {
    try {
      this.apply(operation)
      this.checkStats()
      return true
    } catch (error) {
      if (!(error instanceof AllocatorError) || error.code !== 'ERR_HEAP_OUT_OF_MEMORY') throw error
      this.checkStats()
      this.checkAll()
      return false
    }
  }

  /** Audits the heap, and looks at the contents of every live block. */
  checkAll(): void {
    this.auditAt = this.calls + this.callsBetweenAudits
    this.heap.audit()
    for (const block of this.blocks) this.checkContents(block)
  }

  /** Frees everything, and looks whether the heap has everything back. */
  finish(): void {
    this.checkAll()
    this.blocks.push(...this.held.splice(0))
    while (this.blocks.length > 0) this.free(this.blocks.length - 1)
    this.heap.audit()
    this.heap.releaseFreeMemory()
    if (!this.reliable) this.heap.releaseFreeMemory()
    const stats = this.heap.stats()
    check(stats.liveBytes === 0, `${stats.liveBytes} bytes are live after all was freed`)
    check(stats.pageHeapReleasedBytes === stats.mappedBytes, 'not everything was released after all was freed')
    this.heap.audit()
  }

  /** Forgets the blocks of a heap that failed, so that the next one finds the occupancy empty. */
  abandon(): void {
    this.occupied.fill(0)
  }

  private apply({ kind, size, pick }: Operation): void {
    switch (kind) {
      case 'malloc':
        this.allocate(size, 1, () => this.heap.malloc(size))
        break
      case 'mallocRun': {
        const small = size <= MOST_RUN_SIZE ? size : size % 1025
        for (let i = 0; i <= pick % 32; i++) this.allocate(small, 1, () => this.heap.malloc(small))
        break
      }
      case 'calloc':
        this.calloc(size, pick)
        break
      case 'alignedAlloc':
        this.alignedAlloc(2 ** (pick % 27), size)
        break
      case 'realloc':
        this.realloc(pick, size)
        break
      case 'free':
        this.freeRun(pick, 1)
        break
      case 'freeRun':
        this.freeRun(pick, 1 + (pick % 32))
        break
      case 'wrongFree':
        this.wrongFree(pick)
        break
      case 'release':
        this.release(pick, size)
        break
    }
  }

  private calloc(size: number, pick: number): void {
    const factor = [1, 3, 16][pick % 3]!
    const count = Math.ceil(size / factor)
    const block = this.allocate(count * factor, 1, () => this.heap.calloc(count, factor), true)
    if (block !== undefined) this.pattern.write(block.address, block.size, block.seed)
  }

  private alignedAlloc(alignment: number, size: number): void {
    if (alignment > Math.max(GRANULE_BYTES, this.maxAlignment)) {
      this.calls++
      this.expectError(['ERR_HEAP_UNSUPPORTED'], () => this.heap.alignedAlloc(alignment, size))
    } else if (alignment <= COMMON_ALIGNMENT || this.uncommon < MOST_UNCOMMON) {
      this.allocate(size, alignment, () => this.heap.alignedAlloc(alignment, size))
    }
  }

  private allocate(size: number, alignment: number, call: () => number, zero = false): Block | undefined {
    if (this.liveBytes + size > this.mostLiveBytes) {
      this.freeRun(this.calls % 256, 64)
      return undefined
    }
    this.calls++
    return this.adopt(call(), size, alignment, zero)
  }

  /** Looks at a block that the heap has just handed out, and writes to it. */
  private adopt(address: number, size: number, alignment: number, zero = false): Block {
    const usable = this.heap.usableSize(address)
    check(address > 0 && address % GRANULE_BYTES === 0, `the address ${address} isn't aligned to 16`)
    check(address % alignment === 0, `the address ${address} isn't aligned to ${alignment}`)
    check(usable >= size, `${usable} bytes may be used of ${size}`)
    const overlap = this.claim(address, usable)
    check(overlap < 0, `the block at ${address} of ${usable} bytes overlaps another at ${overlap}`)
    if (zero) check(this.pattern.isZero(address, size), `the block at ${address} of ${size} bytes isn't all zero`)
    const block = { address, size, usable, seed: this.calls, alignment }
    this.pattern.write(address, size, block.seed)
    this.blocks.push(block)
    this.liveBytes += usable
    if (alignment > COMMON_ALIGNMENT) this.uncommon++
    return block
  }

  private realloc(pick: number, size: number): void {
    if (this.blocks.length === 0 || this.liveBytes + size > this.mostLiveBytes) {
      this.calls++
      this.adopt(this.heap.realloc(0, size % 1025), size % 1025, 1)
      return
    }
    const block = this.blocks[this.indexOf(pick)]!
    this.checkContents(block)
    this.calls++
    const address = this.heap.realloc(block.address, size)
    this.forget(this.blocks.indexOf(block))
    const moved = this.pattern.difference(address, block.size, block.seed, Math.min(size, block.size))
    check(moved < 0, `realloc from ${block.size} to ${size} bytes lost byte ${moved}`)
    this.adopt(address, size, 1)
  }

  private freeRun(pick: number, count: number): void {
    for (let i = 0; i < count && this.blocks.length > 0; i++) this.free(this.indexOf(pick))
  }

  private free(index: number): void {
    const block = this.blocks[index]!
    this.checkContents(block)
    check(this.heap.usableSize(block.address) === block.usable, `the usable size at ${block.address} has changed`)
    this.calls++
    this.heap.free(block.address)
    this.forget(index)
    this.lastFreed = block.address
  }

  /** Frees what must not be freed: each must be refused, and leave everything as it was. */
  private wrongFree(pick: number): void {
    const invalid = ['ERR_HEAP_INVALID_ADDRESS']
    const wrong = [
      { address: 0, codes: invalid },
      { address: this.heap.buffer.byteLength + 4096, codes: invalid },
    ]
    if (this.blocks.length > 0) {
      const { address, usable } = this.blocks[this.indexOf(pick)]!
      wrong.push({ address: address + 8, codes: invalid })
      if (usable > GRANULE_BYTES) wrong.push({ address: address + GRANULE_BYTES, codes: invalid })
    }
    if (this.lastFreed !== 0 && this.occupied[this.lastFreed / GRANULE_BYTES] === 0) {
      wrong.push({ address: this.lastFreed, codes: ['ERR_HEAP_DOUBLE_FREE', 'ERR_HEAP_INVALID_ADDRESS'] })
    }
    for (const { address, codes } of wrong) {
      this.calls++
      this.expectError(codes, () => this.heap.free(address))
    }
  }

  private release(pick: number, size: number): void {
    // Now and then only: every release empties the caches.
    if (pick % 8 !== 0) return
    this.calls++
    const before = this.heap.stats().pageHeapReleasedBytes
    const given = pick % 16 === 0 ? this.heap.releaseFreeMemory() : this.heap.releaseFreeMemory(size)
    const after = this.heap.stats()
    check(after.pageHeapReleasedBytes === before + given, `${given} bytes were released, but others are counted`)
    if (pick % 16 === 0 && this.reliable) {
      check(after.pageHeapFreeBytes === 0, 'free pages are left after releasing all')
    }
  }

  private indexOf(pick: number): number {
    return Math.floor((pick / 256) * this.blocks.length)
  }

  /** Marks a block's bytes; the address of one that was marked already, or -1. */
  private claim(address: number, usable: number): number {
    const first = address / GRANULE_BYTES
    const end = first + Math.ceil(usable / GRANULE_BYTES)
    const overlap = this.occupied.subarray(first, end).indexOf(1)
    this.occupied.fill(1, first, end)
    return overlap < 0 ? -1 : (first + overlap) * GRANULE_BYTES
  }

  private forget(index: number): void {
    const { address, usable, alignment } = this.blocks[index]!
    this.occupied.fill(0, address / GRANULE_BYTES, Math.ceil((address + usable) / GRANULE_BYTES))
    this.liveBytes -= usable
    if (alignment > COMMON_ALIGNMENT) this.uncommon--
    const last = this.blocks.pop()!
    if (index < this.blocks.length) this.blocks[index] = last
  }

  private checkContents({ address, size, seed }: Block): void {
    const difference = this.pattern.difference(address, size, seed)
    check(difference < 0, `byte ${difference} of the block at ${address} of ${size} bytes has changed`)
  }

  private checkStats(): void {
    const stats = this.heap.stats()
    const tiers =
      stats.liveBytes +
      stats.threadCacheBytes +
      stats.centralCacheBytes +
      stats.pageHeapFreeBytes +
      stats.pageHeapReleasedBytes
    check(tiers === stats.mappedBytes, `the tiers hold ${tiers} bytes, but ${stats.mappedBytes} are mapped`)
    // In debug mode the usable size is the one that was asked for, and every block has a guard behind it.
    const isRight =
      this.heap[HOST].debug === undefined ? stats.liveBytes === this.liveBytes : stats.liveBytes >= this.liveBytes
    check(isRight, `${this.liveBytes} bytes are live, the heap says ${stats.liveBytes}`)
    check(
      stats.liveBytes <= stats.peakLiveBytes && stats.peakLiveBytes <= stats.peakMappedBytes,
      `peaks of ${stats.peakLiveBytes} live and ${stats.peakMappedBytes} mapped bytes are too low`
    )
  }

  private expectError(codes: readonly string[], call: () => unknown): void {
    const code = codeOf(call)
    check(code !== undefined && codes.includes(code), `${codes.join(' or ')} was to be thrown, not ${code}`)
  }
}

function codeOf(call: () => unknown): string | undefined {
  try {
    call()
    return undefined
  } catch (error) {
    if (error instanceof AllocatorError) return error.code
    throw error
  }
}

function check(holds: boolean, message: string): void {
  if (!holds) throw new Error(message)
}
