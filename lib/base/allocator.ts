/**
 * Where a block is. For a {@link Heap} it is the byte offset in the heap's buffer: `view.byteOffset` of a view of a
 * block is its address. For a `DirectHeap`, whose blocks share no buffer, it is the address that the system gave.
 * An integer; 0 is never valid.
 */
export type Address = number

/** What every heap of this library can do. Sizes and addresses are in bytes. */
export interface Allocator extends Disposable {
  /**
   * Hands out a block of at least `size` bytes, aligned to 16. Its contents are undefined. Size 0 gives a block too.
   * @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY` where the system or the limit refuses
   */
  malloc(size: number): Address
  /** Hands out a block of `count * size` bytes, all zero. A product of 2^53 or more is `ERR_HEAP_OUT_OF_MEMORY`. */
  calloc(count: number, size: number): Address
  /**
   * Makes a block `size` bytes long, where it stands or elsewhere, and keeps the first bytes that both have.
   * `realloc(0, n)` is `malloc(n)`; `realloc(a, 0)` leaves a live block.
   */
  realloc(address: Address, size: number): Address
  /** Hands out a block whose address, and that of its memory, is a multiple of `alignment`: a power of two up to 64 MiB. */
  alignedAlloc(alignment: number, size: number): Address
  /**
   * Takes a block back.
   * @throws AllocatorError `ERR_HEAP_DOUBLE_FREE`, `ERR_HEAP_INVALID_ADDRESS`; the heap is then as it was
   */
  free(address: Address): void
  /** The bytes that may be used of a live block: at least what was asked for. */
  usableSize(address: Address): number
  /** The bytes of a live block, without a copy; `length` may be at most the usable size, which it is by default. */
  view(address: Address, length?: number): Uint8Array
  /** Where every byte is. */
  stats(): HeapStats
  /** Walks everything. @throws AllocatorError `ERR_HEAP_CORRUPT` with what disagrees */
  audit(): void
  /** Gives free pages back to the system now: at least `bytes` of them if there are so many, by default all. Returns bytes. */
  releaseFreeMemory(bytes?: number): number
  /** Gives all memory back. May be called again. Every other method but `stats` throws `ERR_HEAP_CLOSED` from then on. */
  close(): void
}

/** System calls that succeeded, by name. */
export interface SyscallCounts {
  /** Address space was set aside, or a part of it made writable. */
  mmap: number
  /** Address space was given back. */
  munmap: number
  /** Pages were given back, or asked not to be huge ones. */
  madvise: number
}

/**
 * Where every byte of a heap is. Always:
 * `mappedBytes = liveBytes + threadCacheBytes + centralCacheBytes + pageHeapFreeBytes + pageHeapReleasedBytes`.
 */
export interface HeapStats {
  /** Handed out and not freed, in usable bytes. */
  liveBytes: number
  /** Grown by the page heap for objects, whether released since or not. */
  mappedBytes: number
  /** Address space set aside, that of the tables too. It costs nothing until it is used. */
  reservedBytes: number
  /** Free, in thread caches. */
  threadCacheBytes: number
  /** Free, in central caches, and what spans lose to carving. */
  centralCacheBytes: number
  /** In free pages that the system has given memory for (or would, when they are touched). */
  pageHeapFreeBytes: number
  /** In free pages that were given back to the system. */
  pageHeapReleasedBytes: number
  /** Tables touched so far; not part of `mappedBytes`. */
  metadataBytes: number
  /** The highest `liveBytes` that a slow path has seen; between two slow paths it may have been a little higher. */
  peakLiveBytes: number
  /** The highest `mappedBytes`. */
  peakMappedBytes: number
  /** Successful calls by this heap since its construction. */
  syscalls: SyscallCounts
  /** Threads that the heap is open in. */
  threads: number
  /**
   * What threads that died had been handed and didn't free, less what they freed of others' blocks; in usable bytes. It is
   * live still, since others may hold it.
   */
  deadThreadsBytes: number
  /**
   * Blocks that threads have given up by `heap.pass`, or sent through a channel, and that nobody has adopted or received yet; in usable
   * bytes. They are live, and in no thread's share.
   */
  passedBytes: number
  /** Where memory comes from: `native` is the system; `growable` a SharedArrayBuffer, which gives nothing back. */
  system: string
}

/** What a heap without blocks, with no other thread and no tier but those that it adds, says of itself. */
export const NO_BYTES = {
  liveBytes: 0,
  mappedBytes: 0,
  reservedBytes: 0,
  threadCacheBytes: 0,
  centralCacheBytes: 0,
  pageHeapFreeBytes: 0,
  pageHeapReleasedBytes: 0,
  metadataBytes: 0,
  threads: 0,
  deadThreadsBytes: 0,
  passedBytes: 0,
} as const satisfies Partial<HeapStats>
