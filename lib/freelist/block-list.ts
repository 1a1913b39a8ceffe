import { AllocatorError } from '../base/errors.ts'
import { Granule, Page } from '../memory/page.ts'
import type { HeapWords } from './heap-words.ts'
import { Header, HeaderSize, State, Type } from './object-header.ts'
import type { SideTables } from './side-tables.ts'

/**
 * All blocks, used and free, as a list of their headers in the order of their addresses. They tile the heap: each block starts where the
 * one before it ends. A block is named by the granule of its header, and 0 is none.
 */
export class BlockList {
  readonly words: HeapWords
  /** Where the first block is, if there is one. */
  readonly first = Page.First * Page.Granules
  /** The first granule that hasn't grown yet. */
  end = Page.First * Page.Granules
  /** The last block; 0 while there is none. */
  last = 0
  blocks = 0
  private readonly tables: SideTables

  constructor(words: HeapWords, tables: SideTables) {
    this.words = words
    this.tables = tables
  }

  size(block: number): number {
    return this.words.load(block, Header.Size)
  }

  state(block: number): number {
    return this.words.load(block, Header.State)
  }

  setState(block: number, state: number): void {
    this.words.store(block, Header.State, state)
  }

  isUsed(block: number): boolean {
    return (this.state(block) & State.Used) !== 0
  }

  /** The number of a mutator's type; 0 for a block from malloc, and for a free one. */
  typeOf(block: number): number {
    return this.state(block) >>> Type.Shift
  }

  /** Whether a block starts at a granule; any number may be given. */
  isBlock(granule: number): boolean {
    return Number.isInteger(granule) && granule >= this.first && granule < this.end && this.tables.isStart(granule)
  }

  /** The next block, or the heap's end. @throws AllocatorError `ERR_HEAP_CORRUPT` if the header can't be right */
  following(block: number): number {
    const next = this.words.load(block, Header.Next)
    const valid =
      next > block + HeaderSize.Granules && next <= this.end && next - block - HeaderSize.Granules === this.size(block)
    if (!valid || (next < this.end && !this.tables.isStart(next))) throw overwritten(block)
    return next
  }

  /** The block before; 0 for the first one. @throws AllocatorError `ERR_HEAP_CORRUPT` if the headers can't be right */
  preceding(block: number): number {
    const previous = this.words.load(block, Header.Previous)
    if (block === this.first && previous === 0) return 0
    if (!this.isBlock(previous) || this.words.load(previous, Header.Next) !== block) throw overwritten(block)
    return previous
  }

  /** Makes the heap longer. Returns the new free block; 0 if the last one was free, and is longer now. */
  append(end: number): number {
    const { last } = this
    const start = this.end
    this.end = end
    if (last !== 0 && !this.isUsed(last)) {
      this.resize(last, end)
      return 0
    }
    this.insert(start, last, end)
    return start
  }

  /** Makes a block `granules` long. The rest becomes a free block, which is returned. REQUIRES: there is room for it. */
  split(block: number, granules: number): number {
    const next = this.words.load(block, Header.Next)
    const rest = block + HeaderSize.Granules + granules
    this.resize(block, rest)
    this.insert(rest, block, next)
    return rest
  }

  /** Merges the next block into this one. REQUIRES: there is one, and `following` has looked at both. */
  join(block: number): void {
    const next = this.words.load(block, Header.Next)
    this.tables.clearStart(next)
    this.blocks--
    if (this.last === next) this.last = block
    this.resize(block, this.words.load(next, Header.Next))
  }

  private insert(block: number, previous: number, next: number): void {
    this.words.store(block, Header.State, State.Unused)
    this.words.store(block, Header.Previous, previous)
    this.tables.setStart(block)
    this.blocks++
    if (next === this.end) this.last = block
    this.resize(block, next)
  }

  private resize(block: number, next: number): void {
    this.words.store(block, Header.Size, next - block - HeaderSize.Granules)
    this.words.store(block, Header.Next, next)
    if (next < this.end) this.words.store(next, Header.Previous, block)
  }
}

/** The error for a header that a program has written over. */
export function overwritten(block: number): AllocatorError {
  const address = block * Granule.Bytes
  return new AllocatorError('ERR_HEAP_CORRUPT', `the header at ${address} was overwritten`, { address })
}
