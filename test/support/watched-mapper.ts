import { constants } from 'node:os'
import type { Mapper, Mapping, Reservation, SystemCall } from '../../lib/index.ts'

/** A door to the system that counts what it opens, and refuses some calls without making them. */
export class WatchedMapper implements Mapper {
  readonly name: string
  readonly systemPageSize: number
  readonly canRelease: boolean
  readonly releaseZeroes: boolean
  readonly guardBytes: number
  readonly maxAlignment: number
  /** Calls so far; a refused one counts. */
  calls = 0
  /** System pages that were grown and that nobody has given back, or tried to: each by its mapping and its place there. */
  readonly held = new Set<string>()
  /** The numbers, from 1, of the first call to refuse and of the first one behind it to allow again. */
  refuseFrom: number
  refuseUntil: number
  private mappings = 0
  private readonly inner: Mapper

  constructor(inner: Mapper, refuseFrom = 0, refuseUntil = refuseFrom + 1) {
    this.inner = inner
    this.refuseFrom = refuseFrom
    this.refuseUntil = refuseUntil
    this.name = inner.name
    this.systemPageSize = inner.systemPageSize
    this.canRelease = inner.canRelease
    this.releaseZeroes = inner.releaseZeroes
    this.guardBytes = inner.guardBytes
    this.maxAlignment = inner.maxAlignment
  }

  reserve(reservation: Reservation): Mapping | number {
    if (this.refuses()) return constants.errno.ENOMEM
    const mapping = this.inner.reserve(reservation)
    if (typeof mapping === 'number') return mapping
    return new WatchedMapping(this, mapping, `${this.mappings++}`)
  }

  adopt(): undefined {
    return undefined
  }

  /** Counts a call; whether it is the one to refuse. */
  refuses(): boolean {
    this.calls++
    return this.calls >= this.refuseFrom && this.calls < this.refuseUntil
  }

  syscalls() {
    return this.inner.syscalls()
  }

  ring(): SystemCall[] {
    return this.inner.ring()
  }

  residentBytes(): number | null {
    return this.inner.residentBytes()
  }

  flush(): void {
    this.inner.flush()
  }
}

class WatchedMapping implements Mapping {
  readonly buffer: SharedArrayBuffer | ArrayBuffer
  readonly reservedBytes: number
  private readonly mapper: WatchedMapper
  private readonly inner: Mapping
  private readonly name: string

  constructor(mapper: WatchedMapper, inner: Mapping, name: string) {
    this.mapper = mapper
    this.inner = inner
    this.name = name
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
    if (this.mapper.refuses()) return constants.errno.ENOMEM
    for (const page of this.pages(offset, length)) this.mapper.held.add(page)
    return this.inner.grow(offset, length)
  }

  claim(bytes: number, most: number): boolean {
    return this.inner.claim(bytes, most)
  }

  release(offset: number, length: number): number {
    for (const page of this.pages(offset, length)) this.mapper.held.delete(page)
    return this.mapper.refuses() ? constants.errno.ENOMEM : this.inner.release(offset, length)
  }

  discard(offset: number, length: number): void {
    for (const page of this.pages(offset, length)) this.mapper.held.delete(page)
    if (!this.mapper.refuses()) this.inner.discard(offset, length)
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
    return this.inner.isUnder(buffer)
  }

  private *pages(offset: number, length: number): Generator<string> {
    const { systemPageSize } = this.mapper
    for (let page = Math.floor(offset / systemPageSize); page * systemPageSize < offset + length; page++)
      yield `${this.name}:${page}`
  }
}
