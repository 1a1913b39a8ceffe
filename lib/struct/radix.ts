import { types } from 'node:util'
import { isForeign } from './kinds.ts'

/** Digits of half a key, low ones first: a table of counts then takes 8 KiB and stays in the cache. */
const DIGITS = [
  { shift: 0, bits: 11 },
  { shift: 11, bits: 11 },
  { shift: 22, bits: 10 },
] as const
const HIGH = isForeign('little') ? 0 : 1
const ALL = 0xffff_ffff

/** Numbers of 64 bits to sort by, each as two halves that compare as unsigned integers. */
export type Keys = Uint32Array

/** Turns numbers into keys in place. NaN is the highest, in both orders, and -0 is 0. */
export function keysOfNumbers(numbers: Float64Array, descending: boolean): Keys {
  const keys = new Uint32Array(numbers.buffer)
  const flip = descending ? ALL : 0
  for (let i = 0; i < numbers.length; i++) {
    const number = numbers[i]!
    const high = 2 * i + HIGH
    const low = high ^ 1
    if (number === 0) {
      keys[high] = 0x8000_0000 ^ flip
      keys[low] = flip
    } else if (Number.isNaN(number)) {
      keys[high] = ALL
      keys[low] = ALL
    } else {
      const mask = number < 0 ? ALL : 0
      keys[high] = keys[high]! ^ mask ^ (number < 0 ? 0 : 0x8000_0000) ^ flip
      keys[low] = keys[low]! ^ mask ^ flip
    }
  }
  return keys
}

/** Turns integers into keys in place. */
export function keysOfBigints(bigints: BigInt64Array | BigUint64Array, descending: boolean): Keys {
  const keys = new Uint32Array(bigints.buffer)
  const flip = descending ? ALL : 0
  const sign = types.isBigInt64Array(bigints) ? 0x8000_0000 : 0
  for (let high = HIGH; high < keys.length; high += 2) {
    keys[high] = keys[high]! ^ sign ^ flip
    keys[high ^ 1] = keys[high ^ 1]! ^ flip
  }
  return keys
}

/** The indices of keys in sorted order; equal keys keep theirs. */
export function radixOrder(keys: Keys): Uint32Array {
  const length = keys.length / 2
  let order = new Uint32Array(length)
  for (let i = 0; i < length; i++) order[i] = i
  let next = new Uint32Array(length)
  for (const half of [HIGH ^ 1, HIGH]) {
    for (const { shift, bits } of DIGITS) {
      const places = placesOf(keys, half, shift, 2 ** bits)
      if (places === undefined) continue
      distribute(keys, half, shift, places, order, next)
      ;[order, next] = [next, order]
    }
  }
  return order
}

/** Where the keys with each digit begin; undefined if all have the same digit. */
function placesOf(keys: Keys, half: number, shift: number, digits: number): Uint32Array | undefined {
  const places = new Uint32Array(digits)
  const mask = digits - 1
  for (let i = half; i < keys.length; i += 2) {
    const digit = (keys[i]! >>> shift) & mask
    places[digit] = places[digit]! + 1
  }
  if (places[(keys[half]! >>> shift) & mask] === keys.length / 2) return undefined
  let sum = 0
  for (let digit = 0; digit < digits; digit++) {
    const count = places[digit]!
    places[digit] = sum
    sum += count
  }
  return places
}

/** One pass: the indices in `from` go to `to` by a digit of their keys. */
function distribute(
  keys: Keys,
  half: number,
  shift: number,
  places: Uint32Array,
  from: Uint32Array,
  to: Uint32Array
): void {
  const mask = places.length - 1
  for (let i = 0; i < from.length; i++) {
    const index = from[i]!
    const digit = (keys[2 * index + half]! >>> shift) & mask
    const place = places[digit]!
    places[digit] = place + 1
    to[place] = index
  }
}
