export { type ArrayByKind, Column, type ValuesOf } from './column.ts'
export {
  array,
  be,
  bits,
  bool,
  bytes,
  enumeration,
  type FieldArray,
  type Fields,
  type FieldType,
  type FieldTypes,
  f32,
  f64,
  i8,
  i16,
  i32,
  i64,
  le,
  type NumberType,
  type PointerType,
  pointer,
  safe,
  text,
  u8,
  u16,
  u32,
  u64,
} from './field-types.ts'
export type { Endian, NumberKind } from './kinds.ts'
export type { Layout } from './layout.ts'
export type {
  AnyRecord,
  AnyStruct,
  ColumnsCursor,
  FieldValues,
  ReadOf,
  RecordMethods,
  StructCursor,
  StructRecord,
  Values,
  WriteOf,
} from './record-types.ts'
export type { BitRange, FieldLayout, Padding, RecordType, StructLayout } from './shape.ts'
export { type Struct, type StructOptions, struct } from './struct.ts'
export type { StructArray } from './struct-array.ts'
export type { ColumnOf, StructColumns } from './struct-columns.ts'
