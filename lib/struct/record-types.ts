import type { Fields, FieldType, PointerType } from './field-types.ts'
import type { Layout } from './layout.ts'
import type { RecordType } from './shape.ts'

/** The type that a read of a field gives. */
export type ReadOf<Type> = Type extends { readonly types?: { readonly read: infer Read } } ? Read : never
/** The type that can be written to a field. */
export type WriteOf<Type> = Type extends { readonly types?: { readonly write: infer Write } } ? Write : never
type KeyOf<Type> = Type extends { readonly types?: { readonly key: infer Key } } ? Key : never

/** Names of the fields that can be set; of other fields, the parts can be. */
export type PlainKeys<F extends Fields> = { [K in keyof F]: KeyOf<F[K]> extends 'parts' ? never : K }[keyof F]
/** Names of the fields that hold addresses. */
export type PointerKeys<F extends Fields> = { [K in keyof F]: KeyOf<F[K]> extends 'pointer' ? K : never }[keyof F]

/** The fields of a record as properties. */
export type FieldValues<F extends Fields> = { -readonly [K in PlainKeys<F>]: ReadOf<F[K]> } & {
  readonly [K in Exclude<keyof F, PlainKeys<F>>]: ReadOf<F[K]>
}

/** Values for some or all fields, as `assign` takes them. */
export type Values<F extends Fields> = { readonly [K in keyof F]?: WriteOf<F[K]> }

/** The record that a pointer leads to. */
export type TargetOf<F extends Fields, Name extends string, K extends keyof F> =
  F[K] extends PointerType<infer Target>
    ? Target extends () => {
        readonly fields: infer Other extends Fields
        readonly name: infer OtherName extends string
      }
      ? StructRecord<Other, OtherName>
      : Target extends Name
        ? StructRecord<F, Name>
        : AnyRecord
    : never

/** The members that records and cursors have besides their fields. */
export interface RecordMethods<F extends Fields, Name extends string> {
  /** Its address in the heap. @throws AllocatorError `ERR_HEAP_STALE_HANDLE`, `ERR_HEAP_CLOSED` */
  readonly address: number
  /** Writes the given fields, in the order of `values`. If a value is refused, those before it are already written. */
  assign(values: Values<F>): this
  /** A record at a pointer's target; null if the pointer is 0. @throws AllocatorError if no live block is there */
  deref<K extends PointerKeys<F>>(field: K): TargetOf<F, Name, K> | null
  /** A copy as plain data: bigints as decimal text, bytes as hexadecimal. */
  toJSON(): Record<string, unknown>
}

/** A record of a struct: its fields are properties. */
export type StructRecord<F extends Fields = Fields, Name extends string = string> = FieldValues<F> &
  RecordMethods<F, Name> &
  Disposable & {
    /** Gives back the block that it starts. @throws AllocatorError if it is a part of something else */
    free(): void
  }

/** A record of which the struct isn't known to the compiler. */
export type AnyRecord = { readonly [field: string]: unknown } & RecordMethods<Fields, string> &
  Disposable & {
    /** Gives back the block that it starts. @throws AllocatorError if it is a part of something else */
    free(): void
  }

/** A place in an array that moves: its fields are properties, and it makes no objects. */
export type StructCursor<F extends Fields = Fields, Name extends string = string> = FieldValues<F> &
  RecordMethods<F, Name> & {
    /** Its index. @throws RangeError `ERR_OUT_OF_RANGE` when set to an index that has no record */
    index: number
    /** The same as setting `index`. Returns itself. */
    move(index: number): StructCursor<F, Name>
  }

/** The same over columns: it has no address, since its fields lie apart. */
export type ColumnsCursor<F extends Fields = Fields> = FieldValues<F> & {
  /** The index of its record. @throws RangeError `ERR_OUT_OF_RANGE` when set to an index that has none */
  index: number
  /** The same as setting `index`. Returns itself. */
  move(index: number): ColumnsCursor<F>
  /** Writes the given fields. Returns itself. */
  assign(values: Values<F>): ColumnsCursor<F>
  /** A copy of the record as plain data. */
  toJSON(): Record<string, unknown>
}

/** Any struct. */
export interface AnyStruct extends FieldType, RecordType {
  /** Its fields, in the order in which they are in memory. */
  readonly fields: Fields
  /** Where each field is. */
  layout(): Layout
}
