import { NodeBuffer } from '../buffers/heap-view.ts'

/** The most bytes that a UTF-16 unit takes in UTF-8. */
export const MOST_UNIT_BYTES = 3

/** A loop is faster than a call of the engine, which takes 70 ns to start, for texts of so many units, and of so many bytes. */
const MOST_LOOPED_UNITS = 32
const MOST_LOOPED_BYTES = 12

/** Stands for half of a surrogate pair, as in `Buffer` and `TextEncoder`. */
const REPLACEMENT = 0xfffd

/** Node's own functions behind `Buffer.prototype.write` and `toString`, which first look for an encoding: that takes another 15 ns. */
interface Native {
  utf8Write(this: Uint8Array, text: string, at: number): number
  utf8Slice(this: Uint8Array, start: number, end: number): string
}

const { utf8Write, utf8Slice } = NodeBuffer.prototype as unknown as Native

/** Writes a text as UTF-8 and returns where it ends. REQUIRES: room for all of it; for a short one {@link MOST_UNIT_BYTES} for each unit. */
export function writeText(bytes: Uint8Array, at: number, text: string): number {
  if (text.length > MOST_LOOPED_UNITS) return at + utf8Write.call(bytes, text, at)
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit >= 0x80) return writeRest(bytes, at, text, i)
    bytes[at++] = unit
  }
  return at
}

/** The same for a short text, from the first unit that isn't ASCII. */
function writeRest(bytes: Uint8Array, at: number, text: string, from: number): number {
  for (let i = from; i < text.length; i++) {
    let code = text.charCodeAt(i)
    if (code < 0x80) {
      bytes[at++] = code
    } else if (code < 0x800) {
      bytes[at++] = 0xc0 | (code >> 6)
      bytes[at++] = 0x80 | (code & 0x3f)
    } else {
      if ((code & 0xf800) === 0xd800) code = text.codePointAt(i)!
      if (code >= 0x1_0000) {
        i++
        bytes[at++] = 0xf0 | (code >> 18)
        bytes[at++] = 0x80 | ((code >> 12) & 0x3f)
      } else {
        if ((code & 0xf800) === 0xd800) code = REPLACEMENT
        bytes[at++] = 0xe0 | (code >> 12)
      }
      bytes[at++] = 0x80 | ((code >> 6) & 0x3f)
      bytes[at++] = 0x80 | (code & 0x3f)
    }
  }
  return at
}

/** Reads UTF-8; what is none becomes U+FFFD, as in `Buffer`. REQUIRES: the bytes are there. */
export function readText(bytes: Uint8Array, start: number, end: number): string {
  if (end - start > MOST_LOOPED_BYTES) return utf8Slice.call(bytes, start, end)
  let text = ''
  let at = start
  for (; at + 4 <= end; at += 4) {
    const a = bytes[at]!
    const b = bytes[at + 1]!
    const c = bytes[at + 2]!
    const d = bytes[at + 3]!
    if ((a | b | c | d) >= 0x80) return utf8Slice.call(bytes, start, end)
    text += String.fromCharCode(a, b, c, d)
  }
  for (; at < end; at++) {
    const unit = bytes[at]!
    if (unit >= 0x80) return utf8Slice.call(bytes, start, end)
    text += String.fromCharCode(unit)
  }
  return text
}
