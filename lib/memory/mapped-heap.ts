import { type HeapStats, NO_BYTES } from '../base/allocator.ts'
import { closedError } from '../base/errors.ts'
import type { Mapper, SystemCall } from '../os/mapper.ts'

/** The base of heaps over mappings of their own: the source of their memory, and their closing. */
export abstract class MappedHeap {
  readonly #mapper: Mapper
  /** What `stats` returns from the beginning of the close on. */
  #finalStats: HeapStats | undefined

  /** @internal */
  constructor(mapper: Mapper) {
    this.#mapper = mapper
  }

  /** @internal The heap's figures without those of its mapper. */
  protected abstract ownStats(): Omit<HeapStats, 'syscalls' | 'system'>

  /** Gives all memory back. May be called again. Every other method but `stats` throws `ERR_HEAP_CLOSED` from then on. */
  abstract close(): void

  /** Where every byte is. */
  stats(): HeapStats {
    const mapper = this.#mapper
    return this.#finalStats ?? { ...this.ownStats(), syscalls: mapper.syscalls(), system: mapper.name }
  }

  /** For `JSON.stringify`, loggers and `console.log`: the same as `stats()`. */
  toJSON(): HeapStats {
    return this.stats()
  }

  /** The newest system calls, oldest first, if the option `ledger.ring` asked for them. */
  systemCalls(): SystemCall[] {
    return this.#mapper.ring()
  }

  /** Resident bytes of the heap and its tables, as reported by the system; null if it can't tell. Reads a file: not for a loop. */
  residentBytes(): number | null {
    return this.#finalStats === undefined ? this.#mapper.residentBytes() : 0
  }

  /** `close`, for `using`. */
  [Symbol.dispose](): void {
    this.close()
  }

  /** @internal Marks the heap as closed; its memory is still there. False if it was closed before. */
  protected beginClose(): boolean {
    if (this.#finalStats !== undefined) return false
    // Only the peaks and the calls are left to report.
    this.#finalStats = { ...this.stats(), ...NO_BYTES }
    return true
  }

  /** @internal The memory is given back. @param isLast whether no other thread has the heap open */
  protected endClose(isLast = true): void {
    this.#finalStats!.syscalls = this.#mapper.syscalls()
    if (isLast) this.#mapper.flush()
  }

  /** @internal @throws AllocatorError `ERR_HEAP_CLOSED` */
  protected checkOpen(): void {
    if (this.#finalStats !== undefined) throw closedError()
  }
}
