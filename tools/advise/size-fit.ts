import { LEAST_OBJECT_BYTES } from 'spanheap/testing'
import type { Histogram } from './histogram.ts'

/** What size classes make of the sizes that a program asked for. */
export interface ClassFit {
  /** Bytes of each class that serves any size, smallest first. */
  sizes: number[]
  /** Bytes of all blocks that are handed out. */
  blockBytes: number
  /** The share of them that nobody asked for. */
  waste: number
}

/** How given classes serve a histogram. REQUIRES: the largest class is no smaller than the largest size. */
export function fitOf(histogram: Histogram, classes: readonly number[]): ClassFit {
  const used = new Set<number>()
  let blockBytes = 0
  let at = 0
  for (const [size, count] of histogram.entries()) {
    while (classes[at]! < size) at++
    used.add(classes[at]!)
    blockBytes += classes[at]! * count
  }
  return { sizes: [...used], blockBytes, waste: wasteOf(histogram, blockBytes) }
}

/**
 * The classes, all multiples of 16 bytes, that waste least on a histogram: for each number of classes up to `most`, or up
 * to as many as there are sizes. Dynamic programming over the sizes in order: the best k classes for the first sizes are one class
 * for the last few of them and the best k - 1 for those before.
 */
export function fittedClasses(histogram: Histogram, most: number): ClassFit[] {
  const bins = binsOf(histogram)
  const fits: ClassFit[] = []
  let before = Float64Array.from({ length: bins.length + 1 }, (_, bin) => (bin === 0 ? 0 : Number.POSITIVE_INFINITY))
  const starts: Int32Array[] = []
  for (let classes = 1; classes <= Math.min(most, bins.length); classes++) {
    const layer = new Layer(bins, before)
    layer.solve(1, bins.length, 0, bins.length - 1)
    starts.push(layer.starts)
    before = layer.bytes
    const blockBytes = before[bins.length]!
    fits.push({ sizes: classesOf(bins, starts), blockBytes, waste: wasteOf(histogram, blockBytes) })
  }
  return fits
}

function wasteOf(histogram: Histogram, blockBytes: number): number {
  return blockBytes === 0 ? 0 : 1 - histogram.bytes / blockBytes
}

/** Sizes that one multiple of 16 serves without another between: a class may end at each. */
interface Bins {
  length: number
  /** The multiple, for each bin from 1. */
  bytes: Float64Array
  /** Blocks of all bins up to and with each one. */
  blocks: Float64Array
}

function binsOf(histogram: Histogram): Bins {
  const counts = new Map<number, number>()
  for (const [size, count] of histogram.entries()) {
    const bytes = Math.max(1, Math.ceil(size / LEAST_OBJECT_BYTES)) * LEAST_OBJECT_BYTES
    counts.set(bytes, (counts.get(bytes) ?? 0) + count)
  }
  const bins: Bins = {
    length: counts.size,
    bytes: new Float64Array(counts.size + 1),
    blocks: new Float64Array(counts.size + 1),
  }
  let bin = 0
  for (const [bytes, count] of counts) {
    bin++
    bins.bytes[bin] = bytes
    bins.blocks[bin] = bins.blocks[bin - 1]! + count
  }
  return bins
}

/** One more class than in the layer before. */
class Layer {
  /** The fewest bytes for the first bins, up to each. */
  readonly bytes: Float64Array<ArrayBuffer>
  /** How many bins come before the last class, for each. */
  readonly starts: Int32Array
  private readonly bins: Bins
  private readonly before: Float64Array

  constructor(bins: Bins, before: Float64Array) {
    this.bins = bins
    this.before = before
    this.bytes = new Float64Array(bins.length + 1).fill(Number.POSITIVE_INFINITY)
    this.starts = new Int32Array(bins.length + 1)
  }

  /**
   * Solves for bins `[from, to]`, whose last class starts after `[low, high]` bins. The more bins there are, the later the best
   * last class starts; so the middle one's start halves the search for the others, and all take bins × log(bins) steps.
   */
  solve(from: number, to: number, low: number, high: number): void {
    if (from > to) return
    const middle = (from + to) >>> 1
    let best = low
    for (let start = low; start <= Math.min(high, middle - 1); start++) {
      const bytes = this.cost(start, middle)
      if (bytes < this.bytes[middle]!) {
        this.bytes[middle] = bytes
        best = start
      }
    }
    this.starts[middle] = best
    this.solve(from, middle - 1, low, best)
    this.solve(middle + 1, to, best, high)
  }

  private cost(start: number, end: number): number {
    const { bins } = this
    return this.before[start]! + (bins.blocks[end]! - bins.blocks[start]!) * bins.bytes[end]!
  }
}

/** The classes that the last of several layers ends with. */
function classesOf(bins: Bins, starts: readonly Int32Array[]): number[] {
  const classes: number[] = []
  for (let layer = starts.length - 1, end = bins.length; layer >= 0; layer--) {
    classes.unshift(bins.bytes[end]!)
    end = starts[layer]![end]!
  }
  return classes
}
