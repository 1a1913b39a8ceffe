import type { Allocator } from 'spanheap'

/** Sizes from `least` bytes on, evenly over so many doublings. `least` is a power of two. */
interface SizeRange {
  readonly least: number
  readonly doublings: number
}

const SMALL: SizeRange = { least: 16, doublings: 5 }
const MEDIUM: SizeRange = { least: 512, doublings: 4 }
const LARGE: SizeRange = { least: 8192, doublings: 5 }
/** The sizes of each phase, after small ones at the start. */
const PHASES: readonly SizeRange[] = [MEDIUM, LARGE, SMALL, MEDIUM]
/** The parts of a phase, after each of which memory is looked at: by half of them, the blocks of before have gone. */
const PARTS = 8
const TURNING_PARTS = PARTS / 2
/** One block in so many of those that were there before a phase outlives it. */
const SURVIVORS = 16
/** One in so many is left at the end. */
const REST = 10
const PAGE_BYTES = 4096
/** Blocks of one call: entered often, so that V8 compiles it whole. */
const CHUNK = 1024
/** No block is smaller on average. */
const LEAST_MEAN_BYTES = 96

/** Parts of all phases, in turn. */
export const ALL_PARTS = Array.from({ length: PHASES.length * PARTS }, (_, part) => ({
  phase: Math.floor(part / PARTS),
  part: part % PARTS,
}))
export const LAST_PART = PARTS - 1

/** Blocks whose sizes shift. */
export interface ShiftingBlocks {
  /** The sum of the sizes asked for; read from the blocks, each of which has its own in its first bytes. */
  readonly liveBytes: number
  /** Calls of malloc and free up to now. */
  readonly operations: number
  /** Plays a part of a phase. Parts come in turn. */
  play(phase: number, part: number): void
  /** Frees all but a tenth, at random. */
  dropMost(): void
}

/**
 * Blocks of small sizes come to `targetBytes`, and stay at that. Each phase has other sizes. In its first half the blocks
 * of before go in random order, but one in sixteen, and so pages that they shared are never all free; in the second, the phase's own are
 * replaced at random, as many bytes as are live. tools/bench/native/fragmentation.c does the same, by the same random numbers.
 *
 * @param buffer the heap's; addresses are below 1 GiB
 */
export function shiftingBlocks(
  heap: Pick<Allocator, 'malloc' | 'free'>,
  buffer: SharedArrayBuffer | ArrayBuffer,
  targetBytes: number
): ShiftingBlocks {
  const seen = Math.min(buffer.byteLength, 2 ** 30)
  const words = new Int32Array(buffer, 0, seen / 4)
  const bytes = new Int8Array(buffer, 0, seen)
  const most = Math.ceil(targetBytes / LEAST_MEAN_BYTES)
  /** Blocks from before the phase: those before `kept` have survived, those from `at` on aren't decided yet. */
  const old = new Int32Array(most)
  let [oldCount, kept, at] = [0, 0, 0]
  /** Blocks of the phase's sizes. */
  const fresh = new Int32Array(most)
  let freshCount = 0
  let [least, doublings] = [SMALL.least, SMALL.doublings]
  let [liveBytes, operations, replacedBytes] = [0, 0, 0]
  let seed = 1

  const random = (): number => {
    seed ^= seed << 13
    seed ^= seed >>> 17
    seed ^= seed << 5
    return seed >>> 0
  }
  const allocate = (): number => {
    const drawn = random()
    const power = least << ((drawn >>> 24) % doublings)
    const size = power + (drawn & (power - 1))
    const address = heap.malloc(size)
    for (let page = PAGE_BYTES; page < size; page += PAGE_BYTES) bytes[address + page] = 1
    bytes[address + size - 1] = 1
    words[address >> 2] = size
    fresh[freshCount++] = address
    liveBytes += size
    operations++
    return size
  }
  const free = (address: number): void => {
    liveBytes -= words[address >> 2]!
    heap.free(address)
    operations++
  }
  const turnOver = (end: number): void => {
    for (; at < end; at++) {
      const address = old[at]!
      if (random() % SURVIVORS === 0) old[kept++] = address
      else free(address)
      while (liveBytes < targetBytes) allocate()
    }
  }
  const replace = (end: number): void => {
    for (let i = 0; i < CHUNK && replacedBytes < end; i++) {
      const chosen = random() % freshCount
      free(fresh[chosen]!)
      fresh[chosen] = fresh[--freshCount]!
      while (liveBytes < targetBytes) replacedBytes += allocate()
    }
  }
  /** What was of the phase is of before from here on; in random order. */
  const age = (): void => {
    for (let i = 0; i < freshCount; i++) old[kept++] = fresh[i]!
    oldCount = kept
    for (let i = oldCount - 1; i > 0; i--) {
      const other = random() % (i + 1)
      const address = old[i]!
      old[i] = old[other]!
      old[other] = address
    }
    kept = at = freshCount = replacedBytes = 0
  }

  while (liveBytes < targetBytes) allocate()
  return {
    get liveBytes() {
      return liveBytes
    },
    get operations() {
      return operations
    },
    play(phase, part) {
      if (part === 0) age()
      least = PHASES[phase]!.least
      doublings = PHASES[phase]!.doublings
      if (part < TURNING_PARTS) {
        const end = Math.floor((oldCount * (part + 1)) / TURNING_PARTS)
        while (at < end) turnOver(Math.min(end, at + CHUNK))
      } else {
        const end = Math.floor((targetBytes * (part + 1 - TURNING_PARTS)) / (PARTS - TURNING_PARTS))
        while (replacedBytes < end) replace(end)
      }
    },
    dropMost() {
      age()
      for (; at < oldCount; at++) {
        if (random() % REST === 0) old[kept++] = old[at]!
        else free(old[at]!)
      }
    },
  }
}
