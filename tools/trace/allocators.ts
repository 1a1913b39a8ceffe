/** What a trace can be replayed on. Here without the allocators themselves: a command that only asks for a name doesn't load them. */
export const ALLOCATORS = ['tcmalloc', 'go', 'freelist', 'direct', 'buffer'] as const
export type AllocatorName = (typeof ALLOCATORS)[number]
