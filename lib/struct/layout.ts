import { inspect } from 'node:util'
import { outOfRange, wrongType } from '../base/errors.ts'
import { headerOf } from './c-header.ts'
import { type Fields, shapeOf, withDefaultOrder } from './field-types.ts'
import { type Endian, MOST_STRUCT_BYTES, NUMBERS } from './kinds.ts'
import { tableOf } from './layout-text.ts'
import type { FieldLayout, Padding, Shape, StructLayout } from './shape.ts'

/**
 * The layout of a struct in memory: as gcc lays it out on x86-64 (System V ABI).
 * @example
 * ```ts
 * import { f64, struct, u8 } from 'spanheap/struct'
 *
 * const layout = struct({ side: u8, price: f64 }, { name: 'Order' }).layout()
 * console.log(layout.size, layout.alignment) // 16 8
 * ```
 */
export class Layout implements StructLayout {
  /** The struct's name. */
  readonly name: string
  /** Bytes, a multiple of the alignment. */
  readonly size: number
  /** Bytes: the largest alignment of its fields; 1 if it is packed. */
  readonly alignment: number
  /** Whether it has no padding. */
  readonly packed: boolean
  /** In the order in which they are in memory. */
  readonly fields: readonly FieldLayout[]
  /** In the order in which they are in memory, the padding at the end last. */
  readonly padding: readonly Padding[]

  /** @internal See `Struct.layout`. */
  constructor(name: string, fields: readonly FieldLayout[], size: number, alignment: number, packed: boolean) {
    this.name = name
    this.fields = fields
    this.size = size
    this.alignment = alignment
    this.packed = packed
    this.padding = gapsOf(fields, size)
  }

  /** A line for each field, and for the padding. */
  table(): string {
    return tableOf(this)
  }

  /** The same as {@link Layout.table}. */
  toString(): string {
    return this.table()
  }

  /** The text that `console.log` shows. */
  [inspect.custom](): string {
    return this.table()
  }

  /**
   * A header of the struct, and of those that it contains, for C11 or C++11 and later; the compiler checks sizes and offsets. A name that a
   * compiler would refuse, such as `int`, `NULL` or `__x`, is replaced by another: `int_`, `NULL_`, `x`.
   */
  toC(): string {
    return headerOf(this)
  }
}

/** Size and alignment of a field's contents. */
export function extentOf(shape: Shape): { size: number; alignment: number } {
  switch (shape.is) {
    case 'number':
    case 'enumeration':
    case 'bits': {
      const { size } = NUMBERS[shape.kind]
      return { size, alignment: size }
    }
    case 'bool':
      return { size: 1, alignment: 1 }
    case 'bytes':
    case 'text':
      return { size: shape.length, alignment: 1 }
    case 'pointer':
      return { size: 8, alignment: 8 }
    case 'array': {
      const { size, alignment } = extentOf(shape.element)
      return { size: size * shape.length, alignment }
    }
    case 'struct': {
      const { size, alignment } = shape.struct.layout()
      return { size, alignment }
    }
  }
}

/** Lays fields out. @throws RangeError `ERR_OUT_OF_RANGE` for an invalid name, or a struct that is too large */
export function layOut(name: string, fields: Fields, packed: boolean, endian: Endian | undefined): Layout {
  const placed: FieldLayout[] = []
  let bit = 0
  let alignment = 1
  for (const [field, type] of Object.entries(fields)) {
    const given = shapeOf(field, type)
    const shape = endian === undefined ? given : withDefaultOrder(given, endian)
    const extent = extentOf(shape)
    const own = packed ? 1 : extent.alignment
    if (own > alignment) alignment = own
    if (shape.is === 'bits') {
      const unit = extent.size * 8
      // It may not cross the end of a unit of its type, except in a packed struct.
      if (!packed && Math.floor(bit / unit) !== Math.floor((bit + shape.width - 1) / unit)) bit = roundUp(bit, unit)
      const offset = Math.floor(bit / 8)
      const first = bit % 8
      const size = Math.ceil((first + shape.width) / 8)
      placed.push({ name: field, shape, offset, size, alignment: own, bits: { first, width: shape.width } })
      bit += shape.width
    } else {
      const offset = roundUp(Math.ceil(bit / 8), own)
      placed.push({ name: field, shape, offset, size: extent.size, alignment: own })
      bit = (offset + extent.size) * 8
    }
    if (bit / 8 > MOST_STRUCT_BYTES) throw outOfRange('fields', 'at most 1 GiB', `${bit / 8} bytes`)
  }
  if (placed.length === 0) throw outOfRange('fields', 'at least one', 'none')
  return new Layout(name, placed, roundUp(Math.ceil(bit / 8), alignment), alignment, packed)
}

/** Names of properties that records, cursors and columns themselves have. */
const TAKEN = new Set([
  ...['address', 'assign', 'constructor', 'deref', 'free', 'index', 'move', 'toJSON'],
  ...Object.getOwnPropertyNames(Object.prototype),
])

/** Checks the names of fields: each must be an identifier of C, and no property that a record itself has. */
export function checkFields(fields: unknown): void {
  if (typeof fields !== 'object' || fields === null) throw wrongType('fields', 'an object', fields)
  for (const name of Object.keys(fields)) {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) throw outOfRange('a field’s name', 'letters, digits and _', name)
    if (TAKEN.has(name)) throw outOfRange('a field’s name', 'none that records have themselves', name)
  }
}

function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit
}

function gapsOf(fields: readonly FieldLayout[], size: number): Padding[] {
  const gaps: Padding[] = []
  let end = 0
  for (const field of [...fields, { offset: size, size: 0 }]) {
    if (field.offset > end) gaps.push({ offset: end, size: field.offset - end })
    end = Math.max(end, field.offset + field.size)
  }
  return gaps
}
