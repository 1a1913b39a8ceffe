export { type ArrayByKind, Column, type ValuesOf } from './column.ts'
export type { NumberKind } from './kinds.ts'
export type { BitRange, FieldLayout, Layout, Padding } from './layout.ts'
export type {
  AnyRecord,
  AnyStruct,
  ColumnsCursor,
  Fields,
  FieldValues,
  ReadOf,
  RecordMethods,
  StructCursor,
  StructRecord,
  Values,
  WriteOf,
} from './shapes.ts'
export { type Struct, type StructOptions, struct } from './struct.ts'
export type { StructArray } from './struct-array.ts'
export type { ColumnOf, StructColumns } from './struct-columns.ts'
export {
  array,
  be,
  bits,
  bool,
  bytes,
  type Endian,
  enumeration,
  type FieldArray,
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
} from './types.ts'
