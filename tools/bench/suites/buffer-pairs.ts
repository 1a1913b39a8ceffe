import { type BufferOptions, BufferPool, Heap, type LeakLevel } from 'spanheap'

/** Who makes buffers. On a side that is unwatched leaks aren't looked for. */
export type Side = HeapSide | CollectedSide
type HeapSide = 'heap' | 'unwatched' | 'zeroed' | 'pool' | 'unwatched pool'

/** Node's own ways, whose buffers the collector takes back. */
const COLLECTED = ['allocUnsafe', 'allocUnsafeSlow', 'alloc', 'Uint8Array'] as const
type CollectedSide = (typeof COLLECTED)[number]

export function isCollected(side: Side): side is CollectedSide {
  return (COLLECTED as readonly Side[]).includes(side)
}

/** A buffer that is given up at once, or live ones of which one after the other is replaced; or one that is written to, all of it, and given up. */
export type Way = 'at once' | 'ring' | WrittenWay
type WrittenWay = 'filled' | 'copied into'

/** What a program does with a buffer of a size before it gives it up. */
const WRITES: Readonly<Record<WrittenWay, (size: number) => (buffer: Uint8Array) => void>> = {
  filled: () => (buffer) => buffer.fill(7),
  'copied into': (size) => {
    const source = new Uint8Array(size).fill(7)
    return (buffer) => buffer.set(source)
  },
}

/** A ring's buffers; of large ones fewer. */
const MOST_LIVE = 64
const MOST_LIVE_BYTES = 64 * 2 ** 20
/** The part of a round between two looks at the clock. */
const BATCH_SHARE = 1 / 16

/** Makes buffers of one size in a way, and gives them up again. */
export interface Pairs {
  /** As many as a ring has, or a turn of the ring. Entered often, so that V8 compiles it whole. */
  turn(): void
  /** How many these are. */
  readonly perTurn: number
  /** Gives up those of the ring. */
  end(): void
}

/** Opens a side, once in a process: what it makes pairs of, by way and size. */
export function openSide(side: Side): (way: Way, size: number) => Pairs {
  switch (side) {
    case 'heap':
      return pairsOf(new Heap())
    case 'unwatched':
      return pairsOf(new Heap({ leaks: 'off' }))
    case 'zeroed':
      return pairsOf(new Heap(), { zero: true })
    case 'pool':
      return pooledPairsOf(new Heap())
    case 'unwatched pool':
      return pooledPairsOf(new Heap(), 'off')
    case 'allocUnsafe':
      return collectedPairsOf((size) => Buffer.allocUnsafe(size))
    case 'allocUnsafeSlow':
      return collectedPairsOf((size) => Buffer.allocUnsafeSlow(size))
    case 'alloc':
      return collectedPairsOf((size) => Buffer.alloc(size))
    case 'Uint8Array':
      return collectedPairsOf((size) => new Uint8Array(size))
  }
}

function liveOf(size: number): number {
  return Math.min(MOST_LIVE, MOST_LIVE_BYTES / size)
}

/** Calls are written out here and below, as a program has them: no function between is to be inlined or not. */
function pairsOf(heap: Heap, options?: BufferOptions): (way: Way, size: number) => Pairs {
  return (way, size) => {
    const perTurn = liveOf(size)
    if (way === 'at once')
      return {
        perTurn,
        turn() {
          for (let i = 0; i < perTurn; i++) heap.freeBuffer(heap.allocBuffer(size, options))
        },
        end() {},
      }
    if (way !== 'ring') {
      const write = WRITES[way](size)
      return {
        perTurn,
        turn() {
          for (let i = 0; i < perTurn; i++) {
            const buffer = heap.allocBuffer(size, options)
            write(buffer)
            heap.freeBuffer(buffer)
          }
        },
        end() {},
      }
    }
    const ring = Array.from({ length: perTurn }, () => heap.allocBuffer(size, options))
    return {
      perTurn,
      turn() {
        for (let at = 0; at < perTurn; at++) {
          heap.freeBuffer(ring[at]!)
          ring[at] = heap.allocBuffer(size, options)
        }
      },
      end() {
        for (const buffer of ring) heap.freeBuffer(buffer)
      },
    }
  }
}

function pooledPairsOf(heap: Heap, leaks?: LeakLevel): (way: Way, size: number) => Pairs {
  return (way, size) => {
    const pool = new BufferPool({ size, heap, ...(leaks === undefined ? {} : { leaks }) })
    const perTurn = liveOf(size)
    if (way === 'at once')
      return {
        perTurn,
        turn() {
          for (let i = 0; i < perTurn; i++) pool.release(pool.acquire())
        },
        end() {},
      }
    if (way !== 'ring') {
      const write = WRITES[way](size)
      return {
        perTurn,
        turn() {
          for (let i = 0; i < perTurn; i++) {
            const buffer = pool.acquire()
            write(buffer)
            pool.release(buffer)
          }
        },
        end() {},
      }
    }
    const ring = Array.from({ length: perTurn }, () => pool.acquire())
    return {
      perTurn,
      turn() {
        for (let at = 0; at < perTurn; at++) {
          pool.release(ring[at]!)
          ring[at] = pool.acquire()
        }
      },
      end() {
        for (const buffer of ring) pool.release(buffer)
      },
    }
  }
}

/** What the collector takes back. A process has one such function, which V8 inlines. */
function collectedPairsOf(allocate: (size: number) => Uint8Array): (way: Way, size: number) => Pairs {
  return (way, size) => {
    const perTurn = liveOf(size)
    if (way === 'at once')
      return {
        perTurn,
        turn() {
          for (let i = 0; i < perTurn; i++) allocate(size)
        },
        end() {},
      }
    if (way !== 'ring') {
      const write = WRITES[way](size)
      return {
        perTurn,
        turn() {
          for (let i = 0; i < perTurn; i++) write(allocate(size))
        },
        end() {},
      }
    }
    const ring = Array.from({ length: perTurn }, () => allocate(size))
    return {
      perTurn,
      turn() {
        for (let at = 0; at < perTurn; at++) ring[at] = allocate(size)
      },
      end() {
        ring.length = 0
      },
    }
  }
}

/** How many pairs were made, and in what time. */
export interface Round {
  readonly pairs: number
  readonly ns: number
}

/** Makes pairs for so long. The clock is looked at now and then: a look takes as long as some pairs. */
export function round(pairs: Pairs, ms: number): Round {
  const start = performance.now()
  let [turns, batch, elapsed] = [0, 1, 0]
  while (elapsed < ms) {
    for (let turn = 0; turn < batch; turn++) pairs.turn()
    turns += batch
    elapsed = performance.now() - start
    if (elapsed < ms * BATCH_SHARE) batch *= 2
  }
  return { pairs: turns * pairs.perTurn, ns: elapsed * 1e6 }
}
