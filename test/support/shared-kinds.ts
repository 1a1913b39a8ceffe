import type { BufferPool, Channel, HandleTable, Heap } from '../../lib/index.ts'

/** The classes of a build of the library. */
export interface SharedClasses {
  BufferPool: typeof BufferPool
  Channel: typeof Channel
  HandleTable: typeof HandleTable
}

/** Something that threads share, with three blocks of 112 usable bytes in it, in one thread. */
export interface Shared {
  /** Where its words are. */
  readonly address: number
  readonly generation: number
  readonly token: object
  close(): void
}

interface SharedKind {
  /** Bytes of its words. */
  readonly bytes: number
  make(classes: SharedClasses, heap: Heap): Shared
  attach(classes: SharedClasses, heap: Heap, token: object): Disposable
}

const SIZES = [100, 101, 102]

/** All that threads share by a block, each made and opened in the same way. */
export const SHARED_KINDS = {
  table: {
    bytes: 1280,
    make: (_, heap) => {
      const table = heap.handles({ max: 300 })
      const token = table.share()
      for (const size of SIZES) table.alloc(size)
      return { address: token.handles, generation: token.generation, token, close: () => table.close() }
    },
    attach: ({ HandleTable }, heap, token) => HandleTable.attach(token as never, { heap }),
  },
  channel: {
    bytes: 1312,
    make: ({ Channel }, heap) => {
      const channel = new Channel(heap, { capacity: 4 })
      const token = channel.share()
      for (const size of SIZES) channel.trySend(heap.allocBuffer(size))
      return { address: token.channel, generation: token.generation, token, close: () => channel.close() }
    },
    attach: ({ Channel }, heap, token) => Channel.attach(token as never, { heap }),
  },
  pool: {
    bytes: 3616,
    make: ({ BufferPool }, heap) => {
      const pool = new BufferPool({ heap, size: 100, max: 4, trimMs: 0 })
      const token = pool.share()
      const buffers = SIZES.map(() => pool.acquire())
      for (const buffer of buffers) pool.release(buffer)
      return { address: token.pool, generation: token.generation, token, close: () => pool.close() }
    },
    attach: ({ BufferPool }, heap, token) => BufferPool.attach(token as never, { heap }),
  },
} as const satisfies Record<string, SharedKind>

export const SHARED_NAMES = Object.keys(SHARED_KINDS) as (keyof typeof SHARED_KINDS)[]
