/** Samples drawn with replacement for one interval. */
const RESAMPLES = 2000
const CONFIDENCE = 0.95

/** A median, and where it would lie if all were done again. */
export interface Estimate {
  readonly median: number
  readonly low: number
  readonly high: number
}

/** The median; of an even number the mean of the middle two. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** The geometric mean. */
export function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length)
}

/**
 * The median of `samples` and its interval by the percentile bootstrap: medians of as many samples drawn from these with replacement.
 * The generator has a fixed seed, so that the same samples give the same interval.
 */
export function estimate(samples: readonly number[]): Estimate {
  const random = generator()
  const medians = Array.from({ length: RESAMPLES }, () =>
    median(samples.map(() => samples[Math.floor(random() * samples.length)]!))
  ).sort((a, b) => a - b)
  const rank = (share: number) => medians[Math.min(RESAMPLES - 1, Math.floor(share * RESAMPLES))]!
  const tail = (1 - CONFIDENCE) / 2
  return { median: median(samples), low: rank(tail), high: rank(1 - tail) }
}

/** Xorshift, from 0 to 1. */
function generator(): () => number {
  let state = 0x9e3779b9
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
}
