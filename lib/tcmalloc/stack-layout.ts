import type { SizeClassTable } from './size-class.ts'

/** A table of stacks of granules, one per size class, each as long as its limits on objects and bytes allow. */
export class StackLayout {
  /** Index of the entry below each class's first one; it holds granule 0, which is never an object. */
  readonly base: Int32Array
  /** The capacity of each class's stack, in entries. */
  readonly capacity: Int32Array
  /** The index behind the last stack. */
  readonly end: number

  /** Lays the stacks out from index `first` on. Each has room for `mostBytes` of objects, but at most `mostBatches`. */
  constructor(classes: SizeClassTable, first: number, mostBatches: number, mostBytes: number) {
    this.base = new Int32Array(classes.count)
    this.capacity = new Int32Array(classes.count)
    let next = first
    for (let sizeClass = 1; sizeClass < classes.count; sizeClass++) {
      const objects = Math.floor(mostBytes / classes.size[sizeClass]!)
      this.base[sizeClass] = next
      this.capacity[sizeClass] = Math.min(mostBatches * classes.batch[sizeClass]!, objects)
      next += this.capacity[sizeClass]! + 1
    }
    this.end = next
  }
}
