import { constants } from 'node:os'
import { isArrayBuffer } from 'node:util/types'
import { markAsUntransferable } from 'node:worker_threads'
import type { SyscallCounts } from '../base/allocator.ts'
import type { Mapper, Mapping, Reservation, SystemCall } from './mapper.ts'

/**
 * Memory from JavaScript alone, where the shim can't be loaded: a resizable ArrayBuffer or, where threads are to share it, a growable
 * SharedArrayBuffer. Untouched pages cost nothing here either, but nothing can be given back, and V8 charges for an ArrayBuffer in full.
 */
export class GrowableMapper implements Mapper {
  readonly name: string = 'growable'
  readonly systemPageSize: number = 4096
  readonly canRelease: boolean = false
  readonly releaseZeroes: boolean = false
  /** Of an ArrayBuffer that V8 charges for, more than is needed would be too much. */
  readonly guardBytes: number = 0
  /** V8 maps such buffers in whole pages; nothing more is known of where they are. */
  readonly maxAlignment = 4096

  reserve({ byteLength, shared }: Reservation): Mapping | number {
    try {
      // At its full length from the start: a view of fixed length is fast, one that tracks a growing buffer isn't
      // (14 ns a load against 0.6), and the pages come when they are touched anyway.
      const options = { maxByteLength: byteLength }
      return new GrowableMapping(
        shared ? new SharedArrayBuffer(byteLength, options) : new ArrayBuffer(byteLength, options)
      )
    } catch (error) {
      // V8's word for no memory, of whatever realm.
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

// A slot's word, as the shim writes it (native/thread_slot.h). There is no hook here that could mark one dead.
const SLOT_STATE_MASK = 3
const SLOT_LIVE = 1
const SLOT_CLAIM = 4

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
    // Nothing but the shim can.
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
    // A view of more than 4 GiB is more than Node 20 makes.
    for (let at = offset; at < offset + length; at += CLEARED_AT_ONCE)
      new Uint8Array(this.buffer, at, Math.min(CLEARED_AT_ONCE, offset + length - at)).fill(0)
  }

  claimSlot(offset: number, count: number): number {
    const words = new Int32Array(this.buffer, offset + 4, count)
    for (let index = 0; index < count; index++) {
      const word = Atomics.load(words, index)
      if ((word & SLOT_STATE_MASK) !== 0) continue
      if (Atomics.compareExchange(words, index, word, (word + SLOT_CLAIM) | SLOT_LIVE) === word) return index
    }
    return -1
  }

  freeSlot(offset: number, index: number): void {
    Atomics.and(new Int32Array(this.buffer, offset + 4), index, ~SLOT_STATE_MASK)
  }

  /** Nothing tells where a buffer is that another thread has sent: so there is only this thread's own. */
  isUnder(buffer: ArrayBufferLike): boolean {
    return buffer === this.buffer
  }
}
