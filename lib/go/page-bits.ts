/** Runs of ones in a word of the page bitmap: instead of a loop over bits, a step for each doubling. */

/** The lowest bit that is set. REQUIRES: there is one. */
export function lowestBit(bits: number): number {
  return 31 - Math.clz32(bits & -bits)
}

/** Where in a word the first run of `count` ones starts; -1 if there is none. */
export function runInWord(bits: number, count: number): number {
  // A bit of `starts` says that `length` ones start there. A run is twice as long if another starts where it ends.
  let starts = bits
  let length = 1
  while (starts !== 0 && length < count) {
    const step = Math.min(length, count - length)
    starts &= starts >>> step
    length += step
  }
  return starts === 0 ? -1 : lowestBit(starts)
}

/** The longest run of ones in a word, if it is longer than `longest`; else `longest`. */
export function longestInWord(bits: number, longest: number): number {
  if (longest >= 32) return longest
  let starts = bits
  let length = 1
  while (starts !== 0 && length <= longest) {
    const step = Math.min(length, longest + 1 - length)
    starts &= starts >>> step
    length += step
  }
  while (starts !== 0) {
    longest++
    starts &= starts >>> 1
  }
  return longest
}

/** The larger of two numbers that aren't negative, without a branch. */
export function larger(one: number, other: number): number {
  const difference = one - other
  return one - (difference & (difference >> 31))
}

/** The first multiple of `alignment`, a power of two, from `page` on. */
export function alignedUp(page: number, alignment: number): number {
  return (page + alignment - 1) & -alignment
}
