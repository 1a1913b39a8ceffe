import type { ThreadSlots } from './thread-slots.ts'

/**
 * The threads that have a shared object open: a pool, a channel or a table of handles. The last one to leave ends it. A seat holds 0, or
 * the tag of a thread that lives or that died with the object open.
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
   * Takes a free seat or, failing that, a dead thread's, which forgets that death. Returns the index of its word; 0 if live threads hold
   * every seat. REQUIRES: no other thread takes or leaves a seat meanwhile
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

  /** Whether a live thread holds a seat other than the one at index `except`. */
  isTaken(except: number): boolean {
    for (let seat = this.first; seat < this.end; seat++) {
      if (seat !== except && this.isLive(Atomics.load(this.words, seat))) return true
    }
    return false
  }

  /** The sum of live threads' words in a row of words, one for each seat, that starts at index `row`. */
  total(row: number): number {
    let sum = 0
    for (let seat = this.first; seat < this.end; seat++) {
      if (this.isLive(Atomics.load(this.words, seat))) sum += Atomics.load(this.words, row + seat - this.first)
    }
    return sum
  }

  /** The next seat behind `after`, counted from 0, whose word in a row is `value`, and whose thread lives; -1 if there is none. */
  next(row: number, value: number, after: number): number {
    const count = this.end - this.first
    for (let looked = 1; looked <= count; looked++) {
      const seat = (after + looked) % count
      if (Atomics.load(this.words, row + seat) === value && this.isLive(this.tag(seat))) return seat
    }
    return -1
  }

  /** The tag in a seat, counted from 0. */
  tag(seat: number): number {
    return Atomics.load(this.words, this.first + seat)
  }

  /** Whether `test` holds of the seats, counted from 0, of all live threads but this one. */
  everyOther(test: (seat: number) => boolean): boolean {
    for (let seat = 0; seat < this.end - this.first; seat++) {
      const tag = this.tag(seat)
      if (this.isLive(tag) && !this.threads.isOwnTag(tag) && !test(seat)) return false
    }
    return true
  }

  /** The number of live threads that have the object open, and of those that died with it open. */
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
