export type { Address, Allocator, HeapStats, SyscallCounts } from './allocator.ts'
export type {
  ArrayOf,
  BufferOptions,
  DetailedStats,
  OwnerStats,
  TypedArrayConstructor,
} from './buffers/heap-buffers.ts'
export type { LeakLevel, LeakReport } from './buffers/leak-watch.ts'
export { Channel, type ChannelOptions, type ChannelToken, type PeerCounts } from './channel.ts'
export type { MisuseReport } from './debug/misuse.ts'
export { AllocatorError, type AllocatorErrorCode, type AllocatorErrorDetails } from './errors.ts'
export { Heap } from './heap.ts'
export type { AttachOptions, HeapOptions } from './heap-options.ts'
export { Arena, type ArenaOptions, type ArenaToken } from './lifetime/arena.ts'
export { Block } from './lifetime/block.ts'
export { HandleTable, type HandleTableOptions, type HandleTableToken } from './lifetime/handle-table.ts'
export type { Mapper, Mapping, Reservation, SystemCall } from './os/mapper.ts'
export type { LedgerOptions } from './os/native-mapper.ts'
export { SimulatedMapper, type SimulatedSystem } from './os/simulated-mapper.ts'
export type { Abortable } from './pool/abort.ts'
export { BufferPool, type PoolToken } from './pool/buffer-pool.ts'
export { Lease } from './pool/lease.ts'
export type { PoolEvent } from './pool/pool-events.ts'
export type { PoolBehaviour, PoolOptions } from './pool/pool-options.ts'
export { PoolSet, type PoolSetOptions } from './pool/pool-set.ts'
export type { PoolStats } from './pool/pool-stats.ts'
export type { ReadOptions, ReadSource } from './pool/read.ts'
export type { PoolBuffer } from './pool/recycled-buffers.ts'
export type { WriteOptions } from './pool/write.ts'
export { type ArrayByKind, Column, type ValuesOf } from './struct/column.ts'
export type { NumberKind } from './struct/kinds.ts'
export type { BitRange, FieldLayout, Layout, Padding } from './struct/layout.ts'
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
} from './struct/shapes.ts'
export { type Struct, type StructOptions, struct } from './struct/struct.ts'
export type { StructArray } from './struct/struct-array.ts'
export type { ColumnOf, StructColumns } from './struct/struct-columns.ts'
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
} from './struct/types.ts'
export type { HeapToken } from './token.ts'
