import type { GoSizeClasses } from './size-class.ts'

/** How many objects were handed out and taken back. */
export interface Counts {
  mallocs: number
  frees: number
}

/**
 * Counts of what was handed out and taken back, by size class. The usual paths count nothing: what a span has handed out and
 * taken back follows from its bits when it changes hands, and is added up here then. What has happened since in spans that are
 * in use has to be asked of those who have them (`pending`).
 */
export class Tally {
  /** Bytes of large objects, in whole pages. */
  largeBytes = 0
  /** Tiny objects that were put into the blocks of others. One that starts a block is counted by it. */
  tinyAllocs = 0
  private readonly mallocs: Float64Array
  private readonly frees: Float64Array
  private totalLargeBytes = 0

  constructor(classes: GoSizeClasses) {
    this.mallocs = new Float64Array(classes.count)
    this.frees = new Float64Array(classes.count)
  }

  add(sizeClass: number, mallocs: number, frees: number): void {
    this.mallocs[sizeClass]! += mallocs
    this.frees[sizeClass]! += frees
  }

  /** Counts a large object in. */
  addLarge(bytes: number): void {
    this.mallocs[0]!++
    this.resizeLarge(bytes)
  }

  removeLarge(bytes: number): void {
    this.frees[0]!++
    this.largeBytes -= bytes
  }

  /** A large object has become longer, or shorter. */
  resizeLarge(bytes: number): void {
    this.largeBytes += bytes
    if (bytes > 0) this.totalLargeBytes += bytes
  }

  /** What was added up of a class. */
  of(sizeClass: number): Counts {
    return { mallocs: this.mallocs[sizeClass]!, frees: this.frees[sizeClass]! }
  }

  /** Bytes of all large objects that there ever were. */
  get allLargeBytes(): number {
    return this.totalLargeBytes
  }
}
