export { DirectHeap, type DirectHeapOptions } from './direct-heap.ts'
