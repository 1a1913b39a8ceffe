import { type Scenario, scenario, unlessRefused } from '../scenario.ts'

/** A block that another thread has freed. */
const FREED = ['ERR_HEAP_DOUBLE_FREE', 'ERR_HEAP_INVALID_ADDRESS']

/** Blocks through all tiers: thread cache, transfer cache, central cache, page heap, span cache. */
export const BLOCKS: Scenario[] = [
  scenario({
    name: 'two threads take and free objects of one class without caches',
    threads: 2,
    options: { cacheBytes: 0 },
    run: ({ heaps: [heap], blocks }) => {
      const [, second] = blocks.many(heap!, 3, 1000)
      blocks.free(heap!, second!)
    },
  }),
  scenario({
    name: 'two threads exchange objects by the transfer cache',
    threads: 2,
    options: { cacheBytes: 2 ** 20 },
    run: ({ heaps: [heap], blocks }) => {
      for (const address of blocks.many(heap!, 40, 2000).slice(0, 38)) blocks.free(heap!, address)
      heap!.threadIdle()
    },
  }),
  scenario({
    name: 'two threads free each other’s objects',
    threads: 2,
    options: { cacheBytes: 0 },
    setup: (_, heap) => Array.from({ length: 8 }, () => heap.malloc(1000)),
    tell: (addresses) => addresses,
    prepare: (lib, token, addresses, thread) => {
      const part = lib.attached(token)
      for (const address of addresses.filter((_, n) => n % 2 === thread)) part.blocks.hold(part.heaps[0]!, address)
      return part
    },
    run: ({ heaps: [heap], blocks }) => {
      for (const { address } of [...blocks.held]) blocks.free(heap!, address)
    },
  }),
  scenario({
    name: 'two threads free one block, and its pages get another size',
    threads: 2,
    breaksRules: true,
    setup: (_, heap) => ({
      address: heap.malloc(64),
      flags: [0, 1].map(() => new Int32Array(new SharedArrayBuffer(4))),
    }),
    tell: (told) => told,
    prepare: (lib, token, { address }, thread) => {
      const part = lib.attached(token)
      if (thread === 0) part.blocks.hold(part.heaps[0]!, address)
      return part
    },
    run: ({ heaps: [heap], blocks }, { address, flags }, thread, lib) => {
      unlessRefused(FREED, () => (thread === 0 ? blocks.free(heap!, address) : heap!.free(address)))
      // Nothing can be had against a thread that is in the middle of such a free while the pages go.
      lib.tell(flags[thread]!, 1)
      if (lib.hear(flags[1 - thread]!) === 0) return
      if (thread === 1) {
        heap!.releaseFreeMemory(0)
        return
      }
      // The first object of the span, and its neighbour. The first gets this thread's state.
      const [first] = blocks.many(heap!, 2, 16)
      blocks.free(heap!, first!)
      const block = blocks.malloc(heap!, 64)
      if (heap!.usableSize(block) < 64) throw new Error(`a block of ${heap!.usableSize(block)} bytes for 64`)
    },
  }),
  scenario({
    name: 'two threads take, resize and free large blocks',
    threads: 2,
    options: { cacheBytes: 0 },
    run: ({ heaps: [heap], blocks }) => {
      const first = blocks.malloc(heap!, 300_000)
      blocks.free(heap!, blocks.malloc(heap!, 400_000))
      blocks.realloc(heap!, blocks.realloc(heap!, first, 500_000), 280_000)
    },
  }),
  scenario({
    name: 'two threads keep spans, and clear them',
    threads: 2,
    options: { cacheBytes: 4 * 2 ** 20 },
    prepare: (lib, token) => {
      const part = lib.attached(token)
      const [heap] = part.heaps
      for (let i = 0; i < 3; i++) heap!.free(heap!.malloc(300_000))
      return part
    },
    run: ({ heaps: [heap], blocks }) => {
      const pair = blocks.many(heap!, 2, 300_000)
      for (const address of pair) blocks.free(heap!, address)
      blocks.calloc(heap!, 300_000)
      heap!.threadIdle()
    },
  }),
]
