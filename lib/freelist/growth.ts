import { checkInteger, checkNumber, checkOptions, type OptionNames } from '../base/arguments.ts'
import { outOfRange, wrongType } from '../base/errors.ts'
import { MOST_HEAP_BYTES, roundUp } from '../memory/page.ts'

/**
 * How much the heap grows if no block fits. The more at a time, the fewer system calls. `exact` asks for the bytes that the allocation
 * lacks, `step` for a multiple of so many bytes, `percent` for that share of what the heap has already, "as Java and Go do".
 */
export type Growth = 'exact' | GrowthStep | GrowthShare

/** Growth in steps. */
export interface GrowthStep {
  /** Bytes; rounded up to whole pages of the system. */
  step: number
}

/** Growth by a share of the present size. */
export interface GrowthShare {
  /** Percent of the mapped bytes, 0 to 1000. */
  percent: number
}

/** With this, twice as many bytes take three calls more, and at most a fifth of the heap grew for nothing. */
const DEFAULT_PERCENT = 25
const MOST_PERCENT = 1000

const GROWTH: OptionNames<GrowthStep & GrowthShare> = { step: true, percent: true }

/** A checked setting. */
export interface GrowthPolicy {
  /** The heap grows by a multiple of this, if the limit allows it. */
  stepBytes: number
  percent: number
}

/** Checks the option of that name. */
export function checkGrowth(value: unknown, systemPageSize: number): GrowthPolicy {
  if (value === undefined) return { stepBytes: systemPageSize, percent: DEFAULT_PERCENT }
  if (value === 'exact') return { stepBytes: systemPageSize, percent: 0 }
  if (typeof value === 'string') throw outOfRange('growth', "'exact', { step } or { percent }", value)
  if (typeof value !== 'object' || value === null) throw wrongType('growth', "'exact', { step } or { percent }", value)
  checkOptions(value, GROWTH, 'growth')
  const { step, percent } = value as { step?: unknown; percent?: unknown }
  if ((step === undefined) === (percent === undefined))
    throw outOfRange('growth', 'a step or a percentage', 'both or none')
  if (step === undefined) {
    return { stepBytes: systemPageSize, percent: checkNumber('growth.percent', percent, 0, MOST_PERCENT, 0) }
  }
  const stepBytes = roundUp(checkInteger('growth.step', step, 1, MOST_HEAP_BYTES, 0), systemPageSize)
  return { stepBytes, percent: 0 }
}

/** The bytes that a heap of `mappedBytes` should grow by if it needs `neededBytes`. */
export function growthBytes({ stepBytes, percent }: GrowthPolicy, neededBytes: number, mappedBytes: number): number {
  return roundUp(Math.max(neededBytes, (mappedBytes * percent) / 100), stepBytes)
}
