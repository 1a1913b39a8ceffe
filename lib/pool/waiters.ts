import { clearInterval, setInterval } from 'node:timers'
import { onAbort } from './abort.ts'
import { Word } from './pool-slots.ts'

/** One who waits for a buffer, between those who came before and after. */
interface Waiter<T> {
  readonly resolve: (buffer: T) => void
  readonly reject: (reason: unknown) => void
  before: Waiter<T>
  after: Waiter<T>
  /** The signal isn't listened to any more. */
  forget: (() => void) | undefined
}

/** So often, in milliseconds, who waits looks whether another thread has died. */
const POLL_MS = 50

/** Who waits in this thread for a buffer of a pool, in the order in which they came. */
export class Waiters<T> {
  /** The queue's ends: a ring, so that whoever leaves it has a neighbour on either side. */
  private readonly ends: Waiter<T>
  private count = 0
  /** The pool's words, while this thread is counted in them as one that waits. */
  private words: Int32Array | undefined
  private readonly changed: (length: number) => void

  /** @param changed is told how many wait, whenever it is another number */
  constructor(changed: (length: number) => void) {
    this.changed = changed
    const ends = { resolve: () => {}, reject: () => {}, forget: undefined } as unknown as Waiter<T>
    ends.before = ends
    ends.after = ends
    this.ends = ends
  }

  get length(): number {
    return this.count
  }

  /** Joins the queue's end. Rejects with the signal's reason when that is aborted first. */
  wait(signal: AbortSignal | undefined): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const { ends } = this
      const waiter: Waiter<T> = { resolve, reject, before: ends.before, after: ends, forget: undefined }
      ends.before.after = waiter
      ends.before = waiter
      this.changed(++this.count)
      if (signal === undefined) return
      waiter.forget = onAbort(signal, () => {
        this.leave(waiter)
        reject(signal.reason)
      })
    })
  }

  /** Gives buffers to those who have waited longest, at most `most`, while there are any. What `take` throws, the first one is told. */
  serve(take: () => T | undefined, most = Number.POSITIVE_INFINITY): void {
    for (let served = 0; served < most && this.count > 0; served++) {
      const first = this.ends.after
      try {
        const buffer = take()
        if (buffer === undefined) return
        this.leave(first)
        first.resolve(buffer)
      } catch (error) {
        this.leave(first)
        first.reject(error)
        return
      }
    }
  }

  /** The pool is closed: nobody waits any more. */
  end(reason: unknown): void {
    while (this.count > 0) {
      const first = this.ends.after
      this.leave(first)
      first.reject(reason)
    }
    this.leaveOthers()
  }

  private leave({ before, after, forget }: Waiter<T>): void {
    before.after = after
    after.before = before
    this.changed(--this.count)
    forget?.()
  }

  /**
   * While somebody waits here, what other threads release is looked for. They wake us by the word `Wake`, if they see by the word
   * `Waiters` that there is anyone to be woken.
   */
  async watchOthers(words: Int32Array, take: () => T | undefined): Promise<void> {
    if (this.words !== undefined) return
    this.words = words
    // A wait alone doesn't keep a thread running.
    const alive = setInterval(() => {}, 2 ** 30)
    Atomics.add(words, Word.Waiters, 1)
    while (this.words !== undefined) {
      const wake = Atomics.load(words, Word.Wake)
      this.serve(take)
      if (this.length === 0) break
      const wait = Atomics.waitAsync(words, Word.Wake, wake, POLL_MS)
      if (wait.async) await wait.value
    }
    clearInterval(alive)
    this.leaveOthers()
  }

  /** This thread waits no more, as far as others can see. Called before the words may go. */
  private leaveOthers(): void {
    if (this.words !== undefined) Atomics.sub(this.words, Word.Waiters, 1)
    this.words = undefined
  }

  /** Wakes one thread that waits, if there is any. */
  static wake(words: Int32Array): void {
    if (Atomics.load(words, Word.Waiters) === 0) return
    Atomics.add(words, Word.Wake, 1)
    Atomics.notify(words, Word.Wake, 1)
  }
}
