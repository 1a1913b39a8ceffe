import { isSharedArrayBuffer } from 'node:util/types'
import { markAsUntransferable } from 'node:worker_threads'
import type { SyscallCounts } from '../base/allocator.ts'
import { checkCount, checkOptions, type OptionNames } from '../base/arguments.ts'
import { AllocatorError, wrongType } from '../base/errors.ts'
import type { Addon, LedgerHandle, MappingHandle } from './addon.ts'
import type { Isolation, Mapper, Mapping, Reservation, SystemCall } from './mapper.ts'
import { residentBytesOf } from './resident.ts'

/** What a ledger keeps besides its counters. */
export interface LedgerOptions {
  /**
   * Keep this many of the newest calls.
   * @default 0
   */
  ring?: number
  /**
   * Write every call to this file, one line of JSON each. `close()` writes out all calls so far; the call that unmaps the addresses follows
   * once V8 has collected the last view.
   * @default undefined
   */
  file?: string
}

const LEDGER_OPTIONS: OptionNames<LedgerOptions> = { ring: true, file: true }

/** V8 serializes the length of a cloned ArrayBuffer in 32 bits, and refuses longer ones. */
const GUARD_BYTES = 2 ** 32

/** Real memory from the operating system, through the shim. */
export class NativeMapper implements Mapper {
  readonly name = 'native'
  readonly systemPageSize: number
  readonly canRelease = true
  readonly releaseZeroes = true
  readonly guardBytes = GUARD_BYTES
  readonly maxAlignment = Number.MAX_SAFE_INTEGER
  private readonly addon: Addon
  private ledger: LedgerHandle
  private adoptedHeap: number | undefined
  private readonly ranges: { start: number; end: number }[] = []

  constructor(addon: Addon, options: LedgerOptions = {}) {
    this.addon = addon
    this.systemPageSize = addon.pageSize
    this.ledger = openLedger(addon, options)
  }

  reserve({ byteLength, leastBytes = 0, alignment, hugePages, isTight = false }: Reservation): Mapping | number {
    const length = Math.max(byteLength, leastBytes)
    const reserved = this.addon.reserve(this.ledger, length, alignment, hugePages, byteLength, isTight)
    if (typeof reserved === 'number') return reserved
    this.ranges.push({ start: reserved.address, end: reserved.address + length })
    return new NativeMapping(this.addon, { ...reserved, length })
  }

  /** From now on calls are recorded in the ledger of the thread that made the mapping. */
  adopt(buffer: SharedArrayBuffer): Mapping | undefined {
    const adopted = this.addon.adopt(buffer)
    // One heap's tables with another heap's memory would destroy both.
    if (adopted === undefined || (this.adoptedHeap ?? adopted.heap) !== adopted.heap) return undefined
    this.adoptedHeap = adopted.heap
    this.ledger = adopted.ledger
    this.ranges.push({ start: adopted.address, end: adopted.address + adopted.length })
    return new NativeMapping(this.addon, { ...adopted, buffer })
  }

  syscalls(): SyscallCounts {
    return countsOf(this.addon, this.ledger)
  }

  ring(): SystemCall[] {
    return this.addon.ledgerRing(this.ledger)
  }

  residentBytes(): number | null {
    return residentBytesOf(this.ranges)
  }

  flush(): void {
    this.addon.flushLedgerFile(this.ledger)
  }
}

class NativeMapping implements Mapping {
  readonly buffer: SharedArrayBuffer
  readonly reservedBytes: number
  readonly isolation: Isolation
  private readonly addon: Addon
  readonly handle: MappingHandle
  private readonly address: number
  /** Buffers found to be over this memory, from other threads or other attachments in this one. */
  private readonly known = new WeakSet<ArrayBufferLike>()

  constructor(
    addon: Addon,
    reserved: { handle: MappingHandle; buffer: SharedArrayBuffer; address: number; length: number }
  ) {
    this.addon = addon
    this.address = reserved.address
    this.handle = reserved.handle
    this.buffer = reserved.buffer
    this.reservedBytes = reserved.length
    this.isolation = new NativeIsolation(addon, reserved.handle)
  }

  unshared(): ArrayBuffer {
    const buffer = this.addon.unshared(this.handle)
    // Otherwise transferring one view would take all of the memory. Now it is refused or, if it works after all, does no harm here (see
    // ViewMemory).
    markAsUntransferable(buffer)
    return buffer
  }

  pin(buffer: ArrayBuffer): void {
    this.addon.forbidDetach(buffer)
  }

  grow(offset: number, length: number): number {
    return this.addon.grow(this.handle, offset, length)
  }

  claim(bytes: number, most: number): boolean {
    return this.addon.claim(this.handle, bytes, most)
  }

  release(offset: number, length: number): number {
    return this.addon.release(this.handle, offset, length)
  }

  discard(offset: number, length: number): void {
    this.addon.releaseRest(this.handle, offset, length)
  }

  claimSlot(offset: number, count: number, isSpare: boolean): number {
    return this.addon.claimSlot(this.handle, offset, count, isSpare)
  }

  freeSlot(offset: number, index: number): void {
    this.addon.freeSlot(this.handle, offset, index)
  }

  endSlot(offset: number, index: number): void {
    this.addon.endSlot(this.handle, offset, index)
  }

  isUnder(buffer: ArrayBufferLike): boolean {
    if (this.known.has(buffer)) return true
    const isOurs = isSharedArrayBuffer(buffer)
      ? this.addon.adopt(buffer)?.address === this.address
      : this.addon.offsetIn(this.handle, buffer) === 0 // no block is there
    if (!isOurs) return false
    this.known.add(buffer)
    return true
  }
}

class NativeIsolation implements Isolation {
  private readonly addon: Addon
  private readonly handle: MappingHandle

  constructor(addon: Addon, handle: MappingHandle) {
    this.addon = addon
    this.handle = handle
  }

  window(offset: number, length: number): ArrayBuffer {
    return this.addon.unshared(this.handle, offset, length)
  }

  isolate(offset: number, length: number, tables: Mapping, state: number, flag: number): ArrayBuffer {
    return this.addon.isolate(this.handle, offset, length, (tables as NativeMapping).handle, state, flag)
  }

  offsetOf(buffer: ArrayBufferLike): number {
    return this.addon.offsetIn(this.handle, buffer)
  }

  take(tables: Mapping, note: number): number {
    return this.addon.takeCollected(this.handle, (tables as NativeMapping).handle, note)
  }

  detach(buffer: ArrayBufferLike): boolean {
    return this.addon.detach(buffer as ArrayBuffer)
  }
}

/** @throws TypeError, RangeError */
export function checkLedger(options: LedgerOptions): void {
  checkOptions(options, LEDGER_OPTIONS, 'ledger')
  const { ring = 0, file } = options
  checkCount('ledger.ring', ring)
  if (file !== undefined && typeof file !== 'string') throw wrongType('ledger.file', 'a string', file)
}

/** Opens a ledger as the options say. @throws AllocatorError `ERR_HEAP_UNSUPPORTED` if the file can't be written */
export function openLedger(addon: Addon, options: LedgerOptions): LedgerHandle {
  checkLedger(options)
  const { ring = 0, file } = options
  const ledger = addon.openLedger()
  if (ring > 0) addon.keepRing(ledger, ring)
  if (file !== undefined) {
    const errno = addon.writeLedgerTo(ledger, file)
    if (errno !== 0) {
      throw new AllocatorError('ERR_HEAP_UNSUPPORTED', `the ledger can't be written to ${file}`, { errno })
    }
  }
  return ledger
}

/** A ledger's counters by name. */
export function countsOf(addon: Addon, ledger: LedgerHandle): SyscallCounts {
  const [mmap, munmap, madvise] = addon.ledgerCounts(ledger)
  return { mmap, munmap, madvise }
}
