import type { SyscallCounts } from '../base/allocator.ts'

/** One system call as the ledger keeps it. */
export interface SystemCall {
  /** Which one. */
  call: 'mmap' | 'munmap' | 'madvise'
  /** As the system sees it, not a heap's address. */
  address: number
  /** Bytes. */
  length: number
  /** How long the call took, in nanoseconds. */
  ns: number
  /** The system's error number, where the call failed. */
  errno?: number
}

/** How a reservation is made. */
export interface Reservation {
  /** Bytes of `Mapping.buffer`, in whole pages of the system. */
  byteLength: number
  /** What is reserved at least, in bytes, and how long an ArrayBuffer over the memory is then. By default `byteLength`. */
  leastBytes?: number
  /** Without the addon, whether it is a SharedArrayBuffer, which other threads can attach to. With it, every one is. */
  shared: boolean
  /** The real address of its first byte is a multiple of this. */
  alignment: number
  /** False for tables that are touched here and there: 2 MiB for one byte would be too much. */
  hugePages: boolean
  /** True: addresses are short, and those that the alignment leaves over are given back, by two more calls. */
  isTight?: boolean
}

/** The only door to the system. A mapper serves one heap, and counts its calls. */
export interface Mapper {
  /** What `stats().system` says. */
  readonly name: string
  /** The unit in which the system maps and releases, in bytes. */
  readonly systemPageSize: number
  /** Whether memory can be given back at all. */
  readonly canRelease: boolean
  /** Whether pages that were given back read as zeros. */
  readonly releaseZeroes: boolean
  /**
   * A reservation for blocks is at least so long, in bytes, if the system has the addresses: V8 refuses to clone an ArrayBuffer of 4 GiB
   * or more, which `postMessage` of a view would copy whole otherwise.
   */
  readonly guardBytes: number
  /** The largest alignment, in bytes, that it can promise for a real address. */
  readonly maxAlignment: number
  /** Sets address space aside. Returns the system's error number where it refuses. */
  reserve(reservation: Reservation): Mapping | number
  /** The reservation under a buffer that a mapper of this kind has made, in this thread or another; undefined for others. */
  adopt(buffer: SharedArrayBuffer): Mapping | undefined
  /** Calls that succeeded so far. */
  syscalls(): SyscallCounts
  /** The newest calls, oldest first, where a ring was asked for. */
  ring(): SystemCall[]
  /** Resident bytes of everything reserved here; null where the system can't tell. */
  residentBytes(): number | null
  /** Writes out what the ledger still holds. */
  flush(): void
}

/**
 * What the shim can do for blocks that have ArrayBuffers of their own: isolated ones, which V8 frees (tcmalloc/isolated-blocks.ts), and those
 * of debug mode (debug/debug-memory.ts).
 */
export interface Isolation {
  /** An ArrayBuffer of `length` bytes at `offset` alone, whose memory V8 never frees. */
  window(offset: number, length: number): ArrayBuffer
  /**
   * An ArrayBuffer of `length` bytes at `offset` alone. Once V8 has let go of it, the block waits to be taken.
   * @param state where in `tables` the state of the block is; it says from now on that it is isolated
   * @param flag where in `tables` the word is that is 1 while blocks wait
   */
  isolate(offset: number, length: number, tables: Mapping, state: number, flag: number): ArrayBuffer
  /** Where in the mapping the bytes of a buffer are; -1 if they are elsewhere, -2 if it was detached and has none. */
  offsetOf(buffer: ArrayBufferLike): number
  /**
   * Takes a block that waits: its granule, or 0 if none does. Its state says so from now on, and the word at `note` in `tables` has the granule:
   * all in one moment, so that the block isn't lost if the thread is ended in the next. While the word isn't 0, it is that block again.
   */
  take(tables: Mapping, note: number): number
  /** Makes all views of a buffer have length 0. False, and nothing is done, if it can't be detached. */
  detach(buffer: ArrayBufferLike): boolean
}

/** Reserved address space. Nothing of it can be used before it has grown; a read before that finds zeros. It goes when the last view is collected. */
export interface Mapping {
  /** Address space that it takes, in bytes. */
  readonly reservedBytes: number
  /** All that can grow, what hasn't grown too. An ArrayBuffer only where it is V8's own memory, and one thread's. */
  readonly buffer: SharedArrayBuffer | ArrayBuffer
  /**
   * An ordinary ArrayBuffer over the same memory, another one at each call: V8 fills and copies unshared bytes four times as fast and more,
   * and every API takes them. Without the addon it is `buffer` itself.
   */
  unshared(): ArrayBuffer
  /** Undefined where blocks can't be isolated: only the shim's can. */
  readonly isolation?: Isolation
  /** Keeps V8 from detaching an ArrayBuffer that `unshared` gave, where that can be done; on Node 24 and 26 nothing detaches it anyway. */
  pin(buffer: ArrayBuffer): void
  /** Makes `[offset, offset + length)` writable, with zeros in it. Returns 0, or the system's error number. */
  grow(offset: number, length: number): number
  /**
   * Makes `bytes` what this heap has of a budget of `most` bytes, which all heaps of the process share that claim of it. False, and nothing
   * changes, where that is more than it had, and the others leave less. Where nobody counts, always true.
   */
  claim(bytes: number, most: number): boolean
  /** Gives the pages of `[offset, offset + length)` back; they can still be used. Returns 0, or the system's error number. */
  release(offset: number, length: number): number
  /**
   * Nobody needs `[offset, offset + length)` any more: its pages go back or, if they can't, are cleared. Views of it read zeros. But isolated
   * blocks that V8 still holds stay, and go when it lets go; from now on nobody takes any.
   */
  discard(offset: number, length: number): void
  /**
   * Claims the first free one of `count` thread slots, whose words follow the one at `offset`, which counts deaths; -1
   * where none is free. See memory/thread-slots.ts.
   */
  claimSlot(offset: number, count: number): number
  /** Gives a slot that this thread claimed back. */
  freeSlot(offset: number, index: number): void
  /** Whether `buffer` is over all of this very memory: it may have come from another thread, or another attachment in this one. */
  isUnder(buffer: ArrayBufferLike): boolean
}
