/**
 * A block's address. For a {@link Heap} it is the byte offset in the heap's buffer: `view.byteOffset` of a view of a block is its address.
 * For a `DirectHeap`, whose blocks share no buffer, it is the system's address. An integer; 0 is never valid.
 */
export type Address = number

/** The methods of every heap of this library. Sizes and addresses are in bytes. */
export interface Allocator extends Disposable {
  /**
   * Hands out a block of at least `size` bytes, aligned to 16. Its contents are undefined. Size 0 gives a block too.
   * @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY` if the system or the limit refuses
   */
  malloc(size: number): Address
  /** Hands out a block of `count * size` bytes, all zero. A product of 2^53 or more is `ERR_HEAP_OUT_OF_MEMORY`. */
  calloc(count: number, size: number): Address
  /**
   * Makes a block `size` bytes long, in place or elsewhere, and keeps its contents up to the shorter of the two sizes. `realloc(0, n)` is
   * `malloc(n)`; `realloc(a, 0)` leaves a live block.
   */
  realloc(address: Address, size: number): Address
  /** Hands out a block whose address, and its memory's real one, is a multiple of `alignment`: a power of two up to 64 MiB. */
  alignedAlloc(alignment: number, size: number): Address
  /**
   * Takes a block back.
   * @throws AllocatorError `ERR_HEAP_DOUBLE_FREE`, `ERR_HEAP_INVALID_ADDRESS`; the heap is then as it was
   */
  free(address: Address): void
  /** The usable bytes of a live block: at least the size requested. */
  usableSize(address: Address): number
  /** A view of a live block's bytes, not a copy. `length` is at most the usable size, its default. */
  view(address: Address, length?: number): Uint8Array
  /** Where every byte is. */
  stats(): HeapStats
  /** Walks the whole heap. @throws AllocatorError `ERR_HEAP_CORRUPT` with what disagrees */
  audit(): void
  /** Gives free pages back to the system now: at least `bytes` if that many are free, by default all. Returns the bytes given back. */
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
 * A heap's bytes, by where they are. Always:
 * `mappedBytes = liveBytes + threadCacheBytes + centralCacheBytes + pageHeapFreeBytes + pageHeapReleasedBytes`.
 */
export interface HeapStats {
  /** Handed out and not freed, in usable bytes. */
  liveBytes: number
  /** Memory that the page heap has grown for objects, whether released since or not. */
  mappedBytes: number
  /** Address space set aside, the tables' included. It costs nothing until it is used. */
  reservedBytes: number
  /** Free, in thread caches. */
  threadCacheBytes: number
  /** Free in central caches, plus the remainders that carving leaves in spans. */
  centralCacheBytes: number
  /** In free pages that the system backs with memory, or will when they are touched. */
  pageHeapFreeBytes: number
  /** In free pages that were given back to the system. */
  pageHeapReleasedBytes: number
  /** Tables touched so far; not part of `mappedBytes`. */
  metadataBytes: number
  /** The highest `liveBytes` seen by a slow path; the true peak may be a little higher. */
  peakLiveBytes: number
  /** The highest `mappedBytes`. */
  peakMappedBytes: number
  /** Successful calls by this heap since its construction. */
  syscalls: SyscallCounts
  /** Threads that have the heap open. */
  threads: number
  /**
   * Blocks that threads had when they died, in usable bytes. They are still live, since other threads may hold them. A block is its
   * allocator's, and the adopter's or receiver's once it was passed or sent. The heap doesn't know of an address that reached another thread
   * in any other way. So this is null as soon as it sees that a thread has freed more than it had: what the dead have can't be told then.
   */
  deadThreadsBytes: number | null
  /**
   * Blocks passed by `heap.pass` or sent through a channel, and not yet adopted or received; in usable bytes. They are live, but counted
   * for no thread.
   */
  passedBytes: number
  /** The source of memory: `native` is the system; `growable` a SharedArrayBuffer, which gives nothing back. */
  system: string
}

/** The statistics of a heap that has no blocks, no other threads and no tiers; a heap adds its own figures. */
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
