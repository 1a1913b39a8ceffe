import type { HeapStats } from '../base/allocator.ts'

/** The totals of buffers with one tag. */
export interface OwnerStats {
  /** The tag; undefined for watched buffers without one. */
  tag: string | undefined
  /** The number of buffers. */
  buffers: number
  /** Their total size in bytes. */
  bytes: number
}

/** A heap's figures, and its buffers by owner. */
export interface DetailedStats extends HeapStats {
  /** This thread's watched buffers, and those of its pools, by tag. */
  owners: OwnerStats[]
}
