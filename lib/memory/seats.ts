import type { ThreadSlots } from './thread-slots.ts'

/**
 * Who has something open that threads share and the last one ends: a pool, a channel, a table of handles. In each seat is the tag of a
 * thread, of one that lives or that died with it open, or 0.
 */
export class Seats {
  private readonly words: Int32Array
  private readonly first: number
  private readonly end: number
  private readonly threads: ThreadSlots

  constructor(words: Int32Array, first: number, count: number, threads: ThreadSlots) {
    this.words = words
    this.first = first
    this.end = first + count
    this.threads = threads
  }

  /**
   * Takes a seat that is free, or a dead one's: the index of its word, or 0 where there is none. REQUIRES: nobody else takes or leaves one
   * meanwhile
   */
  take(tag: number): number {
    for (let seat = this.first; seat < this.end; seat++) {
      const taken = Atomics.load(this.words, seat)
      if (taken !== 0 && this.threads.isAlive(taken)) continue
      Atomics.store(this.words, seat, tag)
      return seat
    }
    return 0
  }

  /** How many threads that live have it open, and how many died with it open. */
  count(): { live: number; dead: number } {
    let live = 0
    let dead = 0
    for (let seat = this.first; seat < this.end; seat++) {
      const tag = Atomics.load(this.words, seat)
      if (tag === 0) continue
      if (this.threads.isAlive(tag)) live++
      else dead++
    }
    return { live, dead }
  }
}
