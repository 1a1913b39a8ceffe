export { GoHeap, type GoHeapOptions } from './go-heap.ts'
export { CycleRecord, type GoMemStats, type GoSizeStats } from './mem-stats.ts'
export type { TypeId, TypeLayout } from './types.ts'
