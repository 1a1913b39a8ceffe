/** How often each size was asked for. */
export class Histogram {
  private readonly counts = new Map<number, number>()
  /** Blocks, and the sum of their sizes. */
  blocks = 0
  bytes = 0

  /** Adds blocks of one size; a negative count takes some away. */
  add(size: number, count = 1): void {
    this.counts.set(size, (this.counts.get(size) ?? 0) + count)
    this.blocks += count
    this.bytes += size * count
  }

  /** Sizes in order, each with its count. */
  entries(): [size: number, count: number][] {
    return [...this.counts].filter(([, count]) => count > 0).sort(([a], [b]) => a - b)
  }

  /** The part of it between two sizes, both included. */
  between(least: number, most: number): Histogram {
    const part = new Histogram()
    for (const [size, count] of this.entries()) if (size >= least && size <= most) part.add(size, count)
    return part
  }
}
