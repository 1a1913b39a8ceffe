import { outOfRange, wrongType } from '../base/errors.ts'
import { checkBits, checkBytes, checkNumberOf, checkPointer, checkSafe, checkText } from './checks.ts'
import { alignmentAt, type Codec, type Place } from './codec.ts'
import { arrayCodec } from './field-array.ts'
import { isBig, isForeign, NUMBERS, type NumberKind } from './kinds.ts'
import { extentOf } from './layout.ts'
import type { FieldLayout, Shape } from './shape.ts'
import type { Views } from './views.ts'

/** The codec of a field, for the offset of its struct plus the field's own. */
export function codecOfField(field: FieldLayout, place: Place): Codec {
  if (field.bits === undefined) return codecOf(field.shape, place)
  return bitsCodec((field.shape as Shape & { is: 'bits' }).kind, field.bits.first, field.bits.width, place)
}

/** The codec of a type. */
export function codecOf(shape: Shape, place: Place): Codec {
  const { name } = place
  switch (shape.is) {
    case 'number': {
      const { kind } = shape
      const raw = rawNumber(kind, isForeign(shape.endian), place.alignment)
      if (shape.safe) return safeCodec(kind, raw, place)
      const plain = isBig(kind) ? (v: Views, o: number) => String(raw.read(v, o)) : raw.read
      const write = (v: Views, o: number, value: unknown) => {
        checkNumberOf(name, kind, value)
        raw.write(v, o, value as number)
      }
      return { read: raw.read, write, plain }
    }
    case 'bool': {
      const read = (v: Views, o: number) => v.bytes[o] !== 0
      const write = (v: Views, o: number, value: unknown) => {
        if (typeof value !== 'boolean') throw wrongType(name, 'a boolean', value)
        v.bytes[o] = value ? 1 : 0
      }
      return { read, write, plain: read }
    }
    case 'bytes':
      return bytesCodec(shape.length, name)
    case 'text':
      return textCodec(shape.length, name)
    case 'pointer':
      return safeCodec('u64', rawNumber('u64', isForeign(shape.endian), place.alignment), place, checkPointer)
    case 'enumeration':
      return enumerationCodec(shape.names, rawNumber(shape.kind, isForeign(shape.endian), place.alignment), name)
    case 'bits':
      throw new TypeError('a bit field has no codec of its own')
    case 'array':
      return arrayCodec(codecOf(shape.element, elementPlace(shape, place)), shape, name)
    case 'struct':
      return shape.struct.codec(place.alignment)
  }
}

function elementPlace({ element }: Shape & { is: 'array' }, { name, alignment }: Place): Place {
  return { name: `an element of ${name}`, alignment: alignmentAt(alignment, extentOf(element).size) }
}

interface RawNumber {
  read(views: Views, offset: number): number | bigint
  write(views: Views, offset: number, value: number | bigint): void
}

/** One number's bytes while they are reordered. */
const scratch = new Uint8Array(8)
const scratchOf = {
  i8: new Int8Array(scratch.buffer),
  u8: scratch,
  i16: new Int16Array(scratch.buffer),
  u16: new Uint16Array(scratch.buffer),
  i32: new Int32Array(scratch.buffer),
  u32: new Uint32Array(scratch.buffer),
  i64: new BigInt64Array(scratch.buffer),
  u64: new BigUint64Array(scratch.buffer),
  f32: new Float32Array(scratch.buffer),
  f64: new Float64Array(scratch.buffer),
}

type Numbers = { [index: number]: number | bigint }

function rawNumber(kind: NumberKind, foreign: boolean, alignment: number): RawNumber {
  const { size } = NUMBERS[kind]
  if (alignment >= size && (!foreign || size === 1)) {
    return {
      read: (v, o) => (v[kind] as Numbers)[o / size] ?? v.lose(),
      write: (v, o, value) => {
        const numbers = v[kind] as Numbers
        if (numbers[o / size] === undefined) v.lose()
        numbers[o / size] = value
      },
    }
  }
  const numbers = scratchOf[kind] as Numbers
  return {
    read: ({ bytes }, o) => {
      for (let i = 0; i < size; i++) scratch[foreign ? size - 1 - i : i] = bytes[o + i]!
      return numbers[0]!
    },
    write: ({ bytes }, o, value) => {
      numbers[0] = value
      for (let i = 0; i < size; i++) bytes[o + i] = scratch[foreign ? size - 1 - i : i]!
    },
  }
}

/** An integer of 64 bits as a number. Reads are checked too: a value that doesn't fit would come out as another number. */
function safeCodec(kind: NumberKind, raw: RawNumber, { name }: Place, check?: typeof checkPointer): Codec {
  const read = (v: Views, o: number) => checkSafe(name, kind, Number(raw.read(v, o)))
  const write = (v: Views, o: number, value: unknown) => {
    if (check !== undefined) check(name, value)
    else checkSafe(name, kind, value)
    raw.write(v, o, BigInt(value as number))
  }
  return { read, write, plain: read }
}

function bytesCodec(length: number, name: string): Codec {
  const read = ({ bytes }: Views, o: number) => new Uint8Array(bytes.buffer, bytes.byteOffset + o, length)
  const write = ({ bytes }: Views, o: number, value: unknown) => {
    const source = checkBytes(name, length, value)
    bytes.set(source, o)
    bytes.fill(0, o + source.length, o + length)
  }
  return { read, write, plain: ({ bytes }, o) => bytes.toString('hex', o, o + length) }
}

/** Up to this many bytes, a loop finds the end of text in the time that it takes to make a Buffer for memchr. */
const SHORT_TEXT = 64

function textCodec(length: number, name: string): Codec {
  const read = ({ bytes }: Views, o: number) => {
    const end = o + length
    const near = Math.min(end, o + SHORT_TEXT)
    let at = o
    while (at < near && bytes[at] !== 0) at++
    if (at < near || near === end) return bytes.toString('utf8', o, at)
    const rest = bytes.subarray(near, end).indexOf(0)
    return bytes.toString('utf8', o, rest === -1 ? end : near + rest)
  }
  const write = ({ bytes }: Views, o: number, value: unknown) => {
    const size = checkText(name, length, value)
    bytes.write(value as string, o, size, 'utf8')
    bytes.fill(0, o + size, o + length)
  }
  return { read, write, plain: read }
}

function enumerationCodec(names: ReadonlyMap<string, number>, raw: RawNumber, name: string): Codec {
  const byValue = new Map([...names].map(([key, value]) => [value, key]))
  const read = (v: Views, o: number) => {
    const value = raw.read(v, o) as number
    return byValue.get(value) ?? noName(name, value)
  }
  const write = (v: Views, o: number, value: unknown) => {
    if (typeof value !== 'string') throw wrongType(name, 'a name', value)
    const number = names.get(value)
    if (number === undefined) throw outOfRange(name, `one of ${[...names.keys()].join(', ')}`, value)
    raw.write(v, o, number)
  }
  const plain = (v: Views, o: number) => {
    const value = raw.read(v, o) as number
    return byValue.get(value) ?? value
  }
  return { read, write, plain }
}

function noName(name: string, value: number): never {
  throw outOfRange(name, 'a value that has a name', value)
}

/** Bits of an integer, which may begin at any bit of a byte and end 8 bytes later. */
function bitsCodec(kind: NumberKind, first: number, width: number, { name }: Place): Codec {
  const size = Math.ceil((first + width) / 8)
  const shift = BigInt(first)
  const big = isBig(kind)
  const bytesAt = (bytes: Uint8Array, o: number) => {
    let all = 0n
    for (let i = size - 1; i >= 0; i--) all = (all << 8n) | BigInt(bytes[o + i]!)
    return all
  }
  const read = ({ bytes }: Views, o: number) => {
    const bits = bytesAt(bytes, o) >> shift
    const value = kind.startsWith('i') ? BigInt.asIntN(width, bits) : BigInt.asUintN(width, bits)
    return big ? value : Number(value)
  }
  const write = ({ bytes }: Views, o: number, value: unknown) => {
    checkBits(name, kind, width, value)
    const mask = (2n ** BigInt(width) - 1n) << shift
    const bits = BigInt.asUintN(width, BigInt(value as number | bigint))
    let all = (bytesAt(bytes, o) & ~mask) | (bits << shift)
    for (let i = 0; i < size; i++, all >>= 8n) bytes[o + i] = Number(all & 255n)
  }
  return { read, write, plain: big ? (v, o) => String(read(v, o)) : read }
}
