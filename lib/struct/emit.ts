import type { FITS } from './checks.ts'
import { isBig, isForeign, NUMBERS, type NumberKind } from './kinds.ts'
import type { FieldLayout } from './shape.ts'

/** The bodies of a getter and a setter; the setter's value is `x`. Apart from `this`, they use {@link HELPERS}. */
export interface Body {
  readonly get: string
  readonly set?: string
}

/** Code for a field's place: the index, among elements of a kind, of the element `delta` bytes after the start of the field's struct. */
export type Access = (kind: NumberKind, delta: number) => string

/**
 * Code for an element's value. A heap's ArrayBuffer can be lost, and then its elements are undefined: see `Views.lose`. The check for that
 * costs no instruction in V8's code, which assumes that a typed array's loads give numbers until one gives something else.
 */
function load(kind: NumberKind, index: string): string {
  return `(this.#v.${kind}[${index}] ?? lost(this.#v))`
}

/**
 * Code for a write of an element, in whose value `z` is the old one. The old value is loaded for the same check. If nothing else needs it,
 * V8 keeps only the load's index check, which the store needs anyhow.
 */
function store(kind: NumberKind, index: string, value: string): string {
  return `const a = this.#v.${kind}, i = ${index}, z = a[i]; if (z === undefined) lost(this.#v); a[i] = ${value}`
}

/** For each kind, a condition that is true of an `x` of the right type that is none of its values; empty if there is no such `x`. */
const WRONG: Readonly<Record<NumberKind, string>> = {
  i8: 'x << 24 >> 24 !== x',
  u8: '(x & 255) !== x',
  i16: 'x << 16 >> 16 !== x',
  u16: '(x & 65535) !== x',
  i32: '(x | 0) !== x',
  u32: 'x >>> 0 !== x',
  i64: 'BigInt.asIntN(64, x) !== x',
  u64: 'BigInt.asUintN(64, x) !== x',
  f32: 'x - x === 0 && Math.fround(x) - Math.fround(x) !== 0',
  f64: '',
}

/** Code for a condition that is never true unless the program is wrong: see {@link FITS}. */
export function never(condition: string): string {
  return `FITS[${condition} ? 1 : 0] === undefined`
}

/** Code for whether `x` isn't of a type, or is wrong for another reason. */
function isNo(type: string, wrong = ''): string {
  return never(`typeof x !== '${type}'${wrong && ` || ${wrong}`}`)
}

/**
 * Code for a field that is plain loads and stores of typed arrays. Undefined if the field needs a codec: text, bytes, parts, and fields
 * that are not aligned or in the other byte order.
 */
export function bodyOf(field: FieldLayout, alignment: number, access: Access): Body | undefined {
  const { shape, offset } = field
  const name = JSON.stringify(field.name)
  if ('endian' in shape && isForeign(shape.endian)) return undefined
  switch (shape.is) {
    case 'bool': {
      const index = access('u8', offset)
      const check = `if (${isNo('boolean')}) throw wrongType(${name}, 'a boolean', x); `
      return { get: `return ${load('u8', index)} !== 0`, set: `${check}${store('u8', index, 'x ? 1 : 0')}` }
    }
    case 'number': {
      const { kind } = shape
      if (!isAligned(kind, offset, alignment)) return undefined
      if (shape.safe) return wideBody(name, kind, offset, access, 'checkSafe')
      const index = access(kind, offset)
      const type = isBig(kind) ? 'bigint' : 'number'
      const check = `if (${isNo(type, WRONG[kind])}) throw numberError(${name}, '${kind}', x); `
      return { get: `return ${load(kind, index)}`, set: check + store(kind, index, 'x') }
    }
    case 'pointer':
      if (!isAligned('u64', offset, alignment)) return undefined
      return wideBody(name, 'u64', offset, access, 'checkPointer')
    case 'bits':
      return bitsBody(name, field, alignment, access)
    default:
      return undefined
  }
}

function isAligned(kind: NumberKind, offset: number, alignment: number): boolean {
  const { size } = NUMBERS[kind]
  return alignment >= size && offset % size === 0
}

/** An integer of 64 bits as a number: two halves, the low one first. */
function wideBody(
  name: string,
  kind: NumberKind,
  offset: number,
  access: Access,
  check: 'checkSafe' | 'checkPointer'
): Body | undefined {
  if (isForeign('little')) return undefined
  const low = access('u32', offset)
  const half = kind === 'u64' ? 'u32' : 'i32'
  const high = `this.#v.${half}[${access(half, offset + 4)}]`
  const wrong = `!Number.isSafeInteger(x)${kind === 'u64' ? ' || x < 0' : ''}`
  const checks = `if (${isNo('number', wrong)}) ${check}(${name}, '${kind}', x); `
  return {
    get: `const y = ${high} * 4294967296 + ${load('u32', low)}; if (${never('y > 9007199254740991 || y < -9007199254740991')}) throw unsafe(${name}, '${kind}', y); return y`,
    set: `${checks}const y = x >>> 0; ${store('u32', low, 'y')}; ${high} = (x - y) / 4294967296`,
  }
}

/** A bit field of up to 32 bits that is inside one aligned element. */
function bitsBody(name: string, field: FieldLayout, alignment: number, access: Access): Body | undefined {
  const { offset, bits, shape } = field
  if (bits === undefined || shape.is !== 'bits' || isBig(shape.kind) || isForeign('little')) return undefined
  const { first, width } = bits
  for (const unit of ['u8', 'u16', 'u32'] as const) {
    const { size } = NUMBERS[unit]
    const start = Math.floor(offset / size) * size
    const shift = (offset - start) * 8 + first
    if (alignment < size || shift + width > size * 8) continue
    const index = access(unit, start)
    const element = load(unit, index)
    const mask = width === 32 ? -1 : 2 ** width - 1
    const signed = shape.kind.startsWith('i')
    const value = signed
      ? `${element} << ${32 - shift - width} >> ${32 - width}`
      : width === 32
        ? element
        : `${element} >>> ${shift} & ${mask}`
    const wrong = signed
      ? `x << ${32 - width} >> ${32 - width} !== x`
      : width === 32
        ? 'x >>> 0 !== x'
        : `(x & ${mask}) !== x`
    const check = `if (${isNo('number', wrong)}) checkBits(${name}, '${shape.kind}', ${width}, x); `
    return {
      get: `return ${value}`,
      set: check + store(unit, index, `z & ${~(mask << shift)} | (x & ${mask}) << ${shift}`),
    }
  }
  return undefined
}
