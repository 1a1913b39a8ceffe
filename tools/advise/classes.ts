import { generateSizeClasses, LEAST_OBJECT_BYTES } from 'spanheap/testing'
import type { Histogram } from './histogram.ts'
import { type ClassFit, fitOf, fittedClasses } from './size-fit.ts'

/** What one set of classes wastes. */
export interface ClassesRow {
  name: string
  /** Classes that serve any size, of all allocations and of what was live at the peak. */
  used: number
  usedAtPeak: number
  /** The share of blocks' bytes that nobody asked for, over all allocations and at the peak. */
  waste: number
  wasteAtPeak: number
  /** What it saves of the bytes that a heap's classes take; negative where it takes more. */
  saved: number
  savedAtPeak: number
  /** The classes, for all allocations and for the peak: fitted ones differ. */
  sizes: number[]
  sizesAtPeak: number[]
}

/** What size classes lose inside of blocks up to 256 KiB, and what classes made for the trace would. */
export interface ClassesAdvice {
  /** Blocks of more than 256 KiB have no class: they take whole pages. The share of all bytes that they were asked for in. */
  bytesAbove: number
  rows: ClassesRow[]
}

/** Fitted classes are tried with as many as the trace uses, and with these shares of that. */
const SHARES = [1, 1 / 2, 1 / 4]

/** Holds the published classes, and those that a heap uses, against classes fitted to a trace's sizes. */
export function adviseClasses(allocated: Histogram, atPeak: Histogram): ClassesAdvice {
  const published = generateSizeClasses().map(({ size }) => size)
  const most = published.at(-1)!
  const small = allocated.between(0, most)
  const smallAtPeak = atPeak.between(0, most)
  const heaps = published.filter((size) => size >= LEAST_OBJECT_BYTES)
  const [base, baseAtPeak] = [fitOf(small, heaps), fitOf(smallAtPeak, heaps)]
  const row = (name: string, fit: ClassFit, fitAtPeak: ClassFit): ClassesRow => ({
    name,
    used: fit.sizes.length,
    usedAtPeak: fitAtPeak.sizes.length,
    waste: fit.waste,
    wasteAtPeak: fitAtPeak.waste,
    saved: savedOf(fit, base),
    savedAtPeak: savedOf(fitAtPeak, baseAtPeak),
    sizes: fit.sizes,
    sizesAtPeak: fitAtPeak.sizes,
  })
  const rows = [
    row(`the ${published.length} published`, fitOf(small, published), fitOf(smallAtPeak, published)),
    row(`the ${heaps.length} of a heap, from 16 bytes on`, base, baseAtPeak),
  ]
  const fitted = fittedClasses(small, base.sizes.length)
  const fittedAtPeak = fittedClasses(smallAtPeak, baseAtPeak.sizes.length)
  for (const share of SHARES) {
    const [fit, fitAtPeak] = [atShare(fitted, share), atShare(fittedAtPeak, share)]
    if (fit === undefined || fitAtPeak === undefined) continue
    const name =
      share === 1 ? 'fitted, as many' : share === 1 / 2 ? 'fitted, half as many' : 'fitted, a quarter as many'
    rows.push(row(name, fit, fitAtPeak))
  }
  return { bytesAbove: allocated.bytes === 0 ? 0 : 1 - small.bytes / allocated.bytes, rows }
}

function atShare(fits: readonly ClassFit[], share: number): ClassFit | undefined {
  return fits[Math.max(1, Math.ceil(fits.length * share)) - 1]
}

function savedOf(fit: ClassFit, base: ClassFit): number {
  return base.blockBytes === 0 ? 0 : 1 - fit.blockBytes / base.blockBytes
}
