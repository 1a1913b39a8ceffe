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
   * Takes a seat that is free, or else a dead one's, by which it was known that somebody has died: the index of its word, or 0 where there
   * is none. REQUIRES: nobody else takes or leaves one meanwhile
   */
  take(tag: number): number {
    const seat = this.find((taken) => taken === 0) || this.find((taken) => !this.threads.isAlive(taken))
    if (seat !== 0) Atomics.store(this.words, seat, tag)
    return seat
  }

  private find(test: (taken: number) => boolean): number {
    for (let seat = this.first; seat < this.end; seat++) if (test(Atomics.load(this.words, seat))) return seat
    return 0
  }

  /** Whether a thread that lives has a seat, but for the one whose index is `except`. */
  isTaken(except: number): boolean {
    for (let seat = this.first; seat < this.end; seat++) {
      if (seat !== except && this.isLive(Atomics.load(this.words, seat))) return true
    }
    return false
  }

  /** The sum of the words that seats of threads that live have in a row of such words, one for each seat, from the index `row` on. */
  total(row: number): number {
    let sum = 0
    for (let seat = this.first; seat < this.end; seat++) {
      if (this.isLive(Atomics.load(this.words, seat))) sum += Atomics.load(this.words, row + seat - this.first)
    }
    return sum
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

  private isLive(tag: number): boolean {
    return tag !== 0 && this.threads.isAlive(tag)
  }
}
