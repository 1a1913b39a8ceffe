import { alignedUp, larger, longestInWord, lowestBit, runInWord } from './page-bits.ts'

/**
 * Which pages are free, and where a run of them is: Go's pageAlloc (src/runtime/mpagealloc.go), one bit for each page of 8 KiB and above
 * them a tree of summaries. The policy is address-ordered first fit, which keeps the heap low and dense. Finding a run costs a walk down
 * the tree, for any size of heap.
 */

/** A chunk: the 4 MiB that one summary of the lowest level describes. */
const enum Chunk {
  Shift = 9,
  Pages = 512,
  /** Of the bitmap. */
  Words = 16,
  WordShift = 4,
}

/** Entries of a level that one entry of the level above describes. Go's tree has the same, with 2^14 entries at its root. */
const enum Fan {
  Shift = 3,
  Out = 8,
}

/** A summary's words. */
const enum Summary {
  Start = 0, // free pages at its start
  Longest = 1, // its longest run of free pages
  End = 2, // free pages at its end
  Words = 3,
}

/** The places of things in the words. Summaries follow the bitmap, level by level. */
const enum At {
  Search = 0, // no page below this one is free
  Free = 1, // pages that are free
  Pending = 2, // the chunk whose changes aren't known above it, as `pendingOf` writes it; 0 if there is none
  Top = 3, // the highest level in use: its first group describes all pages that were added
  Bitmap = 16,
}

/** How a pending chunk is noted; `isOlder` is 1 if its own summary is older than its bits, else 0. */
function pendingOf(chunk: number, isOlder: number): number {
  return ((chunk + 1) << 1) | isOlder
}

/** Where each level of summaries starts, lowest first, and last where the words end. */
function layoutOf(pages: number): number[] {
  let entries = (pages + Chunk.Pages - 1) >>> Chunk.Shift
  let at = At.Bitmap + entries * Chunk.Words
  const starts = [at]
  for (;;) {
    // Whole groups: pages past the last one are never free.
    const groups = (entries + Fan.Out - 1) >>> Fan.Shift
    at += groups * Fan.Out * Summary.Words
    starts.push(at)
    if (groups <= 1) return starts
    entries = groups
  }
}

/**
 * The free pages of a heap, in words that the caller provides; in mapped memory, unneeded words stay untouched. A bit is 1 if the page is
 * free, the reverse of Go's, so that words of zeros mean that no page was added. Page 0 is never added; it means "none".
 *
 * INVARIANT: every summary up to the top level matches the bits below it, except for the pending chunk: its ancestors may be stale, and so
 * may its own summary if noted as older. Calls that follow one another are mostly about one chunk: so its summaries are made once for many
 * of them.
 *
 * INVARIANT: no page below the search page is free, and the count of free pages is that of the bits.
 */
export class PageAlloc {
  private readonly words: Int32Array
  private readonly pages: number
  /** Where the levels of summaries start in the words. */
  private readonly levels: Int32Array

  /** The words for a heap of `pages` pages; at most 2^22. */
  static wordsFor(pages: number): number {
    return layoutOf(pages).at(-1)!
  }

  /** REQUIRES: the words are zero, or another PageAlloc wrote them for as many pages. */
  constructor(words: Int32Array, pages: number) {
    this.words = words
    this.pages = pages
    this.levels = Int32Array.from(layoutOf(pages))
  }

  /** Pages that are free. */
  get freePages(): number {
    return this.words[At.Free]!
  }

  /** Adds pages that are new from the system as free ones. REQUIRES: they weren't added before, and page 0 isn't one of them. */
  add(page: number, count: number): void {
    const lastChunk = (page + count - 1) >>> Chunk.Shift
    this.settle()
    while (lastChunk >>> (this.words[At.Top]! * Fan.Shift) >= Fan.Out) this.summarize(++this.words[At.Top]!, 0)
    this.free(page, count)
  }

  /** Takes the first run of `count` pages; returns its first page, or 0 if there is none. REQUIRES: count >= 1. */
  allocate(count: number): number {
    const { words } = this
    if (count > words[At.Free]!) return 0
    // First look at the bits of the search page's chunk: a run that starts there lies before all others.
    const chunk = words[At.Search]! >>> Chunk.Shift
    const end = At.Bitmap + ((chunk + 1) << Chunk.WordShift)
    let at = At.Bitmap + (words[At.Search]! >>> 5)
    while (at < end && words[at] === 0) at++
    const word = (at - At.Bitmap) << 5
    if (at === end) {
      words[At.Search] = word
    } else {
      const bits = words[at]!
      const first = word + lowestBit(bits)
      if (count === 1) {
        words[at] = bits & (bits - 1)
        words[At.Search] = first + 1
        words[At.Free]!--
        if (words[At.Pending] !== pendingOf(chunk, 1)) this.touch(first, 1, 1)
        return first
      }
      words[At.Search] = first
      const longest = words[this.levels[0]! + chunk * Summary.Words + Summary.Longest]!
      if (longest >= count || words[At.Pending] === pendingOf(chunk, 1)) {
        const page = this.firstInChunk(chunk, at, count)
        if (page !== 0) return this.take(page, count)
      }
    }
    this.settle()
    const page = this.find(count)
    if (page === 0) return 0
    if (count === 1) words[At.Search] = page
    return this.take(page, count)
  }

  /**
   * The same, but the run starts at a multiple of `alignment` pages, a power of two. It takes the first run that is long enough to contain
   * such a start wherever it begins; if there is none, the first place that fits.
   */
  allocateAligned(count: number, alignment: number): number {
    if (alignment <= 1) return this.allocate(count)
    if (count > this.words[At.Free]!) return 0
    this.settle()
    const found = this.find(count + alignment - 1)
    const page = found !== 0 ? alignedUp(found, alignment) : this.findAligned(this.words[At.Top]!, 0, count, alignment)
    return page === 0 ? 0 : this.take(page, count)
  }

  /** Takes just these pages, if all are free. */
  allocateAt(page: number, count: number): boolean {
    return this.freeRunAt(page, count) >= count && this.take(page, count) === page
  }

  /** Makes pages free. REQUIRES: all of them are used. */
  free(page: number, count: number): void {
    const { words } = this
    if (page < words[At.Search]! || words[At.Free] === 0) words[At.Search] = page
    words[At.Free]! += count
    if (count === 1) {
      words[At.Bitmap + (page >>> 5)]! |= 1 << (page & 31)
      if (words[At.Pending] !== pendingOf(page >>> Chunk.Shift, 1)) this.touch(page, 1, 0)
    } else {
      this.write(page, count, -1)
    }
  }

  /** Whether a page is free. REQUIRES: it is one of the heap's. */
  isFree(page: number): boolean {
    return (this.words[At.Bitmap + (page >>> 5)]! & (1 << (page & 31))) !== 0
  }

  /** Free pages from `page` on; it stops looking at `enough`. */
  freeRunAt(page: number, enough = this.pages): number {
    const { words } = this
    if (page >= this.pages) return 0
    let run = this.runInChunk(page)
    if (((page + run) & (Chunk.Pages - 1)) !== 0) return run
    this.settle()
    for (let chunk = (page + run) >>> Chunk.Shift; run < enough && chunk << Chunk.Shift < this.pages; chunk++) {
      const start = words[this.levels[0]! + chunk * Summary.Words + Summary.Start]!
      run += start
      if (start < Chunk.Pages) break
    }
    return run
  }

  /** Free pages just before `endPage`: those that a heap which ends there can join with new ones. */
  endRun(endPage: number): number {
    const { words } = this
    let page = endPage - this.runBefore(endPage)
    if ((page & (Chunk.Pages - 1)) !== 0) return endPage - page
    this.settle()
    for (let chunk = (page >>> Chunk.Shift) - 1; chunk >= 0; chunk--) {
      const end = words[this.levels[0]! + chunk * Summary.Words + Summary.End]!
      page -= end
      if (end < Chunk.Pages) break
    }
    return endPage - page
  }

  /** The first error found in a heap that ends at `endPage`; every summary is computed again. */
  verify(endPage: number): string | undefined {
    const { words } = this
    const search = words[At.Search]!
    this.settle()
    let free = 0
    for (let page = 0; page < endPage; page++) {
      if (!this.isFree(page)) continue
      free++
      if (page < search) return `page ${page} is free, below the search page ${search}`
    }
    if (free !== words[At.Free]) return `${words[At.Free]} pages are counted as free, ${free} are`
    for (let level = 0; level <= words[At.Top]!; level++) {
      const each = Chunk.Pages << (level * Fan.Shift)
      for (let first = 0; first < endPage; first += each) {
        const at = this.levels[level]! + (first / each) * Summary.Words
        const stored = words.subarray(at, at + Summary.Words).join('/')
        const counted = this.count(first, first + each)
        if (stored !== counted) return `level ${level}, page ${first}: the summary is ${stored}, not ${counted}`
      }
    }
    return undefined
  }

  /** A summary of pages, from their bits one by one. Pages past the heap's last count as used. */
  private count(first: number, end: number): string {
    let start = -1
    let longest = 0
    let run = 0
    for (let page = first; page < end; page++) {
      run = page < this.pages && this.isFree(page) ? run + 1 : 0
      longest = Math.max(longest, run)
      if (run === 0 && start < 0) start = page - first
    }
    return [start < 0 ? run : start, longest, run].join('/')
  }

  /** Makes a run of free pages used; returns its first page. */
  private take(page: number, count: number): number {
    const { words } = this
    if (page === words[At.Search]) words[At.Search] = page + count
    words[At.Free]! -= count
    this.write(page, count, 0)
    return page
  }

  /** Writes the bits of a run, all of them 0 or -1, and updates its summaries. */
  private write(page: number, count: number, value: number): void {
    const { words } = this
    const last = page + count - 1
    const at = At.Bitmap + (page >>> 5)
    const lastAt = At.Bitmap + (last >>> 5)
    const head = -1 << (page & 31)
    const tail = (-1 >>> (31 - (last & 31))) | 0
    if (at === lastAt) {
      const mask = head & tail
      words[at] = (words[at]! & ~mask) | (value & mask)
    } else {
      words[at] = (words[at]! & ~head) | (value & head)
      for (let between = at + 1; between < lastAt; between++) words[between] = value
      words[lastAt] = (words[lastAt]! & ~tail) | (value & tail)
    }
    let from = page >>> Chunk.Shift
    let to = last >>> Chunk.Shift
    if (from === to) {
      if (words[At.Pending] !== pendingOf(from, 1)) this.touch(page, count, value + 1)
      return
    }
    this.settle()
    for (let chunk = from; chunk <= to; chunk++) this.summarizeChunk(chunk)
    for (let level = 1; level <= words[At.Top]!; level++) {
      from >>>= Fan.Shift
      to >>>= Fan.Shift
      let changed = false
      for (let entry = from; entry <= to; entry++) if (this.summarize(level, entry)) changed = true
      if (!changed) return
    }
  }

  /**
   * A run within a chunk has changed: `taken` is 1 if it is used now, else 0. Its neighbours determine the chunk's new summary, unless
   * pages were taken from the longest run. REQUIRES: that summary isn't older than the bits before.
   */
  private touch(page: number, count: number, taken: number): void {
    const { words } = this
    const chunk = page >>> Chunk.Shift
    const offset = page & (Chunk.Pages - 1)
    const leaf = this.levels[0]! + chunk * Summary.Words
    const left = Chunk.Pages - offset - count
    // A long run most often begins at the chunk's start, or ends at its end: then the summary saves a look at the bits.
    const before = words[leaf + Summary.Start]! >= offset ? offset : this.runBefore(page)
    const behind = words[leaf + Summary.End]! >= left ? left : this.runInChunk(page + count)
    const run = before + count + behind
    const longest = words[leaf + Summary.Longest]!
    const isOlder = run === longest ? taken : 0
    const isAtStart = before === offset
    const isAtEnd = behind === left
    if (isOlder === 0 && run <= longest && !isAtStart && !isAtEnd) return
    if (words[At.Pending] !== pendingOf(chunk, 0)) {
      this.settle()
      words[At.Pending] = pendingOf(chunk, 0)
    }
    words[At.Pending]! |= isOlder
    if (run > longest) words[leaf + Summary.Longest] = run
    if (isAtStart) words[leaf + Summary.Start] = taken === 1 ? before : run
    if (isAtEnd) words[leaf + Summary.End] = taken === 1 ? behind : run
  }

  /** Updates the summaries above the pending chunk, as far up as they change. */
  private settle(): void {
    const { words } = this
    const pending = words[At.Pending]!
    if (pending === 0) return
    words[At.Pending] = 0
    let entry = (pending >>> 1) - 1
    if (pending === pendingOf(entry, 1)) this.summarizeChunk(entry)
    for (let level = 1; level <= words[At.Top]!; level++) {
      entry >>>= Fan.Shift
      if (!this.summarize(level, entry)) return
    }
  }

  /** Makes a chunk's summary from its bits; returns whether it has changed. */
  private summarizeChunk(chunk: number): boolean {
    const { words } = this
    const leaf = this.levels[0]! + chunk * Summary.Words
    const first = At.Bitmap + (chunk << Chunk.WordShift)
    const end = first + Chunk.Words
    let at = first
    while (at < end && words[at] === -1) at++
    if (at === end) return this.store(leaf, Chunk.Pages, Chunk.Pages, Chunk.Pages)
    let run = (at - first) << 5
    const start = run + lowestBit(~words[at]!)
    let longest = 0
    for (; at < end; at++) {
      const bits = words[at]!
      if (bits === -1) {
        run += 32
      } else if (bits === 0) {
        if (run > longest) longest = run
        run = 0
      } else {
        run += lowestBit(~bits)
        if (run > longest) longest = run
        longest = longestInWord(bits, longest)
        run = Math.clz32(~bits)
      }
    }
    if (run > longest) longest = run
    return this.store(leaf, start, longest, run)
  }

  /** Makes a summary from the eight below it; returns whether it has changed. */
  private summarize(level: number, entry: number): boolean {
    const { words, levels } = this
    const each = Chunk.Pages << ((level - 1) * Fan.Shift)
    const first = levels[level - 1]! + entry * (Fan.Out * Summary.Words)
    const end = first + Fan.Out * Summary.Words
    let start = 0
    let longest = 0
    let run = 0
    let areFull = -1
    // No branch could predict which entries are full and which has the longest run: so there is none.
    for (let at = first; at < end; at += Summary.Words) {
      const atStart = words[at]!
      const isFull = ~((atStart - each) >> 31)
      longest = larger(longest, larger(run + atStart, words[at + Summary.Longest]!))
      run = (run & isFull) + words[at + Summary.End]!
      start += atStart & areFull
      areFull &= isFull
    }
    return this.store(levels[level]! + entry * Summary.Words, start, longest, run)
  }

  /** Writes a summary; returns whether it has changed. */
  private store(at: number, start: number, longest: number, end: number): boolean {
    const { words } = this
    if (words[at] === start && words[at + Summary.Longest] === longest && words[at + Summary.End] === end) return false
    words[at + Summary.Start] = start
    words[at + Summary.Longest] = longest
    words[at + Summary.End] = end
    return true
  }

  /** The first page of the first run of `count`, or 0. REQUIRES: no chunk is pending. */
  private find(count: number): number {
    const { words, levels } = this
    let group = 0
    for (let level = words[At.Top]!; ; level--) {
      const shift = Chunk.Shift + level * Fan.Shift
      const first = levels[level]! + group * (Fan.Out * Summary.Words)
      // A run that ends in one entry and goes on in the next starts before any run within the next.
      let run = 0
      let entry = 0
      for (; entry < Fan.Out; entry++) {
        const at = first + entry * Summary.Words
        const start = words[at + Summary.Start]!
        if (run + start >= count) return (((group << Fan.Shift) + entry) << shift) - run
        if (words[at + Summary.Longest]! >= count) break
        run = start === 1 << shift ? run + start : words[at + Summary.End]!
      }
      if (entry === Fan.Out) return 0
      group = (group << Fan.Shift) + entry
      if (level === 0) return this.firstInChunk(group, At.Bitmap + (group << Chunk.WordShift), count)
    }
  }

  /** The first run of `count` within a chunk, from the word at `at` on, or 0. */
  private firstInChunk(chunk: number, at: number, count: number): number {
    const { words } = this
    const end = At.Bitmap + ((chunk + 1) << Chunk.WordShift)
    let run = 0
    for (; at < end; at++) {
      const bits = words[at]!
      const page = (at - At.Bitmap) << 5
      if (bits === -1) {
        if (run + 32 >= count) return page - run
        run += 32
        continue
      }
      if (run + lowestBit(~bits) >= count) return page - run
      run = 0
      if (bits === 0) continue
      if (count < 32) {
        const within = runInWord(bits, count)
        if (within >= 0) return page + within
      }
      run = Math.clz32(~bits)
    }
    return 0
  }

  /**
   * The first place for `count` pages at a multiple of `alignment`, or 0. It may look at every run that is long enough except for its
   * alignment. REQUIRES: no chunk is pending.
   */
  private findAligned(level: number, group: number, count: number, alignment: number): number {
    const { words } = this
    if (level < 0) return this.alignedInChunk(group << Chunk.Shift, count, alignment)
    const each = Chunk.Pages << (level * Fan.Shift)
    let run = 0
    let first = group * Fan.Out * each
    for (let entry = group * Fan.Out; entry < (group + 1) * Fan.Out; entry++) {
      const at = this.levels[level]! + entry * Summary.Words
      const start = words[at + Summary.Start]!
      const page = alignedUp(first - run, alignment)
      if (page + count <= first + start) return page
      if (start < each && words[at + Summary.Longest]! >= count) {
        const within = this.findAligned(level - 1, entry, count, alignment)
        if (within !== 0) return within
      }
      run = start === each ? run + each : words[at + Summary.End]!
      first += each
    }
    return 0
  }

  private alignedInChunk(first: number, count: number, alignment: number): number {
    let page = first
    while (page < first + Chunk.Pages) {
      const run = this.runInChunk(page)
      const start = alignedUp(page, alignment)
      if (start + count <= page + run) return start
      page += run + 1
    }
    return 0
  }

  /** Free pages from `page` on that are in the same chunk. */
  private runInChunk(page: number): number {
    const { words } = this
    const end = (page | (Chunk.Pages - 1)) + 1
    let next = page
    while (next < end) {
      const used = ~words[At.Bitmap + (next >>> 5)]! & (-1 << (next & 31))
      if (used !== 0) return (next & -32) + lowestBit(used) - page
      next = (next & -32) + 32
    }
    return end - page
  }

  /** Free pages just before `end` that are in the same chunk as the last of them. */
  private runBefore(end: number): number {
    const { words } = this
    const first = (end - 1) & -Chunk.Pages
    let page = end
    while (page > first) {
      const last = page - 1
      // The bit of the last page at the top of a word, and zeros below.
      const used = ~words[At.Bitmap + (last >>> 5)]! << (31 - (last & 31))
      if (used !== 0) return end - page + Math.clz32(used)
      page = last & -32
    }
    return end - first
  }
}
