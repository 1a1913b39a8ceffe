import { type Allocator, Heap } from 'spanheap'
import { median } from '../framework/statistics.ts'
import type { MeasuredRow } from '../framework/suite.ts'

/** What grows from row to row: the number of small objects, or the bytes that are mapped for blocks of all sizes. */
export type Growing = 'objects' | 'bytes'

export interface ReplacementParameters {
  readonly growing: Growing
  /** @thi.ng/malloc's pool, and not this package's heap. */
  readonly isPool?: boolean
  /** Numbers of objects, or of bytes; rising, since the blocks of a row stay for the next. */
  readonly rows: readonly number[]
  /** Of each round; a multiple of {@link CHUNK}. */
  readonly operations: number
}

/** What tools/bench/native/growth.c has as well. */
const ROUNDS = 5
/** Rounds before those. In the first row's V8 compiles; in those of the others caches fill with blocks from all over. */
const FIRST_WARM_UPS = 20
const WARM_UPS = 3
const LEAST_BYTES = 16
const SMALL_SIZES = 113
/** What a block of all sizes has on average: 16 doublings of 16 bytes, each as likely, and in the middle of each. */
const MEAN_BYTES = 98304
/** What the pool gets: many times what ten thousand small objects take. */
const POOL_BYTES = 2 ** 24
/** Operations of one call: entered often, so that V8 compiles it whole. */
export const CHUNK = 1000
/** For what is mapped: as much as a heap can have, since blocks that are replaced at random leave gaps. */
const MOST_LIMIT_BYTES = 32 * 2 ** 30

/**
 * Blocks of which one at random is freed and another allocated, which is one operation, in ever more of them. Nanoseconds of an
 * operation: the median of five rounds.
 */
export async function measureReplacement(parameters: ReplacementParameters): Promise<MeasuredRow[]> {
  const { growing, rows, operations, isPool = false } = parameters
  const heap = isPool ? await openPool() : new Heap(growing === 'bytes' ? { limitBytes: MOST_LIMIT_BYTES } : {})
  const replacement = new Replacement(growing, countOf(growing, rows.at(-1)!), heap)
  return rows.map((row, at) => {
    replacement.grow(countOf(growing, row))
    for (let warmUp = 0; warmUp < (at === 0 ? FIRST_WARM_UPS : WARM_UPS); warmUp++) replacement.run(operations)
    const times = Array.from({ length: ROUNDS }, () => {
      const start = process.hrtime.bigint()
      replacement.run(operations)
      return Number(process.hrtime.bigint() - start) / operations
    })
    return { row, values: { nsPerOperation: median(times), checksum: replacement.checksum >>> 0 } }
  })
}

type Replaced = Pick<Allocator, 'malloc' | 'free'> & { readonly buffer: ArrayBufferLike }

async function openPool(): Promise<Replaced> {
  const { MemPool } = await import('@thi.ng/malloc')
  const buffer = new ArrayBuffer(POOL_BYTES)
  const pool = new MemPool({ buf: buffer, align: LEAST_BYTES })
  return { buffer, malloc: (size) => pool.malloc(size), free: (address) => void pool.free(address) }
}

function countOf(growing: Growing, row: number): number {
  return growing === 'bytes' ? Math.floor(row / MEAN_BYTES) : row
}

/** From 16 to 128 bytes, all as likely. */
function smallSize(random: number): number {
  return LEAST_BYTES + (((random >>> 16) * SMALL_SIZES) >>> 16)
}

/** From 16 bytes to 1 MiB, each doubling as likely. */
function anySize(random: number): number {
  const doubling = LEAST_BYTES << (random >>> 28)
  return doubling + (random & (doubling - 1))
}

class Replacement {
  /** By which a test tells that two programs did the same: the sum of all places and sizes, modulo 2^32. */
  checksum = 0
  private readonly growing: Growing
  private readonly heap: Replaced
  /** Addresses of small objects are below 2 GiB. */
  private readonly blocks: Int32Array | Float64Array
  private live = 0
  private seed = 1
  private readonly sizeOf: (random: number) => number

  constructor(growing: Growing, most: number, heap: Replaced) {
    this.growing = growing
    this.heap = heap
    this.blocks = growing === 'bytes' ? new Float64Array(most) : new Int32Array(most)
    this.sizeOf = growing === 'bytes' ? anySize : smallSize
  }

  /** What is counted is written to, so that no operation is the first to touch a page. What is mapped isn't. */
  grow(count: number): void {
    const { heap, blocks } = this
    // Not all of it: a view can't be as long as a heap may be, and small objects lie at its start.
    const bytes = new Int8Array(heap.buffer, 0, Math.min(heap.buffer.byteLength, 2 ** 31 - 1))
    for (; this.live < count; this.live++) {
      blocks[this.live] = heap.malloc(this.sizeOf(this.random()))
      if (this.growing === 'objects') bytes[blocks[this.live]!] = 1
    }
  }

  run(operations: number): void {
    for (let done = 0; done < operations; done += CHUNK) this.replace()
  }

  private replace(): void {
    const { heap, blocks, sizeOf } = this
    // V8 may take remainders of unsigned numbers as doubles, by an x87 instruction of some ten nanoseconds.
    const scale = this.live / 2 ** 32
    let { seed, checksum } = this
    for (let i = 0; i < CHUNK; i++) {
      seed ^= seed << 13
      seed ^= seed >>> 17
      seed ^= seed << 5
      const at = ((seed >>> 0) * scale) >>> 0
      heap.free(blocks[at]!)
      seed ^= seed << 13
      seed ^= seed >>> 17
      seed ^= seed << 5
      const size = sizeOf(seed >>> 0)
      blocks[at] = heap.malloc(size)
      checksum = (checksum + at + size) | 0
    }
    this.seed = seed
    this.checksum = checksum
  }

  private random(): number {
    let { seed } = this
    seed ^= seed << 13
    seed ^= seed >>> 17
    seed ^= seed << 5
    this.seed = seed
    return seed >>> 0
  }
}
