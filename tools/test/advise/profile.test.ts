import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { profileOf } from '../../advise/profile.ts'
import { readTrace } from '../../trace/trace.ts'
import { writeTrace } from '../support/trace-file.ts'

const folder = mkdtempSync(join(tmpdir(), 'spanheap-profile-'))
test.after.always(() => rmSync(folder, { recursive: true }))

test('sizes, lives and the peak of a small trace', (t) => {
  const path = writeTrace(join(folder, 'small.mtrc'), 3, [
    ['malloc', 0, 10],
    ['malloc', 1, 5000],
    ['realloc', 1, 9000],
    ['calloc', 2, 100],
    ['free', 1],
    ['free', 0],
    ['malloc', 0, 20],
  ])
  const { profile, allocated, atPeak } = profileOf(readTrace(path))
  t.like(profile, { allocations: 4, reallocations: 1, frees: 2, requestedBytes: 14_130, liveAtEndBytes: 120 })
  t.is(profile.smallAndShort, 1 / 4)
  t.is(profile.bytesInLarge, 14_000 / 14_130)
  t.deepEqual(allocated.entries(), [
    [10, 1],
    [20, 1],
    [100, 1],
    [5000, 1],
    [9000, 1],
  ])
  t.deepEqual(atPeak.entries(), [
    [10, 1],
    [100, 1],
    [9000, 1],
  ])
  t.deepEqual(profile.lifetimes, [
    { mostEvents: 10, blocks: 2, bytes: 5010 },
    { mostEvents: null, blocks: 2, bytes: 120 },
  ])
  t.deepEqual(
    profile.sizes.map(({ mostBytes, allocations, peakBlocks, medianLifetime }) => [
      mostBytes,
      allocations,
      peakBlocks,
      medianLifetime,
    ]),
    [
      [16, 1, 1, 5],
      [32, 1, 0, null],
      [128, 1, 1, null],
      [8192, 1, 0, 3],
      [16_384, 1, 1, null],
    ]
  )
})
