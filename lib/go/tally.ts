import type { GoSizeClasses } from './size-class.ts'

/** How many objects were handed out and taken back. */
export interface Counts {
  mallocs: number
  frees: number
}

/**
 * Counts of objects handed out and taken back, by size class. The usual paths count nothing. When a span changes hands, its counts follow
 * from its bits, and are added here. For spans in use, the counts since then have to be asked of their holders (`pending`).
 */
export class Tally {
  /** Bytes of large objects, in whole pages. */
  largeBytes = 0
  /** Tiny objects that were put into an existing block. An object that starts a block is counted by the block. */
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

  /** Counts a new large object. */
  addLarge(bytes: number): void {
    this.mallocs[0]!++
    this.resizeLarge(bytes)
  }

  removeLarge(bytes: number): void {
    this.frees[0]!++
    this.largeBytes -= bytes
  }

  /** Counts a change of a large object's length. */
  resizeLarge(bytes: number): void {
    this.largeBytes += bytes
    if (bytes > 0) this.totalLargeBytes += bytes
  }

  /** The added-up counts of a class. */
  of(sizeClass: number): Counts {
    return { mallocs: this.mallocs[sizeClass]!, frees: this.frees[sizeClass]! }
  }

  /** Bytes of all large objects ever allocated. */
  get allLargeBytes(): number {
    return this.totalLargeBytes
  }
}
