import type { ReplayReport } from '../trace/replay.ts'
import type { Trace } from '../trace/trace.ts'
import type { Histogram } from './histogram.ts'
import type { Profiled, TraceProfile } from './profile.ts'
import { fittedClasses } from './size-fit.ts'

/** An option, by its name in the library, with what a trace suggests for it. */
export interface Setting {
  /** Such as `limitBytes`, or `BufferPool`. */
  name: string
  value: number | string | number[]
  why: string
}

/** Whether the program that was recorded would gain. */
export interface Verdict {
  use: 'yes' | 'partly' | 'no'
  why: string
}

const MIB = 2 ** 20
/** The default of `cacheBytes`. */
const CACHE_BYTES = 32 * MIB
const LEAST_CACHE_BYTES = 2 ** 19
/** A thread cache holds what soon is needed again: an eighth of what is live is more than the default gives a large program. */
const CACHE_SHARE = 1 / 8
/** What a limit leaves above the peak of a replay, for what the recorded run didn't meet. */
const LIMIT_ROOM = 1.5
const LIMIT_STEP = 16 * MIB
/** Pools are for buffers from 1 KiB to 1 MiB, as in a PoolSet by default. */
const LEAST_POOLED = 1024
const MOST_POOLED = MIB
const POOL_SIZES = 8
/** A size that has so much of the bytes has them alone. */
const ONE_SIZE = 0.8
/** Less in buffers than this, and a pool isn't worth its code. */
const POOLED_LEAST_SHARE = 0.1
const MOSTLY = 0.9

/** What the profile and the replays come to. */
export function verdictOf(profile: TraceProfile, heap: ReplayReport, buffers: ReplayReport): Verdict {
  const { smallAndShort, bytesInLarge } = profile
  const percent = (share: number) => `${Math.round(share * 100)} %`
  if (bytesInLarge < 0.5 && smallAndShort > MOSTLY) {
    return {
      use: 'no',
      why: `${percent(smallAndShort)} of the allocations are below 4 KiB and soon freed: Node's pool and the young generation do that well, and a block with a view costs as much`,
    }
  }
  if (heap.nsPerEvent >= buffers.nsPerEvent) {
    return { use: 'no', why: 'the heap takes no less time than Node’s buffers here' }
  }
  if (bytesInLarge >= 0.5) {
    return {
      use: 'yes',
      why: `${percent(bytesInLarge)} of the bytes are in blocks from 4 KiB on, where Node asks malloc and the collector frees`,
    }
  }
  return {
    use: 'partly',
    why: `blocks from 4 KiB on have ${percent(bytesInLarge)} of the bytes; smaller ones gain as addresses or structs of a heap, and not as Buffers over its blocks`,
  }
}

/** What a heap and pools for this program are made with. */
export function settingsFor(trace: Trace, { profile, allocated }: Profiled, heap: ReplayReport): Setting[] {
  const settings: Setting[] = []
  const { peakLiveBytes } = trace
  const limit = Math.ceil(((heap.peakMappedBytes ?? peakLiveBytes) * LIMIT_ROOM) / LIMIT_STEP) * LIMIT_STEP
  settings.push({
    name: 'limitBytes',
    value: Math.max(LIMIT_STEP, limit),
    why: 'half more than the replay had mapped at its peak; only address space, so more costs nothing but a bound',
  })
  const cache = Math.max(LEAST_CACHE_BYTES, 2 ** Math.ceil(Math.log2(Math.max(1, peakLiveBytes * CACHE_SHARE))))
  if (cache < CACHE_BYTES) {
    settings.push({
      name: 'cacheBytes',
      value: cache,
      why: 'an eighth of what is live at most: the default of 32 MiB could keep more than the program has',
    })
  }
  if (profile.liveAtEndBytes < peakLiveBytes / 2) {
    settings.push({
      name: 'releaseFreeMemory()',
      value: 'after a peak',
      why: 'less than half of the peak is live at the end: one call gives the rest back to the system',
    })
  }
  return [...settings, ...poolSettings(allocated, profile)]
}

function poolSettings(allocated: Histogram, { frees }: TraceProfile): Setting[] {
  const pooled = allocated.between(LEAST_POOLED, MOST_POOLED)
  if (frees === 0 || pooled.bytes < allocated.bytes * POOLED_LEAST_SHARE) return []
  const largest = pooled.entries().reduce((a, b) => (a[0] * a[1] >= b[0] * b[1] ? a : b))
  const share = (largest[0] * largest[1]) / pooled.bytes
  if (share >= ONE_SIZE) {
    const why = `${Math.round(share * 100)} % of the bytes between 1 KiB and 1 MiB are buffers of this one size`
    return [{ name: 'BufferPool({ size })', value: largest[0], why }]
  }
  const fit = fittedClasses(pooled, POOL_SIZES).at(-1)!
  const why = `the ${fit.sizes.length} sizes that waste least on buffers from 1 KiB to 1 MiB: ${(fit.waste * 100).toFixed(1)} %`
  return [{ name: 'PoolSet({ sizes })', value: fit.sizes, why }]
}
