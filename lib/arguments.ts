import { outOfRange, wrongType } from './errors.ts'

/** Checks that `value` is a whole number of bytes (or objects): 0 to 2^53 - 1. */
export function checkCount(name: string, value: unknown): number {
  if (typeof value !== 'number') throw wrongType(name, 'a number', value)
  if (!Number.isSafeInteger(value) || value < 0) throw outOfRange(name, 'an integer from 0 to 2^53 - 1', value)
  return value
}

/** The largest alignment that a heap promises, in bytes. */
export const MOST_ALIGNMENT = 64 * 2 ** 20

/** Checks that `value` is a power of two from 1 to MOST_ALIGNMENT. */
export function checkAlignment(value: unknown): number {
  const alignment = checkCount('alignment', value)
  if (alignment < 1 || alignment > MOST_ALIGNMENT || 2 ** Math.round(Math.log2(alignment)) !== alignment) {
    throw outOfRange('alignment', `a power of two from 1 to ${MOST_ALIGNMENT}`, value)
  }
  return alignment
}

/** Checks that `value` is one of `choices`; `undefined` gives the first. */
export function checkChoice<T extends string>(name: string, value: unknown, choices: readonly [T, ...T[]]): T {
  if (value === undefined) return choices[0]
  if (typeof value !== 'string') throw wrongType(name, `one of ${choices.join(', ')}`, value)
  const choice = choices.find((candidate) => candidate === value)
  if (choice === undefined) throw outOfRange(name, `one of ${choices.join(', ')}`, value)
  return choice
}

/** Checks that `value` is a boolean; `undefined` gives `fallback`. */
export function checkBoolean(name: string, value: unknown, fallback: boolean): boolean {
  if (value === undefined) return fallback
  if (typeof value !== 'boolean') throw wrongType(name, 'a boolean', value)
  return value
}

/** Checks that `value` is a whole number from `least` to `most`; `undefined` gives `fallback`. */
export function checkInteger(name: string, value: unknown, least: number, most: number, fallback: number): number {
  const number = checkNumber(name, value, least, most, fallback)
  if (!Number.isInteger(number)) throw outOfRange(name, 'a whole number', value)
  return number
}

/** Checks that `value` is a number from `least` to `most`; `undefined` gives `fallback`. */
export function checkNumber(name: string, value: unknown, least: number, most: number, fallback: number): number {
  if (value === undefined) return fallback
  if (typeof value !== 'number') throw wrongType(name, 'a number', value)
  if (!(value >= least && value <= most)) throw outOfRange(name, `from ${least} to ${most}`, value)
  return value
}

/** Checks that a constructor was given an object, or nothing. */
export function checkOptions(value: unknown): void {
  if (typeof value !== 'object' || value === null) throw wrongType('options', 'an object', value)
}
