import type { Heap } from '../heap/heap.ts'
import type { Codec } from './codec.ts'
import type { Endian, NumberKind } from './kinds.ts'

/** A field's contents, described as data: the layout, the accessors and the C header are made from it. */
export type Shape =
  | { readonly is: 'number'; readonly kind: NumberKind; readonly safe: boolean; readonly endian?: Endian }
  | { readonly is: 'bool' }
  | { readonly is: 'bytes' | 'text'; readonly length: number }
  | { readonly is: 'pointer'; readonly target: string | (() => RecordType); readonly endian?: Endian }
  | {
      readonly is: 'enumeration'
      readonly kind: NumberKind
      readonly names: ReadonlyMap<string, number>
      readonly endian?: Endian
    }
  | { readonly is: 'bits'; readonly kind: NumberKind; readonly width: number }
  | { readonly is: 'array'; readonly element: Shape; readonly length: number }
  | { readonly is: 'struct'; readonly struct: RecordType }

/** A struct, as a field that contains it or points to it needs it. */
export interface RecordType {
  /** Its name in errors, tables and C headers. */
  readonly name: string
  /** Where each field is. */
  layout(): StructLayout
  /** @internal How its records are read and written if their offsets are multiples of `alignment`. */
  codec(alignment: number): Codec
  /** @internal A record over a live block. */
  at(heap: Heap, address: number): unknown
}

/** The place of a bit field. */
export interface BitRange {
  /** Its first bit in the byte at the field's offset, counted from the lowest: 0 to 7. */
  readonly first: number
  /** How many bits. */
  readonly width: number
}

/** The place of a field. */
export interface FieldLayout {
  /** The name of the property. */
  readonly name: string
  /** Its contents. */
  readonly shape: Shape
  /** Bytes from the start of the struct; for a bit field, to the byte with its first bit. */
  readonly offset: number
  /** Bytes; for a bit field, all bytes that it has bits in. */
  readonly size: number
  /** The alignment that gcc gives the type, outside a packed struct. */
  readonly alignment: number
  /** For a bit field: its bits. */
  readonly bits?: BitRange
}

/** Bytes that belong to no field. */
export interface Padding {
  /** Bytes from the start of the struct. */
  readonly offset: number
  /** How many bytes. */
  readonly size: number
}

/** The layout of a struct in memory, as data. */
export interface StructLayout {
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
}
