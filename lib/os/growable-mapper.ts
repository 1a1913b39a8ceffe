import { constants } from 'node:os'
import { isArrayBuffer } from 'node:util/types'
import { markAsUntransferable } from 'node:worker_threads'
import type { SyscallCounts } from '../base/allocator.ts'
import type { Mapper, Mapping, Reservation, SystemCall } from './mapper.ts'

/**
 * Memory from JavaScript alone, if the shim can't be loaded: a resizable ArrayBuffer or, if threads share it, a growable SharedArrayBuffer.
 * Untouched pages cost nothing here either. But memory can't be given back, and V8 charges for an ArrayBuffer in full.
 */
export class GrowableMapper implements Mapper {
  readonly name: string = 'growable'
  readonly systemPageSize: number = 4096
  readonly canRelease: boolean = false
  readonly releaseZeroes: boolean = false
  /** None: V8 would charge for it. */
  readonly guardBytes: number = 0
  /** V8 maps such buffers in whole pages and promises no larger alignment. */
  readonly maxAlignment = 4096

  reserve({ byteLength, shared }: Reservation): Mapping | number {
    try {
      // Full length from the start: a fixed-length view is fast, a length-tracking one isn't (0.6 ns a load against 14), and pages come
      // when they are touched anyway.
      const options = { maxByteLength: byteLength }
      return new GrowableMapping(
        shared ? new SharedArrayBuffer(byteLength, options) : new ArrayBuffer(byteLength, options)
      )
    } catch (error) {
      // V8 reports a lack of memory as a RangeError, of whatever realm.
      if ((error as Error | undefined)?.name === 'RangeError') return constants.errno.ENOMEM
      throw error
    }
  }

  adopt(buffer: SharedArrayBuffer): Mapping | undefined {
    return buffer.growable ? new GrowableMapping(buffer) : undefined
  }

  syscalls(): SyscallCounts {
    return { mmap: 0, munmap: 0, madvise: 0 }
  }

  ring(): SystemCall[] {
    return []
  }

  residentBytes(): number | null {
    return null
  }

  flush(): void {
    // No calls, no ledger.
  }
}

const CLEARED_AT_ONCE = 2 ** 30

// A slot's word, as the shim writes it (native/thread_slot.h). No hook here could mark a slot dead.
const SLOT_STATE_MASK = 3
const SLOT_LIVE = 1
const SLOT_DEAD = 2
const SLOT_CLAIM = 4
/** The word of the spare slot of each memory as this thread last claimed it. */
const spareClaims = new WeakMap<ArrayBufferLike, number>()

class GrowableMapping implements Mapping {
  readonly buffer: SharedArrayBuffer | ArrayBuffer
  readonly reservedBytes: number

  constructor(buffer: SharedArrayBuffer | ArrayBuffer) {
    this.buffer = buffer
    this.reservedBytes = buffer.byteLength
    // Bun has the function, and it throws.
    if (isArrayBuffer(buffer) && process.versions.bun === undefined) markAsUntransferable(buffer)
  }

  unshared(): ArrayBuffer {
    return this.buffer as ArrayBuffer
  }

  pin(): void {
    // Only the shim can.
  }

  grow(): number {
    return 0
  }

  claim(): boolean {
    return true
  }

  release(): number {
    return constants.errno.ENOTSUP
  }

  discard(offset: number, length: number): void {
    // Node 20 makes no view of more than 4 GiB.
    for (let at = offset; at < offset + length; at += CLEARED_AT_ONCE)
      new Uint8Array(this.buffer, at, Math.min(CLEARED_AT_ONCE, offset + length - at)).fill(0)
  }

  claimSlot(offset: number, count: number, isSpare: boolean): number {
    const words = new Int32Array(this.buffer, offset + 4, count + 1)
    const [first, end] = isSpare ? [count, count + 1] : [0, count]
    for (let index = first; index < end; index++) {
      const word = Atomics.load(words, index)
      const isOthers = (word & SLOT_STATE_MASK) === SLOT_LIVE && word !== spareClaims.get(this.buffer)
      if (isSpare ? isOthers : (word & SLOT_STATE_MASK) !== 0) continue
      const claimed = ((word & ~SLOT_STATE_MASK) + SLOT_CLAIM) | SLOT_LIVE
      if (Atomics.compareExchange(words, index, word, claimed) !== word) continue
      if (isSpare) spareClaims.set(this.buffer, claimed)
      return index
    }
    return -1
  }

  freeSlot(offset: number, index: number): void {
    Atomics.and(new Int32Array(this.buffer, offset + 4), index, ~SLOT_STATE_MASK)
  }

  endSlot(offset: number, index: number): void {
    const words = new Int32Array(this.buffer, offset)
    Atomics.add(words, 1 + index, SLOT_DEAD - SLOT_LIVE)
    Atomics.add(words, 0, 1)
  }

  /** Only this thread's own buffer: nothing tells where a buffer from another thread is. */
  isUnder(buffer: ArrayBufferLike): boolean {
    return buffer === this.buffer
  }
}
