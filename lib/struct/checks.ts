import { Buffer } from 'node:buffer'
import { types } from 'node:util'
import { outOfRange, wrongType } from '../base/errors.ts'
import { isBig, NUMBERS, type NumberKind } from './kinds.ts'

/**
 * One element, for checks in accessors: `FITS[wrong ? 1 : 0]` is undefined if the check fails. A branch that throws would be clearer, but
 * V8 hoists nothing out of a loop that has one, and makes an object of each sum of doubles if it compiles the loop while it runs. A load
 * outside a typed array isn't a branch to V8 until it happens.
 */
export const FITS = new Int8Array(new ArrayBuffer(1))

/** The error for a value that isn't a number of a kind, as accessors have already found. */
export function numberError(name: string, kind: NumberKind, value: unknown): Error {
  const type = isBig(kind) ? 'bigint' : 'number'
  if (typeof value !== type) return wrongType(name, `a ${type}`, value)
  const { range } = NUMBERS[kind]
  if (range === undefined) return outOfRange(name, 'a number that 32 bits can hold', value)
  return outOfRange(name, `an integer from ${range[0]} to ${range[1]}`, value)
}

/** Checks a value of a kind. */
export function checkNumberOf(name: string, kind: NumberKind, value: unknown): void {
  if (!isNumberOf(kind, value)) throw numberError(name, kind, value)
}

function isNumberOf(kind: NumberKind, value: unknown): boolean {
  switch (kind) {
    case 'f64':
      return typeof value === 'number'
    case 'f32':
      return typeof value === 'number' && (Number.isFinite(Math.fround(value)) || !Number.isFinite(value))
    case 'i64':
      return typeof value === 'bigint' && BigInt.asIntN(64, value) === value
    case 'u64':
      return typeof value === 'bigint' && BigInt.asUintN(64, value) === value
    default: {
      const [least, most] = NUMBERS[kind].range as readonly [number, number]
      return typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most
    }
  }
}

/** Checks a number that represents an integer of 64 bits, or was read as one. */
export function checkSafe(name: string, kind: NumberKind, value: unknown): number {
  if (typeof value !== 'number') throw wrongType(name, 'a number', value)
  if (!Number.isSafeInteger(value) || (kind === 'u64' && value < 0)) throw unsafe(name, kind, value)
  return value
}

/** The error for an integer that is not a safe one. */
export function unsafe(name: string, kind: NumberKind, value: unknown): RangeError {
  return outOfRange(name, `a safe integer${kind === 'u64' ? ', not negative' : ''}`, value)
}

/** Checks the value of a bit field of `width` bits. */
export function checkBits(name: string, kind: NumberKind, width: number, value: unknown): void {
  const type = isBig(kind) ? 'bigint' : 'number'
  if (typeof value !== type) throw wrongType(name, `a ${type}`, value)
  const signed = kind.startsWith('i')
  const most = 2n ** BigInt(signed ? width - 1 : width) - 1n
  const least = signed ? -most - 1n : 0n
  const isWhole = typeof value === 'bigint' || Number.isInteger(value)
  if (!isWhole || (value as number) < least || (value as number) > most)
    throw outOfRange(name, `an integer from ${least} to ${most}`, value)
}

/** Checks an address, or 0. */
export function checkPointer(name: string, value: unknown): number {
  if (typeof value !== 'number') throw wrongType(name, 'an address', value)
  if (!Number.isSafeInteger(value) || value < 0) throw outOfRange(name, 'an address, or 0', value)
  return value
}

/** Checks text that is to fit in `length` bytes. Returns how many bytes it takes. */
export function checkText(name: string, length: number, value: unknown): number {
  if (typeof value !== 'string') throw wrongType(name, 'a string', value)
  const size = Buffer.byteLength(value)
  if (size > length) throw outOfRange(name, `at most ${length} bytes of UTF-8`, `${size} bytes`)
  // Refuse text that UTF-8 can't hold, or that a read wouldn't return, since text ends at U+0000.
  if (!value.isWellFormed() || value.includes('\0'))
    throw outOfRange(name, 'text without U+0000 and half surrogate pairs', JSON.stringify(value))
  return size
}

/** Checks bytes that are to fit in `length`. */
export function checkBytes(name: string, length: number, value: unknown): Uint8Array {
  if (!types.isUint8Array(value)) throw wrongType(name, 'a Uint8Array', value)
  if (value.length > length) throw outOfRange(name, `at most ${length} bytes`, `${value.length} bytes`)
  return value
}
