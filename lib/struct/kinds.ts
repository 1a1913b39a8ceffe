import { endianness } from 'node:os'

/** A struct's most bytes: any record that starts in the first half of a window of 2 GiB then ends in it. */
export const MOST_STRUCT_BYTES = 2 ** 30
/** The most bytes of an array of records: its typed arrays then have indices below 2^31. */
export const MOST_ARRAY_BYTES = 2 ** 31

/** The kinds of number that a field is made of: each is the name of a typed array in `Views`. */
export type NumberKind = 'i8' | 'u8' | 'i16' | 'u16' | 'i32' | 'u32' | 'i64' | 'u64' | 'f32' | 'f64'

/** The properties of a kind of number. */
export interface NumberTraits {
  /** Bytes; also the alignment, as on x86-64. */
  readonly size: number
  /** Its name in C. */
  readonly c: string
  /** Whole numbers from `least` to `most`; undefined for floating point. */
  readonly range?: readonly [least: number | bigint, most: number | bigint]
}

/** Sizes, names and ranges by kind. */
export const NUMBERS: Readonly<Record<NumberKind, NumberTraits>> = {
  i8: { size: 1, c: 'int8_t', range: [-128, 127] },
  u8: { size: 1, c: 'uint8_t', range: [0, 255] },
  i16: { size: 2, c: 'int16_t', range: [-32768, 32767] },
  u16: { size: 2, c: 'uint16_t', range: [0, 65535] },
  i32: { size: 4, c: 'int32_t', range: [-(2 ** 31), 2 ** 31 - 1] },
  u32: { size: 4, c: 'uint32_t', range: [0, 2 ** 32 - 1] },
  i64: { size: 8, c: 'int64_t', range: [-(2n ** 63n), 2n ** 63n - 1n] },
  u64: { size: 8, c: 'uint64_t', range: [0n, 2n ** 64n - 1n] },
  f32: { size: 4, c: 'float' },
  f64: { size: 8, c: 'double' },
}

/** Whether numbers of a kind are bigints. */
export function isBig(kind: NumberKind): boolean {
  return kind === 'i64' || kind === 'u64'
}

/** The order of a number's bytes. */
export type Endian = 'little' | 'big'

/** The machine's own order of bytes. */
const NATIVE: Endian = endianness() === 'LE' ? 'little' : 'big'

/** Whether numbers of a byte order are stored in another order than the machine's. */
export function isForeign(endian: Endian | undefined): boolean {
  return endian !== undefined && endian !== NATIVE
}
