import { constants } from 'node:buffer'
import { AllocatorError, invalidValue, outOfRange, wrongType } from './errors.ts'

/** Checks that `value` is a whole number of bytes (or objects): 0 to 2^53 - 1. */
export function checkCount(name: string, value: unknown): number {
  if (typeof value !== 'number') throw wrongType(name, 'a number', value)
  if (!Number.isSafeInteger(value) || value < 0) throw outOfRange(name, 'an integer from 0 to 2^53 - 1', value)
  return value
}

/** A longer block can't be viewed whole: 4 GiB in Node 20, no limit that matters in later ones. */
const MOST_VIEWED = constants.MAX_LENGTH

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

/** Checks that the source of memory supports an alignment, at most `most`: without the addon it is a buffer of V8's. */
export function checkSupported(alignment: number, most: number, requested: number): void {
  if (alignment <= most) return
  throw new AllocatorError(
    'ERR_HEAP_UNSUPPORTED',
    `without the addon memory can't be aligned to more than ${most} bytes`,
    { requested }
  )
}

/** Checks the length that a view of a block of `usable` bytes should have; `undefined` gives all of it. */
export function checkViewLength(length: number | undefined, usable: number): number {
  if (length !== undefined && checkCount('length', length) > usable)
    throw outOfRange('length', `at most the block's ${usable} bytes`, length)
  const bytes = length ?? usable
  if (bytes > MOST_VIEWED) throw outOfRange('length', `at most ${MOST_VIEWED}, the longest view`, bytes)
  return bytes
}

/** Checks the byte offsets of the pointers in an object of `size` bytes: distinct multiples of 8, each with its 8 bytes inside. */
export function checkPointerOffsets(name: string, value: unknown, size: number): number[] {
  if (!Array.isArray(value)) throw wrongType(name, 'an array of offsets', value)
  // By index: a hole is no offset.
  const offsets = Array.from({ length: value.length }, (_, i) => checkCount(`${name}[${i}]`, value[i]))
  for (const [i, offset] of offsets.entries()) {
    if (offset % 8 !== 0 || offset + 8 > size)
      throw outOfRange(`${name}[${i}]`, `a multiple of 8 inside of ${size} bytes`, offset)
  }
  if (new Set(offsets).size !== offsets.length) throw outOfRange(name, 'different offsets', offsets)
  return offsets
}

/** Checks that `value` is one of `choices`; `undefined` gives `fallback`. */
export function checkChoice<T extends string>(name: string, value: unknown, choices: readonly T[], fallback: T): T {
  if (value === undefined) return fallback
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

/** All options of a call. An object, so that the compiler finds a name that is missing or wrong. */
export type OptionNames<Options> = Readonly<Record<keyof Options & string, true>>

/**
 * Checks that `value` is an object with known options only: a misspelled one would have no effect.
 * @throws TypeError `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`
 */
export function checkOptions<Options>(value: unknown, names: OptionNames<Options>, name = 'options'): void {
  if (typeof value !== 'object' || value === null) throw wrongType(name, 'an object', value)
  for (const key of Object.keys(value))
    if (!Object.hasOwn(names, key)) throw unknownOption(name, key, Object.keys(names))
}

function unknownOption(name: string, key: string, names: readonly string[]): TypeError {
  const near = nearest(key, names)
  const all = `${name} may have ${names.join(', ')}`
  return invalidValue(`${name}.${key} is unknown${near === undefined ? '' : `: did you mean ${near}?`} (${all})`)
}

/** The option probably meant: one name begins with the other, or half of the letters are right. */
function nearest(key: string, names: readonly string[]): string | undefined {
  const wanted = key.toLowerCase()
  let best: string | undefined
  let least = Number.POSITIVE_INFINITY
  for (const name of names) {
    const candidate = name.toLowerCase()
    const isBeginning = candidate.startsWith(wanted) || wanted.startsWith(candidate)
    const edits = isBeginning ? 1 : editsBetween(wanted, candidate)
    if (edits * 2 > Math.max(wanted.length, candidate.length) || edits >= least) continue
    best = name
    least = edits
  }
  return best
}

/** The number of letters to insert, delete or change to turn one word into the other (Levenshtein distance). */
function editsBetween(one: string, other: string): number {
  let edits = Array.from({ length: other.length + 1 }, (_, i) => i)
  for (const [i, letter] of [...one].entries()) {
    const next = [i + 1]
    for (let j = 0; j < other.length; j++)
      next.push(Math.min(next[j]! + 1, edits[j + 1]! + 1, edits[j]! + (letter === other[j] ? 0 : 1)))
    edits = next
  }
  return edits[other.length]!
}
