import { constants } from 'node:os'
import type { SyscallCounts } from '../base/allocator.ts'
import { checkOptions, type OptionNames } from '../base/arguments.ts'
import { makePrintable, staysHere } from '../base/printed.ts'
import { GrowableMapper } from './growable-mapper.ts'
import type { Mapper, Mapping, Reservation, SystemCall } from './mapper.ts'

/** The properties of a simulated system, and the calls that it refuses. */
export interface SimulatedSystem {
  /**
   * 4, 16 or 64 KiB, as on real machines.
   * @default 4096
   */
  systemPageSize?: number
  /**
   * Whether released pages read as zeros. If not they are filled with a pattern: contents are undefined then.
   * @default true
   */
  releaseZeroes?: boolean
  /**
   * Refuses the call with this number, counted from 1; all others succeed.
   * @default 0
   */
  refuseCall?: number
  /**
   * Refuses to grow beyond this many bytes in all. Released pages still count, as on a system that doesn't overcommit.
   * @default Infinity
   */
  limitBytes?: number
}

const SYSTEM: OptionNames<SimulatedSystem> = {
  systemPageSize: true,
  releaseZeroes: true,
  refuseCall: true,
  limitBytes: true,
}

const UNDEFINED_CONTENTS = 0xd5d5d5d5d5d5d5d5n

/**
 * A simulated system for tests. It counts its calls, and refuses chosen ones with `ENOMEM`.
 * @example
 * ```ts
 * import { Heap } from 'spanheap'
 * import { SimulatedMapper } from 'spanheap/testing'
 *
 * const mapper = new SimulatedMapper({ limitBytes: 16 * 2 ** 20 })
 * using heap = new Heap({ mapper, limitBytes: 2 ** 30 })
 * try {
 *   heap.malloc(32 * 2 ** 20)
 * } catch (error) {
 *   console.log((error as { code: string }).code) // ERR_HEAP_OUT_OF_MEMORY
 * }
 * ```
 */
export class SimulatedMapper implements Mapper {
  /** @internal */ readonly notCloneable = staysHere('a SimulatedMapper')
  /** Always `simulated`. */
  readonly name = 'simulated'
  readonly systemPageSize: number
  readonly canRelease = true
  readonly releaseZeroes: boolean
  readonly guardBytes = 0
  readonly maxAlignment: number
  /** May be changed while a heap runs, to make memory available again, say. */
  refuseCall: number
  /** As in {@link SimulatedSystem}; may be changed too. */
  limitBytes: number
  /** Pages grown so far, in system pages. */
  pagesGrown = 0
  /** Pages released so far, in system pages. */
  pagesReleased = 0
  readonly #memory = new GrowableMapper()
  readonly #mappings: SimulatedMapping[] = []
  readonly #calls: SystemCall[] = []

  static {
    makePrintable(SimulatedMapper, 'SimulatedMapper')
  }

  constructor(system: SimulatedSystem = {}) {
    checkOptions(system, SYSTEM, 'system')
    this.systemPageSize = system.systemPageSize ?? 4096
    this.releaseZeroes = system.releaseZeroes ?? true
    this.refuseCall = system.refuseCall ?? 0
    this.limitBytes = system.limitBytes ?? Number.POSITIVE_INFINITY
    this.maxAlignment = this.#memory.maxAlignment
  }

  reserve(reservation: Reservation): Mapping | number {
    const errno = this.record('mmap', 0, reservation.byteLength)
    if (errno !== 0) return errno
    const inner = this.#memory.reserve({ ...reservation, shared: true })
    if (typeof inner === 'number') return inner
    const mapping = new SimulatedMapping(this, inner)
    this.#mappings.push(mapping)
    return mapping
  }

  /** Only in the thread that made this simulation: others have no part in its counts. */
  adopt(buffer: SharedArrayBuffer): Mapping | undefined {
    return this.#mappings.find((mapping) => mapping.buffer === buffer)
  }

  /** Makes a call; returns 0, or the error number if it refuses. */
  record(call: SystemCall['call'], address: number, length: number, tooMuch = false): number {
    const errno = tooMuch || this.#calls.length + 1 === this.refuseCall ? constants.errno.ENOMEM : 0
    this.#calls.push({ call, address, length, ns: 0, ...(errno === 0 ? {} : { errno }) })
    return errno
  }

  /** System pages that hold something other than zeros, in all mappings. */
  pagesTouched(): number {
    return this.#mappings.reduce((sum, mapping) => sum + mapping.pagesTouched(), 0)
  }

  syscalls(): SyscallCounts {
    const counts = { mmap: 0, munmap: 0, madvise: 0 }
    for (const { call, errno } of this.#calls) if (errno === undefined) counts[call]++
    return counts
  }

  /** For `JSON.stringify`, loggers and `console.log`: its settings and its counts. */
  toJSON(): object {
    const { systemPageSize, releaseZeroes, refuseCall, limitBytes, pagesGrown, pagesReleased } = this
    const told = { systemPageSize, releaseZeroes, refuseCall, limitBytes }
    return { ...told, pagesGrown, pagesReleased, syscalls: this.syscalls() }
  }

  ring(): SystemCall[] {
    return this.#calls.slice()
  }

  residentBytes(): number | null {
    return this.pagesTouched() * this.systemPageSize
  }

  flush(): void {
    // Calls are kept in memory only.
  }
}

class SimulatedMapping implements Mapping {
  readonly buffer: SharedArrayBuffer | ArrayBuffer
  readonly reservedBytes: number
  private readonly system: SimulatedMapper
  private readonly inner: Mapping
  /** 1 for each system page that ever had memory: the others were never written to. */
  private readonly grown: Uint8Array

  constructor(system: SimulatedMapper, inner: Mapping) {
    this.system = system
    this.inner = inner
    this.grown = new Uint8Array(Math.ceil(inner.reservedBytes / system.systemPageSize))
    this.buffer = inner.buffer
    this.reservedBytes = inner.reservedBytes
  }

  unshared(): ArrayBuffer {
    return this.inner.unshared()
  }

  pin(buffer: ArrayBuffer): void {
    this.inner.pin(buffer)
  }

  grow(offset: number, length: number): number {
    const pages = this.wholePages(offset, length)
    const { limitBytes, pagesGrown, systemPageSize } = this.system
    const errno = this.system.record('mmap', offset, length, (pagesGrown + pages) * systemPageSize > limitBytes)
    if (errno !== 0) return errno
    this.system.pagesGrown += pages
    const first = offset / systemPageSize
    this.grown.fill(1, first, first + pages)
    return 0
  }

  claim(bytes: number, most: number): boolean {
    return bytes <= most
  }

  release(offset: number, length: number): number {
    const pages = this.wholePages(offset, length)
    const errno = this.system.record('madvise', offset, length)
    if (errno !== 0) return errno
    this.system.pagesReleased += pages
    // By words: V8 fills shared memory element by element, and 1 GiB of bytes takes over a second.
    const contents = this.system.releaseZeroes ? 0n : UNDEFINED_CONTENTS
    const words = new BigUint64Array(this.buffer, offset, length / 8)
    const wordsPerPage = this.system.systemPageSize / 8
    const first = offset / this.system.systemPageSize
    for (let page = 0; page < pages; page++) {
      if (this.grown[first + page] === 1) words.fill(contents, page * wordsPerPage, (page + 1) * wordsPerPage)
    }
    return 0
  }

  discard(offset: number, length: number): void {
    this.release(offset, length)
  }

  claimSlot(offset: number, count: number, isSpare: boolean): number {
    return this.inner.claimSlot(offset, count, isSpare)
  }

  freeSlot(offset: number, index: number): void {
    this.inner.freeSlot(offset, index)
  }

  endSlot(offset: number, index: number): void {
    this.inner.endSlot(offset, index)
  }

  isUnder(buffer: ArrayBufferLike): boolean {
    return buffer === this.buffer
  }

  pagesTouched(): number {
    const wordsPerPage = this.system.systemPageSize / 8
    const words = new BigInt64Array(this.buffer, 0, Math.floor(this.buffer.byteLength / 8))
    let touched = 0
    for (const [page, isGrown] of this.grown.entries()) {
      if (isGrown === 0) continue
      const start = page * wordsPerPage
      if (words.subarray(start, start + wordsPerPage).some((word) => word !== 0n)) touched++
    }
    return touched
  }

  /** Checks, as the system would, that a range consists of whole system pages, and counts them. */
  private wholePages(offset: number, length: number): number {
    const { systemPageSize } = this.system
    if (offset % systemPageSize !== 0 || length % systemPageSize !== 0 || length <= 0) {
      throw new Error(`the range ${offset}+${length} isn't made of whole pages of ${systemPageSize} bytes`)
    }
    return length / systemPageSize
  }
}
