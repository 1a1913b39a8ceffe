export { FreeListHeap, type FreeListHeapOptions } from './free-list-heap.ts'
export type { Growth, GrowthShare, GrowthStep } from './growth.ts'
export type { Handle, Mutator } from './mutator.ts'
export type { ObjectLayout, ObjectType } from './object-type.ts'
