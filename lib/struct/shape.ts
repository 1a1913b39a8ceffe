import type { Heap } from '../heap/heap.ts'
import type { Codec } from './codec.ts'
import type { Endian, NumberKind } from './kinds.ts'

/** What a field holds, as data: what the layout, the accessors and the C header are made from. */
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

/** What is to know of a struct to have it as a field, or to point to it. */
export interface RecordType {
  /** What errors, tables and C headers call it. */
  readonly name: string
  /** Where each field is. */
  layout(): StructLayout
  /** @internal How its records are read and written where their offsets are multiples of `alignment`. */
  codec(alignment: number): Codec
  /** @internal A record over a live block. */
  at(heap: Heap, address: number): unknown
}

/** Where a bit field is. */
export interface BitRange {
  /** Its first bit in the byte at the field's offset, from the lowest on: 0 to 7. */
  readonly first: number
  /** How many bits. */
  readonly width: number
}

/** Where a field is. */
export interface FieldLayout {
  /** The name of the property. */
  readonly name: string
  /** What it holds. */
  readonly shape: Shape
  /** Bytes from the start of the struct; of a bit field, the byte that its first bit is in. */
  readonly offset: number
  /** Bytes; of a bit field, those that it has bits in. */
  readonly size: number
  /** What gcc aligns the type to, outside a packed struct. */
  readonly alignment: number
  /** Of a bit field: its bits. */
  readonly bits?: BitRange
}

/** Bytes that no field has. */
export interface Padding {
  /** Bytes from the start of the struct. */
  readonly offset: number
  /** How many bytes. */
  readonly size: number
}

/** How a struct lies in memory, as data. */
export interface StructLayout {
  /** The struct's name. */
  readonly name: string
  /** Bytes, a multiple of the alignment. */
  readonly size: number
  /** Bytes: the largest alignment of its fields; 1 where it is packed. */
  readonly alignment: number
  /** Whether it has no padding. */
  readonly packed: boolean
  /** In the order in which they are in memory. */
  readonly fields: readonly FieldLayout[]
  /** In the order in which they are in memory, the end's last. */
  readonly padding: readonly Padding[]
}
