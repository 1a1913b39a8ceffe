import test from 'ava'
import fc from 'fast-check'
import { Histogram } from '../../advise/histogram.ts'
import { fitOf, fittedClasses } from '../../advise/size-fit.ts'

function histogramOf(sizes: readonly (readonly [size: number, count: number])[]): Histogram {
  const histogram = new Histogram()
  for (const [size, count] of sizes) histogram.add(size, count)
  return histogram
}

/** The fewest bytes that `most` multiples of 16 can serve a histogram with, by trying all. */
function fewestBytes(histogram: Histogram, most: number): number {
  const sizes = histogram.entries()
  const multiples = [...new Set(sizes.map(([size]) => Math.max(16, Math.ceil(size / 16) * 16)))]
  let fewest = Number.POSITIVE_INFINITY
  for (let chosen = 1; chosen < 2 ** multiples.length; chosen++) {
    const classes = multiples.filter((_, bit) => chosen & (1 << bit))
    if (classes.length > most || classes.at(-1)! < sizes.at(-1)![0]) continue
    fewest = Math.min(fewest, fitOf(histogram, classes).blockBytes)
  }
  return fewest
}

const anyHistogram = fc
  .array(fc.tuple(fc.oneof(fc.nat(100), fc.nat(5000)), fc.integer({ min: 1, max: 50 })), { minLength: 1, maxLength: 9 })
  .map(histogramOf)

test('fitted classes waste as little as the best of all sets of so many', (t) => {
  fc.assert(
    fc.property(anyHistogram, fc.integer({ min: 1, max: 9 }), (histogram, most) => {
      const fits = fittedClasses(histogram, most)
      for (const [index, fit] of fits.entries()) {
        t.is(fit.blockBytes, fewestBytes(histogram, index + 1))
        t.is(fitOf(histogram, fit.sizes).blockBytes, fit.blockBytes)
        t.true(fit.sizes.length === index + 1 && fit.sizes.every((size) => size % 16 === 0))
      }
    }),
    { numRuns: 300 }
  )
})

test('a class for each size leaves only what 16 bytes round up', (t) => {
  const histogram = histogramOf([
    [24, 10],
    [100, 1],
    [4000, 2],
  ])
  t.deepEqual(fittedClasses(histogram, 99).at(-1), {
    sizes: [32, 112, 4000],
    blockBytes: 8432,
    waste: 1 - 8340 / 8432,
  })
})

test('nothing that was asked for takes no class', (t) => {
  t.deepEqual(fittedClasses(new Histogram(), 5), [])
  t.deepEqual(fitOf(new Histogram(), [16, 32]), { sizes: [], blockBytes: 0, waste: 0 })
})

test('a size in each multiple of 16 up to 256 KiB, 84 classes: no more than some seconds', (t) => {
  const sizes = Array.from({ length: 16_384 }, (_, at) => [(at + 1) * 16, 1] as const)
  const start = performance.now()
  t.is(fittedClasses(histogramOf(sizes), 84).at(-1)!.sizes.length, 84)
  t.true(performance.now() - start < 60_000)
})
