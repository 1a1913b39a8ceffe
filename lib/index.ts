export type { Address, Allocator, HeapStats, SyscallCounts } from './allocator.ts'
export type {
  ArrayOf,
  BufferOptions,
  DetailedStats,
  OwnerStats,
  TypedArrayConstructor,
} from './buffers/heap-buffers.ts'
export type { LeakLevel, LeakReport } from './buffers/leak-watch.ts'
export type { PassedBlock } from './buffers/passed-block.ts'
export { Channel, type ChannelOptions, type ChannelToken, type PeerCounts } from './channel.ts'
export type { MisuseReport } from './debug/misuse.ts'
export { AllocatorError, type AllocatorErrorCode, type AllocatorErrorDetails } from './errors.ts'
export { Heap } from './heap.ts'
export type { AttachOptions, HeapOptions } from './heap-options.ts'
export { Arena, type ArenaOptions, type ArenaToken } from './lifetime/arena.ts'
export { Block } from './lifetime/block.ts'
export { HandleTable, type HandleTableOptions, type HandleTableToken } from './lifetime/handle-table.ts'
export type { Isolation, Mapper, Mapping, Reservation, SystemCall } from './os/mapper.ts'
export type { LedgerOptions } from './os/native-mapper.ts'
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
export type { HeapToken } from './token.ts'
