import type { HeapStats } from '../base/allocator.ts'

/** What buffers with one tag come to. */
export interface OwnerStats {
  /** The tag; undefined for buffers that are watched and have none. */
  tag: string | undefined
  /** How many there are. */
  buffers: number
  /** What they hold, all together. */
  bytes: number
}

/** A heap's figures, and whose its buffers are. */
export interface DetailedStats extends HeapStats {
  /** Buffers that this thread watches, and those of its pools, by tag. */
  owners: OwnerStats[]
}
