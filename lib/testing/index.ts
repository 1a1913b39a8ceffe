/** For tests and tools, beside a heap: simulated and real systems to map memory from, and the allocator's own constants. */
export { openMapper } from '../os/open-mapper.ts'
export { SimulatedMapper, type SimulatedSystem } from '../os/simulated-mapper.ts'
export { generateSizeClasses, LEAST_OBJECT_BYTES, type SizeClass } from '../tcmalloc/size-class.ts'
