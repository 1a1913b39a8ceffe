import { type BlockList, overwritten } from './block-list.ts'
import { Window } from './heap-words.ts'
import { Header, HeaderSize, State } from './object-header.ts'

/** How a free block is found, and the bookkeeping for it. */
export interface Search {
  /** The first free block of at least `granules` after `after` (0: of all blocks); 0 if there is none. */
  find(granules: number, after: number): number
  /** @throws AllocatorError `ERR_HEAP_CORRUPT` if the links of a free block were overwritten */
  check(block: number): void
  /** A block becomes free. */
  add(block: number): void
  /** A free block is no longer free, or no longer a block. REQUIRES: it was checked. */
  remove(block: number): void
  /** `to` becomes free instead of `from`, with no other free block between. REQUIRES: `from` was checked. */
  replace(from: number, to: number): void
  /** The free blocks, if they are kept: for audits. */
  kept(): number[] | undefined
}

/** First fit over all blocks, as in the textbook heap: there is one list, and its headers say which blocks are used. */
export class AllBlocks implements Search {
  private readonly list: BlockList

  constructor(list: BlockList) {
    this.list = list
  }

  find(granules: number, after: number): number {
    const { first, end, words } = this.list
    let block = after === 0 ? first : this.list.following(after)
    while (block < end) {
      const window = words.windows[block >>> Window.Shift]!
      const last = Math.min(block | Window.Mask, end - 1)
      while (block <= last) {
        const header = (block & Window.Mask) << 2
        const size = window[header + Header.Size]!
        const next = window[header + Header.Next]!
        // So the search ends, and reads nothing but headers, even if a program has written over them.
        if (next <= block + HeaderSize.Granules || next > end || next - block - HeaderSize.Granules !== size)
          throw overwritten(block)
        if (size >= granules && (window[header + Header.State]! & State.Used) === 0) return block
        block = next
      }
    }
    return 0
  }

  check(): void {
    // There is nothing beside the headers.
  }

  add(): void {
    // The header has it.
  }

  remove(): void {
    // The header has it.
  }

  replace(): void {
    // The headers have it.
  }

  kept(): undefined {
    return undefined
  }
}

/** The words of a free block's first granule: the free blocks before and after it. 0 is none. */
const enum Link {
  Next = 0,
  Previous = 1,
}

/**
 * First fit over the free blocks only, which a second list links, also in the order of their addresses: so both ways of searching choose
 * the same block. The links are in the free blocks, whose bytes are unused.
 */
export class FreeBlocks implements Search {
  private readonly list: BlockList
  private head = 0
  private tail = 0

  constructor(list: BlockList) {
    this.list = list
  }

  find(granules: number, after: number): number {
    let before = after
    let block = after === 0 ? this.head : this.next(after)
    while (block !== 0) {
      if (block <= before || !this.isFree(block) || this.previous(block) !== before) throw overwritten(block)
      this.list.following(block)
      if (this.list.size(block) >= granules) return block
      before = block
      block = this.next(block)
    }
    return 0
  }

  check(block: number): void {
    const previous = this.previous(block)
    const next = this.next(block)
    const linked =
      (previous === 0 ? this.head === block : this.isFree(previous) && this.next(previous) === block) &&
      (next === 0 ? this.tail === block : this.isFree(next) && this.previous(next) === block)
    if (!linked) throw overwritten(block)
  }

  add(block: number): void {
    if (this.head === 0 || block < this.head) this.link(block, 0, this.head)
    else if (block > this.tail) this.link(block, this.tail, 0)
    else {
      const neighbour = this.nearest(block)
      this.check(neighbour)
      if (neighbour < block) this.link(block, neighbour, this.next(neighbour))
      else this.link(block, this.previous(neighbour), neighbour)
    }
  }

  remove(block: number): void {
    this.join(this.previous(block), this.next(block))
  }

  replace(from: number, to: number): void {
    this.link(to, this.previous(from), this.next(from))
  }

  kept(): number[] {
    const blocks: number[] = []
    for (let block = this.find(0, 0); block !== 0; block = this.find(0, block)) blocks.push(block)
    if ((blocks.at(-1) ?? 0) !== this.tail) throw overwritten(this.tail)
    return blocks
  }

  /**
   * The nearest free block, by the count of used blocks between. Looking both ways by turns costs no more than the shorter way. REQUIRES:
   * there are free blocks on both sides.
   */
  private nearest(block: number): number {
    const { list } = this
    let before = list.preceding(block)
    let behind = list.following(block)
    while (before !== 0 && behind !== list.end) {
      if (!list.isUsed(before)) return before
      if (!list.isUsed(behind)) return behind
      before = list.preceding(before)
      behind = list.following(behind)
    }
    throw overwritten(this.head)
  }

  private link(block: number, previous: number, next: number): void {
    this.join(previous, block)
    this.join(block, next)
  }

  private join(previous: number, next: number): void {
    if (previous === 0) this.head = next
    else this.list.words.store(previous + HeaderSize.Granules, Link.Next, next)
    if (next === 0) this.tail = previous
    else this.list.words.store(next + HeaderSize.Granules, Link.Previous, previous)
  }

  private next(block: number): number {
    return this.list.words.load(block + HeaderSize.Granules, Link.Next)
  }

  private previous(block: number): number {
    return this.list.words.load(block + HeaderSize.Granules, Link.Previous)
  }

  private isFree(block: number): boolean {
    return this.list.isBlock(block) && !this.list.isUsed(block)
  }
}
