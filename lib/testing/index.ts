/** What tests and tools need beside a heap: systems to make one over, and the numbers that the allocator goes by. */
export { openMapper } from '../os/open-mapper.ts'
export { SimulatedMapper, type SimulatedSystem } from '../os/simulated-mapper.ts'
export { generateSizeClasses, LEAST_OBJECT_BYTES, type SizeClass } from '../tcmalloc/size-class.ts'
