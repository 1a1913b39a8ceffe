import { AllocatorError } from '../base/errors.ts'
import { Granule } from '../memory/page.ts'
import { overwritten } from './block-list.ts'
import type { ListAllocator } from './list-allocator.ts'
import { HeaderSize, State } from './object-header.ts'
import { type ObjectType, TypeTable } from './object-type.ts'

/** A reference takes two words of the heap: an address has up to 35 bits. */
const WORD_VALUES = 2 ** 32

/** The program's roots: the blocks of objects, by their holders. */
export type Roots = ReadonlyMap<unknown, number>

/**
 * The collector: it scans the whole heap, and sets objects that no root reaches to unused. Blocks from malloc are the program's own, and it
 * skips them.
 */
export class Collector {
  readonly types = new TypeTable()
  /** Scans of the heap so far. */
  collections = 0
  /** Objects that were allocated and not collected. */
  objects = 0
  private readonly allocator: ListAllocator
  private readonly roots = new Set<Roots>()
  private readonly afterBytes: number
  private allocatedBytes = 0

  /** @param afterBytes how many bytes of objects may be allocated between two collections */
  constructor(allocator: ListAllocator, afterBytes: number) {
    this.allocator = allocator
    this.afterBytes = afterBytes
  }

  addRoots(roots: Roots): void {
    this.roots.add(roots)
  }

  removeRoots(roots: Roots): void {
    this.roots.delete(roots)
  }

  /** Before an object of so many bytes is allocated: collects if it is time to. */
  prepare(bytes: number): void {
    if (this.allocatedBytes + bytes > this.afterBytes) this.collect()
  }

  /** Counts an allocated object of so many bytes. */
  count(bytes: number): void {
    this.allocatedBytes += bytes
    this.objects++
  }

  /** Sets every object that no root reaches to unused. Returns the bytes that were freed. */
  collect(): number {
    this.allocatedBytes = 0
    if (this.objects === 0) return 0
    this.collections++
    const before = this.allocator.liveGranules
    this.clearMarks()
    this.mark()
    this.sweep()
    return (before - this.allocator.liveGranules) * Granule.Bytes
  }

  /** The object that a reference field names; 0 for none. @throws AllocatorError `ERR_HEAP_CORRUPT` if it is no object */
  load(block: number, offset: number): number {
    const { list } = this.allocator
    const granule = block + HeaderSize.Granules + Math.floor(offset / Granule.Bytes)
    const word = (offset % Granule.Bytes) / 4
    const low = list.words.load(granule, word) >>> 0
    const high = list.words.load(granule, word + 1) >>> 0
    const address = high * WORD_VALUES + low
    if (address === 0) return 0
    const target = address / Granule.Bytes - HeaderSize.Granules
    if (list.isBlock(target) && list.isUsed(target) && list.typeOf(target) !== 0) return target
    const at = (block + HeaderSize.Granules) * Granule.Bytes + offset
    throw new AllocatorError('ERR_HEAP_CORRUPT', `the reference at ${at} was overwritten: no object is at ${address}`, {
      address: at,
    })
  }

  /** Writes a reference field; `target` is a block, 0 for none. */
  store(block: number, offset: number, target: number): void {
    const { words } = this.allocator.list
    const granule = block + HeaderSize.Granules + Math.floor(offset / Granule.Bytes)
    const word = (offset % Granule.Bytes) / 4
    const address = target === 0 ? 0 : (target + HeaderSize.Granules) * Granule.Bytes
    words.store(granule, word, address | 0)
    words.store(granule, word + 1, Math.floor(address / WORD_VALUES))
  }

  /** The type of an object. @throws AllocatorError `ERR_HEAP_CORRUPT` if its header names none */
  typeOf(block: number): ObjectType {
    const type = this.types.at(this.allocator.list.typeOf(block))
    if (type === undefined) throw overwritten(block)
    return type
  }

  /**
   * Clears the marks of the last collection, including one that failed at an overwritten reference. It looks at every header, so that a
   * destroyed one is reported before anything is freed.
   */
  private clearMarks(): void {
    const { list } = this.allocator
    for (let block = list.first; block < list.end; block = list.following(block)) {
      const state = list.state(block)
      if (state !== State.Unused && (state & State.Used) === 0) throw overwritten(block)
      if (list.typeOf(block) !== 0) this.typeOf(block)
      if ((state & State.Marked) !== 0) list.setState(block, state & ~State.Marked)
    }
  }

  /** Marks the objects that the roots reach. The stack is an array, since a list of a million objects is as deep as it is long. */
  private mark(): void {
    const { list } = this.allocator
    const stack: number[] = []
    const reach = (block: number): void => {
      const state = list.state(block)
      if ((state & State.Marked) !== 0) return
      list.setState(block, state | State.Marked)
      stack.push(block)
    }
    for (const held of this.roots) for (const block of held.values()) reach(block)
    for (let block = stack.pop(); block !== undefined; block = stack.pop()) {
      for (const offset of this.typeOf(block).references) {
        const target = this.load(block, offset)
        if (target !== 0) reach(target)
      }
    }
  }

  private sweep(): void {
    const { allocator } = this
    const { list } = allocator
    for (let block = list.first; block < list.end; block = list.following(block)) {
      if (list.typeOf(block) === 0 || (list.state(block) & State.Marked) !== 0) continue
      block = allocator.free(block)
      this.objects--
    }
  }
}
