import type { Arena, PassedBlock } from '../../../lib/index.ts'
import { type Part, type Scenario, scenario, usableBytes } from '../scenario.ts'

/** Arenas, and blocks on their way from one thread to another. */
export const LIFETIMES: Scenario[] = [
  scenario({
    name: 'two threads have arenas, and both end one',
    threads: 2,
    options: { cacheBytes: 0 },
    setup: (_, heap) => {
      const arena = heap.arena()
      arena.malloc(1000)
      return arena
    },
    tell: (arena) => arena.share(),
    prepare: (lib, token, told): Part & { arena: Arena } => {
      const part = lib.attached(token)
      return { ...part, arena: lib.Arena.attach(told, { heap: part.heaps[0]! }) }
    },
    run: ({ heaps: [heap], arena }) => {
      const own = heap!.arena({ owner: 'worker' })
      const mark = own.mark()
      own.malloc(100)
      const child = own.arena()
      child.malloc(70_000)
      own.malloc(100_000)
      own.rewind(mark)
      arena.dispose()
      own.dispose()
    },
    goOn: ({ heaps: [heap] }) => {
      heap!.stats()
    },
    check: () => {},
    cleanUp: (_, __, arena) => arena.dispose(),
  }),
  scenario({
    name: 'two threads adopt one passed block',
    threads: 2,
    options: { cacheBytes: 0 },
    setup: (_, heap) => heap.pass(heap.allocBuffer(1000).fill(7)),
    tell: (passed) => passed,
    run: ({ heaps: [heap], blocks }, passed) => {
      try {
        // A thread that is struck behind the adoption has the block.
        blocks.attempt([0, usableBytes(1000)], () => heap!.freeBuffer(heap!.adopt(passed as PassedBlock)))
        return 1
      } catch (error) {
        if ((error as { code?: string }).code !== 'ERR_HEAP_STALE_HANDLE') throw error
        return 0
      }
    },
    check: ({ results, heap, isStruck, setup }) => {
      const adopted = (results as number[]).reduce((sum, one) => sum + (one ?? 0), 0)
      if (adopted > 1 || (!isStruck && adopted !== 1)) throw new Error(`adopted ${adopted} times`)
      if (adopted === 1) return
      try {
        heap.freeBuffer(heap.adopt(setup))
      } catch (error) {
        if ((error as { code?: string }).code !== 'ERR_HEAP_STALE_HANDLE') throw error
      }
    },
  }),
]
