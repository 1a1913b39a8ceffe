import type { SyscallCounts } from '../base/allocator.ts'

/** A system call as recorded in the ledger. */
export interface SystemCall {
  /** Which one. */
  call: 'mmap' | 'munmap' | 'madvise'
  /** As the system sees it, not a heap's address. */
  address: number
  /** Bytes. */
  length: number
  /** How long the call took, in nanoseconds. */
  ns: number
  /** The system's error number, if the call failed. */
  errno?: number
}

/** How a reservation is made. */
export interface Reservation {
  /** Bytes of `Mapping.buffer`, in whole pages of the system. */
  byteLength: number
  /** The least to reserve, in bytes, and the length of an ArrayBuffer over the memory. By default `byteLength`. */
  leastBytes?: number
  /** Whether it is a SharedArrayBuffer, to which other threads can attach. With the addon every reservation is one. */
  shared: boolean
  /** The real address of its first byte is a multiple of this. */
  alignment: number
  /** False for sparsely touched tables: 2 MiB for one byte would be too much. */
  hugePages: boolean
  /** True if address space is short: the remainder around the aligned part is given back, by two more calls. */
  isTight?: boolean
}

/** The heap's only access to the system. A mapper serves one heap, and counts its calls. */
export interface Mapper {
  /** The name in `stats().system`. */
  readonly name: string
  /** The unit in which the system maps and releases, in bytes. */
  readonly systemPageSize: number
  /** Whether memory can be given back at all. */
  readonly canRelease: boolean
  /** Whether pages that were given back read as zeros. */
  readonly releaseZeroes: boolean
  /**
   * The least length of a reservation for blocks, in bytes, if the system has the addresses. V8 refuses to clone an ArrayBuffer of 4 GiB or
   * more; a shorter one would be copied whole by `postMessage` of a view.
   */
  readonly guardBytes: number
  /** The largest alignment, in bytes, that the mapper can promise for a real address. */
  readonly maxAlignment: number
  /** Sets address space aside. Returns the system's error number if it refuses. */
  reserve(reservation: Reservation): Mapping | number
  /** The reservation under a buffer that a mapper of this kind has made, in this thread or another; undefined for others. */
  adopt(buffer: SharedArrayBuffer): Mapping | undefined
  /** Calls that succeeded so far. */
  syscalls(): SyscallCounts
  /** The newest calls, oldest first, if a ring was requested. */
  ring(): SystemCall[]
  /** Resident bytes of everything reserved here; null if the system can't tell. */
  residentBytes(): number | null
  /** Writes out the calls that the ledger still buffers. */
  flush(): void
}

/**
 * The shim's calls for blocks with ArrayBuffers of their own: isolated blocks, which V8 frees (tcmalloc/isolated-blocks.ts), and blocks in
 * debug mode (debug/debug-memory.ts).
 */
export interface Isolation {
  /** An ArrayBuffer of just the `length` bytes at `offset`, whose memory V8 never frees. */
  window(offset: number, length: number): ArrayBuffer
  /**
   * An ArrayBuffer of just the `length` bytes at `offset`. Once V8 has let go of it, the block waits to be taken.
   * @param state the offset in `tables` of the block's state, which becomes isolated
   * @param flag the offset in `tables` of the word that is 1 while blocks wait
   */
  isolate(offset: number, length: number, tables: Mapping, state: number, flag: number): ArrayBuffer
  /** The offset in the mapping of a buffer's bytes; -1 if they are elsewhere, -2 if it was detached. */
  offsetOf(buffer: ArrayBufferLike): number
  /**
   * Takes a waiting block and returns its granule, or 0 if none waits. In the same native call the block's state becomes collected and the
   * granule is written to the word at `note` in `tables`, so a thread that is ended next doesn't lose the block. While that word isn't 0,
   * `take` returns the same block again.
   */
  take(tables: Mapping, note: number): number
  /** Makes all views of a buffer have length 0. False, without effect, if it can't be detached. */
  detach(buffer: ArrayBufferLike): boolean
}

/**
 * Reserved address space. It can be used only after it has grown; before that it reads as zeros. It is unmapped when the last view is
 * collected.
 */
export interface Mapping {
  /** Address space that it takes, in bytes. */
  readonly reservedBytes: number
  /** The whole reservation, grown or not. An ArrayBuffer only if the memory is V8's own and one thread's. */
  readonly buffer: SharedArrayBuffer | ArrayBuffer
  /**
   * A new ordinary ArrayBuffer over the same memory. V8 fills and copies unshared bytes at least four times as fast, and every API accepts
   * them. Without the addon it is `buffer` itself.
   */
  unshared(): ArrayBuffer
  /** Undefined if blocks can't be isolated: that takes the shim. */
  readonly isolation?: Isolation
  /** Keeps V8 from detaching an ArrayBuffer from `unshared`, if it can; on Node 24 and 26 nothing detaches it anyway. */
  pin(buffer: ArrayBuffer): void
  /** Makes `[offset, offset + length)` writable, with zeros in it. Returns 0, or the system's error number. */
  grow(offset: number, length: number): number
  /**
   * Sets this heap's claim on a budget of `most` bytes, shared by all heaps of the process that make claims, to `bytes`. False, without
   * effect, if that raises the claim beyond what the others leave. Always true if claims aren't counted.
   */
  claim(bytes: number, most: number): boolean
  /** Gives the pages of `[offset, offset + length)` back; they can still be used. Returns 0, or the system's error number. */
  release(offset: number, length: number): number
  /**
   * Discards `[offset, offset + length)`: its pages go back to the system or, if they can't, are cleared. Views of it read zeros. Isolated
   * blocks that V8 still holds stay until it lets go of them; none can be taken from now on.
   */
  discard(offset: number, length: number): void
  /**
   * Claims the first free one of `count` thread slots, whose words follow the one at `offset`, which counts deaths; -1 if none is free. See
   * threads/thread-slots.ts.
   * @param isSpare claims the one behind these instead, unless another live thread has it: a dead thread's too, and this thread's own, if
   * it was struck since it claimed it
   */
  claimSlot(offset: number, count: number, isSpare: boolean): number
  /** Gives a slot that this thread claimed back. */
  freeSlot(offset: number, index: number): void
  /** Marks a slot that this thread claimed dead, as the end of the thread does. */
  endSlot(offset: number, index: number): void
  /** Whether `buffer` covers all of this memory. It may come from another thread, or from another attachment in this one. */
  isUnder(buffer: ArrayBufferLike): boolean
}
