import { constants } from 'node:os'
import { type Address, type Allocator, type HeapStats, NO_BYTES } from '../base/allocator.ts'
import {
  checkAlignment,
  checkCount,
  checkInteger,
  checkOptions,
  checkViewLength,
  type OptionNames,
} from '../base/arguments.ts'
import { AllocatorError, closedError, outOfMemory, outOfRange } from '../base/errors.ts'
import { makePrintable, staysHere } from '../base/printed.ts'
import { type Addon, isAddon, type LedgerHandle, loadAddon } from '../os/addon.ts'
import { defaultLimitBytes } from '../os/limits.ts'
import type { SystemCall } from '../os/mapper.ts'
import { countsOf, type LedgerOptions, openLedger } from '../os/native-mapper.ts'
import { residentBytesOf } from '../os/resident.ts'

/** The bytes of one block's entry in the map of blocks: the entry and its object. */
const BLOCK_METADATA_BYTES = 96

/** How a {@link DirectHeap} is made. */
export interface DirectHeapOptions {
  /**
   * The most bytes that it may map, up to 32 GiB.
   * @default three quarters of the machine's memory, or of the tightest limit of the process's cgroups
   */
  limitBytes?: number
  /**
   * The record of system calls to keep, besides the counts in `stats()`.
   * @default counts only
   */
  ledger?: LedgerOptions
}

const DIRECT_OPTIONS: OptionNames<DirectHeapOptions> = { limitBytes: true, ledger: true }

/** One block: a mapping of its own. */
interface Block {
  /** The mapping's start and length. An aligned block's address may lie behind the start. */
  start: number
  length: number
  usable: number
  /** Over the usable bytes; made for the first view, and again if the program has transferred it. */
  buffer: ArrayBuffer | undefined
}

/**
 * The baseline: one `mmap` for each block and one `munmap` for each free, as if malloc were a system call. A block is whole system pages of
 * private memory, at the address that the system gave.
 *
 * A block with views can't be unmapped while V8 holds its bytes: a system operation may still use them, and a program may have transferred
 * the ArrayBuffer. Freeing it is a `madvise`, which gives its pages back: from then on views read zeros, and writes to them have no effect
 * on other blocks. The `munmap` follows when V8 has collected the last ArrayBuffer over it. Until then its addresses count in
 * `reservedBytes`.
 * @example
 * ```ts
 * import { DirectHeap } from 'spanheap/direct'
 *
 * using heap = new DirectHeap()
 * heap.free(heap.malloc(100))
 * console.log(heap.stats().syscalls) // { mmap: 1, munmap: 1, madvise: 0 }
 * ```
 */
export class DirectHeap implements Allocator {
  /** @internal */ readonly notCloneable = staysHere('a DirectHeap')
  readonly #addon: Addon
  readonly #ledger: LedgerHandle
  readonly #limitBytes: number
  readonly #blocks = new Map<Address, Block>()
  #liveBytes = 0
  #peakLiveBytes = 0
  #mappedBytes = 0
  #peakMappedBytes = 0
  #closed = false

  static {
    makePrintable(DirectHeap, 'DirectHeap')
  }

  /** @throws AllocatorError `ERR_HEAP_UNSUPPORTED` if the addon can't be loaded */
  constructor(options: DirectHeapOptions = {}) {
    checkOptions(options, DIRECT_OPTIONS)
    const addon = loadAddon()
    if (!isAddon(addon)) {
      throw new AllocatorError(
        'ERR_HEAP_UNSUPPORTED',
        `a DirectHeap needs the addon (${addon.reason}): ${addon.remedy}`
      )
    }
    this.#addon = addon
    this.#limitBytes = checkInteger('limitBytes', options.limitBytes, 1, Number.MAX_SAFE_INTEGER, defaultLimitBytes())
    this.#ledger = openLedger(addon, options.ledger ?? {})
  }

  malloc(size: number): Address {
    return this.map(checkCount('size', size), 0)
  }

  /** A fresh mapping is zero. */
  calloc(count: number, size: number): Address {
    return this.map(checkCount('count', count) * checkCount('size', size), 0)
  }

  realloc(address: Address, size: number): Address {
    if (address === 0) return this.malloc(size)
    const block = this.blockAt(address)
    if (checkCount('size', size) <= block.usable && this.pagesOf(size) === this.pagesOf(block.usable)) return address
    const moved = this.malloc(size)
    this.#addon.copy(moved, address, Math.min(size, block.usable))
    try {
      this.free(address)
    } catch (error) {
      this.free(moved) // the block stays where it was
      throw error
    }
    return moved
  }

  alignedAlloc(alignment: number, size: number): Address {
    return this.map(checkCount('size', size), checkAlignment(alignment))
  }

  free(address: Address): void {
    const block = this.blockAt(address)
    const errno = this.unmap(address, block)
    if (errno !== 0) {
      // Unmapping the middle of a mapping that the kernel has merged with its neighbours takes one more mapping.
      throw new AllocatorError('ERR_HEAP_OUT_OF_MEMORY', `the system refused to unmap the block at ${address}`, {
        address,
        syscall: 'munmap',
        errno,
      })
    }
  }

  usableSize(address: Address): number {
    return this.blockAt(address).usable
  }

  /** All views of a block share an ArrayBuffer of its own, at offset 0. */
  view(address: Address, length?: number): Uint8Array<ArrayBuffer> {
    const block = this.blockAt(address)
    const viewLength = checkViewLength(length, block.usable)
    if (block.buffer === undefined || block.buffer.byteLength === 0)
      block.buffer = this.#addon.bufferOver(address, block.usable)
    return new Uint8Array(block.buffer, 0, viewLength)
  }

  /** Writes one byte in every `stride` of a block without making a view, so that a measurement shows the system's cost alone. */
  touch(address: Address, length: number, stride: number): void {
    const block = this.blockAt(address)
    checkViewLength(checkCount('length', length), block.usable)
    if (checkCount('stride', stride) === 0) throw outOfRange('stride', 'at least 1', stride)
    this.#addon.touch(address, length, stride)
  }

  stats(): HeapStats {
    return {
      ...NO_BYTES,
      liveBytes: this.#liveBytes,
      mappedBytes: this.#mappedBytes,
      reservedBytes: this.#addon.directBytes(this.#ledger),
      centralCacheBytes: this.#mappedBytes - this.#liveBytes, // remainders from alignment
      metadataBytes: this.#blocks.size * BLOCK_METADATA_BYTES,
      peakLiveBytes: this.#peakLiveBytes,
      peakMappedBytes: this.#peakMappedBytes,
      syscalls: countsOf(this.#addon, this.#ledger),
      threads: 1,
      system: 'native',
    }
  }

  /** For `JSON.stringify`, loggers and `console.log`: the same as `stats()`. */
  toJSON(): HeapStats {
    return this.stats()
  }

  audit(): void {
    this.checkOpen()
    let mapped = 0
    for (const [address, { start, length, usable }] of this.#blocks) {
      if (address < start || address + usable > start + length || length % this.#addon.pageSize !== 0) {
        throw new AllocatorError('ERR_HEAP_CORRUPT', `the block at ${address} isn't inside its mapping`, { address })
      }
      mapped += length
    }
    if (mapped !== this.#mappedBytes) {
      throw new AllocatorError('ERR_HEAP_CORRUPT', `${mapped} bytes are mapped, but ${this.#mappedBytes} were counted`)
    }
  }

  /** There are no free pages: a freed block is unmapped at once. */
  releaseFreeMemory(bytes?: number): number {
    if (bytes !== undefined) checkCount('bytes', bytes)
    this.checkOpen()
    return 0
  }

  /** The newest system calls, oldest first, if the option `ledger.ring` asked for them. */
  systemCalls(): SystemCall[] {
    return this.#addon.ledgerRing(this.#ledger)
  }

  /** Resident bytes of all blocks, as reported by the system; null if it can't tell. Reads a file: not for a loop. */
  residentBytes(): number | null {
    return residentBytesOf([...this.#blocks.values()].map(({ start, length }) => ({ start, end: start + length })))
  }

  close(): void {
    if (this.#closed) return
    // If the system refuses to split a merged mapping, another block's unmap may make room: go round again.
    for (let before = -1; this.#blocks.size !== before; ) {
      before = this.#blocks.size
      for (const [address, block] of [...this.#blocks]) this.unmap(address, block)
    }
    this.#closed = true
    this.#addon.flushLedgerFile(this.#ledger)
  }

  /** `close`, for `using`. */
  [Symbol.dispose](): void {
    this.close()
  }

  private map(size: number, alignment: number): Address {
    this.checkOpen()
    const { pageSize } = this.#addon
    const usable = this.pagesOf(size) * pageSize
    const length = usable + Math.max(0, alignment - pageSize)
    if (this.#mappedBytes + length > this.#limitBytes) throw outOfMemory(size, 0)
    const start = this.#addon.map(this.#ledger, length)
    if (start < 0) throw systemRefused(size, -start)
    const address = alignment > pageSize ? Math.ceil(start / alignment) * alignment : start
    this.#blocks.set(address, { start, length, usable, buffer: undefined })
    this.#mappedBytes += length
    this.#liveBytes += usable
    if (this.#liveBytes > this.#peakLiveBytes) this.#peakLiveBytes = this.#liveBytes
    if (this.#mappedBytes > this.#peakMappedBytes) this.#peakMappedBytes = this.#mappedBytes
    return address
  }

  /** Returns 0, or the system's error number; the block is then unchanged. */
  private unmap(address: Address, block: Block): number {
    const errno = this.#addon.unmap(this.#ledger, block.start, block.length)
    if (errno !== 0) return errno
    this.#blocks.delete(address)
    this.#mappedBytes -= block.length
    this.#liveBytes -= block.usable
    return 0
  }

  private pagesOf(bytes: number): number {
    return Math.max(1, Math.ceil(bytes / this.#addon.pageSize))
  }

  private blockAt(address: Address): Block {
    checkCount('address', address)
    this.checkOpen()
    const block = this.#blocks.get(address)
    if (block !== undefined) return block
    throw new AllocatorError('ERR_HEAP_INVALID_ADDRESS', `no block starts at ${address}`, { address })
  }

  private checkOpen(): void {
    if (this.#closed) throw closedError()
  }
}

function systemRefused(requested: number, errno: number): AllocatorError {
  const mappings = errno === constants.errno.ENOMEM ? ' (it also limits the number of mappings)' : ''
  return new AllocatorError('ERR_HEAP_OUT_OF_MEMORY', `the system refused ${requested} bytes${mappings}`, {
    requested,
    syscall: 'mmap',
    errno,
  })
}
