import test from 'ava'
import { Histogram } from '../../advise/histogram.ts'
import type { TraceProfile } from '../../advise/profile.ts'
import { settingsFor, verdictOf } from '../../advise/settings.ts'
import type { ReplayReport } from '../../trace/replay.ts'
import type { Trace } from '../../trace/trace.ts'

const MIB = 2 ** 20

const PROFILE: TraceProfile = {
  allocations: 1000,
  frees: 1000,
  reallocations: 0,
  requestedBytes: 1000 * MIB,
  liveAtEndBytes: 0,
  smallAndShort: 0,
  bytesInLarge: 0.7,
  sizes: [],
  lifetimes: [],
}

const taking = (nsPerEvent: number) => ({ nsPerEvent, peakMappedBytes: 40 * MIB }) as ReplayReport

test('whether a program would gain: by the sizes of its blocks, and by the time that both take', (t) => {
  const [faster, slower] = [taking(50), taking(100)]
  const useOf = (profile: Partial<TraceProfile>, heap = faster, buffers = slower) =>
    verdictOf({ ...PROFILE, ...profile }, heap, buffers).use
  t.is(useOf({}), 'yes')
  t.is(useOf({ bytesInLarge: 0.5 }), 'yes')
  t.is(useOf({ bytesInLarge: 0.49 }), 'partly')
  t.is(useOf({ bytesInLarge: 0.49, smallAndShort: 0.9 }), 'partly')
  t.is(useOf({ bytesInLarge: 0.49, smallAndShort: 0.91 }), 'no')
  t.is(useOf({ smallAndShort: 0.91 }), 'yes')
  t.is(useOf({}, slower, faster), 'no')
  t.is(useOf({}, slower, slower), 'no')
})

/** The settings by name, for a program that allocates `sizes` so often each. */
function settingsOf(sizes: Record<number, number>, trace: Partial<Trace>, profile: Partial<TraceProfile> = {}) {
  const allocated = new Histogram()
  for (const [size, count] of Object.entries(sizes)) allocated.add(Number(size), count)
  const whole = { threads: 1, peakLiveBytes: 20 * MIB, ...trace } as Trace
  const settings = settingsFor(
    whole,
    { profile: { ...PROFILE, ...profile }, allocated, atPeak: allocated },
    { ...taking(50), peakMappedBytes: 40 * MIB }
  )
  return new Map(settings.map(({ name, value }) => [name, value]))
}

test('the limit is half more than was mapped, the cache an eighth of what was live', (t) => {
  const settings = settingsOf({ 64: 10 }, {})
  t.is(settings.get('limitBytes'), 64 * MIB)
  t.is(settings.get('cacheBytes'), 4 * MIB)
  t.is(settings.get('releaseFreeMemory()'), 'after a peak')
  t.is(settingsOf({ 64: 10 }, { peakLiveBytes: 1000 }).get('cacheBytes'), MIB / 2)
  t.false(settingsOf({ 64: 10 }, { peakLiveBytes: 256 * MIB }).has('cacheBytes'))
  t.false(settingsOf({ 64: 10 }, {}, { liveAtEndBytes: 10 * MIB }).has('releaseFreeMemory()'))
})

test('one size that has four fifths of the bytes is a BufferPool’s, more are a PoolSet’s', (t) => {
  t.is(settingsOf({ 16384: 90, 2048: 100 }, {}).get('BufferPool({ size })'), 16384)
  const sizes = settingsOf({ 16384: 50, 2048: 400 }, {}).get('PoolSet({ sizes })')
  t.deepEqual(sizes, [2048, 16384])
})

test('no pool where blocks of its sizes are few, or none was freed', (t) => {
  for (const settings of [settingsOf({ 64: 1000, 2048: 1 }, {}), settingsOf({ 2048: 10 }, {}, { frees: 0 })]) {
    t.false(settings.has('BufferPool({ size })') || settings.has('PoolSet({ sizes })'))
  }
})
