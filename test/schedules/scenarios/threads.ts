import type { HeapToken } from '../../../lib/index.ts'
import { Granule } from '../../../lib/memory/page.ts'
import { Lock } from '../../../lib/tcmalloc/control.ts'
import { type Part, type Scenario, scenario } from '../scenario.ts'

/** Threads that join a heap, leave it and die. */
export const THREADS: Scenario[] = [
  scenario({
    name: 'two threads clear up behind a dead one',
    threads: 2,
    setup: (lib, heap) => {
      const dead = lib.Heap.attach(heap.share(), { leaks: 'off' })
      for (const address of Array.from({ length: 30 }, () => dead.malloc(500))) dead.free(address)
      for (let i = 0; i < 2; i++) dead.free(dead.malloc(300_000))
      return dead
    },
    tell: () => undefined,
    prepared: (lib, _, dead) => {
      const { member, tables } = dead[lib.HOST].tiers
      tables.slots.markDead(member.slot)
    },
    run: ({ heaps: [heap], blocks }) => void blocks.many(heap!, 2, 500),
  }),
  scenario({
    name: 'a thread dies while another repairs what a dead one has left of a class',
    threads: 2,
    options: { cacheBytes: 2 ** 22 },
    setup: (lib, heap) => lib.Heap.attach(heap.share(), { leaks: 'off' }),
    tell: () => undefined,
    prepare: (lib, token) => {
      const part = lib.attached(token)
      const [heap] = part.heaps
      for (const address of Array.from({ length: 4 }, () => heap!.malloc(1000))) heap!.free(address)
      return part
    },
    prepared: (lib, _, dead) => {
      const { member, tables, classBySize } = dead[lib.HOST].tiers
      member.locks.acquire(Lock.FirstClass + classBySize[Math.ceil(1000 / Granule.Bytes)]!)
      tables.slots.markDead(member.slot)
    },
    run: ({ heaps: [heap], blocks }, _, thread) => {
      // The first one repairs the class, the second one needs no lock for blocks from its cache.
      if (thread === 0) heap!.threadIdle()
      else blocks.many(heap!, 2, 1000)
    },
  }),
  scenario({
    name: 'a thread attaches while another allocates and closes',
    threads: 2,
    mayKeepSlots: true,
    prepare: (lib, token, _, thread): Part & { token: HeapToken } => ({
      ...lib.attached(token, thread === 0 ? 1 : 0),
      token,
    }),
    run: (part, _, thread, lib) => {
      if (thread === 0) {
        part.blocks.free(part.heaps[0]!, part.blocks.malloc(part.heaps[0]!, 1000))
        part.heaps[0]!.close()
      } else {
        const heap = lib.Heap.attach(part.token, { leaks: 'off' })
        part.heaps.push(heap)
        part.blocks.malloc(heap, 1000)
      }
    },
    goOn: ({ heaps, token }, _, thread, lib) => {
      if (thread === 0) heaps[0]!.close()
      else lib.Heap.attach(token, { leaks: 'off' }).close()
    },
  }),
  scenario({
    name: 'the last thread closes a heap while another attaches to it',
    threads: 2,
    setup: (lib) => {
      const other = new lib.Heap({ limitBytes: 32 * 2 ** 20, leaks: 'off' })
      other.view(other.malloc(100_000), 100_000).fill(1)
      return { other, token: other.share() }
    },
    others: ({ other }) => [other],
    tell: ({ token }) => token,
    prepare: (lib, _, token, thread) => lib.attached(token, thread === 0 ? 1 : 0),
    prepared: (_, __, { other }) => other.close(),
    run: (part, token, thread, lib) => {
      if (thread === 0) part.heaps[0]!.close()
      else {
        try {
          const heap = lib.Heap.attach(token, { leaks: 'off' })
          heap.free(heap.malloc(100))
          heap.malloc(5000)
          heap.audit()
          heap.close()
        } catch (error) {
          if ((error as { code?: string }).code !== 'ERR_HEAP_INVALID_TOKEN') throw error
        }
      }
    },
    goOn: ({ heaps: [heap] }) => heap?.close(),
  }),
  scenario({
    name: 'a thread has two Heap objects of one heap, and another thread one',
    threads: 2,
    prepare: (lib, token, _, thread) => lib.attached(token, thread === 0 ? 2 : 1),
    run: ({ heaps, blocks }) => {
      for (const heap of heaps) blocks.many(heap, 2, 1000)
      for (const heap of heaps.toReversed()) {
        blocks.free(heap, blocks.held[0]!.address)
        heap.threadIdle()
      }
    },
  }),
]
