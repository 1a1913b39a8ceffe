import { type Scenario, scenario } from '../scenario.ts'

/** What caches have at first: of the controller's and each thread's, nobody else can take it. */
const FIRST_BYTES = 2 ** 19

/** Caches that fill up to their room, and want more: there are four steps of 64 KiB, for which all compete. */
const roomScenario = (threads: 2 | 3): Scenario =>
  scenario({
    name: `${threads === 2 ? 'two' : 'three'} thread caches take room from each other`,
    threads,
    options: { cacheBytes: (threads + 1) * FIRST_BYTES + 4 * 2 ** 16 },
    run: ({ heaps: [heap], blocks }) => {
      for (let round = 0; round < 2; round++)
        for (const address of blocks.many(heap!, 12, 60_000)) blocks.free(heap!, address)
    },
  })

/** The page heap: growth, release, the limit, figures that are read meanwhile, and the room of thread caches. */
export const PAGES: Scenario[] = [
  scenario({
    name: 'a thread releases free memory while another allocates',
    threads: 2,
    options: { cacheBytes: 0 },
    setup: (_, heap) => {
      const blocks = Array.from({ length: 10 }, () => heap.malloc(100_000))
      for (const address of blocks.filter((_, n) => n % 2 === 1)) heap.free(address)
      return blocks.filter((_, n) => n % 2 === 0)
    },
    run: ({ heaps: [heap], blocks }, _, thread) => {
      if (thread === 0) heap!.releaseFreeMemory()
      else {
        blocks.malloc(heap!, 300_000)
        const zeros = blocks.calloc(heap!, 400_000)
        blocks.malloc(heap!, 100_000)
        if (new Int32Array(heap!.buffer, zeros, 100_000).some((word) => word !== 0))
          throw new Error('calloc left bytes')
      }
    },
    cleanUp: (_, heap, blocks) => {
      for (const address of blocks) heap.free(address)
    },
  }),
  scenario({
    name: 'a thread reads figures and audits while another allocates',
    threads: 2,
    run: ({ heaps: [heap], blocks }, _, thread) => {
      if (thread === 0) {
        const { liveBytes, mappedBytes, ...others } = heap!.stats()
        const { threadCacheBytes, centralCacheBytes, pageHeapFreeBytes, pageHeapReleasedBytes } = others
        const sum = liveBytes + threadCacheBytes + centralCacheBytes + pageHeapFreeBytes + pageHeapReleasedBytes
        if (liveBytes < 0 || sum !== mappedBytes) throw new Error(`${sum} of ${mappedBytes} bytes are told`)
        heap!.audit()
      } else {
        for (const address of blocks.many(heap!, 6, 3000).slice(0, 2)) blocks.free(heap!, address)
        blocks.free(heap!, blocks.malloc(heap!, 400_000))
      }
    },
  }),
  scenario({
    name: 'three threads allocate in all tiers',
    threads: 3,
    options: { cacheBytes: 2 ** 20 },
    run: ({ heaps: [heap], blocks }, _, thread) => {
      for (const address of blocks.many(heap!, 5, 2000 + 100 * thread).slice(0, 3)) blocks.free(heap!, address)
      blocks.free(heap!, blocks.malloc(heap!, 300_000))
      heap!.threadIdle()
    },
  }),
  scenario({
    name: 'three threads compete for the last memory',
    threads: 3,
    options: { cacheBytes: 0, limitBytes: 2 ** 20 },
    run: ({ heaps: [heap], blocks }) => {
      try {
        blocks.many(heap!, 4, 100_000)
      } catch (error) {
        if ((error as { code?: string }).code !== 'ERR_HEAP_OUT_OF_MEMORY') throw error
      }
      for (const { address } of blocks.held.slice(0, 2)) blocks.free(heap!, address)
    },
  }),
  scenario({
    name: 'two threads need pages of which some were given back, and a third frees some',
    threads: 3,
    options: { cacheBytes: 0, limitBytes: 2 ** 20, releaseRate: 0 },
    setup: (_, heap) => {
      const blocks = Array.from({ length: 8 }, () => heap.malloc(120_000))
      // Normal and released pages in turn, none of which are enough.
      for (const at of [1, 5]) heap.free(blocks[at]!)
      heap.releaseFreeMemory()
      for (const at of [2, 6]) heap.free(blocks[at]!)
      return [0, 3, 4, 7].map((at) => blocks[at]!)
    },
    tell: (blocks) => blocks,
    prepare: (lib, token, blocks, thread) => {
      const part = lib.attached(token)
      if (thread === 2) for (const address of blocks) part.blocks.hold(part.heaps[0]!, address)
      return part
    },
    run: ({ heaps: [heap], blocks }, [first, , , last], thread) => {
      if (thread === 2) for (const address of [first!, last!]) blocks.free(heap!, address)
      else if (thread === 0) blocks.malloc(heap!, 240_000)
      else blocks.malloc(heap!, 230_000)
    },
    refusals: ['ERR_HEAP_OUT_OF_MEMORY'],
  }),
  scenario({
    name: 'a thread gives all free memory back while another needs it',
    threads: 2,
    options: { cacheBytes: 0, limitBytes: 2 ** 20, releaseRate: 0 },
    setup: (_, heap) => heap.free(heap.malloc(900_000)),
    run: ({ heaps: [heap], blocks }, _, thread) => {
      if (thread === 0) heap!.releaseFreeMemory()
      else blocks.malloc(heap!, 600_000)
    },
    goOn: ({ heaps: [heap] }) => {
      heap!.stats()
    },
  }),
  roomScenario(2),
  roomScenario(3),
]
