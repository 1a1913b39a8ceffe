import test from 'ava'
import fc from 'fast-check'
import { AllocatorError } from '../../lib/base/errors.ts'
import {
  FreeListHeap,
  type FreeListHeapOptions,
  type Handle,
  type Mutator,
  type ObjectType,
} from '../../lib/freelist/index.ts'
import { isAddon, loadAddon } from '../../lib/os/addon.ts'
import { SimulatedMapper } from '../../lib/testing/index.ts'
import { minimize } from '../support/minimize.ts'
import { Pattern } from '../support/pattern.ts'

const MIB = 2 ** 20
const LIMIT_BYTES = 4 * MIB
const MOST_LIVE_BYTES = 2 * MIB
const HEADER = 16

type Kind =
  | 'malloc'
  | 'calloc'
  | 'alignedAlloc'
  | 'realloc'
  | 'free'
  | 'wrongFree'
  | 'release'
  | 'allocate'
  | 'dispose'
  | 'collect'
interface Operation {
  kind: Kind
  size: number
  pick: number
}

/** Drawn without fast-check's preference for short lists and small numbers: the heap is to get full. */
const operations: fc.Arbitrary<Operation[]> = fc.noBias(
  fc.array(
    fc.record({
      kind: fc.constantFrom<Kind[]>(
        ...([
          'malloc',
          'malloc',
          'malloc',
          'calloc',
          'alignedAlloc',
          'realloc',
          'realloc',
          'free',
          'free',
          'free',
        ] as const),
        ...(['wrongFree', 'release', 'allocate', 'allocate', 'dispose', 'collect'] as const)
      ),
      size: fc.oneof({ weight: 8, arbitrary: fc.nat(300) }, { weight: 2, arbitrary: fc.nat(9000) }, fc.nat(200_000)),
      pick: fc.nat(2 ** 20),
    }),
    { maxLength: 1500, size: 'max' }
  )
)

interface Block {
  address: number
  size: number
  usable: number
  seed: number
  /** Of an object; what malloc gave has none. */
  handle?: Handle
}

/** A list of what is live, and a map of the granules that it takes; what a heap does is compared with it. */
class Model {
  private readonly heap: FreeListHeap
  private readonly mutator: Mutator
  private readonly type: (size: number) => ObjectType
  private readonly maxAlignment: number
  private readonly pattern: Pattern
  private readonly taken = new Uint8Array(LIMIT_BYTES / 16 + 4096)
  private readonly blocks: Block[] = []
  private readonly freed: number[] = []
  /** Objects without a handle, which are live until they are collected. */
  private garbage: Block[] = []
  private collections = 0
  private seed = 0

  constructor(heap: FreeListHeap, maxAlignment: number) {
    this.heap = heap
    this.maxAlignment = maxAlignment
    this.pattern = new Pattern(heap.buffer)
    this.mutator = heap.mutator()
    const types = new Map<number, ObjectType>()
    this.type = (size) => {
      const type = types.get(size) ?? this.mutator.defineType({ size, references: [] })
      types.set(size, type)
      return type
    }
  }

  apply({ kind, size, pick }: Operation): void {
    const { heap, blocks } = this
    const at = blocks.length === 0 ? -1 : pick % blocks.length
    const block = blocks[at]
    const full = blocks.reduce((sum, { usable }) => sum + usable, size) > MOST_LIVE_BYTES
    switch (kind) {
      case 'malloc':
        if (!full) this.adopt(heap.malloc(size), size)
        break
      case 'calloc':
        if (!full) this.adopt(heap.calloc(1, size), size, undefined, true)
        break
      case 'alignedAlloc': {
        const alignment = Math.min(this.maxAlignment, 2 ** (pick % 17))
        if (full) break
        const address = heap.alignedAlloc(alignment, size)
        check(address % alignment === 0, `${address} isn't aligned to ${alignment}`)
        this.adopt(address, size)
        break
      }
      case 'allocate': {
        if (full) break
        const handle = this.mutator.allocate(this.type(size))
        if (heap.collections !== this.collections) this.forgetGarbage()
        this.adopt(handle.address, size, handle, true)
        break
      }
      case 'realloc':
        if (block !== undefined && block.handle === undefined && !full) this.realloc(at, block, size)
        break
      case 'free':
      case 'dispose':
        if (block !== undefined) this.letGo(at, block)
        break
      case 'wrongFree':
        this.wrongFree(pick, block)
        break
      case 'release':
        this.release(pick % 2 === 0 ? undefined : size)
        break
      case 'collect':
        heap.collect()
        this.forgetGarbage()
    }
    if (heap.collections !== this.collections) this.forgetGarbage()
    this.checkStats()
  }

  finish(): void {
    for (const block of this.blocks.slice()) this.letGo(this.blocks.indexOf(block), block)
    this.heap.collect()
    this.forgetGarbage()
    this.checkStats()
    this.heap.audit()
    check(this.heap.stats().centralCacheBytes <= HEADER, 'there is more than one free block at the end')
  }

  private adopt(address: number, size: number, handle?: Handle, zero = false): void {
    const usable = this.heap.usableSize(address)
    check(usable >= size && address % 16 === 0, `the block at ${address} has ${usable} bytes for ${size}`)
    const [from, to] = [address / 16 - 1, (address + usable) / 16]
    check(this.taken.subarray(from, to).indexOf(1) === -1, `the block at ${address} overlaps another`)
    this.taken.fill(1, from, to)
    if (zero) check(this.pattern.isZero(address, size), `the block at ${address} isn't zero`)
    const seed = this.seed++
    this.pattern.write(address, size, seed)
    this.blocks.push({ address, size, usable, seed, ...(handle === undefined ? {} : { handle }) })
  }

  private realloc(at: number, block: Block, size: number): void {
    this.checkContents(block)
    const address = this.heap.realloc(block.address, size)
    this.forget(block)
    this.blocks.splice(at, 1)
    const kept = Math.min(size, block.size)
    check(this.pattern.difference(address, block.size, block.seed, kept) === -1, `realloc to ${size} lost bytes`)
    this.adopt(address, size)
  }

  private letGo(at: number, block: Block): void {
    this.checkContents(block)
    this.blocks.splice(at, 1)
    if (block.handle !== undefined) {
      block.handle.dispose()
      this.garbage.push(block)
      return
    }
    this.heap.free(block.address)
    this.forget(block)
    this.freed.push(block.address)
  }

  private wrongFree(pick: number, block: Block | undefined): void {
    const wrong = [0, 16, 2 ** 30 + 16]
    if (block !== undefined) wrong.push(block.address + 8, block.address - 16)
    if (block !== undefined && block.usable > 16) wrong.push(block.address + 16)
    if (block?.handle !== undefined) wrong.push(block.address)
    for (const address of wrong) this.expect(['ERR_HEAP_INVALID_ADDRESS'], address)
    const freed = this.freed[pick % Math.max(1, this.freed.length)]
    // Its granule is nobody's: the block is free still, or merged.
    if (freed === undefined || this.taken[freed / 16] !== 0 || this.taken[freed / 16 - 1] !== 0) return
    this.expect(['ERR_HEAP_DOUBLE_FREE', 'ERR_HEAP_INVALID_ADDRESS'], freed)
  }

  private expect(codes: string[], address: number): void {
    try {
      this.heap.free(address)
    } catch (error) {
      if (error instanceof AllocatorError && codes.includes(error.code)) return
      throw error
    }
    throw new Error(`the free of ${address} was not refused`)
  }

  private release(bytes: number | undefined): void {
    const before = this.heap.stats()
    const given = this.heap.releaseFreeMemory(bytes)
    const after = this.heap.stats()
    check(after.pageHeapReleasedBytes === before.pageHeapReleasedBytes + given, 'released bytes were counted wrong')
    check(after.pageHeapFreeBytes === before.pageHeapFreeBytes - given, 'free bytes were counted wrong')
    if (bytes === undefined) check(this.heap.releaseFreeMemory() === 0, 'not all was released')
    this.heap.audit()
    for (const block of this.blocks) this.checkContents(block)
  }

  private forgetGarbage(): void {
    this.collections = this.heap.collections
    for (const block of this.garbage) this.forget(block)
    this.garbage = []
  }

  private forget({ address, usable }: Block): void {
    this.taken.fill(0, address / 16 - 1, (address + usable) / 16)
  }

  private checkContents({ address, size, usable, seed }: Block): void {
    check(this.pattern.difference(address, size, seed) === -1, `the block at ${address} has changed`)
    check(this.heap.usableSize(address) === usable, `the usable size at ${address} has changed`)
  }

  private checkStats(): void {
    const stats = this.heap.stats()
    const parts = stats.liveBytes + stats.centralCacheBytes + stats.pageHeapFreeBytes + stats.pageHeapReleasedBytes
    check(parts === stats.mappedBytes, `${parts} bytes are somewhere, ${stats.mappedBytes} are mapped`)
    const live = [...this.blocks, ...this.garbage].reduce((sum, { usable }) => sum + usable, 0)
    check(stats.liveBytes === live, `${live} bytes are live, the heap says ${stats.liveBytes}`)
    check(stats.peakLiveBytes >= live && stats.mappedBytes <= LIMIT_BYTES, 'the peak is too low, or the limit passed')
  }
}

function check(holds: boolean, message: string): void {
  if (!holds) throw new Error(message)
}

const tunings: fc.Arbitrary<FreeListHeapOptions> = fc.record({
  search: fc.constantFrom<('all' | 'free')[]>('all', 'free'),
  growth: fc.constantFrom('exact' as const, { step: 100_000 }, { percent: 25 }),
  collectAfterBytes: fc.constantFrom(0, 50_000, Number.POSITIVE_INFINITY),
})

const systems: { name: string; options: () => FreeListHeapOptions; maxAlignment: number }[] = [
  { name: 'native', options: () => ({}), maxAlignment: isAddon(loadAddon()) ? 65_536 : 4096 },
  {
    name: 'simulated, 4 KiB pages that come back with undefined contents',
    options: () => ({ mapper: new SimulatedMapper({ releaseZeroes: false }) }),
    maxAlignment: 4096,
  },
  {
    name: 'simulated, 64 KiB pages',
    options: () => ({ mapper: new SimulatedMapper({ systemPageSize: 65_536 }) }),
    maxAlignment: 4096,
  },
]

for (const { name, options, maxAlignment } of systems) {
  test(`a heap does what the model does: ${name}`, async (t) => {
    /** The first operation that goes wrong, and how; the number of them all where only the end does. */
    const fault = (
      tuning: FreeListHeapOptions,
      script: readonly Operation[]
    ): { index: number; error: unknown } | null => {
      using heap = new FreeListHeap({ ...options(), ...tuning, limitBytes: LIMIT_BYTES })
      const model = new Model(heap, maxAlignment)
      let index = 0
      try {
        for (; index < script.length; index++) model.apply(script[index]!)
        heap.audit()
        model.finish()
        return null
      } catch (error) {
        return { index, error }
      }
    }
    const outcome = fc.check(
      fc.property(tunings, operations, (tuning, script) => fault(tuning, script) === null),
      { numRuns: 40, endOnFailure: true }
    )
    if (outcome.counterexample !== null) {
      const [tuning, script] = outcome.counterexample
      const failing = await minimize(script, async (shorter) => fault(tuning, shorter)?.index ?? -1)
      const listing = failing.map((operation) => JSON.stringify(operation)).join('\n')
      t.fail(`${String(fault(tuning, failing)?.error)}\nseed ${outcome.seed}, ${JSON.stringify(tuning)}\n${listing}`)
    }
    t.false(outcome.failed)
  })
}
