import { outOfRange, wrongType } from '../base/errors.ts'
import { bytesOf } from '../buffers/heap-view.ts'

/** The largest and the least of the BigInts that 64 bits hold. */
export const MOST_UINT64 = 2n ** 64n - 1n
export const MOST_INT64 = 2n ** 63n - 1n
export const LEAST_INT64 = -(2n ** 63n)

/** The error for what is no integer of a range. */
export function wrongInteger(name: string, value: unknown, least: number, most: number): Error {
  if (typeof value !== 'number') return wrongType(name, 'a number', value)
  return outOfRange(name, `an integer from ${least} to ${most}`, value)
}

/** The same for BigInts. */
export function wrongBigInt(value: unknown, least: bigint, most: bigint): Error {
  if (typeof value !== 'bigint') return wrongType('value', 'a bigint', value)
  return outOfRange('value', `from ${least} to ${most}`, value)
}

const lengthOf = Reflect.getOwnPropertyDescriptor(Reflect.getPrototypeOf(Uint8Array.prototype)!, 'length')!
  .get as () => number

/**
 * The length of an array of bytes, as the engine has it, since the property may have been redefined; -1 for anything else. The getter throws
 * for what is no typed array: `util.types` would take as long again.
 */
export function lengthOfBytes(value: Uint8Array): number {
  let length: number
  try {
    length = Reflect.apply(lengthOf, value, [])
  } catch {
    return -1
  }
  return value.BYTES_PER_ELEMENT === 1 ? length : -1
}

/** The bytes of a view of another kind. @throws TypeError `ERR_INVALID_ARG_TYPE` */
export function bytesUnder(name: string, value: ArrayBufferView): Uint8Array {
  if (!ArrayBuffer.isView(value)) throw wrongType(name, 'a view of bytes', value)
  return new Uint8Array(value.buffer, value.byteOffset, bytesOf(value))
}
